// Package audit holds a ledger to the heads that its gateway signed, with nothing but the public keys.
package audit

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/disk"
)

// Options say what is checked, and against what.
type Options struct {
	Dir  string
	FS   disk.FS             // nil is disk.OS
	Keys []ed25519.PublicKey // of the gateway: the present one and those before it
	// Witness are signed heads that somebody kept elsewhere, in any order. What
	// was cut off at the end of a ledger, only they can tell.
	Witness [][]byte
	// Progress, if not nil, is told now and then how far the reading is. It is
	// called by one goroutine at a time, which is not that of the caller.
	Progress func(records uint64, bytes int64)
}

// Report is what checking a ledger found.
type Report struct {
	Ledger   string // its id
	Records  uint64
	Bytes    int64 // of the records, as they stand in the files
	Segments int
	Heads    int       // that are signed by a key and in order
	First    time.Time // of the first of them
	Last     time.Time // of the last
	Signed   uint64    // how many records the last of them speaks of
	// Unsigned are the records behind these, but for signed heads themselves:
	// nobody has vouched for them yet.
	Unsigned uint64
	Witness  int          // heads kept elsewhere that the ledger agrees with
	Torn     *ledger.Torn // what stands behind the end: no finding, nobody was told that it is kept
	Findings []Finding    // by record, at most maxFindings
	More     int          // findings beyond these
	Took     time.Duration
}

// maxFindings bounds how many findings are kept of each of the two readers.
const maxFindings = 10_000

// SignedAfter is how many records a gateway leaves under no head, a few more
// while it works. More than MaxUnsigned are none that it has not got round to:
// somebody may have taken its heads out, and then changed what they spoke of.
const (
	SignedAfter = 1000
	MaxUnsigned = 20 * SignedAfter
)

var errNoKey = errors.New("audit: without the gateway's public key nothing can be checked")

// Run checks a ledger as FORMAT.md of package checkpoint says. It takes no lock
// and changes nothing; beside a running daemon it checks what was there when it
// began. Two goroutines read the ledger: the scout runs ahead to the next head,
// and the counter follows with the tree up to it. So nothing is kept of the
// records between, however many they are. The error is one of reading the
// files: what is wrong with the records is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	a, err := begin(o)
	if err != nil {
		return nil, err
	}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	return a.finish(), nil
}

// auditor is one check of a ledger.
type auditor struct {
	Options
	survey  *ledger.Survey
	began   time.Time
	scout   scout
	counter counter
}

func begin(o Options) (*auditor, error) {
	if len(o.Keys) == 0 {
		return nil, errNoKey
	}
	s, err := ledger.Look(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	a := &auditor{Options: o, survey: s, began: time.Now()}
	a.scout = scout{id: s.Identity.String(), keys: o.Keys, progress: o.Progress, r: s.Reader(0)}
	a.counter = counter{r: s.Reader(0), records: s.Next, change: -1, whole: true}
	for _, h := range s.Headers {
		kind := Header
		if h.Foreign {
			kind = Foreign
		}
		a.scout.found.add(Finding{Kind: kind, First: h.First, Last: h.First, Segment: h.Segment, Detail: h.Problem})
	}
	return a, nil
}

func (a *auditor) run(ctx context.Context) error {
	a.counter.witness(a.Witness, a.scout.id, a.Keys)
	g, ctx := errgroup.WithContext(ctx)
	heads := make(chan sighting, 16)
	g.Go(func() error {
		defer close(heads)
		defer a.scout.r.Close()
		return a.scout.run(ctx, heads)
	})
	g.Go(func() error {
		defer a.counter.r.Close()
		return a.counter.run(ctx, heads)
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

func (a *auditor) finish() *Report {
	s, c := &a.scout, &a.counter
	r := &Report{
		Ledger: s.id, Records: a.survey.Next, Bytes: s.bytes, Segments: a.survey.Segments, Heads: s.heads, First: s.first, Last: s.last.At,
		Signed: s.last.Size, Unsigned: a.survey.Next - s.last.Size - uint64(len(s.behind)), Witness: c.agreed, Torn: a.survey.Torn,
	}
	if s.heads == 0 && r.Records > 0 || r.Unsigned > MaxUnsigned {
		s.found.add(Finding{Kind: Unsigned, First: r.Signed, Last: r.Records - 1})
	}
	r.Findings = append(s.found.list, c.found.list...)
	r.More = s.found.more + c.found.more
	slices.SortStableFunc(r.Findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.First, y.First), cmp.Compare(x.Last, y.Last), cmp.Compare(x.Kind, y.Kind))
	})
	r.Took = time.Since(a.began)
	return r
}

// findings are those of one reader.
type findings struct {
	list []Finding
	more int
}

func (f *findings) add(x Finding) bool {
	if len(f.list) >= maxFindings {
		f.more++
		return false
	}
	f.list = append(f.list, x)
	return true
}

// spans are stretches of records, by their first one.
type spans []checkpoint.Span

// has says whether a sequence is in one of the stretches. It is asked with
// rising sequences, and forgets what lies before.
func (s *spans) has(seq uint64) bool {
	for len(*s) > 0 && (*s)[0].Last < seq {
		*s = (*s)[1:]
	}
	return len(*s) > 0 && (*s)[0].First <= seq
}
