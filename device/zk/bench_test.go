package zk

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// reader gives a driver in a session with a terminal that has n records, in
// real time. The last is so long ago that no second of it may lack bytes.
func reader(tb testing.TB, as shape, n int, emit func(context.Context, []attendance.Punch) error) (*Driver, *session, *fake) {
	f := newFake(tb)
	f.shape = as
	f.add(someRecords(zk.Layout40, n, attendance.LocalOf(time.Now().UTC().Add(-20*time.Hour))/1000*1000, 1)...)
	zone, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		tb.Fatal(err)
	}
	var near link.Conn
	d, err := New(Config{ID: "lobby", Link: f.dialer(), Zone: zone, Emit: emit})
	if err != nil {
		tb.Fatal(err)
	}
	if near, err = d.cfg.Link.Dial(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		near.Close()
		f.running.Wait()
	})
	s := newSession(near, d.cfg.Timeouts, d.seed, d.badFrame)
	if err := d.login(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	if err := d.identify(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	if err := d.clock(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	return d, s, f
}

// TestMemory holds what a big log costs: while it is read a few times its
// bytes, and afterwards a hash for each record.
func TestMemory(t *testing.T) {
	for name, as := range map[string]shape{"in chunks": chunks, "in one packet": whole, "in pieces": streamed} {
		t.Run(name, func(t *testing.T) {
			const n = 100_000
			punches := 0
			d, s, f := reader(t, as, n, func(_ context.Context, p []attendance.Punch) error { punches += len(p); return nil })
			heap := func() (m runtime.MemStats) {
				f.set(func() { f.held, f.requests = nil, nil })
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m
			}
			before := heap()
			if err := d.read(t.Context(), s, said{}); err != nil {
				t.Fatal(err)
			}
			after := heap()
			runtime.KeepAlive(d)
			runtime.KeepAlive(s)
			if punches != n {
				t.Errorf("%d punches", punches)
			}
			kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			allocated, objects := (after.TotalAlloc-before.TotalAlloc)/n, float64(after.Mallocs-before.Mallocs)/n
			// That the fake allocates is in these too.
			if kept > 2<<20 || allocated > 800 || objects > 0.5 {
				t.Errorf("%d bytes are kept; %d bytes and %.3f objects were allocated for each record", kept, allocated, objects)
			}
		})
	}
}

func BenchmarkWholeRead100k(b *testing.B) {
	punches := 0
	d, s, f := reader(b, chunks, 100_000, func(_ context.Context, p []attendance.Punch) error { punches += len(p); return nil })
	b.SetBytes(int64(len(f.log)))
	b.ReportAllocs()
	for b.Loop() {
		d.terminal.log = nil
		if err := d.read(b.Context(), s, said{}); err != nil {
			b.Fatal(err)
		}
	}
	if punches == 0 || punches%100_000 != 0 {
		b.Errorf("%d punches", punches)
	}
}

// BenchmarkReadAgain100k reads a log in which nothing is new.
func BenchmarkReadAgain100k(b *testing.B) {
	d, s, f := reader(b, chunks, 100_000, func(context.Context, []attendance.Punch) error { return nil })
	if err := d.read(b.Context(), s, said{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(f.log)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.read(b.Context(), s, said{}); err != nil {
			b.Fatal(err)
		}
	}
}
