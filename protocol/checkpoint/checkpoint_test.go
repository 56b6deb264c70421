package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/punchd/punchd/protocol"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

const ledger = "000102030405060708090a0b0c0d0e0f"

var seedKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func leaf(i int) []byte { return fmt.Appendf(nil, "record %d", i) }

// The inputs and roots of the test vectors that Certificate Transparency
// implementations share (RFC 6962 trees of these eight leaves).
func TestVectors(t *testing.T) {
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var tree Tree
	for i, want := range roots {
		if got := tree.Root(); hex.EncodeToString(got[:]) != want || tree.Size() != uint64(i) {
			t.Errorf("root of %d: %x", i, got)
		}
		if i < len(leaves) {
			b, err := hex.DecodeString(leaves[i])
			if err != nil {
				t.Fatal(err)
			}
			tree.Add(LeafHash(b))
		}
	}
}

// TestTreeAgainstTlog holds the tree, its edge and its proofs to package tlog's.
func TestTreeAgainstTlog(t *testing.T) {
	var tree Tree
	var stored, leaves []Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]Hash, error) {
		out := make([]Hash, len(at))
		for i, x := range at {
			out[i] = stored[x]
		}
		return out, nil
	})
	for n := range 70 {
		more, err := tlog.StoredHashes(int64(n), leaf(n), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored, leaves = append(stored, more...), append(leaves, LeafHash(leaf(n)))
		tree.Add(leaves[n])
		want, err := tlog.TreeHash(int64(n+1), reader)
		if err != nil || tree.Root() != want {
			t.Fatalf("root of %d: %v, want %v, %v", n+1, tree.Root(), want, err)
		}
		again, err := Resume(tree.Size(), tree.Edge())
		if err != nil || again.Root() != want {
			t.Fatalf("resumed at %d: %v, %v", n+1, again.Root(), err)
		}
		for i := range leaves {
			path, err := Prove(leaves, uint64(i))
			if err == nil {
				err = tlog.CheckRecord(path, int64(n+1), want, int64(i), leaves[i])
			}
			if err != nil {
				t.Fatalf("record %d of %d: %v", i, n+1, err)
			}
		}
	}
	if _, err := Prove(leaves, 70); err == nil {
		t.Error("a record behind the end is proved")
	}
}

func TestResumeRefuses(t *testing.T) {
	for size, n := range map[uint64]int{0: 1, 1: 0, 3: 1, 4: 2} {
		if _, err := Resume(size, make([]Hash, n)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%d hashes for %d records: %v", n, size, err)
		}
	}
	if _, err := Resume(MaxSize+1, make([]Hash, 2)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func example(t testing.TB) (h Head, leaves []Hash) {
	t.Helper()
	var tree Tree
	for i := range 7 {
		leaves = append(leaves, LeafHash(leaf(i)))
	}
	leaves[3], leaves[5] = LostHash(3), LostHash(5)
	for _, l := range leaves {
		tree.Add(l)
	}
	return Head{Ledger: ledger, Size: 7, Root: tree.Root(), At: time.Date(2026, 11, 4, 0, 58, 12, 250e6, time.UTC), Lost: []Span{{3, 3}, {5, 5}}}, leaves
}

func sign(t testing.TB, h Head) []byte {
	t.Helper()
	b, err := Sign(h, seedKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGolden: what was signed and proved once is read for ever.
func TestGolden(t *testing.T) {
	h, leaves := example(t)
	path, err := Prove(leaves, 6)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proof{Leaf: leaf(6), Index: 6, Path: path, Note: sign(t, h)}
	for name, now := range map[string][]byte{"note.txt": p.Note, "proof.txt": p.Append(nil)} {
		path := filepath.Join("testdata", "v1", name)
		if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(path, now, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		old, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(old, now) {
			t.Errorf("%s: %v\nis now %s", name, err, now)
		}
	}
	got, err := Open(p.Note, public(seedKey))
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%+v, %v", got, err)
	}
	again, err := ParseProof(p.Append(nil))
	if err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("%+v, %v", again, err)
	}
	if got, err := again.Check(public(seedKey)); err != nil || got.Size != 7 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestEveryBit: no bit of a statement or of a proof can change.
func TestEveryBit(t *testing.T) {
	h, leaves := example(t)
	path, err := Prove(leaves, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proof{Leaf: leaf(1), Index: 1, Path: path, Note: sign(t, h)}
	text := p.Append(nil)
	for i := range len(text) * 8 {
		b := bytes.Clone(text)
		b[i/8] ^= 1 << (i % 8)
		q, err := ParseProof(b)
		if err == nil {
			_, err = q.Check(public(seedKey))
		}
		if err == nil {
			t.Fatalf("bit %d of byte %d (%q) does not matter", i%8, i/8, text[i/8])
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	h, _ := example(t)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	good := sign(t, h)
	if got, err := Open(good, public(other)); !errors.Is(err, ErrSignature) || got.Size != 7 {
		t.Errorf("by another key: %+v, %v", got, err)
	}
	if _, err := Open(good); !errors.Is(err, ErrSignature) {
		t.Errorf("by no key: %v", err)
	}
	if _, err := Open(good, public(other), public(seedKey), public(seedKey), nil); err != nil {
		t.Errorf("by one of several: %v", err)
	}
	// The signature of one ledger is none for another, nor one over other words.
	for _, change := range [][2]string{{ledger, strings.Repeat("f", 32)}, {"\n7\n", "\n6\n"}, {"lost 3-3", "lost 2-3"}, {"lost 5-5\n", ""}} {
		if _, err := Open([]byte(strings.ReplaceAll(string(good), change[0], change[1])), public(seedKey)); err == nil {
			t.Errorf("%q for %q is taken", change[1], change[0])
		}
	}
	for _, bad := range []string{"", "\n\n", ledger, string(good[:len(good)-1]), strings.Repeat("a", MaxNote+1)} {
		if _, err := Open([]byte(bad), public(seedKey)); err == nil || errors.Is(err, ErrSignature) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	good, _ := example(t)
	for name, change := range map[string]func(*Head){
		"ledger":        func(h *Head) { h.Ledger = "gw 01" },
		"size":          func(h *Head) { h.Size = MaxSize + 1 },
		"lost behind":   func(h *Head) { h.Lost = []Span{{6, 7}} },
		"lost twice":    func(h *Head) { h.Lost = []Span{{1, 2}, {2, 3}} },
		"lost backward": func(h *Head) { h.Lost = []Span{{2, 1}} },
		"year":          func(h *Head) { h.At = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		h := good
		change(&h)
		if b, err := Sign(h, seedKey); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
	if _, err := Sign(good, nil); err == nil {
		t.Error("signed without a key")
	}
}

// FuzzOpen: what opens is written in one way.
func FuzzOpen(f *testing.F) {
	h, _ := example(f)
	f.Add(sign(f, h))
	f.Add([]byte("punchd/ledger/x\n\n— a b\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Open(b, public(seedKey))
		if err == nil && !bytes.Equal(sign(t, h), b) {
			// Others may have signed too.
			if !bytes.HasPrefix(b, append(h.appendText(nil), '\n')) {
				t.Errorf("%q is read as %q", b, h.appendText(nil))
			}
		}
	})
}

// FuzzProof: what parses is written in one way, and Check never panics.
func FuzzProof(f *testing.F) {
	h, leaves := example(f)
	path, err := Prove(leaves, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add((&Proof{Leaf: leaf(2), Index: 2, Path: path, Note: sign(f, h)}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%q is written as %q", b, again)
		}
		if _, err := p.Check(public(seedKey)); err == nil && (p.Index >= 7 || !bytes.Equal(p.Leaf, leaf(int(p.Index)))) {
			t.Errorf("%q is proved", b)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	var t Tree
	record := make([]byte, 600)
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		t.Add(LeafHash(record))
	}
}
