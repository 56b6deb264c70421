package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/checkpoint"
)

// TypeCheckpoint is the event type of a signed head, as central gets it.
const TypeCheckpoint = "attendance.checkpoint.v1"

// MaxWitness bounds what is read of heads that were kept elsewhere, in bytes:
// hundreds of thousands.
const MaxWitness = 256 << 20

// ReadWitness reads signed heads that somebody kept: as they are, one behind the
// other, or the CloudEvents that central got, one a line or in arrays. Events of
// other types are passed over. The error wraps a kind of package protocol, if it
// is not one of reading.
func ReadWitness(r io.Reader) ([][]byte, error) {
	limited := &io.LimitedReader{R: r, N: MaxWitness + 1}
	b := bufio.NewReaderSize(limited, checkpoint.MaxNote)
	notes, err := readWitness(b)
	if limited.N <= 0 {
		return nil, fmt.Errorf("audit: over %d bytes of kept heads; give a part of them: %w", MaxWitness, protocol.ErrTooLarge)
	}
	if err == nil && len(notes) == 0 {
		err = fmt.Errorf("audit: there is no signed head in it, neither as it is nor in an event of type %s: %w", TypeCheckpoint, protocol.ErrMalformed)
	}
	if err != nil {
		return nil, err
	}
	return notes, nil
}

func readWitness(b *bufio.Reader) ([][]byte, error) {
	for {
		c, err := b.ReadByte()
		switch {
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("audit: %w", err)
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		}
		if err := b.UnreadByte(); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		if c == '{' || c == '[' {
			return readEvents(json.NewDecoder(b))
		}
		return readNotes(b)
	}
}

// readEvents reads events, and arrays of them, to the end.
func readEvents(d *json.Decoder) (notes [][]byte, err error) {
	for within := false; ; {
		t, err := d.Token()
		switch {
		case err == io.EOF && !within:
			return notes, nil
		case err != nil:
			return nil, notJSON(d, err)
		case t == json.Delim('[') && !within:
			within = true
		case t == json.Delim(']'):
			within = false
		case t == json.Delim('{'):
			note, err := readEvent(d)
			if err != nil {
				return nil, err
			}
			if note != nil {
				notes = append(notes, note)
			}
		default:
			return nil, fmt.Errorf("audit: before byte %d stands no event: %w", d.InputOffset(), protocol.ErrMalformed)
		}
	}
}

// readEvent reads an event behind its opening bracket. It gives nil for one of
// another type.
func readEvent(d *json.Decoder) ([]byte, error) {
	var typ, data json.RawMessage
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, notJSON(d, err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, notJSON(d, err)
		}
		switch name {
		case "type":
			typ = value
		case "data":
			data = value
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return nil, notJSON(d, err)
	}
	var is string
	if err := json.Unmarshal(typ, &is); err != nil || is != TypeCheckpoint {
		return nil, nil
	}
	var said struct {
		Note string `json:"note"`
	}
	if err := json.Unmarshal(data, &said); err != nil || said.Note == "" {
		return nil, fmt.Errorf("audit: the event of type %s before byte %d has no note: %w", TypeCheckpoint, d.InputOffset(), protocol.ErrMalformed)
	}
	return []byte(said.Note), nil
}

func notJSON(d *json.Decoder, err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("audit: the events end within one: %w", protocol.ErrIncomplete)
	}
	return fmt.Errorf("audit: before byte %d: %w: %w", d.InputOffset(), err, protocol.ErrMalformed)
}

// signer begins each line of signatures, and no other line.
var signer = []byte("\u2014 ")

// readNotes reads notes that stand one behind the other. Each ends with its
// lines of signatures; empty lines may be between them.
func readNotes(b *bufio.Reader) (notes [][]byte, err error) {
	var note []byte
	signed := false
	for {
		line, err := b.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			if len(note) > 0 && !signed {
				return nil, fmt.Errorf("audit: what stands behind %d heads is none: it is not signed: %w", len(notes), protocol.ErrMalformed)
			}
			if len(note) > 0 {
				notes = append(notes, note)
			}
			return notes, nil
		case err == io.EOF:
			line = append(bytes.Clone(line), '\n') // an editor may have taken it away
		case err == bufio.ErrBufferFull:
			return nil, fmt.Errorf("audit: in head no. %d is a line of over %d bytes: %w", len(notes)+1, b.Size(), protocol.ErrMalformed)
		case err != nil:
			return nil, fmt.Errorf("audit: %w", err)
		}
		if signed && !bytes.HasPrefix(line, signer) {
			notes, note, signed = append(notes, note), nil, false
		}
		if len(note) == 0 && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		signed = signed || bytes.HasPrefix(line, signer)
		if note = append(note, line...); len(note) > checkpoint.MaxNote {
			return nil, fmt.Errorf("audit: head no. %d has over %d bytes: %w", len(notes)+1, checkpoint.MaxNote, protocol.ErrTooLarge)
		}
	}
}
