package audit

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

var golden = filepath.Join("testdata", "v1")

// TestGolden: a ledger that was signed once, and a proof from it, hold for ever,
// in both checkers.
func TestGolden(t *testing.T) {
	dir := filepath.Join(golden, "ledger")
	o := Options{Dir: dir, Keys: nil}
	o.Keys = append(o.Keys, audittest.Public(seed))
	proof, heads, said := filepath.Join(golden, "proof.txt"), filepath.Join(golden, "heads.txt"), filepath.Join(golden, "report.json")
	if _, err := os.Stat(golden); *update && os.IsNotExist(err) {
		writeGolden(t, dir, o)
	}
	file := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	f, err := os.Open(heads)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if o.Witness, err = ReadWitness(f); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var want summary
	if err := json.Unmarshal(file(said), &want); err != nil {
		t.Fatal(err)
	}
	if got := summarize(r); !reflect.DeepEqual(got, want) || len(got.Findings) > 0 || got.Agreed != 4 {
		t.Errorf("it is now\n%+v, and was\n%+v", got, want)
	}
	p, err := checkpoint.ParseProof(file(proof))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := p.Check(o.Keys...); err != nil || h.Size != 39 || h.Ledger != r.Ledger {
		t.Errorf("%+v, %v", h, err)
	}
	needPython(t)
	key := filepath.Join(golden, "gateway.pub")
	var other summary
	out, code := python(t, "--ledger", dir, "--key", key, "--witness", heads, "--json")
	if err := json.Unmarshal(out, &other); err != nil || code != 0 || !reflect.DeepEqual(other, want) {
		t.Errorf("verify.py says\n%s, exit status %d, %v", out, code, err)
	}
	if out, code := python(t, "--proof", proof, "--key", key); code != 0 {
		t.Errorf("verify.py says %s, exit status %d", out, code)
	}
}

func writeGolden(t *testing.T, dir string, o Options) {
	put := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(golden, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x := audittest.New(t, nil, dir, 0, audittest.Key(seed))
	x.Sample()
	x.Close()
	put("gateway.pub", jwk(o.Keys[0]))
	var heads []byte
	for _, note := range x.Notes {
		heads = append(heads, note...)
	}
	put("heads.txt", heads)
	p, err := Prove(t.Context(), o, 9)
	if err != nil {
		t.Fatal(err)
	}
	put("proof.txt", p.Append(nil))
	o.Witness = x.Notes
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(summarize(r))
	if err != nil {
		t.Fatal(err)
	}
	put("report.json", append(b, '\n'))
	if err := os.Remove(filepath.Join(dir, "spare")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
