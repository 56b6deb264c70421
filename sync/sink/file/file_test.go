package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sinktest"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

func newSink(t testing.TB, path string) *Sink {
	t.Helper()
	s, err := New(Config{Name: "archive", Path: path, Source: "/sites/xm-hq/gateways/gw-01"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// held reads the punches in a file; every line must be whole.
func held(t testing.TB, path string) []attendance.Key {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		t.Errorf("the last line of %s is torn: %q", path, b[max(0, len(b)-80):])
	}
	var keys []attendance.Key
	for line := range bytes.Lines(b) {
		e, err := cloudevents.ParseEvent(line)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Punch()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, p.Key)
	}
	return keys
}

func TestConformance(t *testing.T) {
	sinktest.TestSink(t, func(t *testing.T) sinktest.Far {
		path := filepath.Join(t.TempDir(), "punches.jsonl")
		var last *Sink
		return sinktest.Far{
			Sink: func(t testing.TB) forward.Sink {
				if last != nil { // a restart: the lock goes with the process
					if err := last.Close(); err != nil {
						t.Fatal(err)
					}
				}
				last = newSink(t, path)
				return last
			},
			Held: func(t testing.TB) []attendance.Key { return held(t, path) },
			Down: func(t testing.TB, down bool) { // a directory stands where the file should
				kept := path + ".kept"
				if down {
					if err := os.Rename(path, kept); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
					if err := os.Mkdir(path, 0o700); err != nil {
						t.Fatal(err)
					}
					return
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(kept, path); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			},
		}
	})
}

func items(from, to int) (its []forward.Item) {
	for n := from; n < to; n++ {
		its = append(its, forward.Item{Seq: uint64(n), Punch: sourcetest.Punch(n)})
	}
	return its
}

func send(t testing.TB, s *Sink, its []forward.Item) forward.Receipt {
	t.Helper()
	r, err := s.Send(t.Context(), its)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func keys(its []forward.Item) (ks []attendance.Key) {
	for _, it := range its {
		ks = append(ks, it.Punch.Key)
	}
	return ks
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	s := newSink(t, path)
	p := sourcetest.Punch(1)
	p.Employee = "张三\n"
	send(t, s, []forward.Item{{Seq: 42, Punch: p}})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(cloudevents.AppendEvent(nil, cloudevents.Meta{Source: "/sites/xm-hq/gateways/gw-01"}, 42, p)) + "\n"
	if string(got) != want || strings.Count(want, "\n") != 1 {
		t.Errorf("%s", got)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

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
			whole, err := s.recover(f, int64(cut+zeros))
			if want := bytes.LastIndexByte(b[:cut], '\n') + 1; err != nil || whole != int64(want) || len(s.newer) != bytes.Count(b[:cut], []byte("\n")) {
				t.Fatalf("cut at %d with %d zeros: whole up to %d (%v), want %d; %d are known", cut, zeros, whole, err, want, len(s.newer))
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if cut%101 != 0 && cut < len(b)-1 { // syncing each takes too long
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

// A file that is not ours is left alone.
func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	ours := string(cloudevents.AppendEvent(nil, cloudevents.Meta{Source: "/x"}, 1, sourcetest.Punch(1))) + "\n"
	for name, content := range map[string]string{
		"no newline": "ledger of the year", "other JSON": `{"a":1}`, "behind whole lines": "x\ny\nz", "long": strings.Repeat("x", tail+10),
		"notes": "buy milk\n", "lines of JSON": `{"specversion":"1.0","id":"1","source":"/x","type":"other"}` + "\n", "a roster": "{\n \"employees\": []\n}\n",
		"below our lines": ours + "a note\n", "zeros below a note": "a note\n" + "\x00\x00\n", "begun below a note": "a note\n" + opening, "empty lines": "\n\n",
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

func TestTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	send(t, newSink(t, path), items(0, 1))
	if _, err := newSink(t, path).Send(t.Context(), items(1, 2)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the second writer: %v", err)
	}
}

// The file is moved away (logrotate), removed, emptied (copytruncate), or added
// to by somebody: the next batch goes to the path, behind what is there.
func TestMoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "punches.jsonl")
	s := newSink(t, path)
	its := items(0, 6)
	send(t, s, its[:1])
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send(t, s, its[:2]) // the first is remembered
	if got := held(t, path); !reflect.DeepEqual(got, keys(its[1:2])) {
		t.Errorf("after the move: %v", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	send(t, s, its[2:3])
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	send(t, s, its[3:4])
	if got := held(t, path); !reflect.DeepEqual(got, keys(its[3:4])) {
		t.Errorf("after it was emptied: %v", got)
	}
	foreign := cloudevents.AppendEvent(nil, cloudevents.Meta{Source: "/x"}, 1, its[5].Punch)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(foreign, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	send(t, s, its[4:5])
	if got := held(t, path); !reflect.DeepEqual(got, []attendance.Key{its[3].Punch.Key, its[5].Punch.Key, its[4].Punch.Key}) {
		t.Errorf("after somebody added to it: %v", got)
	}
}

// A batch that can't be written or synced is taken back whole, and written
// once when that works again.
func TestFailedWriteIsTakenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	s := newSink(t, path)
	its := items(0, 10)
	send(t, s, its[:5])
	good := s.f
	readOnly, err := os.Open(path) // writing, and cutting, fails
	if err != nil {
		t.Fatal(err)
	}
	s.f = readOnly
	if _, err := s.Send(t.Context(), its[5:]); err == nil || !s.dirty {
		t.Fatalf("no error, or not dirty: %v", err)
	}
	s.f = good
	if _, err := good.Write([]byte(opening + "half a line")); err != nil { // as if part of it had arrived
		t.Fatal(err)
	}
	for _, r := range send(t, s, its[5:]) {
		if r.Outcome != forward.Accepted {
			t.Errorf("%+v", r)
		}
	}
	if got := held(t, path); !reflect.DeepEqual(got, keys(its)) {
		t.Errorf("the file holds %v", got)
	}
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is remembered is bounded, and enough.
func TestRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "punches.jsonl")
	s := newSink(t, path)
	for n := 0; n < 3*remembered; n += 5000 {
		send(t, s, items(n, n+5000))
	}
	if n := len(s.newer) + len(s.older); n > 2*remembered {
		t.Errorf("%d are remembered", n)
	}
	last := items(2*remembered, 3*remembered)
	for _, r := range send(t, s, last) {
		if r.Outcome != forward.Duplicate {
			t.Fatalf("%+v", r)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range send(t, newSink(t, path), last) {
		if r.Outcome != forward.Duplicate {
			t.Fatalf("after a restart: %+v", r)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Name: "a", Path: "b"}, {Name: "a", Source: "c"}, {Path: "b", Source: "c"}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
	for _, path := range []string{os.DevNull, filepath.Join(t.TempDir(), "no", "such", "dir")} {
		_, err := newSink(t, path).Send(t.Context(), items(0, 1))
		if _, ok := errors.AsType[forward.Misconfigured](err); !ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	s := newSink(b, filepath.Join(b.TempDir(), "punches.jsonl"))
	n := 0
	for b.Loop() {
		b.StopTimer()
		its := items(n, n+500)
		n += 500
		b.StartTimer()
		send(b, s, its)
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
