package rig

import "encoding/binary"

// What the rigs know of the ledger's files, from their format document alone
// (sync/ledger/FORMAT.md): to read them by the gateway's own code would find
// what that code finds.
const (
	ledgerHeader  = 68
	ledgerSecond  = 2048
	ledgerBlock   = 4096 // frames begin behind it
	ledgerSmall   = 24   // the header of a frame
	ledgerPunch   = 1    // kind of a punch
	ledgerLargest = ledgerSmall + 1_049_600
)

// ledgerFrame is where a frame stands in a segment.
type ledgerFrame struct {
	off, len int64
	seq      uint64
	kind     byte
}

// ledgerFrames finds the frames of a segment of which nothing is damaged: one
// behind the other, then zeros.
func ledgerFrames(segment []byte) (frames []ledgerFrame) {
	for off := int64(ledgerBlock); off+ledgerSmall <= int64(len(segment)); {
		n := int64(binary.LittleEndian.Uint32(segment[off:]))
		size := (n + 7) &^ 7
		if n < ledgerSmall || n > ledgerLargest || off+size > int64(len(segment)) {
			break
		}
		frames = append(frames, ledgerFrame{off, size, binary.LittleEndian.Uint64(segment[off+8:]), segment[off+16]})
		off += size
	}
	return frames
}
