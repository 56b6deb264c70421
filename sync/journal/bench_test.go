//go:build unix

package journal

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/ledger/disk"
)

// templates are punches of realistic size of which a benchmark changes only
// the key, so that it measures the journal and not the making of punches.
type templates [64]*attendance.Punch

func newTemplates() (t templates) {
	for i := range t {
		t[i] = realistic(i)
	}
	return t
}

func (t *templates) punch(n uint64) *attendance.Punch {
	n++
	p := *t[n%64]
	// Spread like a digest, without the price of one.
	binary.BigEndian.PutUint64(p.Key[:], n*0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(p.Key[8:], n)
	if p.Counter > 0 {
		p.Counter = n
	}
	return &p
}

// fdatasyncRate is how often this disk makes one sector durable in a second.
func fdatasyncRate(b *testing.B) float64 {
	f, err := disk.OS.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
		b.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		b.Fatal(err)
	}
	const n = 500
	sector := make([]byte, 512)
	begin := time.Now()
	for i := range n {
		sector[0]++
		if _, err := f.WriteAt(sector, int64(i)*512); err != nil {
			b.Fatal(err)
		}
		if err := f.Datasync(); err != nil {
			b.Fatal(err)
		}
	}
	return n / time.Since(begin).Seconds()
}

// benchmarkAppend appends one record at a time from a number of writers, each
// waiting for its own. The time ends when all is applied too, so that the rate
// is one that lasts.
func benchmarkAppend(b *testing.B, writers int) {
	plain := fdatasyncRate(b)
	j := mustOpen(b, Config{Dir: b.TempDir()})
	defer closeJournal(b, j)
	tmpl := newTemplates()
	var next atomic.Uint64
	took := make([][]time.Duration, writers)
	b.ResetTimer()
	before := cpuTime(b)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= uint64(b.N) {
					return
				}
				begin := time.Now()
				if _, err := j.Append(b.Context(), []attendance.Record{tmpl.punch(n)}); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(begin))
			}
		})
	}
	wg.Wait()
	flush(b, j)
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(plain, "fdatasync/s")
	b.ReportMetric(float64(cpuTime(b)-before)/1e3/float64(b.N), "cpu-us/record")
	b.ReportMetric(ms(all[len(all)/2]), "p50-ms")
	b.ReportMetric(ms(all[len(all)*99/100]), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkAppend1(b *testing.B)   { benchmarkAppend(b, 1) }
func BenchmarkAppend16(b *testing.B)  { benchmarkAppend(b, 16) }
func BenchmarkAppend64(b *testing.B)  { benchmarkAppend(b, 64) }
func BenchmarkAppend256(b *testing.B) { benchmarkAppend(b, 256) }

// cpuTime is what the process has used so far of all its processors: on a
// machine that others use too it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// resident reads the process's memory from /proc, in MB.
func resident(b testing.TB) map[string]float64 {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc/self/status here: ", err)
	}
	m := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS", "VmHWM", "RssAnon", "RssFile":
			var kb float64
			fmt.Sscanf(value, "%f", &kb)
			m[name] = kb / 1024
		}
	}
	return m
}

func report(b *testing.B, when string, m map[string]float64) {
	for name, mb := range m {
		b.ReportMetric(mb, when+name+"-MB")
	}
}

// fill appends records in batches of a thousand and waits until they are applied.
func fill(b *testing.B, j *Journal, n int) {
	tmpl := newTemplates()
	for at := 0; at < n; at += 1000 {
		var recs []attendance.Record
		for i := range 1000 {
			recs = append(recs, tmpl.punch(uint64(at+i)))
		}
		if _, err := j.Append(b.Context(), recs); err != nil {
			b.Fatal(err)
		}
	}
	flush(b, j)
}

// BenchmarkFilled200k fills a journal with 200,000 records, then opens it again
// and reads them all, with the process's memory after each.
func BenchmarkFilled200k(b *testing.B) {
	const n = 200_000
	dir := b.TempDir()
	j := mustOpen(b, Config{Dir: dir})
	begin := time.Now()
	fill(b, j, n)
	filling, filled := time.Since(begin), resident(b)
	s, err := j.Stats()
	if err != nil {
		b.Fatal(err)
	}
	closeJournal(b, j)
	var opening, reading time.Duration
	var opened, read map[string]float64
	for b.Loop() {
		begin := time.Now()
		j = mustOpen(b, Config{Dir: dir})
		opening += time.Since(begin)
		opened = resident(b)
		begin = time.Now()
		if got := drain(b, j); got != n {
			b.Fatalf("%d of %d records", got, n)
		}
		reading += time.Since(begin)
		read = resident(b)
		closeJournal(b, j)
	}
	report(b, "filled-", filled)
	report(b, "opened-", opened)
	report(b, "drained-", read)
	b.ReportMetric(n/filling.Seconds(), "fill-records/s")
	b.ReportMetric(float64(opening)/1e6/float64(b.N), "open-ms")
	b.ReportMetric(n*float64(b.N)/reading.Seconds(), "drain-records/s")
	b.ReportMetric(float64(s.LedgerBytes)/(1<<20), "ledger-MB")
	b.ReportMetric(float64(s.BufferBytes)/(1<<20), "buffer-MB")
	b.ReportMetric(0, "ns/op")
}

// drain reads all there is, as a forwarder does, and counts the punches.
func drain(b *testing.B, j *Journal) (items int) {
	for from := uint64(0); ; {
		got, next, err := j.Pending(b.Context(), from, 500)
		if err != nil {
			b.Fatal(err)
		}
		if items += len(got); next == from {
			return items
		}
		from = next
	}
}

// BenchmarkDrainSettled reads and settles 200,000 records in batches of 500.
func BenchmarkDrainSettled(b *testing.B) {
	const n = 200_000
	j := mustOpen(b, Config{Dir: b.TempDir()})
	defer closeJournal(b, j)
	fill(b, j, n)
	for sink := 0; b.Loop(); sink++ {
		name := fmt.Sprintf("sink-%d", sink)
		items := 0
		for from := uint64(0); items < n; {
			got, next, err := j.Pending(b.Context(), from, 500)
			if err != nil {
				b.Fatal(err)
			}
			items += len(got)
			if err := j.Settle(b.Context(), name, forward.Answer{First: got[0].Seq, Last: got[len(got)-1].Seq}); err != nil {
				b.Fatal(err)
			}
			from = next
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkMillion fills a journal with 1,000,000 records, opens it, and makes
// its buffer anew from the ledger.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	j := mustOpen(b, Config{Dir: dir})
	begin := time.Now()
	fill(b, j, n)
	filling, filled := time.Since(begin), resident(b)
	closeJournal(b, j)
	begin = time.Now()
	j = mustOpen(b, Config{Dir: dir})
	opening, opened := time.Since(begin), resident(b)
	closeJournal(b, j)
	var rebuilding time.Duration
	var rebuilt map[string]float64
	for b.Loop() {
		if err := os.RemoveAll(filepath.Join(dir, bufferDir)); err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		j := mustOpen(b, Config{Dir: dir})
		rebuilding += time.Since(begin)
		rebuilt = resident(b)
		if s, err := j.Stats(); err != nil || s.Replayed != n || !s.Rebuilt {
			b.Fatalf("%+v %v", s, err)
		}
		closeJournal(b, j)
	}
	report(b, "filled-", filled)
	report(b, "opened-", opened)
	report(b, "rebuilt-", rebuilt)
	b.ReportMetric(n/filling.Seconds(), "fill-records/s")
	b.ReportMetric(float64(opening)/1e6, "open-ms")
	b.ReportMetric(rebuilding.Seconds()/float64(b.N), "rebuild-s")
	b.ReportMetric(0, "ns/op")
}
