package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/punchd/punchd/protocol"
)

// proofHeader is the first line of a proof (C2SP tlog-proof).
const proofHeader = "c2sp.org/tlog-proof@v1"

// MaxProof bounds a proof in bytes: a record of the largest size, in base64.
const MaxProof = 2 << 20

// Proof shows that a record is under a signed head, to somebody who has neither
// the ledger nor anything else of it.
type Proof struct {
	Leaf  []byte // the record, as its hash is taken of it
	Index uint64 // its sequence
	Path  []Hash // of an RFC 6962 audit path, from the leaf to the head
	Note  []byte // the signed head
}

// ErrProof says that a record is not under the head that is to prove it.
var ErrProof = errors.New("the record is not under this head")

// Prove gives the path of a record in the tree of the records with these hashes.
func Prove(leaves []Hash, index uint64) ([]Hash, error) {
	path, err := tlog.ProveRecord(int64(len(leaves)), int64(index), tlog.HashReaderFunc(func(stored []int64) ([]Hash, error) {
		out := make([]Hash, len(stored))
		for i, x := range stored {
			level, n := tlog.SplitStoredHashIndex(x)
			var t Tree
			for _, leaf := range leaves[n<<level : (n+1)<<level] {
				t.Add(leaf)
			}
			out[i] = t.Root()
		}
		return out, nil
	}))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return path, nil
}

// Check says whether the proof holds for one of the keys, and under which head.
func (p *Proof) Check(keys ...ed25519.PublicKey) (Head, error) {
	h, err := Open(p.Note, keys...)
	if err != nil {
		return h, err
	}
	if p.Index >= h.Size {
		return h, fmt.Errorf("checkpoint: record %d of %d: %w", p.Index, h.Size, ErrProof)
	}
	if err := tlog.CheckRecord(p.Path, int64(h.Size), h.Root, int64(p.Index), LeafHash(p.Leaf)); err != nil {
		return h, fmt.Errorf("checkpoint: record %d: %w", p.Index, ErrProof)
	}
	return h, nil
}

// Append appends the proof's text.
func (p *Proof) Append(b []byte) []byte {
	b = append(b, proofHeader+"\nextra "...)
	b = base64.StdEncoding.AppendEncode(b, p.Leaf)
	b = fmt.Appendf(b, "\nindex %d\n", p.Index)
	for _, h := range p.Path {
		b = fmt.Appendf(b, "%v\n", h)
	}
	return append(append(b, '\n'), p.Note...)
}

// ParseProof reads a proof's text, and checks nothing of what it says.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > MaxProof {
		return nil, fmt.Errorf("checkpoint: a proof of %d bytes, at most %d: %w", len(text), MaxProof, protocol.ErrTooLarge)
	}
	bad := func(what string) error { return fmt.Errorf("checkpoint: proof: %s: %w", what, protocol.ErrMalformed) }
	head, signed, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != proofHeader {
		return nil, bad("its first line is not " + proofHeader)
	}
	p := &Proof{Note: bytes.Clone(signed)}
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if !ok {
		return nil, bad("the record is missing")
	}
	var err error
	if p.Leaf, err = base64.StdEncoding.Strict().DecodeString(extra); err != nil {
		return nil, bad("the record is no base64")
	}
	index, ok := strings.CutPrefix(lines[2], "index ")
	if p.Index, err = strconv.ParseUint(index, 10, 64); err != nil || !ok || p.Index >= MaxSize {
		return nil, bad("its index is missing")
	}
	for _, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		if err != nil || len(p.Path) >= 64 {
			return nil, bad("a line of its path is no hash")
		}
		p.Path = append(p.Path, h)
	}
	if !bytes.Equal(p.Append(nil), text) {
		return nil, bad("it is not written as it should be")
	}
	return p, nil
}
