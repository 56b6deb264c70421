package journal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
)

// When a head of the tree is signed at the latest.
const (
	signEvery = 1000             // records under no head
	signAfter = 60 * time.Second // since the first of them that asks for one
	// signRetry is the pause after a failure: of a full disk, mostly.
	signRetry = 10 * time.Second
	// signAtEnd bounds how long the tree is followed for the last head when the
	// gateway stops. What is handed to the committer then is waited for.
	signAtEnd = 5 * time.Second
)

// Signed is how far the gateway has vouched for its ledger.
type Signed struct {
	Records uint64    // the first so many are under a signed head
	At      time.Time // when the newest was signed; zero if none was, by this key
}

// notary follows the ledger, keeps the tree over it, and has its heads signed.
// It stands behind the committer and not in it: a tree that must be made anew,
// for a ledger that was never signed or signed by another key, keeps nobody
// waiting.
type notary struct {
	j      *Journal
	key    ed25519.PrivateKey
	tree   checkpoint.Tree
	feed   *feed
	lost   []checkpoint.Span // since the last head
	signed uint64            // size of the last head, whoever signed it
	// from is where the ledger ended at the beginning. However much of it is read
	// for the tree, one head is enough for that.
	from uint64
	asks bool      // a record under no head asks for one by its time
	due  time.Time // when that is over, if asks
	// fact is behind the last record that is no sink's answer. An answer for no
	// more than heads asks for no head, or they would call for each other for
	// ever.
	fact uint64
}

// Notarize signs the heads of the ledger's tree until ctx ends, and then one for
// all that is there. Each is kept in the ledger. What keeps it from that is told
// in [Stats]; it tries again, and returns an error only for a key it can't use.
func (j *Journal) Notarize(ctx context.Context, key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return errors.New("journal: the key that is to sign the ledger is no Ed25519 key")
	}
	n := &notary{j: j, key: key}
	for {
		err := n.run(ctx)
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			n.stop(context.WithoutCancel(ctx))
			return nil
		}
		j.notary.fail(j.log, err)
		pause(ctx, signRetry)
	}
}

// run follows the ledger until something fails or ctx ends.
func (n *notary) run(ctx context.Context) error {
	if n.feed == nil {
		if err := n.begin(ctx); err != nil {
			return err
		}
	}
	for {
		if err := n.take(ctx); err != nil {
			return err
		}
		if n.asks && !time.Now().Before(n.due) {
			if err := n.sign(ctx); err != nil {
				return err
			}
		}
		if err := n.wait(ctx); err != nil {
			return err
		}
	}
}

// wait returns nil when there is another record, or once one asks for a head,
// when it is time to sign: until then nobody needs the tree.
func (n *notary) wait(ctx context.Context) error {
	within, next := ctx, n.tree.Size()+1
	if n.asks {
		next = max(next, n.signed+signEvery)
		var cancel context.CancelFunc
		within, cancel = context.WithDeadline(ctx, n.due)
		defer cancel()
	}
	err := n.j.durable.wait(within, next)
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		return nil
	}
	return err
}

// stop signs what is there, and gives back the feed.
func (n *notary) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, signAtEnd)
	defer cancel()
	err := error(nil)
	if n.feed != nil {
		if err = n.take(ctx); err == nil && n.asks {
			err = n.sign(ctx)
		}
	}
	if err != nil && !errors.Is(err, ErrClosed) {
		n.j.log.Warn("the end of the ledger is not signed yet; the next start does it", "err", err)
	}
	n.drop()
}

func (n *notary) drop() {
	if n.feed != nil {
		n.j.feeds.give(n.feed)
		n.feed = nil
	}
}

// begin takes up the tree at the newest head that this key has signed, or else
// at the ledger's beginning. That it is the tree of that head its edge proves.
func (n *notary) begin(ctx context.Context) error {
	done, err := n.j.use()
	if err != nil {
		return err
	}
	defer done()
	look := n.j.buffer.Look()
	seq, found, err := look.Head()
	look.Close()
	if err != nil {
		return err
	}
	n.tree, n.signed, n.from = checkpoint.Tree{}, 0, n.j.ledger.Next()
	if found {
		h, tree, err := n.j.head(seq, n.key)
		if err != nil {
			n.j.log.Warn("the newest signed head of the ledger can't be gone on from; the whole ledger is read for it", "seq", seq, "err", err)
		} else {
			n.j.notary.reach(Signed{h.Size, h.At})
		}
		n.tree, n.signed = tree, h.Size
	}
	n.fact = n.signed
	n.feed = n.j.feeds.take(n.tree.Size())
	return nil
}

// head gives a head in the ledger with its tree, if it is signed by the key. If
// it is not, but may be one that another key has signed, it is given too.
func (j *Journal) head(seq uint64, key ed25519.PrivateKey) (h checkpoint.Head, t checkpoint.Tree, err error) {
	f, err := j.frame(seq)
	if err != nil {
		return h, t, err
	}
	rec, err := record(&f)
	if err != nil {
		return h, t, err
	}
	c, ok := rec.(*attendance.Checkpoint)
	if !ok {
		return h, t, fmt.Errorf("record %d is a %v", seq, f.Kind)
	}
	h, err = checkpoint.Open([]byte(c.Note), key.Public().(ed25519.PublicKey))
	if h.Ledger != j.ledger.Identity().String() || h.Size > seq {
		return checkpoint.Head{}, t, errors.Join(err, fmt.Errorf("record %d speaks of %d records of ledger %s", seq, h.Size, h.Ledger))
	}
	if err != nil {
		return h, t, err
	}
	edge := make([]checkpoint.Hash, len(c.Edge))
	for i, e := range c.Edge {
		edge[i] = e
	}
	tree, err := checkpoint.Resume(h.Size, edge)
	if err == nil && tree.Root() != h.Root {
		err = errors.New("the hashes beside it are not those of its tree")
	}
	if err != nil {
		return h, t, err
	}
	return h, tree, nil
}

// take adds what is durable to the tree, and signs whenever too many records are
// under no head.
func (n *notary) take(ctx context.Context) error {
	var leaf []byte
	for {
		if n.tree.Size()%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		f, err := n.next()
		if err == io.EOF {
			return nil
		}
		if d, damaged := errors.AsType[*ledger.Damage](err); damaged {
			n.missed(d)
		} else if err != nil {
			return err
		} else {
			leaf = f.AppendLeaf(leaf[:0])
			n.tree.Add(checkpoint.LeafHash(leaf))
			n.saw(&f)
		}
		size := n.tree.Size()
		if size >= max(n.signed+signEvery, n.from) || size > n.signed && len(n.lost) >= checkpoint.MaxLost {
			if err := n.sign(ctx); err != nil {
				return err
			}
		}
	}
}

// next gives the next frame.
func (n *notary) next() (ledger.Frame, error) {
	done, err := n.j.use()
	if err != nil {
		return ledger.Frame{}, err
	}
	defer done()
	if at := n.feed.pos(); at != n.tree.Size() {
		// Never: but a tree with a gap must not be signed.
		return ledger.Frame{}, fmt.Errorf("journal: the tree has %d records and is to go on at %d", n.tree.Size(), at)
	}
	return n.feed.next()
}

// missed adds records of which there is no readable copy. Those under a head
// before are told there.
func (n *notary) missed(d *ledger.Damage) {
	for seq := d.First; seq <= d.Last; seq++ {
		n.tree.Add(checkpoint.LostHash(seq))
	}
	s := checkpoint.Span{First: max(d.First, n.signed), Last: d.Last}
	if s.First > s.Last {
		return
	}
	if k := len(n.lost) - 1; k >= 0 && n.lost[k].Last+1 == s.First {
		n.lost[k].Last = s.Last
	} else {
		n.lost = append(n.lost, s)
	}
	n.ask()
}

// saw notes whether a record asks for a head.
func (n *notary) saw(f *ledger.Frame) {
	switch f.Kind {
	case attendance.RecordCheckpoint:
		return
	case attendance.RecordSettled:
		rec, err := record(f)
		if s, ok := rec.(*attendance.Settled); err == nil && ok && s.First >= n.fact {
			return
		}
	default:
		n.fact = f.Seq + 1
	}
	n.ask()
}

func (n *notary) ask() {
	if !n.asks {
		n.asks, n.due = true, time.Now().Add(signAfter)
	}
}

// sign signs the tree as it is, and returns when that is durable.
func (n *notary) sign(ctx context.Context) error {
	h := checkpoint.Head{
		Ledger: n.j.ledger.Identity().String(), Size: n.tree.Size(), Root: n.tree.Root(),
		At: time.Now().UTC().Truncate(time.Millisecond), Lost: n.lost,
	}
	note, err := checkpoint.Sign(h, n.key)
	if err != nil {
		return err
	}
	c := &attendance.Checkpoint{Note: string(note)}
	for _, e := range n.tree.Edge() {
		c.Edge = append(c.Edge, e)
	}
	// To end the waiting would leave open whether it is there, and the next might
	// be of the same size.
	if _, err := n.j.Append(context.WithoutCancel(ctx), []attendance.Record{c}); err != nil {
		return err
	}
	n.signed, n.lost, n.asks = h.Size, nil, false
	n.j.notary.reach(Signed{h.Size, h.At})
	return nil
}
