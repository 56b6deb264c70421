package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// runs is how often a random test repeats itself: few in every run, as often
// as PUNCHD_CRASHES says when asked.
func runs(t testing.TB, few int) int {
	s := os.Getenv("PUNCHD_CRASHES")
	if s == "" {
		return few
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("PUNCHD_CRASHES: %v", err)
	}
	return n
}

// model is a journal in its simplest form.
type model struct {
	punches []int // by sequence: number of the punch, -1 for another record
	seqs    map[int]uint64
	sinks   map[string]*modelSink
}

type modelSink struct {
	cursor       uint64
	parked, dead map[uint64]string // reasons
}

var sinkNames = []string{"a", "b"}

func newModel() *model {
	m := &model{seqs: map[int]uint64{}, sinks: map[string]*modelSink{}}
	for _, name := range sinkNames {
		m.sinks[name] = &modelSink{0, map[uint64]string{}, map[uint64]string{}}
	}
	return m
}

func (m *model) clone() *model {
	c := &model{slices.Clone(m.punches), maps.Clone(m.seqs), map[string]*modelSink{}}
	for name, s := range m.sinks {
		c.sinks[name] = &modelSink{s.cursor, maps.Clone(s.parked), maps.Clone(s.dead)}
	}
	return c
}

// append is what Append does; -1 stands for a record that is no punch.
func (m *model) append(ns []int) (results []Result) {
	for _, n := range ns {
		seq, known := m.seqs[n]
		if !known {
			seq = uint64(len(m.punches))
			m.punches = append(m.punches, n)
		}
		if n >= 0 {
			m.seqs[n] = seq
		}
		results = append(results, Result{seq, known})
	}
	return results
}

// settle is what Settle does.
func (m *model) settle(sink string, answers []forward.Answer) {
	s := m.sinks[sink]
	for _, a := range answers {
		again := a.First < s.cursor
		if again && len(a.Parked) == 1 && s.parked[a.First] == a.Parked[0].Reason {
			continue // that leaves no record
		}
		if again {
			delete(s.parked, a.First)
		} else {
			s.cursor = a.Last + 1
		}
		for _, d := range a.Dead {
			s.dead[d.Seq] = d.Reason
		}
		for _, p := range a.Parked {
			s.parked[p.Seq] = p.Reason
			m.punches = append(m.punches, -1)
		}
		if !again || len(a.Parked) == 0 {
			m.punches = append(m.punches, -1)
		}
	}
}

// differs says in what a journal is not as the model, empty if in nothing.
func (m *model) differs(t *testing.T, j *Journal) string {
	seqs, punches := pending(t, j, 0)
	k := 0
	for seq, n := range m.punches {
		if n < 0 {
			continue
		}
		if k >= len(seqs) || seqs[k] != uint64(seq) || punches[k].Key != keyOf(n) || punches[k].At != terminalPunch(n).At {
			return fmt.Sprintf("punch %d is not record %d", n, seq)
		}
		k++
	}
	if k != len(seqs) {
		return fmt.Sprintf("%d punches, want %d", len(seqs), k)
	}
	if got := j.durable.get(); got != uint64(len(m.punches)) {
		return fmt.Sprintf("%d records, want %d", got, len(m.punches))
	}
	for name, s := range m.sinks {
		before := uint64(0)
		for _, n := range m.punches[:s.cursor] {
			if n >= 0 {
				before++
			}
		}
		want := SinkStats{name, s.cursor, uint64(k) - before, uint64(len(s.parked)), uint64(len(s.dead)), before - uint64(len(s.parked)+len(s.dead))}
		if got := sinkStats(t, j, name); got != want && !(s.cursor == 0 && got.Cursor == 0) {
			return fmt.Sprintf("sink %+v, want %+v", got, want)
		}
		ps, err := j.ListParked(t.Context(), name, 0, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		parked := map[uint64]string{}
		for _, p := range ps {
			parked[p.Seq] = p.Reason
		}
		ds, err := j.ListDead(t.Context(), name, 0, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		dead := map[uint64]string{}
		for _, d := range ds {
			dead[d.Seq] = d.Reason
		}
		if !maps.Equal(parked, s.parked) || !maps.Equal(dead, s.dead) {
			return fmt.Sprintf("sink %s: parked %v dead %v, want %v %v", name, parked, dead, s.parked, s.dead)
		}
		if diff := s.refusalsDiffer(t, j, name); diff != "" {
			return diff
		}
	}
	return ""
}

// refusalsDiffer says in what the ledger alone tells something else.
func (s *modelSink) refusalsDiffer(t *testing.T, j *Journal, name string) string {
	r, f := &Refusals{}, j.feed(0)
	defer f.r.Close()
	for {
		frame, err := f.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = r.take(frame)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, x := range r.Of(name) {
		want, found := s.parked[x.Seq]
		if x.Dead {
			want, found = s.dead[x.Seq]
		}
		if n++; !found || x.Reason != want {
			return fmt.Sprintf("sink %s: the ledger says %+v, want %q", name, x, want)
		}
	}
	if n != len(s.parked)+len(s.dead) {
		return fmt.Sprintf("sink %s: the ledger says %v, want %v %v", name, r.Of(name), s.parked, s.dead)
	}
	return ""
}

// revive is what Revive does.
func (m *model) revive(sink string, seqs []uint64) {
	m.punches = append(m.punches, -1)
	for _, seq := range seqs {
		s := m.sinks[sink]
		s.parked[seq] = "sent again by an operator; it was dead: " + s.dead[seq]
		delete(s.dead, seq)
		m.punches = append(m.punches, -1)
	}
}

// world is a journal, its disk, and what it ought to hold.
type world struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	medium *disktest.Disk
	j      *Journal
	m      *model
	doubts []*model // what it may hold instead after a crash: the last things done failed
	old    string   // a copy of the buffer from earlier, empty if there is none
	fresh  int      // number of the next new punch
}

func (w *world) open() {
	w.t.Helper()
	w.j = mustOpen(w.t, Config{Dir: w.dir, SegmentSize: 16 << 10, FS: w.medium})
}

// step does something at random, under faults if asked.
func (w *world) step(faulty bool) {
	after := w.m.clone()
	var do func() error
	switch w.r.IntN(7) {
	case 0, 1:
		do = w.settleSome(after)
	case 2:
		do = w.reviveSome(after)
	default:
		do = w.appendSome(after)
	}
	if faulty {
		n := w.medium.Ops() + 1 + w.r.IntN(3)
		w.medium.Fail(func(op disktest.Op) error {
			if op.N < n || op.Kind == disktest.Read {
				return nil
			}
			return syscall.EIO
		})
	}
	err := do()
	w.medium.Fail(nil)
	switch {
	case err == nil:
		w.m, w.doubts = after, nil
	case !faulty || !errors.Is(err, syscall.EIO):
		w.t.Fatal(err)
	default:
		w.doubts = append(w.doubts, after)
	}
}

func (w *world) appendSome(after *model) func() error {
	var ns []int
	var recs []attendance.Record
	for range 1 + w.r.IntN(25) {
		n := w.fresh
		switch k := w.r.IntN(10); {
		case k == 0:
			n = -1
		case k < 3 && w.fresh > 0:
			n = w.r.IntN(w.fresh) // maybe one that was never acknowledged
		default:
			w.fresh++
		}
		ns = append(ns, n)
		if n < 0 {
			recs = append(recs, event(len(recs)))
		} else {
			recs = append(recs, terminalPunch(n))
		}
	}
	want := after.append(ns)
	return func() error {
		got, err := w.j.Append(context.Background(), recs)
		if err == nil && !slices.Equal(got, want) {
			w.t.Fatalf("appended %v as %v, want %v", ns, got, want)
		}
		return err
	}
}

func (w *world) settleSome(after *model) func() error {
	name := sinkNames[w.r.IntN(2)]
	s := w.m.sinks[name]
	var answers []forward.Answer
	reasons := []string{"unknown employee", "closed period", "no such field"}
	parkedSeqs := slices.Sorted(maps.Keys(s.parked))
	w.r.Shuffle(len(parkedSeqs), reflect.Swapper(parkedSeqs))
	for _, seq := range parkedSeqs[:min(len(parkedSeqs), w.r.IntN(4))] {
		a := forward.Answer{First: seq, Last: seq}
		switch w.r.IntN(3) {
		case 0:
			a.Dead = []attendance.Dead{dead(seq, reasons[w.r.IntN(3)])}
		case 1:
			a.Parked = []forward.Parked{parked(seq, reasons[w.r.IntN(3)], time.Time{})}
		}
		answers = append(answers, a)
	}
	items, _, err := w.j.Pending(w.t.Context(), s.cursor, 1+w.r.IntN(30))
	if err != nil {
		w.t.Fatal(err)
	}
	for len(items) > 0 {
		k := 1 + w.r.IntN(len(items))
		a := forward.Answer{First: items[0].Seq, Last: items[k-1].Seq}
		for _, it := range items[:k] {
			switch w.r.IntN(8) {
			case 0:
				a.Dead = append(a.Dead, dead(it.Seq, reasons[w.r.IntN(3)]))
			case 1:
				a.Parked = append(a.Parked, parked(it.Seq, reasons[w.r.IntN(3)], epoch))
			}
		}
		answers = append(answers, a)
		items = items[k:]
	}
	after.settle(name, answers)
	return func() error { return w.j.Settle(context.Background(), name, answers...) }
}

func (w *world) reviveSome(after *model) func() error {
	name := sinkNames[w.r.IntN(2)]
	seqs := slices.Sorted(maps.Keys(w.m.sinks[name].dead))
	w.r.Shuffle(len(seqs), reflect.Swapper(seqs))
	if seqs = seqs[:min(len(seqs), 1+w.r.IntN(5))]; len(seqs) == 0 {
		return func() error { return nil }
	}
	after.revive(name, seqs)
	return func() error { return w.j.Revive(context.Background(), name, operator, seqs) }
}

// crash ends the process or cuts the power, and opens again.
func (w *world) crash() {
	after := w.medium
	if w.r.IntN(3) > 0 {
		after = w.medium.Crash(w.r)
	}
	// The buffer as a kill leaves it, as it was some time before, or none.
	now := w.dir + ".now"
	flush(w.t, w.j)
	if err := copyTree(filepath.Join(w.dir, bufferDir), now); err != nil {
		w.t.Fatal(err)
	}
	if err := w.j.Close(); err != nil {
		w.t.Fatal(err)
	}
	take := now
	switch k := w.r.IntN(6); {
	case k < 2 && w.old != "":
		take = w.old
	case k == 2:
		take = filepath.Join(w.dir, "nothing")
	case k == 3:
		take = "" // closed in order
	}
	var err error
	if take != "" {
		err = os.RemoveAll(filepath.Join(w.dir, bufferDir))
		if _, serr := os.Stat(take); serr == nil && err == nil {
			err = os.Rename(take, filepath.Join(w.dir, bufferDir))
		}
		if take == w.old {
			w.old = ""
		}
	}
	if err := errors.Join(err, os.RemoveAll(now)); err != nil {
		w.t.Fatal(err)
	}
	w.medium = after
	w.open()
}

// check compares, after a crash also with what is in doubt.
func (w *world) check() {
	w.t.Helper()
	diff := w.m.differs(w.t, w.j)
	for _, m := range w.doubts {
		if diff != "" && m.differs(w.t, w.j) == "" {
			w.m, diff = m, ""
		}
	}
	w.doubts = nil
	if diff != "" {
		w.t.Fatal(diff)
	}
	s, err := w.j.Stats()
	if err != nil || s.Damage != nil || s.Lost != nil || s.Headers != nil || s.Failure != nil || s.Suspects != nil {
		w.t.Fatalf("%+v, %v", s, err)
	}
}

// TestModel holds the journal to its model through appends, answers, faults,
// kills and power cuts.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := uint64(0)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	for ; seed < uint64(runs(t, 4)); seed++ {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), dir: filepath.Join(t.TempDir(), "journal"), medium: disktest.New(seed), m: newModel()}
		w.open()
		for range 5 {
			for range w.r.IntN(25) {
				w.step(w.r.IntN(8) == 0)
			}
			if w.doubts == nil {
				w.check()
			}
			if w.old == "" && w.r.IntN(2) == 0 {
				w.old = w.dir + ".old"
				flush(t, w.j)
				if err := copyTree(filepath.Join(w.dir, bufferDir), w.old); err != nil {
					t.Fatal(err)
				}
				continue
			}
			w.crash()
			w.check()
			if t.Failed() {
				return
			}
		}
		closeJournal(t, w.j)
	}
}

// TestKill kills a process that appends, over and over, and holds that all it
// said to be durable is.
func TestKill(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("PUNCHD_TEST_APPEND_IN"); dir != "" {
		appendUntilKilled(dir)
		return
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	acked := map[int]uint64{}
	for round := range runs(t, 4) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "PUNCHD_TEST_APPEND_IN="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for enough := 20 + r.IntN(400); lines.Scan(); enough-- {
			var n int
			var seq uint64
			// A line that was cut by the kill does not end in a dot.
			if _, err := fmt.Sscanf(lines.Text(), "punch %d is %d .", &n, &seq); err != nil || !strings.HasSuffix(lines.Text(), " .") {
				continue
			}
			if before, ok := acked[n]; ok && before != seq {
				t.Errorf("round %d: punch %d was %d and is %d", round, n, before, seq)
			}
			acked[n] = seq
			if enough == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
	}
	j := openDir(t, dir)
	for n, seq := range acked {
		got, p, found, err := j.Lookup(keyOf(n))
		if err != nil || !found || got != seq || !reflect.DeepEqual(p, realistic(n)) {
			t.Fatalf("punch %d was acknowledged as %d: %d, %v, %v", n, seq, got, found, err)
		}
	}
	s, err := j.Stats()
	if err != nil || s.Damage != nil || s.Suspects != nil || s.Punches < uint64(len(acked)) {
		t.Errorf("%d acknowledged: %+v, %v", len(acked), s, err)
	}
	t.Logf("%d acknowledged", len(acked))
}

// appendUntilKilled appends from several goroutines and says what is durable.
func appendUntilKilled(dir string) {
	j, err := Open(context.Background(), Config{Dir: dir, SegmentSize: 64 << 10})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	from := int(j.durable.get())
	for w := range 8 {
		go func() {
			for n := from + w; ; n += 8 {
				res, err := j.Append(context.Background(), []attendance.Record{realistic(n)})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				os.Stdout.WriteString(fmt.Sprintf("punch %d is %d .\n", n, res[0].Seq))
			}
		}()
	}
	select {}
}
