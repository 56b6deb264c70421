package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/forward"
)

// flip inverts a bit of a file.
func flip(t testing.TB, path string, off int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[off] ^= 1 << (off % 8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// segments lists a journal's ledger files.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, LedgerDir, "*.seg"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return paths
}

// filledDir is the directory of a closed journal: 600 punches, of which hq has
// answered for 300, with some parked and dead.
func filledDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	for n := 0; n < 600; n += 20 {
		mustAppend(t, j, records(n, n+20, realistic)...)
	}
	a := forward.Answer{First: 0, Last: 299}
	for n := range uint64(20) {
		a.Parked = append(a.Parked, forward.Parked{Seq: 10 * n, Reason: "unknown", Until: epoch})
		a.Dead = append(a.Dead, dead(10*n+1, "no such field"))
	}
	mustSettle(t, j, "hq", a)
	closeJournal(t, j)
	return dir
}

// checkFilled holds a journal to be the one of filledDir.
func checkFilled(t testing.TB, j *Journal) {
	t.Helper()
	seqs, punches := pending(t, j, 0)
	if len(punches) != 600 {
		t.Fatalf("%d punches, want 600", len(punches))
	}
	for n, p := range punches {
		if seqs[n] != uint64(n) || !reflect.DeepEqual(p, realistic(n)) {
			t.Fatalf("punch %d: %d %+v", n, seqs[n], p)
		}
	}
	if got := sinkStats(t, j, "hq"); got != (SinkStats{"hq", 300, 300, 20, 20, 260}) {
		t.Fatalf("sink %+v", got)
	}
	for n := range 600 {
		if seq, _, found, err := j.Lookup(keyOf(n)); err != nil || !found || seq != uint64(n) {
			t.Fatalf("look-up %d: %d, %v, %v", n, seq, found, err)
		}
	}
}

// TestDamagedLedger flips bits all over the ledger. Every record is still
// given, from its second copy, and the damage is told.
func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	r := rand.New(rand.NewPCG(1, 1))
	for _, path := range segments(t, dir) {
		for range 12 {
			flip(t, path, 4096+r.Int64N(40<<10))
		}
	}
	j := openDir(t, dir)
	checkFilled(t, j)
	s, err := j.Stats()
	if err != nil || len(s.Damage) < 20 || s.Lost != nil || s.Copies < 20 || s.Rebuilt {
		t.Errorf("%d stretches damaged, %d lost, %d copies read, %v", len(s.Damage), len(s.Lost), s.Copies, err)
	}
	// It goes on as ever.
	if got := mustAppend(t, j, realistic(5), realistic(600)); !got[0].Duplicate || got[1].Seq != 621 {
		t.Errorf("appended as %+v", got)
	}
	mustSettle(t, j, "hq", forward.Answer{First: 300, Last: 599})
}

// TestSegmentGone: a whole segment is read from the second copies.
func TestSegmentGone(t *testing.T) {
	t.Parallel()
	base := filledDir(t)
	last := len(segments(t, base)) - 1
	for _, i := range []int{0, last / 2, last} {
		dir := filepath.Join(t.TempDir(), "journal")
		if err := copyTree(base, dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(segments(t, dir)[i]); err != nil {
			t.Fatal(err)
		}
		j := openDir(t, dir)
		checkFilled(t, j)
		if got := mustAppend(t, j, realistic(600)); got[0].Seq != 621 {
			t.Errorf("segment %d: appended as %+v", i, got)
		}
	}
}

// TestBothCopiesLost: what no copy has is passed over and told, once, and
// making the buffer anew does not stumble over it.
func TestBothCopiesLost(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	flip(t, segments(t, dir)[2], 4096+500)
	if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		j := openDir(t, dir)
		seqs, _ := pending(t, j, 0)
		if len(seqs) != 599 {
			t.Fatalf("round %d: %d punches, want all but one", round, len(seqs))
		}
		s, err := j.Stats()
		if err != nil || len(s.Damage) != 1 || len(s.Lost) != 1 || s.Lost[0].First != s.Lost[0].Last || slices.Contains(seqs, s.Lost[0].First) {
			t.Fatalf("round %d: damage %v, lost %v, %v", round, s.Damage, s.Lost, err)
		}
		if s.Punches != 599 || s.Rebuilt != (round == 0) {
			t.Errorf("round %d: %d punches, rebuilt %v", round, s.Punches, s.Rebuilt)
		}
		lost := s.Lost[0].First
		if _, _, found, err := j.Lookup(keyOf(int(lost))); found || err != nil {
			t.Errorf("the lost one is found: %v", err)
		}
		// A terminal that still has it in its log brings it back, under a new sequence.
		if round == 2 {
			if got := mustAppend(t, j, realistic(int(lost))); got[0].Duplicate {
				t.Errorf("the lost one is called a duplicate")
			}
		}
		if round == 1 { // an end that is not in order makes the next open doubt it
			if err := copyTree(filepath.Join(dir, bufferDir), filepath.Join(dir, "copy")); err != nil {
				t.Fatal(err)
			}
		}
		closeJournal(t, j)
		if round == 1 {
			if err := errors.Join(os.RemoveAll(filepath.Join(dir, bufferDir)), os.Rename(filepath.Join(dir, "copy"), filepath.Join(dir, bufferDir))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSecondCopyIsChecked: a copy that is damaged too is not believed.
func TestSecondCopyIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(frames []byte) []byte
		lost  []uint64 // of records 100 to 119, which are one block
	}{
		"whole":    {func(b []byte) []byte { return b }, nil},
		"flipped":  {func(b []byte) []byte { b[len(b)/2]++; return b }, []uint64{110, 119}},
		"cut":      {func(b []byte) []byte { return b[:len(b)*9/10] }, []uint64{118, 119}},
		"empty":    {func([]byte) []byte { return []byte{} }, []uint64{100, 119}},
		"nonsense": {func(b []byte) []byte { return bytes.Repeat([]byte("nonsense"), 50) }, []uint64{100, 119}},
	} {
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		for n := 0; n < 200; n += 20 {
			mustAppend(t, j, records(n, n+20, ownTracksPunch)...)
			flush(t, j) // a block for each
		}
		closeJournal(t, j)
		withBuffer(t, filepath.Join(dir, bufferDir), func(b *buffer.Buffer) {
			blk, found, err := b.Block(105)
			if err != nil || !found || blk.First != 100 || blk.Count != 20 {
				t.Fatalf("block %d+%d, %v, %v", blk.First, blk.Count, found, err)
			}
			u := b.Update()
			u.Block(100, 20, c.spoil(blk.Frames))
			if err := u.Commit(200); err != nil {
				t.Fatal(err)
			}
		})
		for _, path := range segments(t, dir) { // the ledger has none of them
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			clear(b[4096:])
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		seqs, punches := pending(t, j, 0)
		for i, p := range punches {
			if !reflect.DeepEqual(p, ownTracksPunch(int(seqs[i]))) {
				t.Fatalf("%s: record %d is %+v", name, seqs[i], p)
			}
		}
		s, err := j.Stats()
		if err != nil {
			t.Fatal(err)
		}
		var lost []uint64
		for _, d := range s.Lost {
			lost = append(lost, d.First, d.Last)
		}
		want := 200
		if c.lost != nil {
			want -= int(c.lost[1] - c.lost[0] + 1)
		}
		if !slices.Equal(lost, c.lost) || len(seqs) != want {
			t.Errorf("%s: %d punches, lost %v, want %d and %v", name, len(seqs), lost, want, c.lost)
		}
		closeJournal(t, j)
	}
}

// copyTree copies a directory, holes included. If it is that of an open buffer,
// Badger may be turning a memory table into one on disk: then it begins again,
// until the copy is one that a kill could have left.
func copyTree(from, to string) error {
	var err error
	for range 50 {
		before := listing(from)
		if err = errors.Join(os.RemoveAll(to), copyOnce(from, to)); err == nil && listing(from) == before {
			return nil
		}
	}
	return fmt.Errorf("%s does not come to rest: %w", from, err)
}

func listing(dir string) string {
	var b strings.Builder
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		fmt.Fprintln(&b, path)
		return nil
	})
	return b.String()
}

func copyOnce(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copySparse(path, filepath.Join(to, rel))
	})
}

func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); off < fi.Size(); off += int64(len(buf)) {
		n, _ := in.ReadAt(buf, off)
		if bytes.Equal(buf[:n], zero[:n]) {
			continue
		}
		if _, err := out.WriteAt(buf[:n], off); err != nil {
			return err
		}
	}
	return errors.Join(out.Truncate(fi.Size()), out.Close())
}

// TestDamagedBuffer flips bits in every file of the buffer, and cuts those that
// may be cut. Whatever that does to Badger, the journal opens and has everything.
func TestDamagedBuffer(t *testing.T) {
	t.Parallel()
	base := filledDir(t)
	// Once closed in order, once as a kill leaves it.
	killed := filepath.Join(t.TempDir(), "killed")
	j := mustOpen(t, Config{Dir: base, SegmentSize: 64 << 10})
	flush(t, j)
	if err := copyTree(base, killed); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	r := rand.New(rand.NewPCG(3, 3))
	tried := map[string]int{}
	for _, from := range []string{base, killed} {
		files, err := os.ReadDir(filepath.Join(from, bufferDir))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(filepath.Join(from, bufferDir, file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			used := len(bytes.TrimRight(b, "\x00"))
			if used == 0 {
				continue
			}
			for range runs(t, 1) {
				dir := filepath.Join(t.TempDir(), "journal")
				if err := copyTree(from, dir); err != nil {
					t.Fatal(err)
				}
				off := r.Int64N(int64(used))
				flip(t, filepath.Join(dir, bufferDir, file.Name()), off)
				j, err := Open(t.Context(), Config{Dir: dir, SegmentSize: 64 << 10})
				if err != nil {
					t.Fatalf("%s byte %d: %v", file.Name(), off, err)
				}
				checkFilled(t, j)
				closeJournal(t, j)
				tried[filepath.Ext(file.Name())]++
			}
		}
	}
	if tried[".sst"] == 0 || tried[".vlog"] == 0 || tried[".mem"] == 0 {
		t.Errorf("files tried: %v", tried)
	}
}

// TestSuspectBuffer: a buffer that can't be right is moved aside, not trusted
// and not thrown away.
func TestSuspectBuffer(t *testing.T) {
	t.Parallel()
	other := filledDir(t)
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, dir string)
		reason string
	}{
		"of another ledger": {func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(dir), copyTree(filepath.Join(other, bufferDir), dir)); err != nil {
				t.Fatal(err)
			}
		}, "belongs to ledger"},
		"not a buffer": {func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, []byte("a file"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "directory"},
		"manifest gone": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "MANIFEST")); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"table gone": {func(t *testing.T, dir string) {
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatalf("no tables: %v", err)
			}
			if err := os.Remove(tables[0]); err != nil {
				t.Fatal(err)
			}
		}, "table"},
		"a hole in its records": {func(t *testing.T, dir string) {
			killed := dir + ".killed" // a buffer closed in order is not doubted so far
			withBuffer(t, dir, func(b *buffer.Buffer) {
				u := b.Update()
				u.Block(700, 50, []byte("the stretch before is missing"))
				if err := errors.Join(u.Commit(750), copyTree(dir, killed)); err != nil {
					t.Fatal(err)
				}
			})
			if err := errors.Join(os.RemoveAll(dir), os.Rename(killed, dir)); err != nil {
				t.Fatal(err)
			}
		}, "missing"},
		"more than the ledger has": {func(t *testing.T, dir string) {
			withBuffer(t, dir, func(b *buffer.Buffer) {
				u := b.Update()
				if err := u.Commit(9999); err != nil { // nothing to show for it
					t.Fatal(err)
				}
			})
		}, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filledDir(t)
			c.spoil(t, filepath.Join(dir, bufferDir))
			j := openDir(t, dir)
			checkFilled(t, j)
			s, err := j.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if name == "manifest gone" && len(s.Suspects) == 0 {
				// Badger takes it for a new database: then it is one.
				if !s.Rebuilt {
					t.Errorf("%+v", s)
				}
				return
			}
			if len(s.Suspects) != 1 || !strings.Contains(s.Suspects[0].Reason, c.reason) || !s.Rebuilt {
				t.Fatalf("suspects %+v, rebuilt %v", s.Suspects, s.Rebuilt)
			}
			if _, err := os.Stat(s.Suspects[0].Path); err != nil {
				t.Errorf("it was not kept: %v", err)
			}
			if len(s.Damage)+len(s.Lost) > 0 {
				t.Errorf("the ledger is called damaged: %v", s.Damage)
			}
		})
	}
}

func withBuffer(t *testing.T, dir string, do func(*buffer.Buffer)) {
	t.Helper()
	b, err := buffer.Open(buffer.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	do(b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSuspectsDoNotPileUp: of the buffers moved aside the newest is kept, and
// what can't be told to be of this ledger.
func TestSuspectsDoNotPileUp(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	suspects := func() []buffer.Suspect {
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		s := mustStats(t, j)
		closeJournal(t, j)
		for _, x := range s.Suspects {
			wantProblem(t, &s, x.Path, map[bool]string{true: "can't be told", false: "may be removed"}[x.Ledger == ""])
		}
		return s.Suspects
	}
	for range 3 {
		spoilBuffer(t, dir)
		if left := suspects(); len(left) != 1 || left[0].Ledger == "" {
			t.Errorf("left %v", left)
		}
	}
	at := filepath.Join(dir, bufferDir)
	for n := range 2 {
		if err := errors.Join(os.RemoveAll(at), os.WriteFile(at, []byte("a file"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if left := suspects(); len(left) != 2+n || left[1+n].Ledger != "" {
			t.Errorf("left %v", left)
		}
	}
}

// TestLedgerBehindBuffer: the end of the ledger is lost, and the buffer proves
// that it was durable. Nothing is given a sequence twice.
func TestLedgerBehindBuffer(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	paths := segments(t, dir)
	last := paths[len(paths)-1]
	b, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[4096:])
	if err := os.WriteFile(last, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j := openDir(t, dir)
	checkFilled(t, j)
	if got := mustAppend(t, j, realistic(600)); got[0].Seq != 621 {
		t.Errorf("appended as %+v", got)
	}
	s, err := j.Stats()
	if err != nil || len(s.Damage) == 0 || s.Torn != nil || s.Rebuilt {
		t.Errorf("damage %v, torn %v, rebuilt %v, %v", s.Damage, s.Torn, s.Rebuilt, err)
	}
	closeJournal(t, j)
	// And with that buffer gone, the ledger still knows that they are missing.
	if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
		t.Fatal(err)
	}
	j = openDir(t, dir)
	if s, err = j.Stats(); err != nil || s.Next != 622 || len(s.Lost)+len(s.Damage) == 0 {
		t.Errorf("next %d, damage %v, lost %v, %v", s.Next, s.Damage, s.Lost, err)
	}
}
