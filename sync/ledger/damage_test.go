package ledger

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// framePlace is where a frame stands.
type framePlace struct {
	path string
	off  int64
	size int
}

// where finds a frame.
func where(t testing.TB, medium *disktest.Disk, seq uint64) framePlace {
	t.Helper()
	r := openReader(medium, dir, seq)
	defer r.Close()
	f, err := r.Next()
	if err != nil || f.Seq != seq {
		t.Fatalf("record %d: %d, %v", seq, f.Seq, err)
	}
	size := frameSize(len(f.Payload))
	return framePlace{dir + "/" + r.seg.name, r.w.off - int64(size), size}
}

// breakFrame spoils a frame's payload.
func breakFrame(medium *disktest.Disk, p framePlace) { medium.Flip(p.path, p.off+frameHeader, 0x40) }

// wipeFrame replaces a frame by zeros, as a disk may give for a lost sector.
func wipeFrame(medium *disktest.Disk, p framePlace) {
	b := medium.Bytes(p.path)
	clear(b[p.off : p.off+int64(p.size)])
	medium.SetBytes(p.path, b)
}

// filled is a closed ledger with batches of 4 records of 150 bytes each, 23 to
// a segment: each border of segments lies within a batch.
func filled(t testing.TB, records int) *disktest.Disk {
	t.Helper()
	medium := disktest.New(1)
	l := mustOpen(t, small(medium))
	for l.Next() < uint64(records) {
		mustAppend(t, l, batch(l.Next(), 0, 4, 150))
	}
	if records > 60 && (len(l.segments) < 3 || l.segments[1].first != 23) {
		t.Fatalf("the second of %d segments begins at %d", len(l.segments), l.segments[1].first)
	}
	closeLedger(t, l)
	return medium
}

type span struct{ first, last uint64 }

func spans(damage []Damage) (s []span) {
	for _, d := range damage {
		s = append(s, span{d.First, d.Last})
	}
	return s
}

// TestTornOrDamaged is the table of DESIGN.md: what is found at the end of a
// ledger, and what it is taken for.
func TestTornOrDamaged(t *testing.T) {
	// 64 records in batches of four; segments begin at 0, 23 and 46.
	const n = 64
	each := func(do func(*disktest.Disk, framePlace), seqs ...uint64) func(*disktest.Disk) {
		return func(m *disktest.Disk) {
			var places []framePlace
			for _, s := range seqs {
				places = append(places, where(t, m, s))
			}
			for _, p := range places {
				do(m, p)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil  func(*disktest.Disk)
		floor  uint64
		next   uint64 // where appending goes on
		damage []span // what Open reports
		read   []span // what reading reports, if it is more
		torn   bool
		first  uint64 // Torn.First
	}{
		"nothing": {spoil: func(*disktest.Disk) {}, next: n},
		"nothing, all known to be durable": {
			spoil: func(*disktest.Disk) {}, floor: n, next: n},
		"last frame of the last batch broken": {
			spoil: each(breakFrame, 63), next: 60, torn: true, first: 60},
		"first frame of the last batch broken": {
			spoil: each(breakFrame, 60), next: 60, torn: true, first: 60},
		"last batch broken wholly": {
			spoil: each(breakFrame, 60, 61, 62, 63), next: 60, torn: true, first: 60},
		"last batch wiped wholly": {
			spoil: each(wipeFrame, 60, 61, 62, 63), next: 60},
		"middle of the last batch wiped": {
			spoil: each(wipeFrame, 61, 62), next: 60, torn: true, first: 60},
		"last frame broken, known to be durable": {
			spoil: each(breakFrame, 63), floor: 61, next: n, damage: []span{{63, 63}}},
		"last batch broken wholly, known to be durable": {
			spoil: each(breakFrame, 60, 61, 62, 63), floor: n, next: n, damage: []span{{60, 63}}},
		"last batch wiped wholly, known to be durable": {
			spoil: each(wipeFrame, 60, 61, 62, 63), floor: n, next: n, damage: []span{{60, 63}}},
		"middle of the last batch broken, known to be durable": {
			spoil: each(breakFrame, 61), floor: 62, next: n, damage: []span{{61, 61}}},
		"last but one batch broken": {
			spoil: each(breakFrame, 56, 57, 58, 59), next: n, damage: []span{{56, 59}}},
		"last but one batch wiped": {
			spoil: each(wipeFrame, 56, 57, 58, 59), next: n, damage: []span{{56, 59}}},
		"frame of the last but one batch broken": {
			spoil: each(breakFrame, 58), next: n, damage: []span{{58, 58}}},
		"first frame of the last but one batch wiped": {
			spoil: each(wipeFrame, 56), next: n, damage: []span{{56, 56}}},
		"last but one batch broken and the last too": {
			spoil: each(breakFrame, 56, 57, 58, 59, 62), next: 60, damage: []span{{56, 59}}, torn: true, first: 60},
		"middle of the last but one batch broken and the last too": {
			spoil: each(breakFrame, 58, 63), next: 60, damage: []span{{58, 58}}, torn: true, first: 60},
		"ends of two batches broken": {
			spoil: each(breakFrame, 59, 63), next: 60, damage: []span{{59, 59}}, torn: true, first: 60},
		"across the border of segments": {
			spoil: each(breakFrame, 45, 46), next: n, damage: []span{{45, 46}}},
		"first frame of a segment": {
			spoil: each(breakFrame, 46), next: n, damage: []span{{46, 46}}},
		"long before the end": {
			spoil: each(breakFrame, 3, 9), next: n, damage: []span{{3, 3}, {9, 9}}},
		"long before the end, below the floor": {
			spoil: each(breakFrame, 3), floor: n, next: n, read: []span{{3, 3}}},
		"a floor beyond the end": {
			spoil: func(*disktest.Disk) {}, floor: 70, next: 70, damage: []span{{64, 69}}},
		"last segment gone": {
			spoil: func(m *disktest.Disk) { mustRemove(t, m, 46) }, next: 44, torn: true, first: 44},
		"last segment gone, known to be durable": {
			spoil: func(m *disktest.Disk) { mustRemove(t, m, 46) }, floor: n, next: n, damage: []span{{46, 63}}},
		"middle segment gone": {
			spoil: func(m *disktest.Disk) { mustRemove(t, m, 23) }, next: n, damage: []span{{23, 45}}},
		"first segment gone": {
			spoil: func(m *disktest.Disk) { mustRemove(t, m, 0) }, next: n, damage: []span{{0, 22}}},
		"first segment gone, below the floor": {
			spoil: func(m *disktest.Disk) { mustRemove(t, m, 0) }, floor: n, next: n, damage: []span{{0, 19}}, read: []span{{0, 22}}},
		"last segment cut": {
			spoil: func(m *disktest.Disk) { m.Truncate(dir+"/"+segmentName(46), headerBlock+5*176+20) },
			next:  48, torn: true, first: 48},
		"last segment cut, known to be durable": {
			spoil: func(m *disktest.Disk) { m.Truncate(dir+"/"+segmentName(46), headerBlock+5*176+20) }, floor: n,
			next: n, damage: []span{{51, 63}}},
		"first segments gone, the last never finished": {
			spoil: func(m *disktest.Disk) {
				b := m.Bytes(dir + "/" + segmentName(46))
				clear(b[headerBlock:])
				m.SetBytes(dir+"/"+segmentName(46), b)
				mustRemove(t, m, 0)
				mustRemove(t, m, 23)
			}, next: 44, damage: []span{{0, 43}}, torn: true, first: 44},
		"middle segment cut": {
			spoil: func(m *disktest.Disk) { m.Truncate(dir+"/"+segmentName(23), headerBlock+5*176+20) },
			next:  n, damage: []span{{28, 45}}},
	} {
		t.Run(name, func(t *testing.T) {
			medium := filled(t, n)
			c.spoil(medium)
			cfg := small(medium)
			cfg.Floor, cfg.FloorOf = c.floor, identity(t, medium)
			if c.floor == 0 {
				checkBeside(t, medium, c.next, c.damage)
			}
			closeLedger(t, mustOpen(t, cfg))
			if next := mustOpen(t, small(medium)).Next(); next != c.next {
				t.Fatalf("opened again without the floor: goes on at %d, want %d", next, c.next)
			}

			medium = filled(t, n)
			c.spoil(medium)
			before := map[string][]byte{}
			cfg.FS, cfg.FloorOf = medium, identity(t, medium)
			names, _ := medium.ReadDir(dir)
			for _, name := range names {
				before[name] = medium.Bytes(dir + "/" + name)
			}
			l := mustOpen(t, cfg)
			r := l.Report()
			if !slices.Equal(spans(r.Damage), c.damage) {
				t.Errorf("reported %v, want %v", spans(r.Damage), c.damage)
			}
			if (r.Torn != nil) != c.torn || c.torn && r.Torn.First != c.first {
				t.Errorf("torn %+v, want %v at %d", r.Torn, c.torn, c.first)
			}
			if l.Next() != c.next {
				t.Fatalf("goes on at %d, want %d", l.Next(), c.next)
			}
			want := c.read
			if want == nil {
				want = c.damage
			}
			checkAround(t, l, want)
			mustAppend(t, l, batch(l.Next(), 0, 30, 150)) // goes over into more segments
			checkAround(t, l, want)
			next := l.Next()
			closeLedger(t, l)
			checkUntouched(t, medium, before, want)

			// Again without knowing anything: it must come out the same.
			l = mustOpen(t, small(medium))
			if l.Next() != next {
				t.Errorf("opened again: next %d, want %d", l.Next(), next)
			}
			checkAround(t, l, want)
			closeLedger(t, l)
		})
	}
}

// checkBeside holds that a reader without the lock, who knows no floor, comes
// to the same as Open.
func checkBeside(t testing.TB, medium *disktest.Disk, next uint64, damaged []span) {
	t.Helper()
	frames, damage := readAll(t, openReader(medium, dir, 0))
	got := map[uint64]bool{}
	for _, f := range frames {
		got[f.Seq] = true
	}
	for _, d := range damage {
		for seq := d.First; seq <= d.Last; seq++ {
			if got[seq] || !slices.ContainsFunc(damaged, func(s span) bool { return seq >= s.first && seq <= s.last }) {
				t.Errorf("beside: record %d is called damaged", seq)
			}
			got[seq] = true
		}
	}
	if uint64(len(got)) != next || next > 0 && !got[next-1] {
		t.Errorf("beside: %d records are given or called damaged, want %d", len(got), next)
	}
}

func identity(t testing.TB, medium *disktest.Disk) Identity {
	lay, err := readLayout(medium, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return lay.id
}

func mustRemove(t testing.TB, medium *disktest.Disk, first uint64) {
	t.Helper()
	if err := medium.Remove(dir + "/" + segmentName(first)); err != nil {
		t.Fatal(err)
	}
}

// checkAround holds that everything can be read but what is damaged, from any
// start.
func checkAround(t testing.TB, l *Ledger, damaged []span) {
	t.Helper()
	lost := func(seq uint64) bool {
		return slices.ContainsFunc(damaged, func(s span) bool { return seq >= s.first && seq <= s.last })
	}
	for _, from := range []uint64{0, 1, 23, 42, 46, 60} {
		frames, damage := readAll(t, l.Reader(from))
		got := map[uint64]bool{}
		last := int64(from) - 1
		for _, f := range frames {
			if int64(f.Seq) <= last || !bytes.Equal(f.Payload, payload(f.Seq, 0, 150)) {
				t.Fatalf("from %d: record %d behind %d: %q", from, f.Seq, last, f.Payload)
			}
			got[f.Seq], last = true, int64(f.Seq)
		}
		for _, d := range damage {
			for seq := d.First; seq <= d.Last; seq++ {
				if !lost(seq) || got[seq] {
					t.Errorf("from %d: record %d is called damaged", from, seq)
				}
				got[seq] = true
			}
		}
		for seq := from; seq < l.Next(); seq++ {
			if !got[seq] {
				t.Errorf("from %d: record %d is neither given nor called damaged", from, seq)
			}
		}
	}
}

// checkUntouched holds that damaged bytes were left for a repair: no byte that
// was not zero before may have changed, but behind the end.
func checkUntouched(t testing.TB, medium *disktest.Disk, before map[string][]byte, damaged []span) {
	t.Helper()
	if len(damaged) == 0 {
		return
	}
	names, _ := medium.ReadDir(dir)
	for name, old := range before {
		if name == spareName || !slices.Contains(names, name) {
			continue
		}
		first, ok := parseSegmentName(name)
		if !ok || first > damaged[0].last {
			continue
		}
		now := medium.Bytes(dir + "/" + name)
		for i := range old {
			if old[i] != 0 && now[i] == 0 {
				t.Fatalf("%s: byte %d was wiped", name, i)
			}
		}
	}
}

// TestEveryByteFlipped flips each byte of a ledger in turn. All records but the
// one hit stay readable; the one hit is reported, or torn if it is in the last
// batch; a header's second copy does for the first.
func TestEveryByteFlipped(t *testing.T) {
	const n = 28
	base := filled(t, n)
	names, _ := base.ReadDir(dir)
	for _, name := range names {
		first, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		path := dir + "/" + name
		content := base.Bytes(path)
		end := headerBlock
		for i, b := range content {
			if b != 0 {
				end = i + 1
			}
		}
		for off := range end {
			medium := base.Clone()
			medium.Flip(path, int64(off), 1<<(off%8))
			l, err := Open(small(medium))
			if err != nil {
				t.Fatalf("%s byte %d: %v", name, off, err)
			}
			frames, damage := readAll(t, l.Reader(0))
			r := l.Report()
			lost := n - len(frames)
			switch {
			case off < headerBlock:
				if lost != 0 || len(damage) > 0 || r.Torn != nil {
					t.Fatalf("%s header byte %d: %d lost, %v", name, off, lost, damage)
				}
				if inHeader := off%headerSecond < headerSize; inHeader != (len(r.Headers) == 1) {
					t.Fatalf("%s header byte %d: %v", name, off, r.Headers)
				}
			case l.Next() == n-4:
				if r.Torn == nil || lost != 4 || len(damage) > 0 || first == 0 {
					t.Fatalf("%s byte %d: torn %+v, %d lost", name, off, r.Torn, lost)
				}
			case lost != 1 || len(damage) != 1 || len(r.Damage) != 1 || damage[0].First != damage[0].Last:
				t.Fatalf("%s byte %d: %d lost, read %v, reported %v", name, off, lost, damage, r.Damage)
			}
			for _, f := range frames {
				if !bytes.Equal(f.Payload, payload(f.Seq, 0, 150)) {
					t.Fatalf("%s byte %d: record %d is %q", name, off, f.Seq, f.Payload)
				}
			}
			closeLedger(t, l)
		}
	}
}

// TestCutAtEveryByte cuts the last segment at each length: what is left of it
// is there, nothing else is.
func TestCutAtEveryByte(t *testing.T) {
	base := filled(t, 28)
	path := dir + "/" + segmentName(23)
	for size := range int64(headerBlock + 6*176) {
		medium := base.Clone()
		medium.Truncate(path, size)
		l, err := Open(small(medium))
		if err != nil {
			t.Fatalf("cut to %d: %v", size, err)
		}
		whole := uint64(20)
		if size >= headerBlock+176 {
			whole = 24
		}
		if size >= headerBlock+5*176 {
			whole = 28
		}
		if l.Next() != whole {
			t.Fatalf("cut to %d: next %d, want %d", size, l.Next(), whole)
		}
		checkZeroBehind(t, l)
		mustAppend(t, l, batch(l.Next(), 0, 3, 150))
		frames, damage := readAll(t, l.Reader(0))
		wantRecords(t, frames, 0, l.Next(), 150)
		if damage != nil {
			t.Fatalf("cut to %d: %v", size, damage)
		}
		closeLedger(t, l)
	}
}

// TestHeaderLost: with both copies gone a segment is read by its name.
func TestHeaderLost(t *testing.T) {
	for _, first := range []uint64{0, 23, 46} {
		medium := filled(t, 64)
		b := medium.Bytes(dir + "/" + segmentName(first))
		clear(b[:headerBlock])
		medium.SetBytes(dir+"/"+segmentName(first), b)
		l := mustOpen(t, small(medium))
		if len(l.Report().Headers) != 1 || l.Next() != 64 {
			t.Errorf("segment %d: %+v, next %d", first, l.Report(), l.Next())
		}
		checkAround(t, l, nil)
		closeLedger(t, l)
	}
	medium := filled(t, 8)
	b := medium.Bytes(dir + "/" + segmentName(0))
	clear(b[:headerBlock])
	medium.SetBytes(dir+"/"+segmentName(0), b)
	if _, err := Open(small(medium)); !errors.Is(err, errNoHeader) {
		t.Errorf("the only header lost: %v, want %v", err, errNoHeader)
	}
}

// TestUnreadableSector: a sector that the disk can't read costs the frames in
// it to a reader; to Open it is an error, since nothing may be concluded.
func TestUnreadableSector(t *testing.T) {
	medium := filled(t, 64)
	cfg := small(medium)
	cfg.Floor, cfg.FloorOf = 64, identity(t, medium)
	l := mustOpen(t, cfg)
	defer closeLedger(t, l)
	medium.Fail(func(op disktest.Op) error {
		if op.Kind == disktest.Read && op.Path == dir+"/"+segmentName(23) && op.Off+int64(op.Len) > headerBlock {
			return syscall.EIO
		}
		return nil
	})
	frames, damage := readAll(t, l.Reader(0))
	if !slices.Equal(spans(damage), []span{{23, 45}}) || len(frames) != 41 {
		t.Errorf("%d records, damage %v", len(frames), damage)
	}
	if _, err := Open(small(medium)); !errors.Is(err, syscall.EIO) {
		t.Errorf("open with unreadable sectors: %v, want EIO", err)
	}
}

// TestFramesInPayloads: a payload that holds frames, even of this ledger's own
// making, is passed over as a payload. Only a forger who knows the salt could
// have one taken for a record behind a damaged place.
func TestFramesInPayloads(t *testing.T) {
	medium := disktest.New(1)
	l := mustOpen(t, small(medium))
	forged := Frame{Seq: 3, Entry: Entry{Kind: 1, Payload: []byte("forged")}, Count: 1}
	foreign := testIdentity.AppendFrame(nil, forged)
	forged.Seq = 1 << 40 // would not fit before it
	foreign = l.id.AppendFrame(foreign, forged)
	mustAppend(t, l, []Entry{{Kind: 1, Payload: []byte("first")}})
	mustAppend(t, l, []Entry{{Kind: 1, Payload: foreign}})
	mustAppend(t, l, []Entry{{Kind: 1, Payload: []byte("third")}})
	closeLedger(t, l)
	breakFrame(medium, where(t, medium, 1))
	l = mustOpen(t, small(medium))
	defer closeLedger(t, l)
	frames, damage := readAll(t, l.Reader(0))
	if len(frames) != 2 || string(frames[0].Payload) != "first" || string(frames[1].Payload) != "third" || !slices.Equal(spans(damage), []span{{1, 1}}) {
		t.Errorf("%v, damage %v", frames, damage)
	}
}

// TestLeftOverFrames: frames of a failed batch behind the one that took its
// place belong to nothing.
func TestLeftOverFrames(t *testing.T) {
	medium := disktest.New(1)
	l := mustOpen(t, small(medium))
	mustAppend(t, l, batch(0, 0, 2, 150))
	var junk []byte
	for i := uint16(2); i < 6; i++ {
		junk = l.id.AppendFrame(junk, Frame{Seq: uint64(i), Entry: Entry{Kind: 1, Payload: []byte("left over")}, Index: i, Count: 6})
	}
	closeLedger(t, l)
	b := medium.Bytes(dir + "/" + segmentName(0))
	copy(b[l.end.off:], junk)
	medium.SetBytes(dir+"/"+segmentName(0), b)
	l = mustOpen(t, small(medium))
	defer closeLedger(t, l)
	if r := l.Report(); l.Next() != 2 || r.Torn == nil || r.Torn.First != 2 || r.Torn.Frames != 0 || r.Damage != nil {
		t.Errorf("next %d, %+v", l.Next(), r)
	}
	checkZeroBehind(t, l)
}

func TestReaderReportsWhere(t *testing.T) {
	medium := filled(t, 64)
	breakFrame(medium, where(t, medium, 30))
	r := openReader(medium, dir, 29)
	defer r.Close()
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	_, err := r.Next()
	d, ok := errors.AsType[*Damage](err)
	if !ok || d.Segment != segmentName(23) || d.Offset != headerBlock+7*176 || d.First != 30 || d.Last != 30 {
		t.Errorf("%+v, %v", d, err)
	}
	if f, err := r.Next(); err != nil || f.Seq != 31 {
		t.Errorf("behind the damage: %d, %v", f.Seq, err)
	}
	for err == nil || !errors.Is(err, io.EOF) {
		_, err = r.Next()
	}
}

// FuzzOpen opens a ledger whose second of three segments, or third, holds any
// bytes at all. It opens, accounts for every record, and takes a new one; and
// once opened it comes to the same again.
func FuzzOpen(f *testing.F) {
	base := filled(f, 64)
	id := identity(f, base)
	for _, first := range []uint64{23, 46} {
		b := base.Bytes(dir + "/" + segmentName(first))[headerBlock:]
		f.Add(first == 46, uint8(0), b)
		f.Add(first == 46, uint8(64), b[200:])
		f.Add(first == 46, uint8(50), b[:700])
	}
	// Frames that pass every check but stand where they have no business.
	stray := id.AppendFrame(nil, Frame{Seq: 25, Entry: Entry{Kind: 1, Payload: []byte("stray")}, Index: 3, Count: 700})
	stray = id.AppendFrame(stray, Frame{Seq: 24, Entry: Entry{Kind: 1}, Index: 0, Count: 1})
	f.Add(false, uint8(30), stray)
	f.Add(true, uint8(0), id.AppendFrame(stray, Frame{Seq: 46, Entry: Entry{Kind: 9}, Index: 46, Count: 65535}))
	f.Fuzz(func(t *testing.T, third bool, floor uint8, content []byte) {
		medium := base.Clone()
		path := dir + "/" + segmentName(23)
		if third {
			path = dir + "/" + segmentName(46)
		}
		b := medium.Bytes(path)
		copy(b[headerBlock:], content)
		medium.SetBytes(path, b)
		cfg := small(medium)
		cfg.Floor, cfg.FloorOf = uint64(floor), id
		l := mustOpen(t, cfg)
		if l.Next() < cfg.Floor {
			t.Fatalf("next %d is below the floor %d", l.Next(), floor)
		}
		mustAppend(t, l, batch(l.Next(), 0, 2, 150))
		for range 2 {
			want := uint64(0)
			frames, damage := readAll(t, l.Reader(0))
			for len(frames)+len(damage) > 0 {
				switch {
				case len(frames) > 0 && frames[0].Seq == want:
					want, frames = want+1, frames[1:]
				case len(damage) > 0 && damage[0].First == want:
					want, damage = damage[0].Last+1, damage[1:]
				default:
					t.Fatalf("record %d is neither given nor called damaged", want)
				}
			}
			if want != l.Next() {
				t.Fatalf("records up to %d, next is %d", want, l.Next())
			}
			closeLedger(t, l)
			l = mustOpen(t, small(medium))
			if l.Next() != want {
				t.Fatalf("opened again: next %d, was %d", l.Next(), want)
			}
		}
		closeLedger(t, l)
	})
}
