package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// mustScrub reads everything.
func mustScrub(t testing.TB, j *Journal) Scrubbed {
	t.Helper()
	s, err := j.Scrub(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// flipBits flips bits of a file at random, from an offset up to where it is used.
func flipBits(t testing.TB, r *rand.Rand, path string, from int64, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := int64(len(b))
	for used > from && b[used-1] == 0 {
		used--
	}
	if used <= from {
		return
	}
	for range n {
		b[from+r.Int64N(used-from)] ^= 1 << r.IntN(8)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestScrub: what chance spoils in the ledger is written back from the second
// copy, and what it spoils there from the ledger. Then nothing is wrong any more.
func TestScrub(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := filledDir(t)
		if seed%2 == 0 {
			for _, path := range segments(t, dir) {
				flipBits(t, r, path, 0, 1+r.IntN(6))
			}
		} else {
			logs, err := filepath.Glob(filepath.Join(dir, bufferDir, "*.vlog"))
			if err != nil || len(logs) == 0 {
				t.Fatal(logs, err)
			}
			for _, path := range logs {
				flipBits(t, r, path, 100, 1+r.IntN(20))
			}
		}
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		next := j.ledger.Next()
		s := mustScrub(t, j)
		if s.Records != next || s.Lost+s.Left+s.Differ > 0 || s.Repaired+s.Copied+uint64(s.Headers) == 0 && !mustStats(t, j).Rebuilt {
			t.Errorf("seed %d: %d records, %+v", seed, next, s)
		}
		checkFilled(t, j)
		if s := mustScrub(t, j); s.Repaired+s.Copied > 0 || s.Headers > 0 {
			t.Errorf("seed %d: the second time %+v", seed, s)
		}
		closeJournal(t, j)
		j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		if st := mustStats(t, j); len(st.Damage)+len(st.Lost)+len(st.Headers) > 0 {
			t.Errorf("seed %d: still told %v, %v, %v", seed, st.Damage, st.Lost, st.Headers)
		}
		closeJournal(t, j)
	}
}

// TestScrubWholeSegment: all of a segment is spoiled, or its file is gone.
func TestScrubWholeSegment(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"spoiled": func(t *testing.T, path string) { breakSegment(t, path) },
		"gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := filledDir(t)
		spoil(t, segments(t, dir)[1])
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		if s := mustScrub(t, j); s.Repaired == 0 || s.Lost+s.Left > 0 {
			t.Errorf("%s: %+v", name, s)
		}
		checkFilled(t, j)
		if st := mustStats(t, j); len(st.Problems) > 0 {
			t.Errorf("%s: %q", name, st.Problems)
		}
		closeJournal(t, j)
		// The copies are not needed any more.
		if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
			t.Fatal(err)
		}
		checkFilled(t, openDir(t, dir))
	}
}

// TestScrubTellsWhatIsLost with both copies, each stretch once, and goes on.
func TestScrubTellsWhatIsLost(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	undo := breakSegment(t, segments(t, dir)[1])
	if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	s := mustScrub(t, j)
	if again := mustScrub(t, j); s.Lost == 0 || again.Lost != s.Lost || s.Repaired+s.Copied > 0 {
		t.Errorf("%+v, then %+v", s, again)
	}
	st := mustStats(t, j)
	wantProblem(t, &st, "there is no second copy")
	closeJournal(t, j)
	undo() // from a backup, say
	j = openDir(t, dir)
	if s := mustScrub(t, j); s.Copied == 0 || s.Lost > 0 {
		t.Errorf("with the segment back: %+v", s)
	}
	if _, punches := pending(t, j, 0); len(punches) != 600 {
		t.Errorf("%d punches", len(punches))
	}
	if st := mustStats(t, j); len(st.Problems) > 0 {
		t.Errorf("%q", st.Problems)
	}
}

// TestScrubBesideWriter: it disturbs nothing, finds nothing, and ends when asked.
func TestScrubBesideWriter(t *testing.T) {
	t.Parallel()
	j := openDir(t, filledDir(t))
	done := make(chan error, 1)
	go func() {
		_, err := j.Append(t.Context(), records(600, 3000, realistic))
		done <- err
	}()
	for range 5 {
		if s := mustScrub(t, j); s.Repaired+s.Copied+s.Lost+s.Left+s.Differ > 0 {
			t.Errorf("%+v", s)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Scrub(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := j.Tend(ctx); err != nil {
		t.Error(err)
	}
}

// TestCopiesThatDiffer are told, and neither is touched.
func TestCopiesThatDiffer(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	j := openDir(t, dir)
	err := (&scrub{j: j}).apply(t.Context(), func() error {
		u := j.buffer.Update()
		defer u.Drop()
		b, found, err := j.buffer.Block(30)
		if err != nil || !found {
			return errors.Join(err, errors.New("no block"))
		}
		id := j.ledger.Identity()
		f, n, err := id.ParseFrame(b.Frames)
		if err != nil {
			return err
		}
		f.Payload[len(f.Payload)-1] ^= 1
		u.Block(b.First, int(b.Count), append(id.AppendFrame(nil, f), b.Frames[n:]...))
		return u.Commit(j.buffer.Applied())
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := mustScrub(t, j); s.Differ != 1 || s.Repaired+s.Copied+s.Lost+s.Left > 0 {
		t.Errorf("%+v", s)
	}
	st := mustStats(t, j)
	wantProblem(t, &st, "say different things")
	checkFilled(t, j)
}
