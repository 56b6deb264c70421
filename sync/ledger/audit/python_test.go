package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// summary is what both checkers say of a ledger.
type summary struct {
	Ledger   string  `json:"ledger"`
	Records  uint64  `json:"records"`
	Heads    int     `json:"heads"`
	Signed   uint64  `json:"signed"`
	Unsigned uint64  `json:"unsigned"`
	Agreed   int     `json:"agreed"`
	Torn     bool    `json:"torn"`
	Findings []brief `json:"findings"`
}

func summarize(r *Report) summary {
	return summary{r.Ledger, r.Records, r.Heads, r.Signed, r.Unsigned, r.Witness, r.Torn != nil, briefs(r)}
}

// needPython skips a test where there is no Python, but not in CI: a second
// opinion that nobody asks is none.
func needPython(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("python3 is not installed, and the second opinion of testdata/verify.py is a part of the tests")
	}
	if err != nil {
		t.Skip("python3 is not installed: testdata/verify.py was not compared")
	}
}

// jwk is a public key as punchd init writes it.
func jwk(k ed25519.PublicKey) []byte {
	return []byte(`{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(k) + "\"}\n")
}

// python runs the other checker as a person does, and says how it ended.
func python(t *testing.T, args ...string) (out []byte, code int) {
	t.Helper()
	cmd := exec.Command("python3", append([]string{filepath.Join("testdata", "verify.py")}, args...)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		code = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if errOut.Len() > 0 {
		t.Logf("verify.py: %s", &errOut)
	}
	return out, code
}

// again runs the other checker once for each line of arguments: starting Python
// takes ten times as long as what it is asked here.
const again = `
import contextlib, io, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, 'testdata')
import verify
for line in sys.stdin:
    sys.argv, out = ['verify.py'] + json.loads(line), io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            code = verify.main()
    except (verify.Wrong, OSError) as e:
        print('verify.py:', e, file=out)
        code = 1
    print(json.dumps([out.getvalue(), code]), flush=True)
`

// checker is a Python that runs until the test does not any more.
type checker struct {
	sync.Mutex
	in  *json.Encoder
	out *json.Decoder
}

var running = sync.OnceValues(func() (*checker, error) {
	cmd := exec.Command("python3", "-c", again)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &checker{in: json.NewEncoder(in), out: json.NewDecoder(out)}, cmd.Start()
})

// quick is [python], but for the start of it.
func quick(t *testing.T, args ...string) (out []byte, code int) {
	t.Helper()
	p, err := running()
	if err != nil {
		t.Fatal(err)
	}
	p.Lock()
	defer p.Unlock()
	var text string
	if err = p.in.Encode(args); err == nil {
		err = p.out.Decode(&[]any{&text, &code})
	}
	if err != nil {
		t.Fatalf("verify.py ended: %v", err)
	}
	return []byte(text), code
}

// pythonOf gives what the other checker says of a ledger.
func pythonOf(t *testing.T, o Options) summary {
	t.Helper()
	dir := t.TempDir()
	args := []string{"--json", "--ledger", o.Dir}
	put := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for i, k := range o.Keys {
		args = append(args, "--key", put(string(rune('a'+i))+".pub", jwk(k)))
	}
	if len(o.Witness) > 0 {
		args = append(args, "--witness", put("witness", bytes.Join(o.Witness, nil)))
	}
	out, code := quick(t, args...)
	var s summary
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("verify.py said %q: %v", out, err)
	}
	want := 0
	if len(s.Findings) > 0 {
		want = 1
	}
	if code != want {
		t.Errorf("verify.py: exit status %d, want %d", code, want)
	}
	return s
}
