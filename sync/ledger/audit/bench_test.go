package audit

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
)

const benched = 100_000

// large is a ledger of records of telephones that sign, with a head after each
// thousand.
func large(b *testing.B, records int) Options {
	b.Helper()
	dir := b.TempDir()
	x := audittest.New(b, nil, dir, ledger.DefaultSegmentSize, audittest.Key(seed))
	for x.Next() < uint64(records) {
		for range 10 {
			x.Punches(100, 420)
		}
		x.Head()
	}
	x.Close()
	return Options{Dir: dir, Keys: append(Options{}.Keys, audittest.Public(seed)), Witness: x.Notes}
}

func BenchmarkRun(b *testing.B) {
	o := large(b, benched)
	var r *Report
	for b.Loop() {
		var err error
		if r, err = Run(b.Context(), o); err != nil || len(r.Findings) > 0 {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	perSecond(b, r)
}

func BenchmarkProve(b *testing.B) {
	o := large(b, benched)
	for b.Loop() {
		if _, err := Prove(b.Context(), o, benched/3); err != nil {
			b.Fatal(err)
		}
	}
}

func perSecond(b *testing.B, r *Report) {
	rate := float64(r.Records) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "records/s")
	b.ReportMetric(1e6/rate, "s/million")
	b.ReportMetric(float64(r.Bytes)/float64(r.Records), "bytes/record")
}

// BenchmarkMemory tells how much of the memory a check takes of the heap while
// it goes on.
func BenchmarkMemory(b *testing.B) {
	for name, what := range map[string]func(Options) error{
		"Run":   func(o Options) error { _, err := Run(b.Context(), o); return err },
		"Prove": func(o Options) error { _, err := Prove(b.Context(), o, 7); return err },
	} {
		b.Run(name, func(b *testing.B) {
			o := large(b, benched)
			var most uint64
			o.Progress = func(records uint64, _ int64) {
				if records%65536 == 0 {
					runtime.GC()
				}
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			for b.Loop() {
				if err := what(o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(most-min(most, m.HeapAlloc))/(1<<20), "MB-heap")
		})
	}
}

// TestGoldenFiles holds that nothing else lies beside them.
func TestGoldenFiles(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(golden, "ledger"))
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}
