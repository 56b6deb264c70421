package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// TestFollowBesideWriter reads a ledger on the real file system while it is
// being written. What is half written is never taken for damage.
func TestFollowBesideWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	const total = 4000
	written := make(chan error, 1)
	go func() {
		r := rand.New(rand.NewPCG(1, 1))
		for l.Next() < total {
			n := min(1+r.IntN(40), int(total-l.Next()))
			if _, err := l.Append(batch(l.Next(), 0, n, 30+r.IntN(200))); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	next := uint64(0)
	err := Follow(ctx, dir, 0, time.Millisecond, func(f Frame) error {
		if f.Seq != next || !bytes.HasPrefix(f.Payload, fmt.Appendf(nil, "record %d attempt", next)) {
			return fmt.Errorf("record %d, want %d: %q", f.Seq, next, f.Payload)
		}
		if next++; next == total {
			cancel()
		}
		return nil
	}, func(d *Damage) error { return d })
	if err != nil || next != total {
		t.Errorf("%d of %d records, %v", next, total, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	closeLedger(t, l)
	next, err = Scan(t.Context(), dir, 100, func(Frame) error { return nil }, nil)
	if err != nil || next != total {
		t.Errorf("scan: next %d, %v", next, err)
	}
}

func TestScanStops(t *testing.T) {
	dir := t.TempDir()
	if next, err := Scan(t.Context(), dir, 7, nil, nil); err != nil || next != 7 {
		t.Errorf("an empty directory: %d, %v", next, err)
	}
	l := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	mustAppend(t, l, batch(0, 0, 10, 20))
	closeLedger(t, l)
	stop := errors.New("enough")
	next, err := Scan(t.Context(), dir, 2, func(f Frame) error {
		if f.Seq == 5 {
			return stop
		}
		return nil
	}, nil)
	if !errors.Is(err, stop) || next != 6 {
		t.Errorf("stopped: %d, %v", next, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, dir, 0, func(Frame) error { return nil }, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Scan(t.Context(), filepath.Join(dir, "none"), 0, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestSpareIsReused: a spare that was left is taken, one of another size or
// half written is not.
func TestSpareIsReused(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, SegmentSize: 64 << 10}
	spare := filepath.Join(dir, spareName)
	l := mustOpen(t, cfg)
	mustAppend(t, l, batch(0, 0, 10, 4000)) // over half of a segment
	closeLedger(t, l)
	before, err := os.Stat(spare)
	if err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, cfg)
	mustAppend(t, l, batch(10, 0, 10, 4000))
	after, err := os.Stat(filepath.Join(dir, l.end.segment.name))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the spare was not taken: %v", err)
	}
	closeLedger(t, l)
	for _, left := range []string{spareName, spareTemp} {
		if err := os.WriteFile(filepath.Join(dir, left), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l = mustOpen(t, cfg)
	mustAppend(t, l, batch(20, 0, 40, 4000))
	frames, damage := readAll(t, l.Reader(0))
	wantRecords(t, frames, 0, 60, 4000)
	if damage != nil {
		t.Error(damage)
	}
	closeLedger(t, l)
}

// TestGolden opens the ledgers of every version there was. They must open for
// ever, and read as the text beside them says.
func TestGolden(t *testing.T) {
	versions, err := filepath.Glob("testdata/v*")
	if err != nil || len(versions) == 0 {
		t.Fatalf("no golden ledgers: %v", err)
	}
	for _, version := range versions {
		want, err := os.Open(filepath.Join(version, "frames.txt"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		var lines []string
		for s := bufio.NewScanner(want); s.Scan(); {
			if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(version, "ledger"))); err != nil {
			t.Fatal(err)
		}
		var got []string
		visit := func(f Frame) error {
			content := fmt.Sprintf("%x", f.Payload)
			if len(f.Payload) > 800 {
				content = fmt.Sprintf("%d bytes, sha256 %x", len(f.Payload), sha256.Sum256(f.Payload))
			}
			line := fmt.Sprintf("%d kind=%d flags=%d key=%d batch=%d/%d %s", f.Seq, f.Kind, f.Flags, f.KeyID, f.Index, f.Count, content)
			got = append(got, strings.TrimSpace(line))
			return nil
		}
		if _, err := Scan(t.Context(), dir, 0, visit, func(d *Damage) error { return d }); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		if strings.Join(got, "\n") != strings.Join(lines, "\n") {
			t.Errorf("%s reads as\n%s\nwant\n%s", version, strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
		l, err := Open(Config{Dir: dir, SegmentSize: MinSegmentSize})
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if r := l.Report(); r.Torn != nil || r.Damage != nil || r.Headers != nil || l.Next() != uint64(len(lines)) {
			t.Errorf("%s: next %d, %+v", version, l.Next(), r)
		}
		mustAppend(t, l, batch(l.Next(), 0, 3, 100))
		closeLedger(t, l)
	}
}

// fdatasyncRate is how often this disk makes one sector durable in a second.
func fdatasyncRate(b *testing.B) float64 {
	f, err := disk.OS.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := zero(f, 0, 1<<20); err != nil {
		b.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		b.Fatal(err)
	}
	const n = 300
	sector := make([]byte, 512)
	begin := time.Now()
	for i := range n {
		sector[0] = byte(i)
		if _, err := f.WriteAt(sector, int64(i)*512); err != nil {
			b.Fatal(err)
		}
		if err := f.Datasync(); err != nil {
			b.Fatal(err)
		}
	}
	return n / time.Since(begin).Seconds()
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			plain := fdatasyncRate(b)
			l := mustOpen(b, Config{Dir: b.TempDir()})
			defer closeLedger(b, l)
			entries := batch(0, 0, n, 600)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(entries); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(plain, "fdatasync/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := mustOpen(b, Config{Dir: b.TempDir()})
	defer closeLedger(b, l)
	for l.Next() < 100_000 {
		mustAppend(b, l, batch(l.Next(), 0, 1000, 600))
	}
	for b.Loop() {
		frames := 0
		r := l.Reader(0)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
			frames++
		}
		r.Close()
		if frames != 100_000 {
			b.Fatal(frames)
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkOpen opens a ledger whose last segment alone has to be read.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l := mustOpen(b, Config{Dir: dir})
	for l.Next() < 200_000 {
		mustAppend(b, l, batch(l.Next(), 0, 1000, 600))
	}
	cfg := Config{Dir: dir, Floor: l.Next(), FloorOf: l.Identity()}
	closeLedger(b, l)
	for b.Loop() {
		closeLedger(b, mustOpen(b, cfg))
	}
}
