package zk

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What follows is a host of its own: it shares no code with the codec that the
// terminal is built from, so that a mistake there shows here.

var le = binary.LittleEndian

// packet is a frame as it came.
type packet struct {
	cmd, session, reply uint16
	data                []byte
	raw                 []byte // whole frame
}

// sum is the checksum by the book: words, carry, complement.
func sum(b []byte) uint16 {
	total := 0
	for i := 0; i < len(b); i += 2 {
		if i == 2 {
			continue // the field itself
		}
		total += int(b[i])
		if i+1 < len(b) {
			total += int(b[i+1]) << 8
		}
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return uint16(^total)
}

func frame(cmd, session, reply uint16, data ...byte) []byte {
	p := le.AppendUint16(nil, cmd)
	p = le.AppendUint16(append(p, 0, 0), session)
	p = append(le.AppendUint16(p, reply), data...)
	le.PutUint16(p[2:], sum(p))
	return append(le.AppendUint32([]byte{0x50, 0x50, 0x82, 0x7d}, uint32(len(p))), p...)
}

// host is a careful host at one connection.
type host struct {
	t       testing.TB
	c       net.Conn
	session uint16
	reply   uint16
	events  []packet // that came while an answer was waited for
	sums    bool     // checksums are not looked at
	patient bool     // a short dataset is not a failure
}

// ended is io.EOF for what a pipe calls it on other occasions.
func ended(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return io.EOF
	}
	return err
}

// next reads a frame.
func (h *host) next() (packet, error) {
	if err := h.c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return packet{}, ended(err)
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(h.c, head); err != nil {
		return packet{}, err
	}
	if !bytes.Equal(head[:4], []byte{0x50, 0x50, 0x82, 0x7d}) {
		return packet{}, fmt.Errorf("no frame begins with % x", head)
	}
	n := le.Uint32(head[4:])
	if n < 8 || n > 1<<24 {
		return packet{}, fmt.Errorf("a frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(h.c, b); err != nil {
		return packet{}, err
	}
	if got := le.Uint16(b[2:]); got != sum(b) && !h.sums {
		return packet{}, fmt.Errorf("checksum %04x of % x, it must be %04x", got, b, sum(b))
	}
	return packet{le.Uint16(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:], append(head, b...)}, nil
}

func (h *host) must() packet {
	h.t.Helper()
	p, err := h.next()
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *host) send(b []byte) {
	h.t.Helper()
	if _, err := h.c.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

// try asks, and gives the first frame of the answer.
func (h *host) try(cmd uint16, data ...byte) (packet, error) {
	reply := h.reply
	h.reply++
	if _, err := h.c.Write(frame(cmd, h.session, reply, data...)); err != nil {
		return packet{}, ended(err)
	}
	for {
		p, err := h.next()
		if err != nil {
			return packet{}, err
		}
		if p.cmd == 500 {
			h.events = append(h.events, p)
			continue
		}
		if p.reply != reply {
			return packet{}, fmt.Errorf("command %d: the answer %d has reply id %d, not %d", cmd, p.cmd, p.reply, reply)
		}
		return p, nil
	}
}

func (h *host) ask(cmd uint16, data ...byte) packet {
	h.t.Helper()
	p, err := h.try(cmd, data...)
	if err != nil {
		h.t.Fatalf("command %d: %v", cmd, err)
	}
	return p
}

// want asks and wants a code.
func (h *host) want(code, cmd uint16, data ...byte) packet {
	h.t.Helper()
	p := h.ask(cmd, data...)
	if p.cmd != code {
		h.t.Fatalf("command %d is answered with %d, not %d", cmd, p.cmd, code)
	}
	return p
}

func (h *host) connect() {
	h.t.Helper()
	h.session = h.want(2000, 1000).session
	if h.session == 0 {
		h.t.Fatal("no session")
	}
}

func words(w ...uint32) (b []byte) {
	for _, v := range w {
		b = le.AppendUint32(b, v)
	}
	return b
}

var errDeclined = errors.New("declined")

// bulk reads a table as the reference says, whatever shape the answer has.
func (h *host) bulk(table uint16, fct uint32) ([]byte, error) {
	p, err := h.try(1503, append(append([]byte{1}, byte(table), byte(table>>8)), words(fct, 0)...)...)
	switch {
	case err != nil:
		return nil, err
	case p.cmd == 1501:
		return p.data, nil
	case p.cmd != 2000:
		return nil, fmt.Errorf("%w with %d", errDeclined, p.cmd)
	case len(p.data) != 13 || p.data[0] != 0 || le.Uint32(p.data[1:]) != le.Uint32(p.data[5:]):
		return nil, fmt.Errorf("announcement % x", p.data)
	}
	size := le.Uint32(p.data[1:])
	var all []byte
	for at := uint32(0); at < size; at += 65472 {
		n := min(size-at, 65472)
		p, err := h.try(1504, words(at, n)...)
		if err != nil {
			return all, err
		}
		part, err := h.collect(p)
		all = append(all, part...)
		if err != nil {
			return all, err
		}
		if len(part) != int(n) {
			return all, fmt.Errorf("a chunk of %d bytes, not %d", len(part), n)
		}
	}
	if p, err = h.try(1502); err != nil || p.cmd != 2000 {
		return all, fmt.Errorf("FREE_DATA: %d, %v", p.cmd, err)
	}
	return all, nil
}

// collect takes what follows the first frame of an answer with data. An ACK_OK
// behind it may be missing: it is taken if it is the next frame of the answer.
func (h *host) collect(p packet) ([]byte, error) {
	if p.cmd == 1501 {
		return p.data, nil
	}
	if p.cmd != 1500 || len(p.data) != 8 {
		return nil, fmt.Errorf("%w with %d", errDeclined, p.cmd)
	}
	size, part := int(le.Uint32(p.data)), int(le.Uint32(p.data[4:]))
	var all []byte
	for len(all) < size {
		d, err := h.next()
		if err != nil {
			return all, err
		}
		switch {
		case d.cmd == 500:
			h.events = append(h.events, d)
			continue
		case d.cmd != 1501 || d.reply != p.reply:
			return all, fmt.Errorf("%d (reply %d) among pieces of reply %d", d.cmd, d.reply, p.reply)
		case len(d.data) > part:
			return all, fmt.Errorf("a piece of %d bytes, announced were %d", len(d.data), part)
		}
		all = append(all, d.data...)
	}
	if h.patient {
		return all, nil
	}
	for {
		end, err := h.next()
		switch {
		case err != nil:
			return all, err
		case end.cmd == 500:
			h.events = append(h.events, end)
		case end.cmd != 2000 || end.reply != p.reply || len(end.data) != 0:
			return all, fmt.Errorf("%d behind the pieces", end.cmd)
		default:
			return all, nil
		}
	}
}

// text is what stands before the first NUL.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// at reads a packed time by division.
func at(v uint32) string {
	s, rest := v%60, v/60
	m, rest := rest%60, rest/60
	h, rest := rest%24, rest/24
	d, rest := rest%31+1, rest/31
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", 2000+rest/12, rest%12+1, d, h, m, s)
}

// at6 reads the time of an event.
func at6(b []byte) string {
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", 2000+int(b[0]), b[1], b[2], b[3], b[4], b[5])
}

// seen is an entry as a host sees it: uid or pin may be missing.
type seen struct {
	uid           int
	pin           string
	at            string
	state, verify int
}

// see gives what a host can see of an entry.
func see(e Entry, uid, pin bool) seen {
	s := seen{at: e.At.String(), state: int(e.State), verify: int(e.Verify)}
	if uid {
		s.uid = int(e.UID)
	}
	if pin {
		s.pin = e.PIN
	}
	return s
}

// sections cuts the length off a dataset and the rest into records.
func sections(data []byte, size int) ([][]byte, error) {
	if len(data) < 4 || int(le.Uint32(data)) != len(data)-4 || (len(data)-4)%size != 0 {
		return nil, fmt.Errorf("dataset of %d bytes, % x, for records of %d", len(data), data[:min(4, len(data))], size)
	}
	var all [][]byte
	for b := data[4:]; len(b) > 0; b = b[size:] {
		all = append(all, b[:size])
	}
	return all, nil
}

// parseLog reads a log by the tables of the protocol.
func parseLog(data []byte, size int, ma300 bool) (all []seen, err error) {
	records, err := sections(data, size)
	if err != nil {
		return nil, err
	}
	for _, b := range records {
		switch {
		case ma300:
			all = append(all, seen{int(le.Uint16(b)), "", at(le.Uint32(b[4:])), int(b[3]), int(b[2])})
		case size == 8:
			all = append(all, seen{int(le.Uint16(b)), "", at(le.Uint32(b[3:])), int(b[7]), int(b[2])})
		case size == 16:
			all = append(all, seen{0, strconv.Itoa(int(le.Uint32(b))), at(le.Uint32(b[4:])), int(b[9]), int(b[8])})
		default:
			all = append(all, seen{int(le.Uint16(b)), text(b[2:26]), at(le.Uint32(b[27:])), int(b[31]), int(b[26])})
		}
	}
	return all, nil
}

// log reads the whole log in a layout.
func (h *host) log(size int, ma300 bool) []seen {
	h.t.Helper()
	data, err := h.bulk(13, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	all, err := parseLog(data, size, ma300)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// member is a user as a host sees him.
type member struct {
	uid, privilege int
	pin, name      string
	card           uint32
}

func (h *host) users(size int) (all []member) {
	h.t.Helper()
	data, err := h.bulk(9, 5)
	if err != nil {
		h.t.Fatal(err)
	}
	records, err := sections(data, size)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, b := range records {
		if size == 28 {
			all = append(all, member{int(le.Uint16(b)), int(b[2]), strconv.Itoa(int(le.Uint32(b[24:]))), text(b[8:16]), le.Uint32(b[16:])})
		} else {
			all = append(all, member{int(le.Uint16(b)), int(b[2]), text(b[48:72]), text(b[11:35]), le.Uint32(b[35:])})
		}
	}
	return all
}

// parseEvent reads EF_ATTLOG with records of a length.
func parseEvent(data []byte, form int) (all []seen, err error) {
	if len(data) == 0 || len(data)%form != 0 {
		return nil, fmt.Errorf("an event of %d bytes, not of %d", len(data), form)
	}
	for ; len(data) > 0; data = data[form:] {
		var s seen
		i := 24
		switch form {
		case 10, 14:
			i = 2
			s.uid = int(le.Uint16(data))
		case 12:
			i = 4
			s.pin = strconv.Itoa(int(le.Uint32(data)))
		default:
			s.pin = text(data[:24])
		}
		s.verify, s.state, s.at = int(data[i]), int(data[i+1]), at6(data[i+2:])
		all = append(all, s)
	}
	return all, nil
}

// pipes is a listener whose connections are in memory: it works in a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// bench is a terminal that is being served.
type bench struct {
	*Terminal
	t    testing.TB
	dial func() net.Conn
	stop func() error // ends Serve and gives what it returns

	address string
}

// host connects, and says CONNECT.
func (b *bench) host() *host {
	b.t.Helper()
	h := b.raw()
	h.connect()
	return h
}

// raw connects and says nothing.
func (b *bench) raw() *host {
	c := b.dial()
	b.t.Cleanup(func() { c.Close() })
	return &host{t: b.t, c: c}
}

func serve(t testing.TB, cfg Config, l net.Listener, dial func() net.Conn) *bench {
	t.Helper()
	term, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- term.Serve(ctx, l) }()
	var once error
	ended := false
	stop := func() error {
		if !ended {
			ended = true
			cancel()
			once = <-done
		}
		return once
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &bench{term, t, dial, stop, l.Addr().String()}
}

// inMemory serves a terminal over pipes.
func inMemory(t testing.TB, cfg Config) *bench {
	t.Helper()
	p := newPipes()
	return serve(t, cfg, p, func() net.Conn {
		a, b := net.Pipe()
		select {
		case p.conns <- a:
		case <-p.closed:
		}
		return b
	})
}

// onTCP serves a terminal on a port of this machine.
func onTCP(t testing.TB, cfg Config) *bench {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, cfg, l, func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
}

// clock is one that shows a time now, and goes on.
func clock(text string) func() time.Time {
	at, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		panic(err)
	}
	ahead := time.Until(at)
	return func() time.Time { return time.Now().Add(ahead).UTC() }
}

// when makes a Config whose first session is the given one while its face shows
// a time: the session comes of the true time, and the face is set wrong.
func when(cfg Config, session uint16, face string) Config {
	shown := clock(face)
	ahead := time.Duration(session-uint16(shown().Unix())) * time.Second
	cfg.Clock = func() time.Time { return shown().Add(ahead) }
	cfg.Quirks.ClockSkew = -ahead
	return cfg
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// quirks parses what a person would write.
func quirks(t testing.TB, texts ...string) (q Quirks) {
	t.Helper()
	for _, text := range texts {
		if err := ParseQuirk(&q, text); err != nil {
			t.Fatal(err)
		}
	}
	return q
}
