package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// copies are the frames of a ledger as a second copy would hold them.
func copies(t testing.TB, medium *disktest.Disk) (frames [][]byte) {
	t.Helper()
	r := openReader(medium, dir, 0)
	defer r.Close()
	id := identity(t, medium)
	all, damage := readAll(t, r)
	if len(damage) > 0 {
		t.Fatal(damage)
	}
	for _, f := range all {
		frames = append(frames, id.AppendFrame(nil, f))
	}
	return frames
}

// mendAll reads a ledger and repairs each damaged stretch from the copies.
func mendAll(l *Ledger, copies [][]byte) (damage []Damage, err error) {
	r := l.Reader(0)
	defer r.Close()
	for r.Seq() < l.Next() {
		_, err := r.Next()
		d, damaged := errors.AsType[*Damage](err)
		if !damaged {
			if err != nil {
				return damage, err
			}
			continue
		}
		damage = append(damage, *d)
		if err := l.Repair(bytes.Join(copies[d.First:d.Last+1], nil)); err != nil {
			return damage, fmt.Errorf("%v: %w", d, err)
		}
	}
	return damage, nil
}

// TestRepair: whatever was damaged is as it was before, byte for byte.
func TestRepair(t *testing.T) {
	const records = 100
	whole := filled(t, records) // 23 records to a segment
	frames := copies(t, whole)
	before := map[string][]byte{}
	for _, first := range []uint64{0, 23, 46, 69, 92} {
		before[segmentName(first)] = whole.Bytes(dir + "/" + segmentName(first))
	}
	hit := func(seqs ...uint64) func(t *testing.T, m *disktest.Disk) {
		return func(t *testing.T, m *disktest.Disk) {
			var places []framePlace
			for _, seq := range seqs {
				places = append(places, where(t, whole, seq))
			}
			for _, p := range places {
				breakFrame(m, p)
			}
		}
	}
	span := func(from, to uint64) (seqs []uint64) {
		for ; from <= to; from++ {
			seqs = append(seqs, from)
		}
		return seqs
	}
	for name, spoil := range map[string]func(t *testing.T, m *disktest.Disk){
		"one":                    hit(30),
		"two":                    hit(30, 31),
		"two apart":              hit(30, 33),
		"the first":              hit(0),
		"first of a segment":     hit(23),
		"last of a segment":      hit(22),
		"both sides of a border": hit(22, 23),
		"the last":               hit(99),
		"a whole segment":        hit(span(23, 45)...),
		"everything":             hit(span(0, 99)...),
		"wiped":                  func(t *testing.T, m *disktest.Disk) { wipeFrame(m, where(t, whole, 50)) },
		"length":                 func(t *testing.T, m *disktest.Disk) { m.Flip(where(t, whole, 50).path, where(t, whole, 50).off, 0x10) },
		"padding": func(t *testing.T, m *disktest.Disk) {
			p := where(t, whole, 50)
			m.Flip(p.path, p.off+int64(p.size)-1, 1)
		},
		"cut": func(t *testing.T, m *disktest.Disk) {
			m.SetBytes(dir+"/"+segmentName(23), before[segmentName(23)][:5000])
		},
		"emptied": func(t *testing.T, m *disktest.Disk) {
			m.SetBytes(dir+"/"+segmentName(23), make([]byte, MinSegmentSize))
		},
		"header": func(t *testing.T, m *disktest.Disk) { m.Flip(dir+"/"+segmentName(46), 20, 1) },
		"second header": func(t *testing.T, m *disktest.Disk) {
			m.Flip(dir+"/"+segmentName(46), headerSecond+20, 1)
		},
		"both headers": func(t *testing.T, m *disktest.Disk) {
			m.Flip(dir+"/"+segmentName(46), 20, 1)
			m.Flip(dir+"/"+segmentName(46), headerSecond+20, 1)
		},
		"headers and first record": func(t *testing.T, m *disktest.Disk) {
			m.Flip(dir+"/"+segmentName(46), 20, 1)
			m.Flip(dir+"/"+segmentName(46), headerSecond+20, 1)
			hit(46)(t, m)
		},
		"a segment gone":     func(t *testing.T, m *disktest.Disk) { mustRemove(t, m, 23) },
		"two segments gone":  func(t *testing.T, m *disktest.Disk) { mustRemove(t, m, 23); mustRemove(t, m, 46) },
		"the first gone":     func(t *testing.T, m *disktest.Disk) { mustRemove(t, m, 0) },
		"gone beside damage": func(t *testing.T, m *disktest.Disk) { mustRemove(t, m, 23); hit(21, 22, 46, 47)(t, m) },
	} {
		t.Run(name, func(t *testing.T) {
			m := whole.Clone()
			spoil(t, m)
			l, err := Open(Config{Dir: dir, SegmentSize: MinSegmentSize, FS: m, Floor: records, FloorOf: identity(t, whole)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mendAll(l, frames); err != nil {
				t.Fatal(err)
			}
			if _, err := l.RepairHeaders(); err != nil {
				t.Fatal(err)
			}
			for name, want := range before {
				got := m.Bytes(dir + "/" + name)
				got = append(got, make([]byte, len(want)-len(got))...) // one that was cut ends with its last frame
				if !bytes.Equal(got, want) {
					t.Errorf("%s is not as it was", name)
				}
			}
			mustAppend(t, l, batch(records, 0, 4, 150))
			closeLedger(t, l)
			l = mustOpen(t, small(m))
			defer closeLedger(t, l)
			if h := l.Report().Headers; len(h) > 0 {
				t.Errorf("headers: %v", h)
			}
			for _, r := range []*Reader{l.Reader(0), openReader(m, dir, 0)} {
				all, damage := readAll(t, r)
				r.Close()
				if len(damage) > 0 {
					t.Errorf("still damaged: %v", damage)
				}
				wantRecords(t, all, 0, records+4, 150)
			}
		})
	}
}

// TestRepairByChance damages at random, repairs, and fails at random meanwhile:
// what is done is done, and the next time the rest is.
func TestRepairByChance(t *testing.T) {
	const records = 100
	whole := filled(t, records)
	frames := copies(t, whole)
	for seed := range uint64(runs(t, 200)) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := whole.Clone()
		for range 1 + r.IntN(40) {
			p := where(t, whole, r.Uint64N(records))
			m.Flip(p.path, p.off+r.Int64N(int64(p.size)), byte(1<<r.IntN(8)))
		}
		for fail := true; ; fail = false {
			l, err := Open(Config{Dir: dir, SegmentSize: MinSegmentSize, FS: m, Floor: records, FloorOf: identity(t, whole)})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if left := r.IntN(6); fail {
				m.Fail(func(op disktest.Op) error {
					if op.Kind == disktest.Write || op.Kind == disktest.Sync {
						if left--; left < 0 {
							return syscall.EIO
						}
					}
					return nil
				})
			}
			_, err = mendAll(l, frames)
			m.Fail(nil)
			closeLedger(t, l)
			if fail {
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			break
		}
		rd := openReader(m, dir, 0)
		all, damage := readAll(t, rd)
		rd.Close()
		if len(damage) > 0 {
			t.Fatalf("seed %d: still damaged: %v", seed, damage)
		}
		wantRecords(t, all, 0, records, 150)
	}
}

// TestRepairRefuses: what does not belong there is not written.
func TestRepairRefuses(t *testing.T) {
	whole := filled(t, 100)
	frames := copies(t, whole)
	id := identity(t, whole)
	longer := id.AppendFrame(nil, Frame{Seq: 30, Entry: Entry{Kind: 1, Payload: make([]byte, 400)}, Index: 2, Count: 4})
	other := (&Identity{Salt: [8]byte{9}}).AppendFrame(nil, Frame{Seq: 30, Entry: Entry{Kind: 1}, Count: 1})
	behind := id.AppendFrame(nil, Frame{Seq: 100, Entry: Entry{Kind: 1}, Count: 1})
	for name, b := range map[string][]byte{
		"nothing": nil, "of another ledger": other, "too long": longer, "with a gap": append(bytes.Clone(frames[30]), frames[32]...),
		"cut": frames[30][:20], "behind the end": behind,
	} {
		m := whole.Clone()
		breakFrame(m, where(t, whole, 30))
		l := mustOpen(t, small(m))
		was := m.Bytes(dir + "/" + segmentName(23))
		if err := l.Repair(b); err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if !bytes.Equal(m.Bytes(dir+"/"+segmentName(23)), was) {
			t.Errorf("%s: something was written", name)
		}
		closeLedger(t, l)
		if err := l.Repair(frames[30]); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
	// With the records around it damaged too, nothing tells its place.
	m := whole.Clone()
	for _, seq := range []uint64{29, 30, 31} {
		breakFrame(m, where(t, whole, seq))
	}
	l := mustOpen(t, small(m))
	defer closeLedger(t, l)
	if err := l.Repair(frames[30]); !errors.Is(err, ErrNoPlace) {
		t.Errorf("between damage: %v", err)
	}
}
