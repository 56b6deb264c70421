package zk

import (
	"encoding/binary"
	"math/bits"
)

// Ticks is the tick value that hosts put into the answer to a comm key.
const Ticks = 50

// Scramble makes the data of AUTH from a terminal's comm key, a decimal number
// that its menu shows. It hides nothing: 24 bits of the key travel, in a form
// that can be undone, and may be replayed within the session.
func Scramble(key uint32, session uint16, ticks byte) [4]byte {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], bits.Reverse32(key)+uint32(session))
	for i, c := range []byte("ZKSO") {
		b[i] ^= c
	}
	return [4]byte{b[2] ^ ticks, b[3] ^ ticks, ticks, b[1] ^ ticks}
}

// CheckKey reports whether answer was made from key for the session, with
// whatever tick value.
func CheckKey(key uint32, session uint16, answer [4]byte) bool {
	return Scramble(key, session, answer[2]) == answer
}

// NextReply is the reply id of the request after the one with id: hosts never
// use 65535.
func NextReply(id uint16) uint16 {
	if id >= 65534 {
		return 0
	}
	return id + 1
}
