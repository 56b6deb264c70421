package file

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/sync/forward"
)

// Wherever a crash cut the file, the next start makes every line whole, and the
// batch that comes again completes it.
func TestCrashAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "punches.jsonl")
	its := items(0, 4)
	send(t, newSink(t, path), its)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, zeros := range []int{0, 4096} { // a power cut can leave zeros behind the end of what was written
		for cut := range len(b) + 1 {
			path := filepath.Join(dir, fmt.Sprint("cut", zeros, "-", cut))
			if err := os.WriteFile(path, append(bytes.Clone(b[:cut]), make([]byte, zeros)...), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSink(t, path)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			keep, ended, err := s.recover(f, int64(cut+zeros))
			want, known := bytes.LastIndexByte(b[:cut], '\n')+1, bytes.Count(b[:cut], []byte("\n"))
			unended := cut < len(b) && b[cut] == '\n' // only the newline is cut off
			if unended {
				want, known = cut, known+1
			}
			if err != nil || keep != int64(want) || ended == unended || len(s.newer) != known {
				t.Fatalf("cut at %d with %d zeros: kept up to %d, ended %v (%v), want %d; %d are known", cut, zeros, keep, ended, err, want, len(s.newer))
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if cut%101 != 0 && cut < len(b)-1 && !unended { // syncing each takes too long
				continue
			}
			send(t, newSink(t, path), its)
			if got := held(t, path); !reflect.DeepEqual(got, keys(its)) {
				t.Fatalf("cut at %d with %d zeros: the file holds %v", cut, zeros, got)
			}
		}
	}
}

// A line that a power cut left as zeros between whole ones stays as it is, and
// its punch is written again.
func TestDamagedLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	s := newSink(t, path)
	its := items(0, 3)
	send(t, s, its)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(b, '\n')
	copy(b[first+20:], make([]byte, 40))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := send(t, newSink(t, path), its)
	if r[0].Outcome != forward.Duplicate || r[1].Outcome != forward.Accepted || r[2].Outcome != forward.Duplicate {
		t.Errorf("%+v", r)
	}
}

// A power cut may leave zeros in the last line too, of which the end is whole.
func TestDamagedLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	s := newSink(t, path)
	its := items(0, 2)
	for whole := range its {
		send(t, s, its[whole:whole+1])
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		last := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
		copy(b[last:len(b)-2], make([]byte, len(b)))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s = newSink(t, path)
		if r := send(t, s, its[whole:whole+1]); r[0].Outcome != forward.Accepted {
			t.Errorf("%d whole lines before: %+v", whole, r)
		}
	}
}

// A power cut in the first batch, or the first after logrotate, leaves a beginning of
// it in which any blocks are zeros. Whatever it leaves, the file is ours, and with the
// batch that comes again each punch stands in it once.
func TestPowerCutInFirstBatch(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	its := items(0, 40)
	whole := filepath.Join(dir, "whole")
	send(t, newSink(t, whole), its)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		block := []int{512, 4096}[i%2]
		cut := bytes.Clone(b[:random.IntN(len(b)+1)])
		for at := 0; at < len(cut); at += block {
			if at == 0 && i%3 > 0 || random.IntN(2) == 0 {
				clear(cut[at:min(at+block, len(cut))])
			}
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSink(t, path)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.recover(f, int64(len(cut)))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatalf("seed %d: %d, cut at %d, blocks of %d: %v", seed, i, len(cut), block, err)
		}
		if i%20 > 1 { // syncing each takes too long
			continue
		}
		send(t, newSink(t, path), its)
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []attendance.Key
		for line := range bytes.Lines(after) {
			if k, ok := punchOf(line); ok {
				got = append(got, k)
			}
		}
		slices.SortFunc(got, order)
		if !slices.Equal(got, slices.SortedFunc(slices.Values(keys(its)), order)) || after[len(after)-1] != '\n' {
			t.Fatalf("seed %d: %d, cut at %d, blocks of %d: the file holds %d of %d", seed, i, len(cut), block, len(got), len(its))
		}
	}
}

func order(a, b attendance.Key) int { return bytes.Compare(a[:], b[:]) }

// What came behind our lines or between them by a fault or by hand does not make
// a sink refuse its own file: the next batch stands on a line of its own.
func TestRubbishInOurFile(t *testing.T) {
	its := items(0, 4)
	line := func(n int) string {
		return string(cloudevents.AppendEvent(nil, cloudevents.Meta{Source: "/sites/xm-hq/gateways/gw-01"}, its[n].Seq, its[n].Punch))
	}
	flipped := []byte(line(2))
	flipped[10] ^= 1 // within the opening, so that it is not taken for the beginning of a line
	for name, c := range map[string]struct {
		behind string   // the lines of 0 and 1
		want   []string // lines behind them, before what is sent
		known  bool     // that of 2
	}{
		"nothing":               {"", nil, false},
		"a blank line":          {"\n", []string{""}, false},
		"blank lines":           {"\n \r\n", []string{"", " \r"}, false},
		"a flipped bit":         {string(flipped) + "\n", []string{string(flipped)}, false},
		"a short line":          {line(2)[:50] + "\n", []string{line(2)[:50]}, false},
		"a torn line":           {line(2)[:50], nil, false},
		"no newline":            {line(2), []string{line(2)}, true},
		"zeros for a newline":   {line(2) + "\x00\x00", []string{line(2)}, true},
		"no newline, \\r":       {line(2) + "\r", []string{line(2) + "\r"}, true},
		"a note":                {"a note\n", []string{"a note"}, false},
		"a note, no newline":    {"a note", []string{"a note"}, false},
		"a flip, no newline":    {string(flipped), []string{string(flipped)}, false},
		"rubbish in the middle": {"a note\n" + line(2) + "\n", []string{"a note", line(2)}, true},
	} {
		path := filepath.Join(t.TempDir(), "punches.jsonl")
		if err := os.WriteFile(path, []byte(line(0)+"\n"+line(1)+"\n"+c.behind), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSink(t, path)
		r := send(t, s, its)
		want := append([]string{line(0), line(1)}, c.want...)
		for n, known := range []bool{true, true, c.known, false} {
			if !known {
				want = append(want, line(n))
			}
			if got := r[n].Outcome == forward.Duplicate; got != known {
				t.Errorf("%s: punch %d is known: %v, want %v", name, n, got, known)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b); got != strings.Join(want, "\n")+"\n" || s.size != int64(len(b)) {
			t.Errorf("%s: the file holds %q", name, got)
		}
	}
}

// A file that holds a single line without its newline keeps it.
func TestOneLineWithoutNewline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	its := items(0, 2)
	if err := os.WriteFile(path, cloudevents.AppendEvent(nil, cloudevents.Meta{Source: "/x"}, 0, its[0].Punch), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := send(t, newSink(t, path), its); r[0].Outcome != forward.Duplicate || r[1].Outcome != forward.Accepted {
		t.Errorf("%+v", r)
	}
	if got := held(t, path); !reflect.DeepEqual(got, keys(its)) {
		t.Errorf("the file holds %v", got)
	}
}

// A file that is not ours is left alone.
func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"no newline": "ledger of the year", "other JSON": `{"a":1}`, "behind whole lines": "x\ny\nz", "long": strings.Repeat("x", tail+10),
		"notes": "buy milk\n", "lines of JSON": `{"specversion":"1.0","id":"1","source":"/x","type":"other"}` + "\n", "a roster": "{\n \"employees\": []\n}\n",
		"blank below a note": "a note\n\n", "notes around a blank line": "a note\n\nanother", "zeros below a note": "a note\n" + "\x00\x00\n", "begun below a note": "a note\n" + opening, "empty lines": "\n\n",
		"a database": "SQLite format 3" + strings.Repeat("\x00", 512-15) + strings.Repeat("page", 200), "wide text": "\x00w\x00i\x00d\x00e",
		"a block of zeros below a note": "a note\n" + strings.Repeat("\x00", 1024-7) + "another", "a picture": strings.Repeat("\x00", 512) + "\x01\x02\x03",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newSink(t, path).Send(t.Context(), items(0, 1))
		if _, ok := errors.AsType[forward.Misconfigured](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != content {
			t.Errorf("%s: it was changed (%v)", name, err)
		}
	}
}
