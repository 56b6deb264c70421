package ledger

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/sync/ledger/disk"
)

// The layout of a segment, in bytes (FORMAT.md).
const (
	headerBlock  = 4096 // frames begin behind it
	headerSecond = 2048 // where the second copy of the header stands
	headerSize   = 68
	version      = 1

	// DefaultSegmentSize is that of a zero Config.
	DefaultSegmentSize = 16 << 20
	// MinSegmentSize and MaxSegmentSize bound what a Config may ask for.
	MinSegmentSize = 2 * headerBlock
	MaxSegmentSize = 1 << 30
)

// maxSeq bounds what a file may claim as a sequence.
const maxSeq = 1 << 62

const (
	segmentSuffix = ".seg"
	spareName     = "spare"     // a segment of zeros, ready to be taken
	spareTemp     = "spare.tmp" // one that is being written
)

var magic = [8]byte{'P', 'U', 'N', 'C', 'H', 'L', 'D', 'G'}

// Identity tells one ledger from another. All its segments carry it.
type Identity struct {
	ID   [16]byte // random
	Salt [8]byte  // random; mixed into every check sum, told to nobody
}

// String is the ledger's id in hex, without the salt.
func (id Identity) String() string { return hex.EncodeToString(id.ID[:]) }

// header is what a segment says of itself.
type header struct {
	id    Identity
	first uint64 // sequence of its first frame
	// durable: every record before this sequence was durable when the segment
	// was begun. It is less than first if the segment was begun within a batch.
	durable uint64
	size    int64 // of the whole file, in bytes
}

func (h header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, headerBlock)
	dst = append(dst, h.id.ID[:]...)
	dst = append(dst, h.id.Salt[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, h.first)
	dst = binary.LittleEndian.AppendUint64(dst, h.durable)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.size))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// block is the whole header block: two copies, in sectors of their own.
func (h header) block() []byte {
	b := h.append(make([]byte, 0, headerBlock))[:headerBlock]
	copy(b[headerSecond:], b[:headerSize])
	return b
}

func parseHeader(b []byte) (h header, err error) {
	if len(b) < headerSize {
		return h, fmt.Errorf("header of %d bytes: %w", len(b), protocol.ErrIncomplete)
	}
	b = b[:headerSize]
	if [8]byte(b) != magic {
		return h, fmt.Errorf("header begins with %x: %w", b[:8], protocol.ErrMalformed)
	}
	if binary.LittleEndian.Uint32(b[64:]) != crc32.Checksum(b[:64], castagnoli) {
		return h, fmt.Errorf("header: %w", protocol.ErrChecksum)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return h, fmt.Errorf("format version %d, this program knows %d: %w", v, version, protocol.ErrUnsupported)
	}
	h.id.ID = [16]byte(b[16:])
	h.id.Salt = [8]byte(b[32:])
	h.first = binary.LittleEndian.Uint64(b[40:])
	h.durable = binary.LittleEndian.Uint64(b[48:])
	h.size = int64(binary.LittleEndian.Uint64(b[56:]))
	if binary.LittleEndian.Uint32(b[12:]) != headerBlock || h.size < MinSegmentSize || h.size > MaxSegmentSize ||
		h.size%headerBlock != 0 || h.first > maxSeq || h.durable > h.first {
		return h, fmt.Errorf("segment of %d bytes from %d (%d durable): %w", h.size, h.first, h.durable, protocol.ErrMalformed)
	}
	return h, nil
}

// segment is one file of the ledger.
type segment struct {
	name string
	header
	length int64 // of the file as it is; less than size if something cut it
	hurt   bool  // a copy of its header can't be read; of no use to readers
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

func parseSegmentName(name string) (first uint64, ok bool) {
	digits, found := strings.CutSuffix(name, segmentSuffix)
	if !found || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 62)
	return first, err == nil
}

// layout is what a directory holds.
type layout struct {
	id       Identity
	segments []*segment // by first sequence
	headers  []HeaderProblem
}

// errNoHeader says that no segment of a ledger tells its identity.
var errNoHeader = errors.New("no segment has a readable header")

// ErrMixed says that a directory holds segments of several ledgers, and nothing
// tells which of them it is.
var ErrMixed = errors.New("segments of several ledgers")

// readLayout reads the headers of a ledger's segments. Only a header of a
// version this program does not know, a ledger without any readable one, or one
// that can't be told from another is an error: a segment whose header is lost is
// still read by its name. The ledger is the one that is expected, if a segment
// of it is there; nil says that it is only read.
func readLayout(fs disk.FS, dir string, expected *Identity) (*layout, error) {
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	lay := &layout{}
	var known, lost []*segment
	for _, name := range names {
		first, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		s, problem, err := readHeader(fs, filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("ledger: segment %s: %w", name, err)
		}
		s.name, s.hurt = name, problem != ""
		if problem != "" {
			lay.headers = append(lay.headers, HeaderProblem{Segment: name, First: first, Problem: problem})
		}
		if s.size == 0 {
			s.first, s.size = first, max(s.length, MinSegmentSize)
			lost = append(lost, s)
			continue
		}
		known = append(known, s)
	}
	if len(lost) > 0 && len(known) == 0 {
		return nil, fmt.Errorf("ledger: %s: %w: %w", dir, errNoHeader, protocol.ErrMalformed)
	}
	if err := lay.choose(known, expected); err != nil {
		return nil, fmt.Errorf("ledger: %s: %w", dir, err)
	}
	lay.segments = append(lay.segments, lost...)
	lay.sort()
	return lay, nil
}

// choose takes the segments of one ledger and passes over the others. The first
// by name has no more to say than the others: a single file that was copied
// into the directory must not make it another ledger's.
func (lay *layout) choose(known []*segment, expected *Identity) error {
	count := map[Identity]int{}
	for _, s := range known {
		count[s.id]++
		if count[s.id] > count[lay.id] {
			lay.id = s.id
		}
	}
	// Reading spoils nothing, so for that the one with most segments will do.
	sure := len(count) < 2 || expected == nil
	if expected != nil && count[*expected] > 0 {
		lay.id, sure = *expected, true
	}
	for _, s := range known {
		switch {
		case s.id == lay.id:
			lay.segments = append(lay.segments, s)
		case sure:
			lay.foreign(s, fmt.Sprintf("belongs to ledger %s, not to %s; it is passed over", s.id, lay.id))
		default:
			return fmt.Errorf("%w: most are of %s, but %s is of %s: move those elsewhere that don't belong here, and start again", ErrMixed, lay.id, s.name, s.id)
		}
	}
	return nil
}

// foreign notes that a segment is passed over.
func (lay *layout) foreign(s *segment, problem string) {
	first, _ := parseSegmentName(s.name) // it was read as one
	lay.headers = append(lay.headers, HeaderProblem{Segment: s.name, First: first, Foreign: true, Problem: problem})
}

// sort orders the segments and passes over a second one with the same start.
func (lay *layout) sort() {
	slices.SortStableFunc(lay.segments, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
	lay.segments = slices.CompactFunc(lay.segments, func(later, kept *segment) bool {
		if later.first != kept.first {
			return false
		}
		lay.foreign(later, fmt.Sprintf("begins at %d like %s; it is passed over", later.first, kept.name))
		return true
	})
}

// readHeader reads both copies of a segment's header. A size of 0 says that
// neither is readable; problem says what is wrong with them.
func readHeader(fs disk.FS, path string) (s *segment, problem string, err error) {
	f, err := fs.Open(path, false)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	s = &segment{}
	if s.length, err = f.Size(); err != nil {
		return nil, "", err
	}
	var problems []string
	for i, at := range []int64{0, headerSecond} {
		var b [headerSize]byte
		n, err := f.ReadAt(b[:], at)
		if err != nil && !errors.Is(err, io.EOF) {
			problems = append(problems, fmt.Sprintf("copy %d of its header: %v", i+1, err))
			continue
		}
		h, err := parseHeader(b[:n])
		if errors.Is(err, protocol.ErrUnsupported) {
			return nil, "", err
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("copy %d of its header: %v", i+1, err))
			continue
		}
		if s.size == 0 {
			s.header = h
		}
	}
	return s, strings.Join(problems, "; "), nil
}
