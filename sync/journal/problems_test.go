package journal

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

func mustStats(t testing.TB, j *Journal) Stats {
	t.Helper()
	s, err := j.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantProblem holds that one line says all of this.
func wantProblem(t testing.TB, s *Stats, words ...string) {
	t.Helper()
	if !slices.ContainsFunc(s.Problems, func(p string) bool {
		for _, w := range words {
			if !strings.Contains(p, w) {
				return false
			}
		}
		return true
	}) {
		t.Errorf("no problem says %q: %q", words, s.Problems)
	}
}

// breakSegment makes all frames of a segment unreadable and says which.
func breakSegment(t testing.TB, path string) (undo func()) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := slices.Clone(before)
	clear(b[4096:])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func spoilBuffer(t testing.TB, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, bufferDir, "MANIFEST"), []byte("this is no manifest, however long it is read"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsRemembered: what was found is told at every start until it is
// cured, though nobody reads there.
func TestDamageIsRemembered(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	undo := breakSegment(t, segments(t, dir)[1])
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	checkFilled(t, j)
	found := mustStats(t, j)
	closeJournal(t, j)
	if len(found.Damage) != 1 || len(found.Lost) > 0 {
		t.Fatalf("damage %v, lost %v", found.Damage, found.Lost)
	}
	for range 2 {
		j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		s := mustStats(t, j)
		closeJournal(t, j)
		if !reflect.DeepEqual(s.Damage, found.Damage) || len(s.Lost) > 0 || s.Copies > 0 {
			t.Errorf("damage %v, lost %v, %d copies read", s.Damage, s.Lost, s.Copies)
		}
		wantProblem(t, &s, "damaged", filepath.Base(segments(t, dir)[1]))
	}
	undo()
	for range 2 {
		j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		if s := mustStats(t, j); s.Damage != nil || len(s.Problems) > 0 {
			t.Errorf("cured, and it is told still: %v, %q", s.Damage, s.Problems)
		}
		closeJournal(t, j)
	}
}

// TestLostIsRemembered: records of which there is no copy are told at every
// start, no buffer that was moved aside is removed while there are any, and
// when the ledger is whole again, so is all else.
func TestLostIsRemembered(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	undo := breakSegment(t, segments(t, dir)[1])
	if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
		t.Fatal(err)
	}
	var lost []ledger.Damage
	for n := range 4 {
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		s := mustStats(t, j)
		closeJournal(t, j)
		if n == 0 {
			lost = s.Lost
		}
		if len(s.Lost) != 1 || !reflect.DeepEqual(s.Lost, lost) || len(s.Suspects) != max(0, n-1) {
			t.Fatalf("start %d: lost %v, suspects %v", n, s.Lost, s.Suspects)
		}
		wantProblem(t, &s, "lost", "no second copy")
		for _, x := range s.Suspects {
			wantProblem(t, &s, x.Path, "moved")
			if x.Reason == "" {
				t.Errorf("%s: no reason", x.Path)
			}
		}
		if n > 0 {
			spoilBuffer(t, dir)
		}
	}
	undo()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	s := mustStats(t, j)
	checkFilled(t, j)
	closeJournal(t, j)
	if s.Damage != nil || s.Lost != nil || len(s.Suspects) != 1 || len(s.Problems) != 1 {
		t.Errorf("cured: %v %v %v %q", s.Damage, s.Lost, s.Suspects, s.Problems)
	}
	if err := os.RemoveAll(s.Suspects[0].Path); err != nil {
		t.Fatal(err)
	}
	if s := mustStats(t, openDir(t, dir)); len(s.Problems) > 0 {
		t.Errorf("all is well, but %q", s.Problems)
	}
}

// TestCopiesOutliveBuffers: of records that the ledger has lost, a new buffer
// takes the copies out of those that were moved aside.
func TestCopiesOutliveBuffers(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	breakSegment(t, segments(t, dir)[1])
	for n := range 4 {
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		checkFilled(t, j)
		s := mustStats(t, j)
		closeJournal(t, j)
		if len(s.Damage) != 1 || len(s.Lost) > 0 || len(s.Suspects) != n || s.Rebuilt != (n > 0) {
			t.Fatalf("round %d: damage %v, lost %v, suspects %v, rebuilt %v", n, s.Damage, s.Lost, s.Suspects, s.Rebuilt)
		}
		if n == 2 { // what can't be searched does not keep the others from being searched
			if err := os.RemoveAll(s.Suspects[0].Path); err != nil {
				t.Fatal(err)
			}
			odd := filepath.Join(dir, bufferDir+".suspect-0")
			if err := os.WriteFile(odd, []byte("a file"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		spoilBuffer(t, dir)
	}
}

// TestLedgerGone: the ledger goes on behind what the buffer has, whose copies
// are given; an empty directory is not taken for one that is gone.
func TestLedgerGone(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	at := filepath.Join(dir, LedgerDir)
	if err := errors.Join(os.RemoveAll(at), os.Mkdir(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	if j, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ledger.ErrEmpty) {
		t.Fatalf("an empty directory: %v, %v", j, err)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		if got := mustAppend(t, j, realistic(5), realistic(600+n)); !got[0].Duplicate || got[0].Seq != 5 || got[1].Seq != uint64(621+n) {
			t.Errorf("appended as %+v", got)
		}
		_, punches := pending(t, j, 0)
		s := mustStats(t, j)
		if len(punches) != 601+n || len(s.Damage) != 1 || s.Damage[0].First != 0 || s.Damage[0].Last != 620 || s.Lost != nil || s.Suspects != nil {
			t.Errorf("%d punches, damage %v, lost %v, suspects %v", len(punches), s.Damage, s.Lost, s.Suspects)
		}
		wantProblem(t, &s, "damaged", "records 0 to 620")
		closeJournal(t, j)
	}
}

// appendRaw puts entries into the ledger that no journal would.
func appendRaw(t testing.TB, dir string, entries ...ledger.Entry) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Dir: filepath.Join(dir, LedgerDir), SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Append(entries)
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestUndecodable: a record that can't be decoded is counted, told at every
// start, and stops a sink; everything behind it is served.
func TestUndecodable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	mustAppend(t, j, records(0, 10, realistic)...)
	closeJournal(t, j)
	bad := ledger.Entry{Kind: attendance.RecordPunch, Payload: []byte{0xff, 0xff, 0xff}}
	sealed := ledger.Entry{Kind: attendance.RecordPunch, Flags: ledger.FlagSealed, KeyID: 3, Payload: []byte("sealed")}
	appendRaw(t, dir, bad, sealed, sealed)
	for n := range 3 {
		j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		if n == 0 {
			mustAppend(t, j, realistic(20))
		}
		items, next, err := j.Pending(t.Context(), 0, 100)
		if len(items) != 10 || next != 10 || err != nil {
			t.Errorf("%d items up to %d, %v", len(items), next, err)
		}
		for seq := uint64(10); seq < 13; seq++ {
			_, _, err := j.Pending(t.Context(), seq, 100)
			if u, ok := errors.AsType[*Undecodable](err); !ok || u.Seq != seq {
				t.Errorf("from %d: %v", seq, err)
			}
		}
		items, next, err = j.Pending(t.Context(), 13, 100)
		if len(items) != 1 || next != 14 || err != nil {
			t.Errorf("%d items up to %d, %v", len(items), next, err)
		}
		s := mustStats(t, j)
		if s.Undecodable != 3 || len(s.Problems) != 1 {
			t.Errorf("%d can't be decoded, %q", s.Undecodable, s.Problems)
		}
		wantProblem(t, &s, "10 to 12", "decoded")
		closeJournal(t, j)
	}
}

// TestOpenToOthers: a directory that others may write to is told of.
func TestOpenToOthers(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	for _, d := range []string{dir, filepath.Join(dir, LedgerDir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, bufferDir), 0o755); err != nil { // to read is another matter
		t.Fatal(err)
	}
	s := mustStats(t, openDir(t, dir))
	if len(s.Problems) != 2 {
		t.Errorf("%q", s.Problems)
	}
	wantProblem(t, &s, dir+" ", "0777", "chmod 700")
	wantProblem(t, &s, filepath.Join(dir, LedgerDir)+" ", "0777")
}

// FuzzStoredIsReadable holds that what the journal takes it can give: whatever
// a punch holds, it is refused, or it decodes to itself.
func FuzzStoredIsReadable(f *testing.F) {
	f.Add(-7, 0, uint8(1), int64(0), uint32(0), int64(1), 1.5, "lobby", []byte("raw"))
	f.Add(math.MaxInt, math.MinInt, uint8(255), int64(math.MaxInt64), uint32(math.MaxUint32), int64(math.MinInt64), math.Inf(1), "\xff\x00", []byte{})
	f.Add(math.MaxInt32, -1, uint8(77), int64(-1), uint32(999_999_999), int64(0), math.NaN(), "", []byte(nil))
	f.Add(0, math.MaxInt32+1, uint8(0), int64(1<<60), uint32(1_000_000_000), int64(5), math.Copysign(0, -1), "王小明", []byte{0})
	f.Fuzz(func(t *testing.T, state, verify int, enum uint8, sec int64, nano uint32, long int64, deg float64, text string, raw []byte) {
		at, skew := time.Unix(sec, int64(nano)).UTC(), time.Duration(long)
		p := &attendance.Punch{
			Key: keyOf(1), Kind: attendance.Kind(enum), Employee: text, Badge: text, Direction: attendance.Direction(enum), Method: attendance.Method(enum),
			Device: attendance.Device{ID: text, Driver: text, Serial: text}, Site: text, Place: text, DeviceTime: attendance.LocalTime(long), Zone: text,
			At: at, ReceivedAt: at, Skew: &skew, Verdict: attendance.Verdict(enum), Reasons: []attendance.Reason{attendance.Reason("r" + text)}, Late: enum%2 == 0,
			State: state, Verify: verify, Counter: uint64(long), Gap: uint64(long),
			Evidence: attendance.Evidence{
				Fix:  &attendance.Fix{Lat: deg, Lon: deg, Acc: deg, At: at, Mock: enum%2 == 1},
				WiFi: &attendance.WiFi{BSSID: text, SSID: text, Seen: []attendance.Heard{{BSSID: text, RSSI: state}}},
				Note: text, Photo: &attendance.Photo{SHA256: text, Size: long}, Challenge: text, Raw: raw,
			},
		}
		entries, err := encode([]attendance.Record{p})
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		rec, err := record(&ledger.Frame{Entry: ledger.Entry{Kind: entries[0].kind, Payload: entries[0].payload}})
		if err != nil {
			t.Fatalf("stored and not to be read: %v", err)
		}
		got := rec.(*attendance.Punch)
		if again := attendance.AppendRecord(nil, got); !slices.Equal(again, entries[0].payload) || got.State != state || got.Verify != verify {
			t.Fatalf("stored %+v, read %+v", p, got)
		}
	})
}

// TestCodesRefused: both sides of the bounds of a device's codes.
func TestCodesRefused(t *testing.T) {
	t.Parallel()
	j := openDir(t, t.TempDir())
	for n, c := range []struct {
		state, verify int
		ok            bool
	}{
		{-1, -1, true}, {math.MaxInt32, math.MaxInt32, true}, {-7, 0, false}, {0, -2, false}, {math.MaxInt32 + 1, 0, false}, {0, math.MaxInt, false},
	} {
		p := realistic(n)
		p.State, p.Verify = c.state, c.verify
		_, err := j.Append(t.Context(), []attendance.Record{p})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("state %d, verify %d: %v", c.state, c.verify, err)
		}
	}
	if seqs, _ := pending(t, j, 0); len(seqs) != 2 {
		t.Errorf("%d are stored", len(seqs))
	}
}
