package cardline

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/punchd/punchd/protocol"
)

// MaxLine bounds a line, without its terminator, in bytes.
const MaxLine = 512

// Terminator is what ends a line.
type Terminator string

// The terminators. Empty lines count for nothing, and a CR, LF or ETX in front
// of a line neither: readers send CR LF where one of them was asked for, or
// behind an ETX. [Lines.Parse] takes a CR or LF off the end of a line.
const (
	EndAny  Terminator = ""     // CR, LF or both
	EndCR   Terminator = "cr"   // CR
	EndLF   Terminator = "lf"   // LF
	EndCRLF Terminator = "crlf" // both; one of them alone ends nothing
	EndTab  Terminator = "tab"
	EndETX  Terminator = "etx"
	EndIdle Terminator = "idle" // silence, or CR or LF
)

// bytes is what the terminator looks like, empty for silence.
func (t Terminator) bytes() (string, error) {
	switch t {
	case EndAny, EndCRLF:
		return "\r\n", nil
	case EndCR:
		return "\r", nil
	case EndLF:
		return "\n", nil
	case EndTab:
		return "\t", nil
	case EndETX:
		return "\x03", nil
	case EndIdle:
		return "", nil
	}
	return "", fmt.Errorf("cardline: unknown terminator %q (known: cr, lf, crlf, tab, etx, idle): %w", string(t), protocol.ErrUnsupported)
}

// Splitter cuts a stream of bytes into frames or lines, however the bytes come
// in. It holds one of them at most, gives up what can't become one, and finds
// the next one behind it.
//
// Ports put a NUL where the parity of a byte was wrong. A frame without that
// byte is refused by its length and checksum, so NULs are dropped there. A line
// has neither, and 12\x0045 without it would be another person's number, so a
// NUL spoils the line that it stands in, in front of or behind.
//
// But some readers send a NUL behind each end. One that nothing follows before
// the next [Splitter.Flush] is forgotten; directly behind an end, or behind the
// text where silence is the end, it belongs to the end, unless an end before it
// had none: then it is the next character, or the last one, that was damaged.
//
// It is not safe for concurrent use.
type Splitter struct {
	framed   bool // frames between STX and ETX, else lines
	end      Terminator
	sevenBit bool
	prefix   string // of every line, if it has one
	limit    int

	buf   []byte // what came of the next one; of a frame, from its STX on
	skip  bool   // too long, and told: the rest goes up to the next mark
	nuls  int    // in the line
	nulAt int    // what of the line stood before the last of them
	cut   bool   // a line broke off: what comes up to the next mark may be its rest
	junk  int    // bytes between frames or behind a cut, not told yet
	ended bool   // a mark came, and no byte of the next line yet, nor a NUL
	plain bool   // the newest end that shows it had no NUL behind it
}

// NewFrames makes a splitter for RDM6300 and ID-12.
func NewFrames() *Splitter { return &Splitter{framed: true, limit: MaxFrame} }

// NewLines makes a splitter for lines. Mask takes the highest bit off each byte,
// for a reader with 7 data bits on a line with 8.
func NewLines(end Terminator, mask bool) (*Splitter, error) {
	if _, err := end.bytes(); err != nil {
		return nil, err
	}
	return &Splitter{end: end, sevenBit: mask, limit: MaxLine}, nil
}

// Feed takes the bytes of one read and gives what they complete: a frame from
// STX to ETX, or a line without its terminator, or an error for what was given
// up. The bytes are valid until the next step. Leaving the loop drops the rest
// of p.
func (s *Splitter) Feed(p []byte) iter.Seq2[[]byte, error] {
	step := s.line
	if s.framed {
		step = s.frame
	}
	return func(yield func([]byte, error) bool) {
		for _, c := range p {
			if s.sevenBit {
				c &= 0x7f
			}
			if c == 0 {
				s.null()
				continue
			}
			if whole, err := step(c); (whole != nil || err != nil) && !yield(whole, err) {
				return
			}
		}
	}
}

// null takes a NUL.
func (s *Splitter) null() {
	switch {
	case s.framed:
	case s.ended && !s.plain:
		s.ended = false // a second one is none of the reader's making
	default:
		s.nuls++
		s.nulAt = len(s.buf)
	}
}

// Pending reports whether something has begun that [Splitter.Flush] would end,
// be it what may come directly behind an end.
func (s *Splitter) Pending() bool {
	return len(s.buf) > 0 || s.junk > 0 || s.skip || s.nuls > 0 || s.cut || s.ended
}

// Cut reports whether a line was broken off and its rest may still come. Another
// Flush says that it will not. Of a rest that silence ends, this is so until it
// begins.
func (s *Splitter) Cut() bool { return s.cut && (s.end != EndIdle || s.junk == 0) }

// begun reports whether a line has begun with something of which a badge could
// be, and not only with what stands around one.
func (s *Splitter) begun() bool {
	b := bytes.TrimPrefix(s.buf, []byte(byteOrderMark))
	return s.skip || len(bytes.Trim(b, "\r\n\t \x02\x03")) > 0
}

// Flush says that no byte came for long. It gives the line that silence ends, an
// error for anything else that was not whole, and nil for both if there was
// nothing.
//
// Behind a line that was broken off so, what comes up to the next terminator is
// given up too: its rest would be a shorter number, and somebody's.
func (s *Splitter) Flush() ([]byte, error) {
	line, begun, skipped, cut, junk := s.buf, s.begun(), s.skip, s.cut, s.junk
	nuls, nulLast := s.nuls, s.nuls == 1 && s.nulAt == len(s.buf)
	s.learn(begun && !cut, nulLast)
	s.buf, s.skip, s.nuls, s.junk = s.buf[:0], false, 0, 0
	s.cut = !s.framed && s.end != EndIdle && !cut && begun
	if before := s.before(); s.cut && bytes.HasSuffix(line, before) {
		s.buf = append(s.buf, before...) // the other half of the end may come
	}
	switch {
	case cut && junk > 0:
		return nil, errRest(junk)
	case cut, skipped:
	case len(line) > 0 && s.framed:
		return nil, fmt.Errorf("cardline: frame cut off behind %d bytes: %w", len(line), protocol.ErrIncomplete)
	case begun && s.end == EndIdle && nuls > 0 && (!nulLast || s.plain):
		return nil, errNUL(len(line))
	case begun && s.end == EndIdle:
		return line, nil
	case begun:
		return nil, fmt.Errorf("cardline: line of %d bytes without terminator (if the reader sends none, set it to idle): %w", len(line), protocol.ErrIncomplete)
	case junk > 0:
		return nil, errJunk(junk)
	}
	return nil, nil
}

// learn notes at a silence whether the reader sends a NUL behind its ends.
func (s *Splitter) learn(begun, nul bool) {
	switch {
	case !begun && nul:
		s.plain = false // no character of a line would stand there alone
	case s.ended, begun && s.end == EndIdle && s.nuls == 0:
		s.plain = true
	}
	s.ended = false
}

// Break says that the connection ended. It gives an error for what had begun.
// What comes on the next one may be the rest of it: a serial server keeps what
// nobody takes.
func (s *Splitter) Break() error {
	cut := s.cut || s.begun()
	line, err := s.Flush()
	s.cut = cut && !s.framed
	s.plain = false // the reader may be another one by then
	if err == nil && line != nil {
		err = fmt.Errorf("cardline: connection ended behind %d bytes of a line: %w", len(line), protocol.ErrIncomplete)
	}
	return err
}

func errNUL(n int) error {
	return fmt.Errorf("cardline: line of %d bytes with a NUL, which stands for a byte with wrong parity (if it comes with every card, see to baud, data bits and parity): %w", n, protocol.ErrMalformed)
}

func errRest(n int) error {
	return fmt.Errorf("cardline: %d bytes behind a line that broke off, which may be its rest: %w", n, protocol.ErrMalformed)
}

func errJunk(n int) error {
	return fmt.Errorf("cardline: %d bytes outside any frame: %w", n, protocol.ErrMalformed)
}

// frame takes one byte. An STX always begins anew, since none stands within a
// frame: the cut half of one must not swallow the next.
func (s *Splitter) frame(c byte) ([]byte, error) {
	switch {
	case c == stx:
		_, err := s.Flush()
		s.buf = append(s.buf, c)
		return nil, err
	case len(s.buf) > 0:
		s.buf = append(s.buf, c)
		if c == etx {
			whole := s.buf
			s.buf = s.buf[:0]
			return whole, nil
		}
		if len(s.buf) == s.limit {
			s.buf, s.skip = s.buf[:0], true
			return nil, fmt.Errorf("cardline: frame without ETX within %d bytes: %w", s.limit, protocol.ErrTooLarge)
		}
	case s.skip:
		s.skip = c != etx
	case c == '\r' || c == '\n': // some modules end their frames with them
	default:
		s.junk++
		if junk := s.junk; c == etx || junk == MaxLine {
			s.junk = 0
			return nil, errJunk(junk)
		}
	}
	return nil, nil
}

// line takes one byte.
func (s *Splitter) line(c byte) ([]byte, error) {
	if s.ends(c) {
		return s.mark()
	}
	if len(s.buf) == 0 && !s.skip && !s.cut && s.around(c) {
		return nil, nil
	}
	if s.ended {
		s.ended, s.plain = false, true
	}
	if s.cut {
		s.junk++
	}
	if s.skip || s.cut {
		s.buf = s.buf[:0] // the last byte stays: it may be the CR of a CR LF
	}
	s.buf = append(s.buf, c)
	if len(s.buf) > s.limit+len(s.before()) {
		s.buf, s.skip = append(s.buf[:0], c), true
		return nil, fmt.Errorf("cardline: line of more than %d bytes: %w", s.limit, protocol.ErrTooLarge)
	}
	return nil, nil
}

// mark ends a line.
func (s *Splitter) mark() ([]byte, error) {
	whole := bytes.TrimSuffix(s.buf, s.before())
	skipped, nul, rest := s.skip || s.cut, s.nuls > 0, s.junk-len(s.before())
	s.buf, s.skip, s.nuls, s.cut, s.junk, s.ended = s.buf[:0], false, 0, false, 0, true
	switch {
	case rest > 0:
		return nil, errRest(rest)
	case skipped || len(whole) == 0:
		return nil, nil
	case nul:
		return nil, errNUL(len(whole))
	}
	return whole, nil
}

// around reports whether c in front of a line is no part of it, but of what the
// reader sends around its lines.
func (s *Splitter) around(c byte) bool {
	return (c == '\r' || c == '\n' || c == etx) && (s.prefix == "" || s.prefix[0] != c)
}

// before is the part of the terminator that lies in buf when its last byte
// comes.
func (s *Splitter) before() []byte {
	if s.end == EndCRLF {
		return []byte{'\r'}
	}
	return nil
}

func (s *Splitter) ends(c byte) bool {
	switch s.end {
	case EndCR:
		return c == '\r'
	case EndLF:
		return c == '\n'
	case EndCRLF:
		return c == '\n' && len(s.buf) > 0 && s.buf[len(s.buf)-1] == '\r'
	case EndTab:
		return c == '\t'
	case EndETX:
		return c == etx
	}
	return c == '\r' || c == '\n'
}
