// Package audittest writes ledgers with signed heads, as a gateway does, for tests of what checks them.
package audittest

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/disk"
)

// Key is the gateway's key that a byte stands for.
func Key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// Public is the public half of [Key].
func Public(seed byte) ed25519.PublicKey { return Key(seed).Public().(ed25519.PublicKey) }

// Ledger is a ledger that is being written and signed.
type Ledger struct {
	Notes [][]byte // the signed heads so far
	Size  uint64   // how many records the last of them speaks of

	t      testing.TB
	l      *ledger.Ledger
	key    ed25519.PrivateKey
	leaves []checkpoint.Hash
	tree   checkpoint.Tree // of these
	n      int             // punches so far
	lost   []checkpoint.Span
}

// New begins a ledger. A nil fs is the machine's own, and a segment size of 0 the
// smallest there is.
func New(t testing.TB, fs disk.FS, dir string, segment int64, key ed25519.PrivateKey) *Ledger {
	t.Helper()
	if segment == 0 {
		segment = ledger.MinSegmentSize
	}
	l, err := ledger.Open(ledger.Config{Dir: dir, FS: fs, SegmentSize: segment})
	if err != nil {
		t.Fatal(err)
	}
	return &Ledger{t: t, l: l, key: key}
}

// ID is the ledger's id in hex.
func (x *Ledger) ID() string { return x.l.Identity().String() }

// Next is the sequence of the next record.
func (x *Ledger) Next() uint64 { return x.l.Next() }

// Punch is a punch like those of a telephone that signs.
func Punch(n int) *attendance.Punch {
	at := time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	who := fmt.Sprintf("E%04d", n%50)
	return &attendance.Punch{
		Key: attendance.PhoneKey("p-"+who, uint64(n)), Kind: attendance.KindPunch, Employee: who, Direction: attendance.DirIn, Method: attendance.MethodPhone,
		Device: attendance.Device{ID: "p-" + who, Driver: "phone"}, Site: "xm-hq", Place: "hq", DeviceTime: attendance.LocalOf(at) + 8*3600_000, Zone: "+08:00",
		At: at, ReceivedAt: at.Add(time.Second), Verdict: attendance.Accepted, State: -1, Verify: -1, Counter: uint64(n) + 1,
	}
}

// Append appends records as one batch.
func (x *Ledger) Append(entries ...ledger.Entry) {
	x.t.Helper()
	w, err := x.l.Append(entries)
	if err != nil {
		x.t.Fatal(err)
	}
	id := x.l.Identity()
	var leaf []byte
	for b := w.Frames; len(b) > 0; {
		f, n, err := id.ParseFrame(b)
		if err != nil {
			x.t.Fatal(err)
		}
		leaf, b = f.AppendLeaf(leaf[:0]), b[n:]
		x.leaves = append(x.leaves, checkpoint.LeafHash(leaf))
		x.tree.Add(x.leaves[len(x.leaves)-1])
	}
}

// Punches appends so many punches as one batch, each with so many bytes of
// evidence.
func (x *Ledger) Punches(count, evidence int) {
	x.t.Helper()
	var entries []ledger.Entry
	for range count {
		p := Punch(x.n)
		p.Evidence.Raw = bytes.Repeat([]byte{'.'}, evidence)
		entries = append(entries, ledger.Entry{Kind: attendance.RecordPunch, Payload: attendance.AppendRecord(nil, p)})
		x.n++
	}
	x.Append(entries...)
}

// Lose makes the next head say that records are lost.
func (x *Ledger) Lose(first, last uint64) {
	for seq := first; seq <= last; seq++ {
		x.leaves[seq] = checkpoint.LostHash(seq)
	}
	x.lost = append(x.lost, checkpoint.Span{First: first, Last: last})
	x.tree = x.of(uint64(len(x.leaves)))
}

func (x *Ledger) of(size uint64) (t checkpoint.Tree) {
	for _, leaf := range x.leaves[:size] {
		t.Add(leaf)
	}
	return t
}

// Head signs all records so far.
func (x *Ledger) Head() {
	x.t.Helper()
	x.Append(x.sign(x.tree, x.key))
}

// HeadOf signs the first so many records.
func (x *Ledger) HeadOf(size uint64) {
	x.t.Helper()
	x.Append(x.sign(x.of(size), x.key))
}

// HeadBy is [Ledger.Head] with another key.
func (x *Ledger) HeadBy(key ed25519.PrivateKey) {
	x.t.Helper()
	x.Append(x.sign(x.tree, key))
}

func (x *Ledger) sign(tree checkpoint.Tree, key ed25519.PrivateKey) ledger.Entry {
	x.t.Helper()
	at := time.Date(2026, 11, 4, 1, 0, 0, 250e6, time.UTC).Add(time.Duration(len(x.Notes)) * time.Minute)
	note, err := checkpoint.Sign(checkpoint.Head{Ledger: x.ID(), Size: tree.Size(), Root: tree.Root(), At: at, Lost: x.lost}, key)
	if err != nil {
		x.t.Fatal(err)
	}
	x.Notes, x.Size, x.lost = append(x.Notes, note), tree.Size(), nil
	c := &attendance.Checkpoint{Note: string(note)}
	for _, h := range tree.Edge() {
		c.Edge = append(c.Edge, h)
	}
	return ledger.Entry{Kind: attendance.RecordCheckpoint, Payload: attendance.AppendRecord(nil, c)}
}

// Sample writes a small ledger with all that a ledger may have: heads right
// behind what they speak of and some records later, batches over two segments,
// records of other kinds, and some that are not signed yet.
func (x *Ledger) Sample() {
	x.t.Helper()
	x.Punches(6, 0)
	x.Head() // record 6
	x.Punches(9, 20)
	x.Append(ledger.Entry{Kind: attendance.RecordClock, Payload: attendance.AppendRecord(nil, &attendance.ClockReading{Device: "lobby", Skew: time.Second})})
	at := x.Next()
	x.Punches(3, 40)
	x.HeadOf(at - 2) // record 20, of 15
	x.Punches(12, 300)
	x.Punches(1, 0)
	x.Head() // record 34
	x.Punches(4, 200)
	x.Head() // record 39
	x.Punches(3, 0)
}

// Close ends the writing.
func (x *Ledger) Close() {
	x.t.Helper()
	if err := x.l.Close(); err != nil {
		x.t.Fatal(err)
	}
}
