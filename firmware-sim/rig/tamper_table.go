package rig

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
)

// tampering is a way to change the past, for somebody who has the machine and
// not the key. Where no ledger by itself can show it, as when it is put back as
// a whole to what it was, the heads that central got do.
type tampering struct {
	name    string
	witness bool
	change  func(b *book)
}

// Kinds of records.
const ledgerCheckpoint = 4

// middle is a punch under a head, with others around it.
func (b *book) middle() int {
	at := b.of(ledgerPunch)
	return at[len(at)/3]
}

// head changes the text of the nth head from the end.
func (b *book) head(n int, change func(note string) string) {
	at := b.of(ledgerCheckpoint)
	r := &b.records[at[len(at)-1-n]]
	rec, err := attendance.DecodeRecord(ledgerCheckpoint, r.payload)
	if c, ok := rec.(*attendance.Checkpoint); err == nil && ok {
		c.Note = change(c.Note)
		r.payload = attendance.AppendRecord(nil, c)
	}
}

// inLine changes a line of a head.
func inLine(n int, change func(string) string) func(string) string {
	return func(note string) string {
		lines := strings.Split(note, "\n")
		lines[n] = change(lines[n])
		return strings.Join(lines, "\n")
	}
}

// without takes records away.
func (b *book) without(from, to int) { b.records = slices.Delete(b.records, from, to) }

// forge signs all heads anew, over the records as they are, with another key.
func (b *book) forge() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var tree checkpoint.Tree
	for i := range b.records {
		r := &b.records[i]
		if r.kind == ledgerCheckpoint {
			note, err := checkpoint.Sign(checkpoint.Head{
				Ledger: hex.EncodeToString(b.header[16:32]), Size: tree.Size(), Root: tree.Root(), At: time.Unix(1_790_000_000, 0),
			}, key)
			c := &attendance.Checkpoint{Note: string(note)}
			for _, e := range tree.Edge() {
				c.Edge = append(c.Edge, e)
			}
			if err == nil {
				r.payload = attendance.AppendRecord(nil, c)
			}
		}
		tree.Add(checkpoint.LeafHash(r.leaf()))
	}
}

// edit changes a byte that stands in the middle of a record.
func (b *book) edit(i int) { b.records[i].payload[len(b.records[i].payload)/2] ^= 1 }

// cut takes away so many heads with all behind the first of them, and some of
// what that one covers.
func (b *book) cut(heads int) {
	at := b.of(ledgerCheckpoint)
	b.records = b.records[:at[len(at)-heads]-10]
	last := &b.records[len(b.records)-1]
	last.count = last.index + 1 // its batch must be whole
	for i := len(b.records) - 1; i >= 0 && b.records[i].seq >= last.seq-uint64(last.index); i-- {
		b.records[i].count = last.count
	}
}

// later appends punches like one that there is, at the ledger's end.
func (b *book) later(n int) {
	like := b.records[b.middle()]
	for range n {
		r := like
		r.seq, r.index, r.count = b.records[len(b.records)-1].seq+1, 0, 1
		r.payload = bytes.Clone(like.payload)
		r.payload[len(r.payload)/2] ^= byte(r.seq)
		b.records = append(b.records, r)
	}
}

// tamperings are all ways that are tried.
func tamperings() []tampering {
	record := func(change func(b *book, i int)) func(*book) { return func(b *book) { change(b, b.middle()) } }
	return slices.Concat([]tampering{
		{"a byte of a record", false, record((*book).edit)},
		{"the first record", false, func(b *book) { b.edit(b.of(ledgerPunch)[0]) }},
		{"the last record under a head", false, func(b *book) {
			heads := b.of(ledgerCheckpoint)
			rec, _ := attendance.DecodeRecord(ledgerCheckpoint, b.records[heads[len(heads)-1]].payload)
			h, _ := checkpoint.Open([]byte(rec.(*attendance.Checkpoint).Note))
			b.edit(int(h.Size) - 1)
		}},
		{"every record", false, func(b *book) {
			for _, i := range b.of(ledgerPunch) {
				b.edit(i)
			}
		}},
		{"a longer record", false, record(func(b *book, i int) { b.records[i].payload = append(b.records[i].payload, 0xf8, 0x3f, 1) })},
		{"a record that says what another says", false, record(func(b *book, i int) { b.records[i].payload = bytes.Clone(b.records[i-1].payload) })},
		{"its kind", false, record(func(b *book, i int) { b.records[i].kind = 6 })},
		{"its flags", false, record(func(b *book, i int) { b.records[i].flags ^= 1 })},
		{"its key id", false, record(func(b *book, i int) { b.records[i].key++ })},
		{"batches", false, func(b *book) { b.renumber() }},
		{"a record taken away", false, record(func(b *book, i int) { b.without(i, i+1) })},
		{"a record taken away, and the rest moved up", false, record(func(b *book, i int) { b.without(i, i+1); b.renumber() })},
		{"a hundred taken away, and the rest moved up", false, record(func(b *book, i int) { b.without(i, i+100); b.renumber() })},
		{"a record put in between", false, record(func(b *book, i int) { b.records = slices.Insert(b.records, i, b.records[i+1]); b.renumber() })},
		{"two that changed places", false, record(func(b *book, i int) {
			b.records[i].payload, b.records[i+1].payload = b.records[i+1].payload, b.records[i].payload
		})},
		{"two that changed places with their numbers", false, record(func(b *book, i int) { b.records[i], b.records[i+1] = b.records[i+1], b.records[i] })},
		{"a number given twice", false, record(func(b *book, i int) { b.records[i].seq = b.records[i-1].seq })},
	}, headTamperings(), wholeTamperings())
}

func headTamperings() []tampering {
	return []tampering{
		{"a head taken away with what it covers", false, func(b *book) {
			at := b.of(ledgerCheckpoint)
			b.without(b.middle(), b.middle()+1)
			b.without(at[0]-1, at[0])
			b.renumber()
		}},
		{"the size of a head", false, func(b *book) { b.head(0, inLine(1, func(string) string { return "7" })) }},
		{"the root of a head", false, func(b *book) { b.head(0, inLine(2, strings.ToUpper)) }},
		{"the time of a head", false, func(b *book) { b.head(0, inLine(3, func(string) string { return "time 2026-01-01T00:00:00.000Z" })) }},
		{"a head that says that records are lost", false, func(b *book) {
			i := b.middle()
			b.head(0, inLine(3, func(s string) string { return s + "\nlost 1-1" }))
			b.edit(i)
		}},
		{"the signature of a head", false, func(b *book) {
			b.head(0, func(note string) string {
				c := byte('A')
				if note[len(note)-10] == c {
					c = 'B'
				}
				return note[:len(note)-10] + string(c) + note[len(note)-9:]
			})
		}},
		{"the edge beside a head", false, func(b *book) {
			at := b.of(ledgerCheckpoint)
			p := b.records[at[len(at)-1]].payload
			p[len(p)-1] ^= 1
		}},
		{"an old head in the place of a new one", false, func(b *book) {
			at := b.of(ledgerCheckpoint)
			b.records[at[len(at)-1]].payload = bytes.Clone(b.records[at[0]].payload)
		}},
		{"heads signed by another key", false, func(b *book) { b.forge() }},
		{"a changed record, and heads signed by another key", false, func(b *book) { b.edit(b.middle()); b.forge() }},
		{"all heads taken away", false, func(b *book) {
			b.records = slices.DeleteFunc(b.records, func(r bookRecord) bool { return r.kind == ledgerCheckpoint })
			b.renumber()
		}},
	}
}

func wholeTamperings() []tampering {
	return []tampering{
		{"another id", false, func(b *book) { b.header[16] ^= 1; b.reseal() }},
		{"another beginning", false, func(b *book) {
			b.without(0, 5)
			binary.LittleEndian.PutUint64(b.header[40:], b.records[0].seq)
			binary.LittleEndian.PutUint64(b.header[48:], b.records[0].seq)
			b.reseal()
		}},
		{"nothing left of it", true, func(b *book) { b.records = nil }},
		{"put back to what it was at the first head", true, func(b *book) { b.cut(len(b.of(ledgerCheckpoint)) - 1) }},
		{"its last heads taken away with all behind", true, func(b *book) { b.cut(2) }},
		{"put back, and gone on otherwise", true, func(b *book) { b.cut(2); b.later(40) }},
		{"the last hour told otherwise, under no head", true, func(b *book) {
			b.cut(2)
			b.edit(len(b.records) - 1)
			b.later(10)
		}},
	}
}
