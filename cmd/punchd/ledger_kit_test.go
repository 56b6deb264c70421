package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward/sourcetest"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger"
)

// office is a directory with a configuration and a ledger, and no daemon.
type office struct {
	t   *testing.T
	dir string
}

// newOffice writes batches of entries into a new ledger.
func newOffice(t *testing.T, batches ...[]ledger.Entry) *office {
	t.Helper()
	o := &office{t, t.TempDir()}
	o.write("punchd.yaml", "site: {id: xm-hq, timezone: Asia/Shanghai}\ngateway: {id: gw-01, data_dir: data}\nroster: {file: roster.yaml}\n")
	o.write("roster.yaml", "employees: [{id: E1}]\n")
	l, err := ledger.Open(ledger.Config{Dir: o.path("data", journal.LedgerDir)})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if _, err := l.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) path(parts ...string) string {
	return filepath.Join(append([]string{o.dir}, parts...)...)
}

func (o *office) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(o.path(name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) read(name string) string {
	o.t.Helper()
	b, err := os.ReadFile(o.path(name))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(b)
}

// damage breaks the first record that holds a text.
func (o *office) damage(text string) {
	o.t.Helper()
	segments, err := filepath.Glob(o.path("data", journal.LedgerDir, "*"))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, s := range segments {
		b, err := os.ReadFile(s)
		if err != nil {
			o.t.Fatal(err)
		}
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			b[i] ^= 1
			if err := os.WriteFile(s, b, 0o600); err != nil {
				o.t.Fatal(err)
			}
			return
		}
	}
	o.t.Fatalf("no record holds %q", text)
}

// run runs a command in this process.
func (o *office) run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	o.t.Helper()
	var out, errOut bytes.Buffer
	c := newRoot()
	c.SetOut(&out)
	c.SetErr(&errOut)
	c.SetArgs(append(args, "-c", o.path("punchd.yaml")))
	err = c.ExecuteContext(ctx)
	return out.String(), errOut.String(), err
}

// entry is a punch as the ledger has it.
func entry(p *attendance.Punch) ledger.Entry {
	return ledger.Entry{Kind: attendance.RecordPunch, Payload: attendance.AppendRecord(nil, p)}
}

// punchesOf are the first n of a row of different punches, a batch each hundred.
func punchesOf(n int) (batches [][]ledger.Entry) {
	for i := range n {
		if i%100 == 0 {
			batches = append(batches, nil)
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], entry(sourcetest.Punch(i)))
	}
	return batches
}

// seqs are the first fields of lines, behind blanks.
func seqs(text string) (all []string) {
	for line := range strings.Lines(text) {
		all = append(all, strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ,\n", r) })[0])
	}
	return all
}
