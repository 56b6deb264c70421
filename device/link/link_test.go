package link

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"tcp://192.168.1.201:4370", "tcp://192.168.1.201:4370"},
		{"tcp://lobby.example:4370?timeout=2s", "tcp://lobby.example:4370?timeout=2s"},
		{"tcp://lobby.example:4370?timeout=5000ms", "tcp://lobby.example:4370"},
		{"tcp://[::1]:1", "tcp://[::1]:1"},
		{"tcp://[fe80::17%25eth0]:65535", "tcp://[fe80::17%25eth0]:65535"},
		{"serial:///dev/ttyUSB0", "serial:///dev/ttyUSB0"},
		{"serial:///dev/ttyUSB0?baud=9600&data=8&parity=none&stop=1", "serial:///dev/ttyUSB0"},
		{"serial:///dev/ttyS1?stop=2&parity=even&data=7&baud=19200", "serial:///dev/ttyS1?baud=19200&data=7&parity=even&stop=2"},
		{"serial:///dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0?parity=odd", "serial:///dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0?parity=odd"},
		{"serial:///dev/%E9%97%A8%231", "serial:///dev/%E9%97%A8%231"},
	} {
		d, err := Parse(c.address)
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		if d.String() != c.want {
			t.Errorf("%s: is %s, want %s", c.address, d, c.want)
		}
	}
	d, err := Parse("tcp://[fe80::17%25eth0]:4370")
	if err != nil || d.(tcpDialer).host != "fe80::17%eth0" {
		t.Errorf("zone: %+v, %v", d, err)
	}
	d, err = Parse("serial:///dev/%E9%97%A8%231")
	if err != nil || d.(serialDialer).path != "/dev/门#1" {
		t.Errorf("escaped path: %+v, %v", d, err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"", "link: address has no scheme, as in tcp://192.168.1.201:4370 (known: serial, tcp)"},
		{"192.168.1.201", "link: address has no scheme, as in tcp://192.168.1.201:4370 (known: serial, tcp)"},
		{"192.168.1.201:4370", "link: address has no scheme; write tcp://192.168.1.201:4370"},
		{"lobby.example:4370", "link: address has no scheme; write tcp://lobby.example:4370"},
		{"/dev/ttyUSB0", "link: address has no scheme; write serial:///dev/ttyUSB0"},
		{"/dev/ttyUSB0?baud=9600", "link: address has no scheme; write serial:///dev/ttyUSB0?baud=9600"},
		{"COM1", "link: a port is named by its path, as in serial:///dev/ttyUSB0; COM ports of Windows can't be used"},
		{"serial://com12", "link: a port is named by its path, as in serial:///dev/ttyUSB0; COM ports of Windows can't be used"},
		{"admin:secret@10.0.0.1:4370", `link: unknown scheme "admin" (known: serial, tcp)`},
		{"tcp://192.168.1.300:4370", "link: 192.168.1.300 is no IP address: it has four numbers from 0 to 255 without zeros before them, as in tcp://192.168.1.201:4370"},
		{"tcp://192.168.1:4370", "link: 192.168.1 is no IP address: it has four numbers from 0 to 255 without zeros before them, as in tcp://192.168.1.201:4370"},
		{"tcp://192.168.001.201:4370", "link: 192.168.001.201 is no IP address: it has four numbers from 0 to 255 without zeros before them, as in tcp://192.168.1.201:4370"},
		{"udp://10.0.0.1:4370", `link: unknown scheme "udp" (known: serial, tcp)`},
		{"tcp:10.0.0.1:4370", "link: address needs two slashes behind its scheme: tcp://"},
		{"tcp://admin:secret@10.0.0.1:4370", "link: tcp:// takes no user or password"},
		{"tcp://admin:sec ret@10.0.0.1:4370", "link: address: net/url: invalid userinfo"},
		{"tcp://10.0.0.1", "link: tcp:// needs a host and a port, as in tcp://192.168.1.201:4370"},
		{"tcp://10.0.0.1:", "link: tcp:// needs a host and a port, as in tcp://192.168.1.201:4370"},
		{"tcp://:4370", "link: tcp:// needs a host and a port, as in tcp://192.168.1.201:4370"},
		{"tcp://::1", "link: an IPv6 address stands in brackets, as in tcp://[fe80::17%25eth0]:4370"},
		{"tcp://fe80::17:4370", "link: an IPv6 address stands in brackets, as in tcp://[fe80::17%25eth0]:4370"},
		{"tcp://10.0.0.1:0", "link: port 0 is not between 1 and 65535"},
		{"tcp://10.0.0.1:65536", "link: port 65536 is not between 1 and 65535"},
		{"tcp://10.0.0.1:zk", `link: address: invalid port ":zk" after host`},
		{"tcp://10.0.0.1:4370/", `link: tcp:// takes no path, "/" stands behind the port`},
		{"tcp://10.0.0.1:4370#x", "link: address holds a #; write %23 if it belongs to the path"},
		{"tcp://10.0.0.1:4370?timeout=5", `link: timeout "5" is no time like 5s`},
		{"tcp://10.0.0.1:4370?timeout=-5s", `link: timeout "-5s" is no time like 5s`},
		{"tcp://10.0.0.1:4370?baud=9600", `link: unknown parameter "baud" of tcp:// (known: timeout)`},
		{"serial:///dev/ttyUSB0?library=tarm", `link: unknown parameter "library" of serial:// (known: baud, data, parity, stop)`},
		{"serial:///dev/ttyUSB0?rs485=1", `link: unknown parameter "rs485" of serial:// (known: baud, data, parity, stop)`},
		{"serial:///dev/ttyUSB0?baud=9600&baud=19200", "link: parameter baud is given 2 times"},
		{"serial:///dev/ttyUSB0?baud=fast", `link: baud "fast" is not between 50 and 4000000`},
		{"serial:///dev/ttyUSB0?baud=49", `link: baud "49" is not between 50 and 4000000`},
		{"serial:///dev/ttyUSB0?data=9", `link: data "9" is not between 5 and 8 bits`},
		{"serial:///dev/ttyUSB0?parity=EVEN", `link: unknown parity "EVEN" (known: none, even, odd)`},
		{"serial:///dev/ttyUSB0?stop=1.5", `link: "1.5" is no number of stop bits (known: 1, 2)`},
		{"serial:///dev/ttyUSB0?baud=%zz", `link: parameters: invalid URL escape "%zz"`},
		{"serial://dev/ttyUSB0", "link: serial:// needs a third slash before the path: serial:///dev/ttyUSB0"},
		{"serial:///", "link: serial:// needs the absolute path of a port, as in serial:///dev/ttyUSB0"},
		{"serial:ttyUSB0", "link: address needs two slashes behind its scheme: serial://"},
	} {
		d, err := Parse(c.address)
		if err == nil {
			t.Errorf("%s: taken as %s, want error %s", c.address, d, c.want)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.address, err, c.want)
		}
	}
}

// FuzzParse holds that what parses prints as an address of the same meaning,
// and that no error repeats a password.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"tcp://10.0.0.1:4370", "tcp://[fe80::1%25eth0]:1?timeout=1m", "serial:///dev/ttyS0?baud=115200&parity=odd",
		"serial:////dev//x?stop=2", "udp://a:1", "tcp://u:p@h:1", "serial:///dev/a%20b%3F#", "tcp://h:1?timeout=1s&timeout=2s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s)
		if err != nil {
			if d != nil {
				t.Fatalf("%q: both a dialer and error %v", s, err)
			}
			return
		}
		again, err := Parse(d.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which is refused: %v", s, d, err)
		}
		if again != d {
			t.Fatalf("%q prints as %q, which is %+v and not %+v", s, d, again, d)
		}
	})
}

// exchange sends a line there and back over two ends of one connection.
func exchange(t *testing.T, near, far io.ReadWriter) {
	t.Helper()
	for _, c := range []struct{ from, to io.ReadWriter }{{near, far}, {far, near}} {
		const line = "0009351929\r\n"
		sent := make(chan error, 1)
		go func() { _, err := io.WriteString(c.from, line); sent <- err }()
		got := make([]byte, len(line))
		if _, err := io.ReadFull(c.to, got); err != nil || string(got) != line {
			t.Fatalf("got %q, %v", got, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// checkDeadline holds what the Conn comment says of deadlines.
func checkDeadline(t *testing.T, c Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	n, err := c.Read(make([]byte, 8))
	timeout, ok := errors.AsType[net.Error](err)
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !ok || !timeout.Timeout() {
		t.Errorf("Read behind its deadline: %d, %v", n, err)
	}
	if d := time.Since(start); d < 10*time.Millisecond {
		t.Errorf("Read gave up after %v, before its deadline", d)
	}
	// A deadline set while a Read waits counts for it too.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 8)); done <- err }()
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("waiting Read: %v", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// checkClose holds that Close wakes a Read, and may come again.
func checkClose(t *testing.T, c Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 8)); done <- err }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read of a closed connection: %v", err)
	}
	_ = c.Close() // must not panic; its error says that it was closed
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("Write to a closed connection succeeded")
	}
}

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := Pipe()
		exchange(t, near, far)
		checkDeadline(t, near)
		checkClose(t, near)
	})
}

func TestPipeDialer(t *testing.T) {
	ends := make(chan Conn, 1)
	refusal := errors.New("busy")
	var answer error
	d := PipeDialer("lobby", func(_ context.Context, far Conn) error { ends <- far; return answer })
	if d.String() != "pipe:lobby" {
		t.Error(d)
	}
	near, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, near, <-ends)

	answer = refusal
	if c, err := d.Dial(t.Context()); !errors.Is(err, refusal) || c != nil {
		t.Errorf("refused: %v, %v", c, err)
	}
	if _, err := (<-ends).Write([]byte("x")); err == nil {
		t.Error("the far end of a refused pipe is open")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("behind the context's end: %v", err)
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestTCP(t *testing.T) {
	addresses := []string{"127.0.0.1:0"}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		addresses = append(addresses, "[::1]:0")
	}
	for _, address := range addresses {
		l := listen(t, "tcp", address)
		d, err := Parse("tcp://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		near, err := d.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		exchange(t, near, far)
		checkDeadline(t, near)
		checkClose(t, near)
	}
}

func TestTCPRefused(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	address := l.Addr().String()
	l.Close()
	d, err := Parse("tcp://" + address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context())
	if err == nil || c != nil || !strings.Contains(err.Error(), address) || errors.Is(err, ErrHopeless) {
		t.Errorf("%v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Dial(ctx); err == nil {
		t.Error("dialed behind the context's end")
	}
}
