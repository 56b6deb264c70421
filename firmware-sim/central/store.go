package central

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/punchd/punchd/protocol/cloudevents"
)

// identity is a hash over source and id, which together identify an event.
type identity [16]byte

func identityOf(e *cloudevents.Event) identity {
	var buf [256]byte
	b := append(append(buf[:0], e.Source...), 0)
	sum := sha256.Sum256(append(b, e.ID...))
	return identity(sum[:16])
}

// Held is an event that the service holds.
type Held struct {
	cloudevents.Event
	Device  string    // id of the device, empty if the event is no punch of ours
	Arrived time.Time // first; zero if it was read from the file
}

// stored is an event as it came: a million of them must fit into memory, so
// that nothing is unpacked.
type stored struct {
	raw     []byte
	arrived int64 // ns since 1970, 0: not known
}

func (s stored) held() (Held, error) {
	e, err := cloudevents.ParseEvent(s.raw)
	if err != nil {
		return Held{}, err
	}
	h := Held{Event: e}
	if s.arrived != 0 {
		h.Arrived = time.Unix(0, s.arrived)
	}
	if p, err := e.Punch(); err == nil { // any event may be held
		h.Device = p.Device.ID
	}
	return h, nil
}

// store holds events in order of arrival, and in a file if there is one.
type store struct {
	seen   map[identity]struct{}
	events []stored
	heads  int    // of events
	arena  []byte // what is left of the newest block that raw events are copied into
	out    *os.File
	err    error // the file is broken: nothing more is taken
}

const arenaBlock = 1 << 20

// hold takes an event that is not held yet.
func (s *store) hold(id identity, e *cloudevents.Event, arrived int64) {
	raw := e.Raw
	if e.Type == cloudevents.TypeCheckpoint {
		s.heads++
	}
	if len(raw) > len(s.arena) {
		s.arena = make([]byte, max(arenaBlock, len(raw)))
	}
	n := copy(s.arena, raw)
	s.seen[id] = struct{}{}
	s.events = append(s.events, stored{s.arena[:n:n], arrived})
	s.arena = s.arena[n:]
}

// tell counts what is held.
func (s *store) tell(to *Stats) {
	to.Heads, to.Distinct = uint64(s.heads), uint64(len(s.events)-s.heads)
}

// write adds lines to the file. After an error nothing more is written: what
// stands at its end is not known any more.
func (s *store) write(lines []byte) error {
	if s.err != nil || s.out == nil {
		return s.err
	}
	_, s.err = s.out.Write(lines)
	return s.err
}

// appendLine appends an event as a line. Line breaks in JSON can only stand
// where any white space may.
func appendLine(dst, raw []byte) []byte {
	at := len(dst)
	dst = append(dst, raw...)
	for i, c := range dst[at:] {
		if c == '\n' || c == '\r' {
			dst[at+i] = ' '
		}
	}
	return append(dst, '\n')
}

// open opens the file, or makes it, and holds what is in it. A last line that
// was cut by a crash was never answered for; it is removed.
func (s *store) open(path string, maxHeld int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	whole, err := s.load(f, maxHeld)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	s.out = f
	return nil
}

// load holds every line of r, and returns where the last whole one ends.
func (s *store) load(r io.Reader, maxHeld int) (whole int64, err error) {
	lines := bufio.NewReaderSize(r, cloudevents.MaxBatch)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return whole, fmt.Errorf("line %d: %w", n, err)
		}
		e, err := cloudevents.ParseEvent(bytes.TrimSpace(line))
		if err != nil {
			return whole, fmt.Errorf("line %d: %w", n, err)
		}
		whole += int64(len(line))
		id := identityOf(&e)
		if _, twice := s.seen[id]; twice {
			continue
		}
		if len(s.events) == maxHeld {
			return whole, fmt.Errorf("line %d: %w (at most %d)", n, errFull, maxHeld)
		}
		s.hold(id, &e, 0)
	}
}
