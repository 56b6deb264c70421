package journal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger"
)

var (
	signingKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	otherKey   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
)

// placedHead is a head with the sequence of its record.
type placedHead struct {
	checkpoint.Head
	seq uint64
}

// checkHeads reads the whole ledger and holds every head in it to the records
// before, as an auditor would, with a key of several.
func checkHeads(t testing.TB, j *Journal) (heads []placedHead) {
	t.Helper()
	f := j.feed(0)
	defer f.r.Close()
	var tree checkpoint.Tree
	roots := []checkpoint.Hash{tree.Root()}
	lost := map[uint64]bool{}
	for {
		frame, err := f.next()
		if err == io.EOF {
			break
		}
		if d, damaged := errors.AsType[*ledger.Damage](err); damaged {
			for seq := d.First; seq <= d.Last; seq++ {
				tree.Add(checkpoint.LostHash(seq))
				roots = append(roots, tree.Root())
				lost[seq] = true
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		tree.Add(checkpoint.LeafHash(frame.AppendLeaf(nil)))
		roots = append(roots, tree.Root())
		if frame.Kind != attendance.RecordCheckpoint {
			continue
		}
		rec, err := attendance.DecodeRecord(frame.Kind, frame.Payload)
		if err != nil {
			t.Fatal(err)
		}
		h, err := checkpoint.Open([]byte(rec.(*attendance.Checkpoint).Note), signingKey.Public().(ed25519.PublicKey), otherKey.Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatalf("record %d: %v", frame.Seq, err)
		}
		if h.Ledger != j.ledger.Identity().String() || h.Size > frame.Seq || h.Root != roots[h.Size] ||
			len(heads) > 0 && h.Size <= heads[len(heads)-1].Size {
			t.Errorf("record %d is not the head of its %d records: %+v", frame.Seq, h.Size, h)
		}
		for _, s := range h.Lost {
			for seq := s.First; seq <= s.Last; seq++ {
				if !lost[seq] {
					t.Errorf("record %d is called lost", seq)
				}
				delete(lost, seq)
			}
		}
		heads = append(heads, placedHead{h, frame.Seq})
	}
	for seq := range lost {
		if len(heads) > 0 && seq < heads[len(heads)-1].Size {
			t.Errorf("no head says that record %d is lost", seq)
		}
	}
	return heads
}

// notarize runs the notary until stop is called, which waits for its last head.
func notarize(t testing.TB, j *Journal, key ed25519.PrivateKey) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Notarize(ctx, key) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestHeads: a head stands behind every thousand records and behind the last,
// and a start goes on with the tree where it was.
func TestHeads(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	var heads []placedHead
	for round := range 4 {
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 1 << 20})
		stop := notarize(t, j, signingKey)
		for range 9 {
			recs := make([]attendance.Record, 300)
			for i := range recs {
				recs[i], n = realistic(n), n+1
			}
			mustAppend(t, j, recs...)
		}
		stop()
		if s := mustStats(t, j); s.Signed == nil || s.Signed.Records < uint64(n) || time.Since(s.Signed.At) > time.Minute || len(s.Problems) > 0 {
			t.Errorf("round %d: %+v, %v", round, s.Signed, s.Problems)
		}
		before := len(heads)
		heads = checkHeads(t, j)
		if len(heads) < before+3 {
			t.Errorf("round %d: %d heads were signed for 2,700 records", round, len(heads)-before)
		}
		for i, h := range heads[before:] {
			from := uint64(0)
			if before+i > 0 {
				from = heads[before+i-1].Size
			}
			if h.Size-from > signEvery {
				t.Errorf("round %d: head %d is of %d records more", round, i, h.Size-from)
			}
		}
		closeJournal(t, j)
	}
}

// TestTreeIsMadeAnew: from a ledger that was never signed, by another key, with
// a buffer that is new, and with a newest head that can't be gone on from.
func TestTreeIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	mustAppend(t, j, records(0, 2500, realistic)...)
	closeJournal(t, j)
	round := func(key ed25519.PrivateKey) []placedHead {
		t.Helper()
		j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
		defer closeJournal(t, j)
		stop := notarize(t, j, key)
		mustAppend(t, j, realistic(1<<20+int(j.ledger.Next())))
		stop()
		return checkHeads(t, j)
	}
	if heads := round(signingKey); len(heads) == 0 || len(heads) > 2 {
		t.Errorf("%d heads for a ledger that was not signed before", len(heads))
	}
	want := len(round(otherKey)) + 1
	if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
		t.Fatal(err)
	}
	if heads := round(otherKey); len(heads) < want {
		t.Errorf("%d heads, want %d", len(heads), want)
	}
	// A head that says it is the newest and was signed by somebody else.
	j = mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	var tree checkpoint.Tree
	tree.Add(checkpoint.LostHash(0))
	note, err := checkpoint.Sign(checkpoint.Head{Ledger: j.ledger.Identity().String(), Size: 1, Root: tree.Root(), At: epoch}, ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, &attendance.Checkpoint{Note: string(note), Edge: [][32]byte{tree.Root()}})
	flush(t, j)
	n := &notary{j: j, key: otherKey}
	if err := n.begin(t.Context()); err != nil || n.tree.Size() != 0 {
		t.Errorf("went on from %d, %v", n.tree.Size(), err)
	}
	n.drop()
	closeJournal(t, j)
}

// TestHeadsDoNotCallForEachOther: an answer of a sink for nothing but a head asks
// for none, else an idle gateway would write for ever.
func TestHeadsDoNotCallForEachOther(t *testing.T) {
	t.Parallel()
	j := openDir(t, t.TempDir())
	n := &notary{j: j, key: signingKey}
	if err := n.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.drop()
	take := func(asks bool) {
		t.Helper()
		if err := n.take(t.Context()); err != nil || n.asks != asks {
			t.Fatalf("asks for a head: %v, %v", n.asks, err)
		}
	}
	sign := func() {
		t.Helper()
		if err := n.sign(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	take(false)
	mustAppend(t, j, realistic(1))
	take(true)
	sign() // record 1
	take(false)
	mustSettle(t, j, "hq", forward.Answer{First: 0, Last: 0})
	take(true)
	sign() // record 3
	take(false)
	mustSettle(t, j, "hq", forward.Answer{First: 1, Last: 3})
	take(false)
	mustSettle(t, j, "second", forward.Answer{First: 0, Last: 3})
	take(true)
	n.due = time.Now() // as a minute later
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.run(ctx) }()
	if err := j.Wait(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if heads := checkHeads(t, j); len(heads) != 3 || heads[2].Size != 6 {
		t.Errorf("heads %+v", heads)
	}
}

// TestLostRecordsUnderHeads: records of which no copy can be read are told to be
// so in what is signed, and the tree goes on behind them.
func TestLostRecordsUnderHeads(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := filledDir(t)
		paths := segments(t, dir)
		for range 1 + r.IntN(2) {
			breakSegment(t, paths[r.IntN(len(paths)-1)])
		}
		if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
			t.Fatal(err)
		}
		j := openDir(t, dir)
		stop := notarize(t, j, signingKey)
		mustAppend(t, j, realistic(1<<20))
		stop()
		heads := checkHeads(t, j)
		if len(heads) == 0 || len(heads[0].Lost) == 0 {
			t.Errorf("seed %d: heads %+v", seed, heads)
		}
	}
}

// TestNotaryWaitsForRoom: on a full disk nothing is signed, which is told, and
// is made good.
func TestNotaryWaitsForRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var full atomic.Bool
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10, free: func() (uint64, bool) {
		if full.Load() {
			return 0, true
		}
		return 1 << 40, true
	}})
	defer closeJournal(t, j)
	fill := func(is bool) error {
		full.Store(is)
		return j.gate.intake(0)
	}
	n := &notary{j: j, key: signingKey}
	if err := n.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.drop()
	mustAppend(t, j, realistic(1))
	if err := n.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fill(true); err == nil {
		t.Fatal("the disk is not full")
	}
	err := n.sign(t.Context())
	if err == nil {
		t.Fatal("signed on a full disk")
	}
	j.notary.fail(j.log, err)
	s := mustStats(t, j)
	wantProblem(t, &s, "the ledger can't be signed")
	if err := fill(false); err != nil {
		t.Fatal(err)
	}
	if err := n.sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range mustStats(t, j).Problems {
		if strings.Contains(p, "signed") {
			t.Error(p)
		}
	}
	if heads := checkHeads(t, j); len(heads) != 1 || heads[0].Size != 1 {
		t.Errorf("heads %+v", heads)
	}
}

// TestNotarizeEnds with the journal, and refuses what is no key.
func TestNotarizeEnds(t *testing.T) {
	t.Parallel()
	j := openDir(t, t.TempDir())
	if err := j.Notarize(t.Context(), nil); err == nil {
		t.Error("nothing was taken for a key")
	}
	done := make(chan error, 1)
	go func() { done <- j.Notarize(t.Context(), signingKey) }()
	mustAppend(t, j, realistic(1))
	closeJournal(t, j)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
