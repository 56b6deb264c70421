package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openPTY gives the two ends of a pty; the slave stands for the serial port.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func dial(t *testing.T, address string) Conn {
	t.Helper()
	d, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSerial(t *testing.T) {
	master, slave := openPTY(t)
	c := dial(t, "serial://"+slave.Name()+"?baud=19200&stop=2")
	exchange(t, c, master)
	checkDeadline(t, c)

	// Every byte passes as it is: no echo, no signal, no CR for LF, no XOFF.
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, way := range []struct{ from, to io.ReadWriter }{{master, c}, {c, master}} {
		if _, err := way.from.Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(all))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("got % x, %v", got, err)
		}
	}

	var line *unix.Termios
	if err := control(slave, func(fd int) (err error) { line, err = unix.IoctlGetTermios(fd, unix.TCGETS); return err }); err != nil {
		t.Fatal(err)
	}
	if line.Cflag&unix.CBAUD != unix.B19200 || line.Cflag&unix.CSTOPB == 0 {
		t.Errorf("line flags %o, want 19200 baud and two stop bits", line.Cflag)
	}
	checkClose(t, c)
}

func TestSerialIsExclusive(t *testing.T) {
	_, slave := openPTY(t)
	exclusive := func() (on int) {
		t.Helper()
		if err := control(slave, func(fd int) (err error) { on, err = unix.IoctlGetInt(fd, unix.TIOCGEXCL); return err }); err != nil {
			t.Fatal(err)
		}
		return on
	}
	address := "serial://" + slave.Name()
	c := dial(t, address)
	if exclusive() == 0 {
		t.Error("any program can take bytes away")
	}
	d, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	// Root gets past exclusive mode and meets the lock, others do not.
	second, err := d.Dial(t.Context())
	if err == nil || second != nil || !strings.Contains(err.Error(), "another process") || errors.Is(err, ErrHopeless) {
		t.Fatalf("opened twice: %v, %v", second, err)
	}
	if exclusive() == 0 {
		t.Error("the second Dial ended the exclusive mode of the first")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if exclusive() != 0 {
		t.Error("the port stays exclusive behind Close")
	}
	if c, err = d.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestSerialWriteDeadline fills a port that nobody drains.
func TestSerialWriteDeadline(t *testing.T) {
	_, slave := openPTY(t)
	c := dial(t, "serial://"+slave.Name())
	if err := c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Write(make([]byte, 1<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write: %d, %v", n, err)
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := c.Write(make([]byte, 1<<20)); done <- err }()
	c.Close()
	if err := <-done; err == nil {
		t.Error("a Write into a full port outlived Close")
	}
}

func TestSerialUnplugEndsRead(t *testing.T) {
	master, slave := openPTY(t)
	c := dial(t, "serial://"+slave.Name())
	done := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); done <- err }()
	master.Close()
	if err := <-done; err == nil || !strings.Contains(err.Error(), slave.Name()+" is gone (unplugged?)") {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("Write to a port that is gone succeeded")
	}
}

func TestSerialOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("roster"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, word string
		is         error
	}{
		{filepath.Join(dir, "ttyUSB0"), "not plugged in", fs.ErrNotExist},
		{file, "Invalid serial port", nil},
		{dir, "is a directory", syscall.EISDIR},
		{"/dev/null", "Invalid serial port", nil},
	} {
		d, err := Parse("serial://" + c.path)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := d.Dial(t.Context())
		if err == nil || conn != nil || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %q", c.path, err, c.word)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", c.path, err, c.is)
		}
		if errors.Is(err, ErrHopeless) {
			t.Errorf("%s: %v is hopeless, though it can be mended while we wait", c.path, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "roster" {
		t.Errorf("a file named by mistake holds %q now, %v", text, err)
	}
}

// cable is a pair of serial ports joined by a socat of our own.
type cable struct {
	near, far string
	process   *exec.Cmd
}

func newCable(t *testing.T) *cable {
	t.Helper()
	if _, err := exec.LookPath("socat"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("socat is missing")
		}
		t.Skip("socat is not installed")
	}
	dir := t.TempDir()
	c := &cable{near: filepath.Join(dir, "gateway"), far: filepath.Join(dir, "reader")}
	t.Cleanup(c.unplug)
	return c
}

// plug starts socat and waits until both ports are there.
func (c *cable) plug(t *testing.T) {
	t.Helper()
	c.process = exec.Command("socat", "-d", "-d", "pty,raw,echo=0,link="+c.near, "pty,raw,echo=0,link="+c.far)
	c.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := c.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "starting data transfer loop") {
			return
		}
	}
	t.Fatalf("socat ended: %v", lines.Err())
}

// unplug kills socat, which takes both ports away as a pulled cable does.
func (c *cable) unplug() {
	if c.process == nil {
		return
	}
	_ = c.process.Process.Kill()
	_ = c.process.Wait() // says that it was killed
	c.process = nil
	_ = os.Remove(c.near) // a killed socat leaves them
	_ = os.Remove(c.far)
}

// collector is a Keeper's user that hands on the lines it reads and the
// changes of state.
type collector struct {
	ctx    context.Context
	lines  chan string
	states chan error // nil is online
}

func (c *collector) use(_ context.Context, conn Conn) error {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		c.lines <- lines.Text()
	}
	return errors.Join(lines.Err(), io.EOF)
}

// state waits until the port is online, or is not, and gives the reason.
func (c *collector) state(t *testing.T, online bool) error {
	t.Helper()
	for {
		select {
		case err := <-c.states:
			if (err == nil) == online {
				return err
			}
		case <-c.ctx.Done():
			t.Fatalf("never online = %v", online)
		}
	}
}

func TestUnplugAndReplug(t *testing.T) {
	port := newCable(t)
	port.plug(t)
	d, err := Parse("serial://" + port.near)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := &collector{ctx: ctx, lines: make(chan string, 100), states: make(chan error, 100)}
	k := Keeper{Dialer: d, Min: time.Millisecond, Max: 10 * time.Millisecond, OnState: func(_ bool, err error) { c.states <- err }}
	done := make(chan error)
	go func() { done <- k.Run(ctx, c.use) }()
	for round := range 3 {
		c.state(t, true)
		far, err := os.OpenFile(port.far, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(far, "0009351929\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case line := <-c.lines:
			if line != "0009351929" {
				t.Errorf("round %d: read %q", round, line)
			}
		case <-ctx.Done():
			t.Fatalf("round %d: nothing came through", round)
		}
		far.Close()
		port.unplug()
		if err := c.state(t, false); !strings.Contains(err.Error(), "is gone") {
			t.Errorf("round %d: unplugged with %v", round, err)
		}
		port.plug(t)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
