package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/punchd/punchd/protocol"
)

// originPrefix and the ledger's id are the first line of a statement, and the
// name of the key that signs it: no signature for one ledger counts for another.
const originPrefix = "punchd/ledger/"

// Bounds of a statement.
const (
	MaxNote = 64 << 10 // bytes
	MaxLost = 1000     // stretches
)

// timeForm is that of a head's time: UTC, milliseconds.
const timeForm = "2006-01-02T15:04:05.000Z"

// Head is what a gateway signs: the head of its tree at a time.
type Head struct {
	Ledger string // its id, 32 hexadecimal digits
	Size   uint64 // records under it
	Root   Hash
	At     time.Time // by the gateway's clock; UTC, milliseconds
	// Lost are records under this head and not under the one before of which no
	// readable copy was left. In the tree [LostHash] stands for each.
	Lost []Span
}

// Span is a stretch of records, both inclusive.
type Span struct{ First, Last uint64 }

// appendText is what is signed: a C2SP tlog-checkpoint with lines of its own.
func (h *Head) appendText(b []byte) []byte {
	b = fmt.Appendf(b, "%s%s\n%d\n%v\n", originPrefix, h.Ledger, h.Size, h.Root)
	b = h.At.UTC().AppendFormat(append(b, "time "...), timeForm)
	b = append(b, '\n')
	for _, s := range h.Lost {
		b = fmt.Appendf(b, "lost %d-%d\n", s.First, s.Last)
	}
	return b
}

// parse reads what [Head.appendText] writes, and nothing else: bytes that differ
// are not what was signed.
func parse(text string) (h Head, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 5 || lines[len(lines)-1] != "" {
		return h, fmt.Errorf("checkpoint: of %d lines: %w", len(lines)-1, protocol.ErrMalformed)
	}
	id, ours := strings.CutPrefix(lines[0], originPrefix)
	if raw, err := hex.DecodeString(id); !ours || err != nil || len(raw) != 16 {
		return h, fmt.Errorf("checkpoint: its first line is no name of a ledger: %w", protocol.ErrMalformed)
	}
	h.Ledger = id
	if h.Size, err = strconv.ParseUint(lines[1], 10, 64); err != nil || h.Size > MaxSize {
		return h, fmt.Errorf("checkpoint: its second line is no number of records: %w", protocol.ErrMalformed)
	}
	if h.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return h, fmt.Errorf("checkpoint: its third line is no hash: %w", protocol.ErrMalformed)
	}
	at, ours := strings.CutPrefix(lines[3], "time ")
	if h.At, err = time.Parse(timeForm, at); err != nil || !ours {
		return h, fmt.Errorf("checkpoint: its fourth line is no time: %w", protocol.ErrMalformed)
	}
	for _, line := range lines[4 : len(lines)-1] {
		if err := h.parseLost(line); err != nil {
			return h, err
		}
	}
	if string(h.appendText(nil)) != text {
		return h, fmt.Errorf("checkpoint: it is not written as it should be: %w", protocol.ErrMalformed)
	}
	return h, nil
}

func (h *Head) parseLost(line string) (err error) {
	span, ours := strings.CutPrefix(line, "lost ")
	first, last, both := strings.Cut(span, "-")
	var s Span
	if ours && both {
		s.First, err = strconv.ParseUint(first, 10, 64)
		if err == nil {
			s.Last, err = strconv.ParseUint(last, 10, 64)
		}
	}
	after := len(h.Lost) == 0 || s.First > h.Lost[len(h.Lost)-1].Last
	if !ours || !both || err != nil || s.First > s.Last || s.Last >= h.Size || !after || len(h.Lost) >= MaxLost {
		return fmt.Errorf("checkpoint: a line says neither more nor that records are lost: %w", protocol.ErrMalformed)
	}
	h.Lost = append(h.Lost, s)
	return nil
}

// key is one half of the gateway's key, for one ledger.
type key struct {
	name    string
	hash    uint32
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

func newKey(ledger string, public ed25519.PublicKey) key {
	name := originPrefix + ledger
	const algorithm = 1 // Ed25519, as package note numbers them
	b := append([]byte(name), '\n', algorithm)
	sum := sha256.Sum256(append(b, public...))
	return key{name: name, hash: binary.BigEndian.Uint32(sum[:]), public: public}
}

func (k key) Name() string                       { return k.name }
func (k key) KeyHash() uint32                    { return k.hash }
func (k key) Sign(msg []byte) ([]byte, error)    { return ed25519.Sign(k.private, msg), nil }
func (k key) Verify(msg []byte, sig []byte) bool { return ed25519.Verify(k.public, msg, sig) }

// Sign signs a head: the result is a signed note (C2SP). The head's time is cut
// to milliseconds. It is an error if the head could not be read back.
func Sign(h Head, private ed25519.PrivateKey) ([]byte, error) {
	if len(private) != ed25519.PrivateKeySize {
		return nil, errors.New("checkpoint: the key is no Ed25519 key")
	}
	text := string(h.appendText(nil))
	if _, err := parse(text); err != nil {
		return nil, err
	}
	k := newKey(h.Ledger, private.Public().(ed25519.PublicKey))
	k.private = private
	return note.Sign(&note.Note{Text: text}, k)
}

// ErrSignature says that a statement is signed by none of the keys.
var ErrSignature = errors.New("signed by none of the known keys")

// Open reads a signed head. The error is [ErrSignature] if it is well formed and
// none of the keys has signed it; the head is returned then too, and proves
// nothing.
func Open(msg []byte, keys ...ed25519.PublicKey) (Head, error) {
	if len(msg) > MaxNote {
		return Head{}, fmt.Errorf("checkpoint: of %d bytes, at most %d: %w", len(msg), MaxNote, protocol.ErrTooLarge)
	}
	text, _, ok := bytes.Cut(msg, []byte("\n\n"))
	if !ok {
		return Head{}, fmt.Errorf("checkpoint: without a signature: %w", protocol.ErrMalformed)
	}
	h, err := parse(string(text) + "\n")
	if err != nil {
		return Head{}, err
	}
	var known []note.Verifier
	seen := map[uint32]bool{}
	for _, public := range keys {
		// Of two with one number package note would take none.
		if k := newKey(h.Ledger, public); len(public) == ed25519.PublicKeySize && !seen[k.hash] {
			known, seen[k.hash] = append(known, k), true
		}
	}
	_, err = note.Open(msg, note.VerifierList(known...))
	if _, unsigned := errors.AsType[*note.UnverifiedNoteError](err); unsigned {
		return h, fmt.Errorf("checkpoint: of %d records at %v: %w", h.Size, h.At, ErrSignature)
	}
	if _, forged := errors.AsType[*note.InvalidSignatureError](err); forged {
		return h, fmt.Errorf("checkpoint: of %d records at %v: the signature is wrong: %w", h.Size, h.At, ErrSignature)
	}
	if err != nil {
		return Head{}, fmt.Errorf("checkpoint: %w: %w", err, protocol.ErrMalformed)
	}
	return h, nil
}
