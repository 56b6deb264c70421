package ledger

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// history is what a ledger has been told, and so what it may hold.
type history struct {
	acked    [][]byte   // payloads that were acknowledged, by sequence
	attempts [][][]byte // payloads of batches tried since, each at the end of acked
	n, size  int        // of the last batch
}

// check holds a ledger that was just opened to its history: all that was
// acknowledged is there, and behind it at most one whole batch that was tried.
func (h *history) check(t testing.TB, l *Ledger) {
	t.Helper()
	if r := l.Report(); len(r.Damage) > 0 || len(r.Headers) > 0 {
		t.Fatalf("a power cut was taken for damage: %v %v", r.Damage, r.Headers)
	}
	checkZeroBehind(t, l)
	frames, damage := readAll(t, l.Reader(0))
	if len(damage) > 0 {
		t.Fatalf("damage: %v", damage)
	}
	if uint64(len(frames)) != l.Next() {
		t.Fatalf("%d records, next is %d", len(frames), l.Next())
	}
	if len(frames) < len(h.acked) {
		t.Fatalf("%d records were acknowledged, %d are there", len(h.acked), len(frames))
	}
	for i, f := range frames[:len(h.acked)] {
		if f.Seq != uint64(i) || !bytes.Equal(f.Payload, h.acked[i]) {
			t.Fatalf("record %d: %d %q, want %q", i, f.Seq, f.Payload, h.acked[i])
		}
	}
	rest := frames[len(h.acked):]
	if len(rest) == 0 {
		h.attempts = nil
		return
	}
	for _, attempt := range h.attempts {
		if len(attempt) != len(rest) {
			continue
		}
		same := true
		for i, f := range rest {
			same = same && bytes.Equal(f.Payload, attempt[i])
		}
		if same { // it is durable now, whoever was told what
			h.acked = append(h.acked, attempt...)
			h.attempts = nil
			return
		}
	}
	t.Fatalf("%d records behind the last acknowledged are no batch that was tried: first %q", len(rest), rest[0].Payload)
}

// append tries a batch and notes what came of it.
func (h *history) append(t testing.TB, l *Ledger, r *rand.Rand, attempt int) error {
	// Often in the same form as the last, so that frames of two attempts at the
	// same place would fit together.
	if h.n == 0 || r.IntN(3) == 0 {
		h.n, h.size = 1+r.IntN(12), 40+r.IntN(400)
		if r.IntN(8) == 0 {
			h.n = 1 + r.IntN(60) // spans segments
		}
	}
	entries := batch(uint64(len(h.acked)), attempt, h.n, h.size)
	var payloads [][]byte
	for _, e := range entries {
		payloads = append(payloads, e.Payload)
	}
	_, err := l.Append(entries)
	l.spare.run.Wait()
	if err != nil {
		h.attempts = append(h.attempts, payloads)
		return err
	}
	checkZeroBehind(t, l)
	h.acked = append(h.acked, payloads...)
	h.attempts = nil
	return nil
}

// checkZeroBehind holds that nothing stands behind the end.
func checkZeroBehind(t testing.TB, l *Ledger) {
	t.Helper()
	b := l.fs.(*disktest.Disk).Bytes(dir + "/" + l.end.segment.name)
	if len(b) != MinSegmentSize {
		t.Fatalf("%s has %d bytes", l.end.segment.name, len(b))
	}
	if i := slices.IndexFunc(b[l.end.off:], func(c byte) bool { return c != 0 }); i >= 0 {
		t.Fatalf("%s: byte %d behind the end is not zero", l.end.segment.name, i)
	}
}

// runs is how many simulations a test does: few in every run, as many as
// PUNCHD_CRASHES says when asked.
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

// TestPowerCuts writes, fails, ends, and cuts the power at random, many times
// over one ledger.
func TestPowerCuts(t *testing.T) {
	cuts := 0
	for seed := range uint64(runs(t, 80)) {
		cuts += powerCuts(t, seed)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d power cuts", cuts)
}

func powerCuts(t *testing.T, seed uint64) (cuts int) {
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 2))
	medium := disktest.New(seed)
	var h history
	attempt := 0
	for range 8 {
		// Every operation may fail, opening included.
		odds := []int{0, 0, 4, 30}[r.IntN(4)]
		medium.Fail(func(op disktest.Op) error {
			if odds == 0 || op.Kind == disktest.Read || r.IntN(odds) != 0 {
				return nil
			}
			switch err := []error{syscall.EIO, syscall.ENOSPC}[r.IntN(2)]; op.Kind {
			case disktest.Write:
				return &disktest.Short{N: r.IntN(op.Len + 1), Err: err}
			default:
				return err
			}
		})
		l, err := Open(small(medium))
		for tries := 0; err != nil && tries < 3; tries++ {
			l, err = Open(small(medium))
		}
		if err != nil {
			medium.Fail(nil)
			l = mustOpen(t, small(medium))
		}
		h.check(t, l)
		for range r.IntN(30) {
			attempt++
			if err := h.append(t, l, r, attempt); err != nil && odds == 0 {
				t.Fatal(err)
			}
		}
		medium.Fail(nil)
		if r.IntN(4) == 0 { // the process ends, the page cache lives on
			closeLedger(t, l)
			continue
		}
		if r.IntN(2) == 0 { // the power goes in the middle of an operation
			crashed := false
			stop := medium.Ops() + 1 + r.IntN(6)
			var after *disktest.Disk
			medium.Fail(func(op disktest.Op) error {
				if op.N >= stop && op.Kind != disktest.Read {
					crashed = true
				}
				if crashed {
					return errPower
				}
				return nil
			})
			for !crashed {
				attempt++
				h.append(t, l, r, attempt)
			}
			medium.Fail(nil)
			after = medium.Crash(r)
			closeLedger(t, l)
			medium = after
		} else {
			after := medium.Crash(r)
			closeLedger(t, l)
			medium = after
		}
		cuts++
	}
	l := mustOpen(t, small(medium))
	h.check(t, l)
	closeLedger(t, l)
	return cuts
}

var errPower = errors.New("the power is off")

// TestEveryOperationFails fails each single operation of a run in turn, in
// every way, goes on, and cuts the power at the end.
func TestEveryOperationFails(t *testing.T) {
	run := func(medium *disktest.Disk, r *rand.Rand) *history {
		h := &history{}
		l, err := Open(small(medium))
		if err != nil {
			if l, err = Open(small(medium)); err != nil {
				t.Fatalf("a single failure keeps the ledger from opening: %v", err)
			}
		}
		defer closeLedger(t, l)
		h.check(t, l)
		failures := 0
		for i := range 25 {
			if err := h.append(t, l, r, i); err != nil {
				failures++
			}
		}
		if failures > 1 {
			t.Fatalf("%d appends failed by one fault", failures)
		}
		return h
	}
	clean := disktest.New(1)
	run(clean, rand.New(rand.NewPCG(1, 1)))
	total := clean.Ops()
	kinds := map[string]func(disktest.Op) error{
		"EIO":    func(disktest.Op) error { return syscall.EIO },
		"ENOSPC": func(disktest.Op) error { return syscall.ENOSPC },
		"short": func(op disktest.Op) error {
			if op.Kind == disktest.Write {
				return &disktest.Short{N: op.Len / 2, Err: syscall.ENOSPC}
			}
			return syscall.EIO
		},
	}
	for kind, fail := range kinds {
		for n := 1; n <= total; n++ {
			medium := disktest.New(uint64(n))
			medium.Fail(func(op disktest.Op) error {
				if op.N == n {
					return fail(op)
				}
				return nil
			})
			h := run(medium, rand.New(rand.NewPCG(1, 1)))
			medium.Fail(nil)
			for cut := range uint64(3) {
				after := medium.Crash(rand.New(rand.NewPCG(uint64(n), cut)))
				l := mustOpen(t, small(after))
				copied := *h
				copied.check(t, l)
				closeLedger(t, l)
			}
			if t.Failed() {
				t.Fatalf("%s at operation %d of %d", kind, n, total)
			}
		}
	}
	t.Logf("%d operations", total)
}

// TestDiskFullAndFreed: appends fail cleanly while there is no room for a new
// segment, and go on when there is.
func TestDiskFullAndFreed(t *testing.T) {
	medium := disktest.New(1)
	l := mustOpen(t, small(medium))
	full := false
	medium.Fail(func(op disktest.Op) error {
		if full && (op.Kind == disktest.Create || op.Kind == disktest.Write && op.Path == dir+"/"+spareTemp) {
			return syscall.ENOSPC
		}
		return nil
	})
	h := &history{}
	r := rand.New(rand.NewPCG(5, 5))
	for cycle := range 50 {
		full = true
		failed := false
		for i := 0; !failed && i < 200; i++ {
			failed = h.append(t, l, r, cycle) != nil
		}
		if !failed {
			t.Fatal("a full disk was never noticed")
		}
		if _, err := l.Append(batch(l.Next(), 99, 40, 200)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append on a full disk: %v, want ENOSPC", err)
		}
		full = false
		if err := h.append(t, l, r, cycle); err != nil {
			t.Fatalf("append after room was made: %v", err)
		}
	}
	closeLedger(t, l)
	l = mustOpen(t, small(medium))
	h.check(t, l)
	closeLedger(t, l)
}

// TestLastBatchInEverySubset: of the sectors of the last batch any subset may
// have reached the disk. The batch is there or it is not; it is never damage.
func TestLastBatchInEverySubset(t *testing.T) {
	for _, span := range []bool{false, true} {
		before := disktest.New(1)
		l := mustOpen(t, small(before))
		fill := 3
		if span {
			fill = 15 // the batch behind it spans two segments
		}
		mustAppend(t, l, batch(0, 0, fill, 230))
		base := before.Clone()
		w := mustAppend(t, l, batch(l.Next(), 0, 8, 230))
		closeLedger(t, l)
		sectors := changedSectors(base, before, l.segments)
		if len(sectors) < 4 || len(sectors) > 12 {
			t.Fatalf("the batch changes %d sectors", len(sectors))
		}
		whole := 0
		for subset := range 1 << len(sectors) {
			medium := base.Clone()
			if span { // the segment begun for it was made durable before
				medium.SetBytes(dir+"/"+l.segments[1].name, before.Bytes(dir + "/" + l.segments[1].name)[:headerBlock])
				zeros := make([]byte, MinSegmentSize)
				copy(zeros, medium.Bytes(dir+"/"+l.segments[1].name))
				medium.SetBytes(dir+"/"+l.segments[1].name, zeros)
			}
			for i, s := range sectors {
				if subset&(1<<i) != 0 {
					b := medium.Bytes(s.path)
					copy(b[s.off:s.off+disktest.Sector], before.Bytes(s.path)[s.off:])
					medium.SetBytes(s.path, b)
				}
			}
			again := mustOpen(t, small(medium))
			r := again.Report()
			if len(r.Damage) > 0 {
				t.Fatalf("span %v, subset %b: damage %v", span, subset, r.Damage)
			}
			want := uint64(fill)
			if subset == 1<<len(sectors)-1 {
				want += 8
				whole++
			} else if subset != 0 && (r.Torn == nil || r.Torn.First != w.First) {
				t.Fatalf("span %v, subset %b: torn %+v", span, subset, r.Torn)
			}
			mustAppend(t, again, batch(want, 0, 5, 230))
			frames, damage := readAll(t, again.Reader(0))
			wantRecords(t, frames, 0, want+5, 230)
			if damage != nil {
				t.Fatal(damage)
			}
			closeLedger(t, again)
		}
		if whole != 1 {
			t.Errorf("the whole batch was accepted %d times", whole)
		}
	}
}

type place struct {
	path string
	off  int64
}

// changedSectors lists where two disks differ in the frames of segments.
func changedSectors(a, b *disktest.Disk, segments []*segment) (places []place) {
	for _, s := range segments {
		path := dir + "/" + s.name
		after := b.Bytes(path)
		old := make([]byte, len(after))
		if names, _ := a.ReadDir(dir); slices.Contains(names, s.name) {
			old = a.Bytes(path)
		}
		for off := headerBlock; off < len(after); off += disktest.Sector {
			if !bytes.Equal(old[off:off+disktest.Sector], after[off:off+disktest.Sector]) {
				places = append(places, place{path, int64(off)})
			}
		}
	}
	return places
}

// TestFailedSyncIsNotBelieved plays through the trap known as fsyncgate: a
// sync fails, the pages count as clean, the process ends, and the next one
// finds the batch in the page cache. It must not count on it being on the disk.
func TestFailedSyncIsNotBelieved(t *testing.T) {
	for seed := range uint64(50) {
		medium := disktest.New(seed)
		l := mustOpen(t, small(medium))
		mustAppend(t, l, batch(0, 0, 2, 100))
		medium.Fail(func(op disktest.Op) error {
			if op.Kind == disktest.Sync {
				return syscall.EIO
			}
			return nil
		})
		if _, err := l.Append(batch(2, 0, 9, 300)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("append: %v, want EIO", err)
		}
		medium.Fail(nil)
		l = mustOpen(t, small(medium)) // killed: nothing was wiped
		if l.Next() != 11 {
			t.Fatalf("next is %d: the batch is not in the page cache, the test tests nothing", l.Next())
		}
		mustAppend(t, l, batch(11, 0, 1, 100))
		l = mustOpen(t, small(medium.Crash(rand.New(rand.NewPCG(seed, 3)))))
		frames, damage := readAll(t, l.Reader(0))
		if damage != nil || l.Report().Damage != nil {
			t.Fatalf("seed %d: a batch that was found at opening is lost: %v", seed, damage)
		}
		wantRecords(t, frames[:2], 0, 2, 100)
		wantRecords(t, frames[2:11], 2, 11, 300)
		wantRecords(t, frames[11:], 11, 12, 100)
	}
}

// TestAttemptsNeverMix: a batch that was never finished is wiped durably before
// the next one is written over it. Otherwise a power cut in the middle of that
// could leave frames of both, which would make a whole batch that nobody wrote.
func TestAttemptsNeverMix(t *testing.T) {
	const size = disktest.Sector - frameHeader // a frame fills a sector
	start := disktest.New(1)
	l := mustOpen(t, small(start))
	mustAppend(t, l, batch(0, 0, 1, size))
	base := start.Clone()
	mustAppend(t, l, batch(1, 1, 3, size))
	closeLedger(t, l)
	path := dir + "/" + segmentName(0)
	torn := start.Bytes(path)
	clear(torn[headerBlock+disktest.Sector : headerBlock+2*disktest.Sector]) // its first frame got lost
	base.SetBytes(path, torn)
	for seed := range uint64(100) {
		medium := base.Clone()
		cfg := small(medium)
		cfg.Floor, cfg.FloorOf = 1, identity(t, medium) // so that the batch before is not written again
		l := mustOpen(t, cfg)
		if l.Report().Torn == nil || l.Next() != 1 {
			t.Fatalf("next %d, %+v", l.Next(), l.Report())
		}
		medium.Fail(func(op disktest.Op) error {
			if op.Kind == disktest.Sync { // some of the sectors get through
				return errPower
			}
			return nil
		})
		if _, err := l.Append(batch(1, 2, 3, size)); err == nil {
			t.Fatal("a batch without a sync was acknowledged")
		}
		l = mustOpen(t, small(medium.Crash(rand.New(rand.NewPCG(seed, 9)))))
		frames, _ := readAll(t, l.Reader(0))
		for _, f := range frames[1:] {
			if !bytes.Equal(f.Payload, payload(f.Seq, 2, size)) {
				t.Fatalf("seed %d: record %d of a whole batch is %.30q", seed, f.Seq, f.Payload)
			}
		}
	}
}

// TestSpareIsDurable: a spare is flushed before it counts as ready, so that no
// batch has to wait for sixteen megabytes of zeros, or fails for want of room.
func TestSpareIsDurable(t *testing.T) {
	medium := disktest.New(1)
	var last disktest.Op
	renamed := 0
	medium.Fail(func(op disktest.Op) error {
		if op.Path == dir+"/"+spareTemp {
			if op.Kind == disktest.Rename {
				renamed++
				if last.Kind != disktest.Sync {
					t.Errorf("a spare was ready after a %s", last.Kind)
				}
			}
			last = op
		}
		return nil
	})
	l := mustOpen(t, small(medium))
	for range 10 {
		mustAppend(t, l, batch(l.Next(), 0, 10, 150))
	}
	closeLedger(t, l)
	if renamed < 4 {
		t.Errorf("%d spares were made", renamed)
	}
}
