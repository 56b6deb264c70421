package zk

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/punchd/punchd/protocol"
)

// Bounds of bulk reads, in bytes.
const (
	// MaxChunk and MaxChunkUDP are the largest parts that terminals give out
	// at once.
	MaxChunk    = 0xffc0
	MaxChunkUDP = 16384
	// MaxDataset bounds a whole dataset: 1.3 million records of 49 bytes.
	MaxDataset = 64 << 20
)

// BulkKind says how a dataset, or a chunk of one, comes.
type BulkKind uint8

// The ways.
const (
	BulkWhole  BulkKind = iota + 1 // in this packet
	BulkReady                      // it is held ready: fetch it with [Chunk]
	BulkStream                     // in the packets that follow: see [Stream]
)

// Bulk is the answer to a [BulkRead], a [Chunk], or a classic read.
type Bulk struct {
	Kind BulkKind
	Data []byte // BulkWhole; shares memory with the packet
	Size int    // bytes to come or to fetch, as announced: at most MaxDataset
	Part int    // BulkStream: the length of each piece, 0 if not told
}

// ParseBulk reads the answer to a request for bulk data. The error is a
// [*RefusedError] if the terminal declines, which often means that it knows
// only the classic reads. It wraps [protocol.ErrTooLarge] if more than
// [MaxDataset] is announced, and [protocol.ErrMalformed].
func ParseBulk(p Packet) (Bulk, error) {
	if err := p.Err(); err != nil {
		return Bulk{}, err
	}
	var b Bulk
	size := uint32(len(p.Data))
	switch p.Command {
	case CmdData:
		b = Bulk{Kind: BulkWhole, Data: p.Data}
	case CmdPrepareData:
		switch len(p.Data) {
		case 4:
		case 8:
			// A part-size over the size is seen, and no bound follows from it.
			b.Part = int(min(binary.LittleEndian.Uint32(p.Data[4:]), MaxDataset))
		default:
			return Bulk{}, fmt.Errorf("zk: PREPARE_DATA of %d bytes, it has 4 or 8: %w", len(p.Data), protocol.ErrMalformed)
		}
		size = binary.LittleEndian.Uint32(p.Data)
		b.Kind = BulkStream
	default:
		// One zero byte, the size twice, and a word whose meaning nobody knows.
		if len(p.Data) != 13 {
			return Bulk{}, wrongLength("announcement of a dataset", len(p.Data), 13)
		}
		size = binary.LittleEndian.Uint32(p.Data[1:])
		b.Kind = BulkReady
	}
	if size > MaxDataset {
		return Bulk{}, fmt.Errorf("zk: dataset of %d bytes, at most %d: %w", size, MaxDataset, protocol.ErrTooLarge)
	}
	b.Size = int(size)
	return b, nil
}

// AppendReady appends the data of the ACK_OK that announces a dataset to be
// fetched in chunks. The opaque word is not used by any host.
func AppendReady(dst []byte, size, opaque uint32) []byte {
	le := binary.LittleEndian
	return le.AppendUint32(le.AppendUint32(le.AppendUint32(append(dst, 0), size), size), opaque)
}

// AppendPrepare appends the data of PREPARE_DATA; part 0 leaves the part-size
// out.
func AppendPrepare(dst []byte, size, part uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, size)
	if part != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, part)
	}
	return dst
}

// Chunks are the requests that fetch a dataset of size bytes, in parts of at
// most part bytes.
func Chunks(size, part int) iter.Seq[Chunk] {
	return func(yield func(Chunk) bool) {
		for at := 0; at < size; at += max(part, 1) {
			if !yield(Chunk{uint32(at), uint32(min(part, size-at))}) {
				return
			}
		}
	}
}

// Stream collects the pieces that follow PREPARE_DATA.
type Stream struct {
	size int
	data []byte
}

// NewStream is for a [Bulk] of the kind BulkStream. Memory grows with what
// comes in.
func NewStream(b Bulk) *Stream { return &Stream{size: b.Size} }

// Add takes the next packet of the answer and reports whether it was the last:
// the ACK_OK behind the pieces. The error is a [*RefusedError], or wraps
// [protocol.ErrMalformed] if more comes than was announced, or
// [protocol.ErrIncomplete] if the end comes early. Pieces may have any session.
func (s *Stream) Add(p Packet) (done bool, err error) {
	if err := p.Err(); err != nil {
		return false, err
	}
	switch {
	case p.Command == CmdPrepareData:
		return false, fmt.Errorf("zk: PREPARE_DATA among the pieces of a dataset: %w", protocol.ErrMalformed)
	case p.Command == AckOK && !s.Whole():
		return false, fmt.Errorf("zk: the dataset ends after %d of %d bytes: %w", len(s.data), s.size, protocol.ErrIncomplete)
	case p.Command == AckOK:
		return true, nil
	case len(p.Data) > s.size-len(s.data):
		return false, fmt.Errorf("zk: %d bytes of a dataset of %d: %w", len(s.data)+len(p.Data), s.size, protocol.ErrMalformed)
	}
	s.data = append(s.data, p.Data...)
	return false, nil
}

// Whole reports whether all that was announced is here. Some terminals leave
// the last ACK_OK out.
func (s *Stream) Whole() bool { return len(s.data) == s.size }

// Data is what came so far.
func (s *Stream) Data() []byte { return s.data }

// SplitDataset cuts the length off a dataset. Records are the bytes it counts,
// extra what stands behind them, which is to be reported. The error wraps
// [protocol.ErrIncomplete] if the length counts more than there is; records
// are then all that is here. Both share memory with b.
func SplitDataset(b []byte) (records, extra []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("zk: dataset of %d bytes, its length alone has 4: %w", len(b), protocol.ErrIncomplete)
	}
	size := uint64(binary.LittleEndian.Uint32(b))
	records = b[4:]
	switch have := uint64(len(records)); {
	case size > have:
		return records, nil, fmt.Errorf("zk: dataset says %d bytes and has %d: %w", size, have, protocol.ErrIncomplete)
	case size < have:
		return records[:size:size], records[size:], nil
	}
	return records, nil, nil
}

// AppendDataset appends the records with their length before them.
func AppendDataset(dst, records []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(records)))
	return append(dst, records...)
}

// Bad is a record that can't be read. It is kept so that it can be shown.
type Bad struct {
	Index int    // its place in the dataset, from 0
	Raw   []byte // its bytes; shares memory with the dataset
	Err   error  // wraps a kind of error of package protocol
}
