package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// matchAhead is how many records a Matcher reads on over, rather than to look
// for a place anew.
const matchAhead = 16 << 10

// Matcher tells whether a ledger has the frames of which there is a copy
// elsewhere. It keeps nothing in memory and is quick when they come in order,
// as they stand in a copy. It is used by one goroutine at a time.
type Matcher struct {
	open func(from uint64) *Reader
	r    *Reader // nil before the first frame
}

// Matcher gives one for what is durable.
func (l *Ledger) Matcher() *Matcher { return &Matcher{open: l.Reader} }

// OpenMatcher gives one that needs no lock, as [OpenReader] does. A nil fs is
// disk.OS.
func OpenMatcher(fs disk.FS, dir string) *Matcher {
	if fs == nil {
		fs = disk.OS
	}
	return &Matcher{open: func(from uint64) *Reader { return openReader(fs, dir, from) }}
}

// Match returns nil if the ledger has a frame just as it is given, and else an
// error that says what it has in its place. All of the frame is compared, not
// its check sum: two frames with the same one are easy to make.
func (m *Matcher) Match(f *Frame) error {
	if m.r == nil || f.Seq < m.r.Seq() || f.Seq-m.r.Seq() > matchAhead {
		m.Close()
		m.r = m.open(f.Seq)
	}
	for {
		have, err := m.r.Next()
		d, damaged := errors.AsType[*Damage](err)
		switch {
		case damaged && d.Last < f.Seq, err == nil && have.Seq < f.Seq:
			continue
		case damaged:
			return fmt.Errorf("it has record %d, and the ledger has not: %w", f.Seq, d)
		case err == io.EOF:
			return fmt.Errorf("it has record %d, and the ledger ends before that", f.Seq)
		case err != nil:
			return err
		case have.Seq != f.Seq || !have.same(f):
			return fmt.Errorf("it has another record %d than the ledger", f.Seq)
		}
		return nil
	}
}

// same says whether two frames of a ledger and a sequence are the same bytes:
// their check sums and padding follow from the rest.
func (f *Frame) same(g *Frame) bool {
	return f.Kind == g.Kind && f.Flags == g.Flags && f.KeyID == g.KeyID && f.Index == g.Index && f.Count == g.Count && bytes.Equal(f.Payload, g.Payload)
}

// Close gives back what the matcher holds.
func (m *Matcher) Close() {
	if m.r != nil {
		m.r.closeFile()
	}
	m.r = nil
}
