package rig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

// book is a ledger of one segment as somebody sees it who may write to its file
// and knows its format: what he writes back has right check sums, since the salt
// stands in the header.
type book struct {
	header  []byte // all of the header block
	salt    []byte
	records []bookRecord
	size    int
}

// bookRecord is a frame without its length and check sum.
type bookRecord struct {
	seq          uint64
	kind, flags  byte
	key          uint16
	index, count uint16
	payload      []byte
}

func readBook(segment []byte) (*book, error) {
	if len(segment) < ledgerBlock {
		return nil, errors.New("rig: the segment has no header")
	}
	b := &book{header: bytes.Clone(segment[:ledgerBlock]), salt: bytes.Clone(segment[32:40]), size: len(segment)}
	for _, f := range ledgerFrames(segment) {
		raw := segment[f.off : f.off+f.len]
		b.records = append(b.records, bookRecord{
			seq: f.seq, kind: raw[16], flags: raw[17], key: binary.LittleEndian.Uint16(raw[18:]),
			index: binary.LittleEndian.Uint16(raw[20:]), count: binary.LittleEndian.Uint16(raw[22:]),
			payload: bytes.Clone(raw[ledgerSmall:binary.LittleEndian.Uint32(raw)]),
		})
	}
	if !bytes.Equal(b.bytes(), segment) {
		return nil, errors.New("rig: the segment is not what the format document says")
	}
	return b, nil
}

// clone copies a book deeply enough to change it.
func (b *book) clone() *book {
	c := &book{bytes.Clone(b.header), bytes.Clone(b.salt), slices.Clone(b.records), b.size}
	for i := range c.records {
		c.records[i].payload = bytes.Clone(c.records[i].payload)
	}
	return c
}

var crc32c = crc32.MakeTable(crc32.Castagnoli)

// bytes writes the book as a segment.
func (b *book) bytes() []byte {
	out := bytes.Clone(b.header)
	for i := range b.records {
		at := len(out)
		out = binary.LittleEndian.AppendUint64(out, uint64(ledgerSmall+len(b.records[i].payload))) // and no check sum yet
		out = b.records[i].append(out)
		for (len(out)-at)%8 != 0 {
			out = append(out, 0)
		}
		sum := crc32.Update(crc32.Update(crc32.Checksum(b.salt, crc32c), crc32c, out[at:at+4]), crc32c, out[at+8:])
		binary.LittleEndian.PutUint32(out[at+4:], sum)
	}
	return append(out, make([]byte, max(0, b.size-len(out)))...)
}

func (r *bookRecord) append(out []byte) []byte {
	out = binary.LittleEndian.AppendUint64(out, r.seq)
	out = append(out, r.kind, r.flags)
	out = binary.LittleEndian.AppendUint16(out, r.key)
	out = binary.LittleEndian.AppendUint16(out, r.index)
	out = binary.LittleEndian.AppendUint16(out, r.count)
	return append(out, r.payload...)
}

// leaf is the record as it is under the tree.
func (r *bookRecord) leaf() []byte {
	return r.append(binary.LittleEndian.AppendUint32(nil, uint32(ledgerSmall+len(r.payload))))
}

// reseal gives both copies of the header their check sums again.
func (b *book) reseal() {
	binary.LittleEndian.PutUint32(b.header[64:], crc32.Checksum(b.header[:64], crc32c))
	copy(b.header[ledgerSecond:], b.header[:ledgerHeader])
	b.salt = bytes.Clone(b.header[32:40])
}

// renumber gives sequences without a gap, each record a batch of its own.
func (b *book) renumber() {
	for i := range b.records {
		r := &b.records[i]
		r.seq, r.index, r.count = uint64(i), 0, 1
	}
}

// of gives the positions of the records of a kind.
func (b *book) of(kind byte) (at []int) {
	for i := range b.records {
		if b.records[i].kind == kind {
			at = append(at, i)
		}
	}
	return at
}
