package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// shape is a way in which terminals give bulk data.
type shape int

const (
	whole    shape = iota // DATA_WRRQ answered with all in one DATA
	chunks                // held ready, each chunk in one DATA
	streamed              // held ready, each chunk as PREPARE_DATA, pieces, ACK_OK
	counted               // likewise, and pieces have a part counter as session
	noAck                 // likewise, and the ACK_OK is missing
	oneData               // likewise, all in one piece of 64 KiB at most
)

// fake is the terminal's side of a connection. Its fields may be changed while
// nothing is on its way.
type fake struct {
	t       testing.TB
	serial  string
	mac     string
	key     uint32
	session uint16
	layout  zk.Layout
	log     []byte // records
	users   []byte
	shape   shape
	piece   int
	zone    *time.Location
	skew    time.Duration
	room    uint32                              // capacity of the log
	sizes   int                                 // bytes of the block
	count   func(n uint32) uint32               // how it counts its log
	answers map[zk.Command]zk.Command           // refusals
	silent  map[zk.Command]bool                 // unanswered
	options map[string]string                   // others than serial and MAC
	unknown zk.Command                          // answer to an unknown option, 0: silence
	instead func(zk.Packet) ([]zk.Packet, bool) // answers in place of the fake, if it says so
	before  func(zk.Packet)                     // called with each request
	after   func(zk.Packet) []zk.Packet         // sent behind the answer to each request
	wire    func([]byte) [][]byte               // how a frame is written; nil in it hangs up
	pace    func([]byte) time.Duration          // how long that takes

	running  sync.WaitGroup
	mu       sync.Mutex
	far      link.Conn
	out      chan []byte
	dials    []time.Time
	requests []zk.Packet
	acks     int
	held     []byte // the dataset that is held ready
}

func newFake(t testing.TB) *fake {
	return &fake{
		t: t, serial: "SIM0001", mac: "00:17:61:11:22:33", session: 0x45cf, layout: zk.Layout40, piece: 1008,
		zone: time.UTC, room: 100000, sizes: zk.SizesLen, unknown: zk.AckError,
		options: map[string]string{zk.OptDeviceName: "K40/ID", zk.OptPlatform: "ZMM220_TFT"},
		answers: map[zk.Command]zk.Command{}, silent: map[zk.Command]bool{},
	}
}

func (f *fake) dialer() link.Dialer {
	return link.PipeDialer("fake", func(_ context.Context, far link.Conn) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.far, f.out = far, make(chan []byte, 4096)
		f.dials = append(f.dials, time.Now())
		out := f.out
		f.running.Go(func() { f.write(far, out) })
		f.running.Go(func() { f.serve(far, out) })
		return nil
	})
}

// write writes what is queued, until the queue is closed or the peer is gone.
func (f *fake) write(far link.Conn, out chan []byte) {
	for b := range out {
		if b == nil {
			far.Close()
			continue
		}
		if f.pace != nil {
			time.Sleep(f.pace(b))
		}
		// A peer that is gone takes nothing more; the rest is drained.
		_, _ = far.Write(b)
	}
	far.Close()
}

func (f *fake) serve(far link.Conn, out chan []byte) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.out == out {
			f.out = nil
		}
		close(out)
	}()
	var split zk.Splitter
	buf := make([]byte, 4096)
	for {
		p, err := split.Next()
		if errors.Is(err, protocol.ErrIncomplete) {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			if err := split.Feed(buf[:n]); err != nil {
				f.t.Error(err)
			}
			continue
		}
		if err != nil {
			f.t.Errorf("the driver sent a wrong frame: %v", err)
			return
		}
		if f.before != nil {
			f.before(p)
		}
		f.mu.Lock()
		for _, a := range f.answer(p) {
			f.put(out, a)
		}
		if f.after != nil {
			for _, a := range f.after(p) {
				f.put(out, a)
			}
		}
		f.mu.Unlock()
	}
}

func (f *fake) put(out chan []byte, p zk.Packet) {
	frame := zk.AppendFrame(nil, p)
	if f.wire == nil {
		out <- frame
		return
	}
	for _, b := range f.wire(frame) {
		out <- b
	}
}

// send sends what nothing asked for, if there is a connection.
func (f *fake) send(packets ...zk.Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range packets {
		if f.out != nil {
			f.put(f.out, p)
		}
	}
}

// set changes the fake while the driver may be talking to it.
func (f *fake) set(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

// hangUp closes the connection.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.far.Close()
}

func (f *fake) clock() attendance.LocalTime {
	return attendance.LocalOf(time.Now().Add(f.skew).In(f.zone)) / 1000 * 1000
}

func (f *fake) records() uint32 { return uint32(len(f.log) / f.layout.Size()) }

func (f *fake) answer(p zk.Packet) []zk.Packet {
	if p.Command == zk.AckOK {
		f.acks++
		if p.Session != f.session || p.Reply != 0 {
			f.t.Errorf("event acknowledged with session %04x and reply id %d", p.Session, p.Reply)
		}
		return nil
	}
	f.requests = append(f.requests, p)
	if f.silent[p.Command] {
		return nil
	}
	if f.instead != nil {
		if answers, mine := f.instead(p); mine {
			return answers
		}
	}
	reply := func(c zk.Command, data []byte) []zk.Packet {
		return []zk.Packet{{Command: c, Session: f.session, Reply: p.Reply, Data: data}}
	}
	if refusal, ok := f.answers[p.Command]; ok {
		return reply(refusal, nil)
	}
	r, err := zk.ParseRequest(p)
	if err != nil {
		f.t.Errorf("the driver asked %v: %v", p.Command, err)
		return reply(zk.AckError, nil)
	}
	if want := f.session; p.Command != zk.CmdConnect && p.Session != want {
		f.t.Errorf("%v with session %04x, want %04x", p.Command, p.Session, want)
	}
	switch r := r.(type) {
	case zk.OptionRead:
		value, ok := map[string]string{zk.OptSerial: f.serial, zk.OptMAC: f.mac}[r.Name]
		if !ok {
			value, ok = f.options[r.Name]
		}
		switch {
		case ok && value != "":
			return reply(zk.AckOK, []byte(r.Name+"="+value+"\x00"))
		case f.unknown == 0:
			return nil
		}
		return reply(f.unknown, nil)
	case zk.Auth:
		if !zk.CheckKey(f.key, f.session, r.Key) {
			return reply(zk.AckUnauth, nil)
		}
	case zk.BulkRead:
		return f.bulk(p, r.Of, f.shape)
	case zk.UsersRead:
		return f.stream(p, zk.AppendDataset(nil, f.users))
	case zk.Chunk:
		data := f.held
		part := data[min(int(r.Offset), len(data)):min(int(r.Offset+r.Size), len(data))]
		if f.shape == chunks {
			return reply(zk.CmdData, part)
		}
		return f.stream(p, part)
	}
	return f.plain(p, reply)
}

func (f *fake) plain(p zk.Packet, reply func(zk.Command, []byte) []zk.Packet) []zk.Packet {
	switch p.Command {
	case zk.CmdConnect:
		if f.key != 0 {
			return reply(zk.AckUnauth, nil)
		}
	case zk.CmdGetVersion:
		return reply(zk.AckOK, zk.AppendVersion(nil, "Ver 6.60 Apr 26 2016"))
	case zk.CmdGetTime:
		data, err := zk.AppendTime(nil, f.clock())
		if err != nil {
			f.t.Error(err)
		}
		return reply(zk.AckOK, data)
	case zk.CmdGetFreeSizes:
		n := f.records()
		if f.count != nil {
			n = f.count(n)
		}
		s := zk.Sizes{Users: uint32(len(f.users) / 28), Records: n, RecordRoom: f.room, RecordsLeft: f.room - n}
		return reply(zk.AckOK, zk.AppendSizes(nil, s, f.sizes))
	case zk.CmdAttLogRead:
		return f.stream(p, zk.AppendDataset(nil, f.log))
	}
	return reply(zk.AckOK, nil)
}

// bulk answers DATA_WRRQ.
func (f *fake) bulk(p zk.Packet, of zk.Command, as shape) []zk.Packet {
	records := f.log
	if of == zk.CmdUserTempRead {
		records = f.users
	}
	f.held = zk.AppendDataset(nil, records)
	if as == whole {
		return []zk.Packet{{Command: zk.CmdData, Session: p.Session, Reply: p.Reply, Data: f.held}}
	}
	return []zk.Packet{{Command: zk.AckOK, Session: p.Session, Reply: p.Reply, Data: zk.AppendReady(nil, uint32(len(f.held)), 0x23efcd)}}
}

// stream answers with PREPARE_DATA, pieces and ACK_OK.
func (f *fake) stream(p zk.Packet, data []byte) []zk.Packet {
	piece := f.piece
	if f.shape == oneData {
		piece = 0x10000
	}
	all := []zk.Packet{{Command: zk.CmdPrepareData, Session: p.Session, Reply: p.Reply, Data: zk.AppendPrepare(nil, uint32(len(data)), uint32(piece))}}
	n := uint16(0)
	for part := range slices.Chunk(data, piece) {
		session := p.Session
		if f.shape == counted {
			session = n
		}
		n++
		all = append(all, zk.Packet{Command: zk.CmdData, Session: session, Reply: p.Reply, Data: part})
	}
	if f.shape == noAck {
		return all
	}
	return append(all, zk.Packet{Command: zk.AckOK, Session: p.Session, Reply: p.Reply})
}

// dialed counts the connections.
func (f *fake) dialed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.dials)
}

// asked counts the requests of a command.
func (f *fake) asked(c zk.Command) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, p := range f.requests {
		if p.Command == c {
			n++
		}
	}
	return n
}

func (f *fake) acknowledged() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.acks
}

// reads counts the reads of the log.
func (f *fake) reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, p := range f.requests {
		if p.Command == zk.CmdDataRequest && bytes.HasPrefix(p.Data, []byte{1, byte(zk.CmdAttLogRead)}) {
			n++
		}
	}
	return n
}

// add puts records at the end of the log.
func (f *fake) add(records ...zk.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = appendRecords(f.t, f.log, f.layout, records...)
}

// punch makes a record now, and the event of it in a form of 32 bytes.
func (f *fake) punch(pin string) (zk.Record, zk.Packet) {
	r := zk.Record{UID: 7, PIN: pin, Verify: 1, State: 0, At: f.clock()}
	switch {
	case f.layout == zk.Layout16:
		r.UID = 0
	case !f.layout.HasPIN():
		r.PIN = ""
		f.add(r)
		return r, f.event(10, r)
	}
	f.add(r)
	return r, f.event(32, r)
}

func (f *fake) event(form int, r zk.Record) zk.Packet {
	if form != 10 && form != 14 {
		r.UID = 0
	} else {
		r.PIN = ""
	}
	p, err := zk.EventPacket(zk.Punched{Form: form, Records: []zk.Record{r}})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func appendRecords(t testing.TB, b []byte, l zk.Layout, records ...zk.Record) []byte {
	for _, r := range records {
		var err error
		if b, err = zk.AppendRecord(b, l, r); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// someRecords makes a plausible log of n records that ends at the time end.
func someRecords(l zk.Layout, n int, end attendance.LocalTime, seed uint64) []zk.Record {
	random := rand.New(rand.NewPCG(seed, 2))
	records := make([]zk.Record, n)
	at := end
	for i := n - 1; i >= 0; i-- {
		at -= attendance.LocalTime(1000 * (1 + random.IntN(600)))
		user := 1 + random.IntN(40)
		r := zk.Record{UID: uint16(user), PIN: fmt.Sprint(100 + user), Verify: []uint8{1, 1, 1, 2, 15}[random.IntN(5)], State: uint8(random.IntN(2)), At: at}
		switch {
		case !l.HasPIN():
			r.PIN = ""
		case l == zk.Layout16:
			r.UID = 0
		case user%8 == 0:
			r.PIN = "00" + r.PIN
		}
		records[i] = r
	}
	return records
}

// someUsers are the users of [someRecords].
func someUsers(t testing.TB, layout zk.UserLayout) []byte {
	var b []byte
	for user := 1; user <= 40; user++ {
		var err error
		if b, err = zk.AppendUser(b, layout, zk.User{UID: uint16(user), PIN: fmt.Sprint(100 + user), Name: "Ada", Group: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// store is the journal's side: it remembers what was made durable, by key.
type store struct {
	mu      sync.Mutex
	fail    error
	block   bool // until the context ends
	calls   int
	largest int
	all     int
	keys    map[attendance.Key]bool
	punches []attendance.Punch // the first of each key
	hook    func()
}

func (s *store) emit(ctx context.Context, punches []attendance.Punch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.largest = max(s.largest, len(punches))
	if s.block {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return ctx.Err()
	}
	if s.fail != nil {
		return s.fail
	}
	for _, p := range punches {
		s.all++
		if !s.keys[p.Key] {
			s.keys[p.Key] = true
			s.punches = append(s.punches, p)
		}
	}
	if s.hook != nil {
		s.hook()
	}
	return nil
}

// facts are the punches in the order in which they became durable.
func (s *store) facts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	facts := []string{}
	for _, p := range s.punches {
		facts = append(facts, fmt.Sprintf("%s %v %d %d", p.Badge, p.DeviceTime, p.Verify, p.State))
	}
	return facts
}

// list are the punches that are durable, each once.
func (s *store) list() []attendance.Punch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.punches)
}

// handed is how many punches were handed over, repetitions included.
func (s *store) handed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

func (s *store) set(what func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what(s)
}

// diary is what the driver logs.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *diary) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

// tail is the end of it.
func (j *diary) tail() string {
	text := j.text()
	return text[max(0, len(text)-3000):]
}

func (j *diary) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// rig is a driver in a bubble with its terminal and its journal.
type rig struct {
	t      *testing.T
	fake   *fake
	store  *store
	driver *Driver
	log    *diary
	start  time.Time
	stop   context.CancelFunc
	done   chan error
}

// today is when the bubbles of tests begin: a terminal's clock starts in 2000.
func today(t testing.TB) {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 11, 24, 8, 30, 0, 0, time.UTC)))
}

func newRig(t *testing.T, f *fake, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, fake: f, store: &store{keys: map[attendance.Key]bool{}}, log: &diary{}, start: time.Now(), done: make(chan error, 1)}
	cfg := Config{ID: "lobby", Link: f.dialer(), Live: true, Emit: r.store.emit, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.driver = d
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- d.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(r.end)
	return r
}

// end stops the driver and waits for it.
func (r *rig) end() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.fake.running.Wait()
	if r.t.Failed() {
		r.t.Logf("the log ends:\n%s", r.log.tail())
	}
}

// lastError is State's; that the far end hung up has two faces with a pipe.
func (r *rig) lastError() string {
	return strings.ReplaceAll(r.driver.State().LastError, io.ErrClosedPipe.Error(), "EOF")
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wants holds that just these records are durable, in this order.
func (r *rig) wants(records ...zk.Record) {
	r.t.Helper()
	want := []string{}
	for _, w := range records {
		want = append(want, fmt.Sprintf("%s %v %d %d", w.PIN, w.At, w.Verify, w.State))
	}
	got := r.store.facts()
	if slices.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	show := func(all []string) []string { return all[min(i, len(all)):min(i+5, len(all))] }
	r.t.Errorf("%d facts, want %d; from number %d on\n%q, want\n%q", len(got), len(want), i, show(got), show(want))
}

func (r *rig) note(word string) bool {
	return slices.ContainsFunc(r.driver.State().Notes, func(n string) bool { return strings.Contains(n, word) })
}

func (r *rig) wantNote(word string, want bool) {
	r.t.Helper()
	if r.note(word) != want {
		r.t.Errorf("a note with %q: %v, want %v: %q", word, !want, want, r.driver.State().Notes)
	}
}
