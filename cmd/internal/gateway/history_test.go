package gateway

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger"
)

// TestHistoryPassesOverUndecodable: a record that this program can't decode does
// not keep the daemon from starting, nor from knowing what is before and behind.
func TestHistoryPassesOverUndecodable(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC)
	append1 := func(n uint64) {
		t.Helper()
		j, err := journal.Open(t.Context(), journal.Config{Dir: dir, SegmentSize: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		employee := []string{"E1", "E2"}[n]
		_, err = j.Append(t.Context(), []attendance.Record{&attendance.Punch{
			Key: attendance.PhoneKey("p", n+1), Employee: employee, Method: attendance.MethodPhone, Device: attendance.Device{ID: "p", Driver: "phone"},
			At: at, State: -1, Verify: -1, Evidence: attendance.Evidence{Fix: &attendance.Fix{Lat: 24.47, Lon: 118.08, Acc: 10, At: at}},
		}})
		if err := errors.Join(err, j.Close()); err != nil {
			t.Fatal(err)
		}
	}
	append1(0)
	l, err := ledger.Open(ledger.Config{Dir: filepath.Join(dir, journal.LedgerDir), SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Append([]ledger.Entry{
		{Kind: attendance.RecordPunch, Payload: []byte{0xff, 0xff, 0xff}},
		{Kind: attendance.RecordPunch, Flags: ledger.FlagSealed, KeyID: 3, Payload: []byte("sealed by a newer version")},
	})
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	append1(1)
	j, err := journal.Open(t.Context(), journal.Config{Dir: dir, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var log bytes.Buffer
	h := newHistory()
	if err := h.load(t.Context(), j, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if len(h.past) != 2 {
		t.Errorf("the past of %d employees is known: %v", len(h.past), h.past)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 2 || !strings.Contains(log.String(), "seq=1") {
		t.Errorf("%d warnings: %s", n, &log)
	}
}
