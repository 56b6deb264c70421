package zk

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/zk"
)

// snapshot is a log as it was read.
type snapshot struct {
	reading
	began   time.Time
	layout  zk.Layout
	records []byte
	hashes  []uint64 // of each whole record
	extra   int
}

// hash makes the hashes of the log's records: of what is read of each, which its
// key is made of too. What else stands in a record means nothing, and some
// terminals have something else there at each reading. One that can't be read has
// a key of its bytes, and a hash of them.
func (log *snapshot) hash(seed maphash.Seed) error {
	size := log.layout.Size()
	log.hashes = make([]uint64, 0, len(log.records)/size)
	var b []byte
	for part := range slices.Chunk(log.records, batchSize*size) {
		records, bad, err := zk.ParseRecords(part, log.layout)
		if err != nil {
			return err
		}
		for n := 0; len(records)+len(bad) > 0; n++ {
			if len(bad) == 0 || len(records) > 0 && bad[0].Index != n {
				b = appendMeaning(append(b[:0], 1), records[0])
				records = records[1:]
			} else {
				b, bad = append(append(b[:0], 0), bad[0].Raw...), bad[1:]
			}
			if len(log.hashes) < cap(log.hashes) { // else it is a rest, and no record
				log.hashes = append(log.hashes, maphash.Bytes(seed, b))
			}
		}
	}
	return nil
}

// appendMeaning appends what is read of a record.
func appendMeaning(b []byte, r zk.Record) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(r.At))
	b = le.AppendUint32(b, r.WorkCode)
	b = append(le.AppendUint16(b, r.UID), r.Verify, r.State)
	return append(b, r.PIN...)
}

// find reports whether the first n records of the log have somebody's of about
// that time. It reads all of them.
func (log *snapshot) find(told sighting, n int) bool {
	size := max(log.layout.Size(), 1)
	for part := range slices.Chunk(log.records[:n*size], batchSize*size) {
		records, _, err := zk.ParseRecords(part, log.layout)
		if err == nil && slices.ContainsFunc(records, func(r zk.Record) bool { return told.near(sighting{r.PIN, r.At}) }) {
			return true
		}
	}
	return false
}
