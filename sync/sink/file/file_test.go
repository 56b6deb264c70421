package file

import (
	"bytes"
	"errors"
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
