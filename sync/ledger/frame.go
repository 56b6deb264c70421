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
	dst = f.appendLength(dst)
	dst = append(dst, 0, 0, 0, 0) // the check sum
	dst = f.appendRest(dst)
	for (len(dst)-at)%frameAlign != 0 {
		dst = append(dst, 0)
	}
	binary.LittleEndian.PutUint32(dst[at+4:], id.sum(dst[at:]))
	return dst
}

func (f *Frame) appendLength(dst []byte) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(frameHeader+len(f.Payload)))
}

// appendRest appends what stands behind the check sum.
func (f *Frame) appendRest(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, f.Seq)
	dst = append(dst, byte(f.Kind), f.Flags)
	dst = binary.LittleEndian.AppendUint16(dst, f.KeyID)
	dst = binary.LittleEndian.AppendUint16(dst, f.Index)
	dst = binary.LittleEndian.AppendUint16(dst, f.Count)
	return append(dst, f.Payload...)
}

// AppendLeaf appends the frame as it is under the ledger's Merkle tree: without
// its check sum, which is salted, and without what fills it up.
func (f *Frame) AppendLeaf(dst []byte) []byte { return f.appendRest(f.appendLength(dst)) }

// ParseLeaf reads what [Frame.AppendLeaf] writes. The payload is a part of leaf.
// The error wraps [protocol.ErrMalformed].
func ParseLeaf(leaf []byte) (Frame, error) {
	if len(leaf) < frameHeader-4 || len(leaf) > frameHeader-4+MaxPayload || binary.LittleEndian.Uint32(leaf) != uint32(len(leaf))+4 {
		return Frame{}, fmt.Errorf("ledger: a leaf of %d bytes: %w", len(leaf), protocol.ErrMalformed)
	}
	f := parseRest(leaf[4:])
	if !f.possible() {
		return Frame{}, fmt.Errorf("ledger: a leaf that is no frame: %w", protocol.ErrMalformed)
	}
	return f, nil
}

// parseRest reads what [Frame.appendRest] writes.
func parseRest(b []byte) Frame {
	return Frame{
		Seq: binary.LittleEndian.Uint64(b),
		Entry: Entry{
			Kind:    attendance.RecordKind(b[8]),
			Flags:   b[9],
			KeyID:   binary.LittleEndian.Uint16(b[10:]),
			Payload: b[16:len(b):len(b)],
		},
		Index: binary.LittleEndian.Uint16(b[12:]),
		Count: binary.LittleEndian.Uint16(b[14:]),
	}
}

// possible says whether there can be such a frame.
func (f *Frame) possible() bool { return f.Kind != 0 && f.Index < f.Count && uint64(f.Index) <= f.Seq }

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
	if f = parseRest(b[8:n]); !f.possible() {
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
