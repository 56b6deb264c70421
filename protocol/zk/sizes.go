package zk

import (
	"encoding/binary"
	"fmt"

	"github.com/punchd/punchd/protocol"
)

// Sizes is what a terminal says of its tables. The counts are hints: terminals
// say 0 with a full log, and counts of another time.
type Sizes struct {
	Users, Fingers, Records, Operations uint32
	Admins                              uint32 // with some products the cards
	Passwords                           uint32
	FingerRoom, UserRoom, RecordRoom    uint32 // capacities
	FingersLeft, UsersLeft, RecordsLeft uint32
	HasFaces                            bool // the block says the next two
	Faces, FaceRoom                     uint32
}

// The lengths of the block that are seen: without faces, with them, and with
// words of unknown meaning behind.
const (
	SizesLen      = 80
	SizesFacesLen = 92
	SizesLongLen  = 112
)

// words gives the fields with their places in the block.
func (s *Sizes) words() map[int]*uint32 {
	return map[int]*uint32{
		16: &s.Users, 24: &s.Fingers, 32: &s.Records, 40: &s.Operations, 48: &s.Admins, 52: &s.Passwords,
		56: &s.FingerRoom, 60: &s.UserRoom, 64: &s.RecordRoom, 68: &s.FingersLeft, 72: &s.UsersLeft, 76: &s.RecordsLeft,
		80: &s.Faces, 88: &s.FaceRoom,
	}
}

// ParseSizes reads the answer to GET_FREE_SIZES, of any length from
// [SizesLen]; words of unknown meaning are passed over. A shorter block is an
// error that wraps [protocol.ErrIncomplete]: a host does without the counts.
func ParseSizes(data []byte) (Sizes, error) {
	if len(data) < SizesLen {
		return Sizes{}, fmt.Errorf("zk: sizes of %d bytes, at least %d: %w", len(data), SizesLen, protocol.ErrIncomplete)
	}
	s := Sizes{HasFaces: len(data) >= SizesFacesLen}
	for at, field := range s.words() {
		if s.HasFaces || at < SizesLen {
			*field = binary.LittleEndian.Uint32(data[at:])
		}
	}
	return s, nil
}

// AppendSizes appends a block of length bytes with the words that fit;
// unknown ones are 0.
func AppendSizes(dst []byte, s Sizes, length int) []byte {
	block := make([]byte, length)
	for at, field := range s.words() {
		if at+4 <= length {
			binary.LittleEndian.PutUint32(block[at:], *field)
		}
	}
	return append(dst, block...)
}
