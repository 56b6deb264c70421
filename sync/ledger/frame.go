package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// The sizes of a frame, in bytes (FORMAT.md).
const (
	frameHeader = 24
	frameAlign  = 8
	// MaxPayload bounds a frame's payload: the largest record, and room for
	// what sealing it adds.
	MaxPayload = attendance.MaxStored + 1<<10
)

// MaxBatch bounds the entries of one [Ledger.Append].
const MaxBatch = 16 << 10

// maxBatchBytes bounds the frames of one Append in bytes. A reader without
// the lock may have to pass over that much before it knows a batch is whole.
const maxBatchBytes = 8 << 20

// FlagSealed says that a payload is encrypted under the frame's key id.
const FlagSealed uint8 = 1 << 0

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Entry is what is appended: a record in its stored form.
type Entry struct {
	Kind    attendance.RecordKind
	Flags   uint8
	KeyID   uint16 // which key a sealed payload was sealed with, 0 otherwise
	Payload []byte
}

// Frame is an entry in its place.
type Frame struct {
	Seq uint64 // contiguous from 0
	Entry
	// Index and Count are the frame's place in the batch it was made durable
	// with: a batch that is not whole was never acknowledged.
	Index, Count uint16
}

// batch is the sequence of the first frame of f's batch.
func (f *Frame) batch() uint64 { return f.Seq - uint64(f.Index) }

// frameSize is what a payload of n bytes takes in a segment.
func frameSize(n int) int {
	return (frameHeader + n + frameAlign - 1) &^ (frameAlign - 1)
}

// AppendFrame appends f as it stands in the ledger. The payload's length is
// the caller's to bound by [MaxPayload].
func (id *Identity) AppendFrame(dst []byte, f Frame) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(frameHeader+len(f.Payload)))
	dst = append(dst, 0, 0, 0, 0) // the check sum
	dst = binary.LittleEndian.AppendUint64(dst, f.Seq)
	dst = append(dst, byte(f.Kind), f.Flags)
	dst = binary.LittleEndian.AppendUint16(dst, f.KeyID)
	dst = binary.LittleEndian.AppendUint16(dst, f.Index)
	dst = binary.LittleEndian.AppendUint16(dst, f.Count)
	dst = append(dst, f.Payload...)
	for (len(dst)-at)%frameAlign != 0 {
		dst = append(dst, 0)
	}
	binary.LittleEndian.PutUint32(dst[at+4:], id.sum(dst[at:]))
	return dst
}

// sum is the check sum of a whole frame, padding included. It begins with the
// ledger's salt, which is told to nobody: a payload is written by a stranger,
// and one that holds the bytes of a frame must not be taken for a frame when
// the search behind a damaged place comes across it.
func (id *Identity) sum(frame []byte) uint32 {
	c := crc32.Update(0, castagnoli, id.Salt[:])
	c = crc32.Update(c, castagnoli, frame[:4])
	return crc32.Update(c, castagnoli, frame[8:])
}

// ParseFrame reads the frame that b begins with and says how many bytes it
// takes. The payload is a part of b. The error wraps [protocol.ErrIncomplete],
// [protocol.ErrMalformed], [protocol.ErrTooLarge] or [protocol.ErrChecksum].
func (id *Identity) ParseFrame(b []byte) (f Frame, size int, err error) {
	if len(b) < frameHeader {
		return f, 0, fmt.Errorf("ledger: frame of %d bytes: %w", len(b), protocol.ErrIncomplete)
	}
	n := binary.LittleEndian.Uint32(b)
	switch {
	case n < frameHeader:
		return f, 0, fmt.Errorf("ledger: frame says it has %d bytes: %w", n, protocol.ErrMalformed)
	case n > frameHeader+MaxPayload:
		return f, 0, fmt.Errorf("ledger: frame says it has %d bytes: %w", n, protocol.ErrTooLarge)
	}
	size = frameSize(int(n) - frameHeader)
	if size > len(b) {
		return f, 0, fmt.Errorf("ledger: frame of %d bytes, %d are there: %w", size, len(b), protocol.ErrIncomplete)
	}
	f = Frame{
		Seq: binary.LittleEndian.Uint64(b[8:]),
		Entry: Entry{
			Kind:    attendance.RecordKind(b[16]),
			Flags:   b[17],
			KeyID:   binary.LittleEndian.Uint16(b[18:]),
			Payload: b[frameHeader:n:n],
		},
		Index: binary.LittleEndian.Uint16(b[20:]),
		Count: binary.LittleEndian.Uint16(b[22:]),
	}
	if f.Kind == 0 || f.Index >= f.Count || uint64(f.Index) > f.Seq {
		return Frame{}, 0, fmt.Errorf("ledger: frame %d of kind %d, %d of %d in its batch: %w", f.Seq, f.Kind, f.Index, f.Count, protocol.ErrMalformed)
	}
	if binary.LittleEndian.Uint32(b[4:]) != id.sum(b[:size]) {
		return Frame{}, 0, fmt.Errorf("ledger: frame %d: %w", f.Seq, protocol.ErrChecksum)
	}
	for _, c := range b[n:size] {
		if c != 0 {
			return Frame{}, 0, fmt.Errorf("ledger: frame %d: padding is not zero: %w", f.Seq, protocol.ErrMalformed)
		}
	}
	return f, size, nil
}
