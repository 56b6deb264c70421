package cloudevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

var meta = Meta{Source: GatewaySource("xm-hq", "gw-01")}

func skew(d time.Duration) *time.Duration { return &d }

// punches are what the golden files hold.
func punches() map[string]*attendance.Punch {
	terminal := attendance.LocalDate(2026, 11, 4, 8, 58, 12, 0)
	skipped := attendance.LocalDate(2026, 3, 29, 2, 30, 0, 0)
	return map[string]*attendance.Punch{
		"terminal": {
			Key: attendance.TerminalKey("SIM0001", "0012", terminal, 0, 1, ""), Kind: attendance.KindPunch,
			Employee: "E1001", Badge: "0012", Direction: attendance.DirIn, Method: attendance.MethodFingerprint,
			Device: attendance.Device{ID: "lobby", Driver: "zk", Serial: "SIM0001"}, Site: "xm-hq", Place: "hq",
			DeviceTime: terminal, Zone: "+08:00", At: time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC),
			ReceivedAt: time.Date(2026, 11, 4, 0, 58, 13, 120e6, time.UTC), Skew: skew(-310 * time.Millisecond),
			Verdict: attendance.Accepted, State: 0, Verify: 1,
		},
		"phone": {
			Key: attendance.PhoneKey("p-7f3a", 42), Kind: attendance.KindVisit,
			Employee: "张三", Direction: attendance.DirArrive, Method: attendance.MethodPhone,
			Device: attendance.Device{ID: "p-7f3a", Driver: "phone"}, Site: "xm-hq", Place: "customer-17",
			DeviceTime: attendance.LocalDate(2026, 11, 4, 8, 58, 12, 250), Zone: "+08:00",
			At: time.Date(2026, 11, 4, 0, 58, 12, 250e6, time.UTC), ReceivedAt: time.Date(2026, 11, 4, 3, 0, 0, 0, time.UTC), Skew: skew(0),
			Verdict: attendance.Flagged, Reasons: []attendance.Reason{attendance.ReasonWiFiMatch, attendance.ReasonLate}, Late: true,
			State: -1, Verify: -1, Counter: 42, Gap: 3,
		},
		// Nobody's card at a reader in a zone of half an hour, before 1970's clocks
		// were set, with a badge that needs escaping.
		"stranger": {
			Key: attendance.ReaderKey("dock", "x", time.Unix(0, 0)), Kind: attendance.KindPunch, Badge: "a\"b\\c\n\t\r\x01/<&>\u2028",
			Method: attendance.MethodCard, Device: attendance.Device{ID: "dock", Driver: "cardline"},
			DeviceTime: attendance.LocalDate(1969, 12, 31, 20, 30, 0, 0), Zone: "-03:30", At: time.Unix(0, 0).UTC(),
			ReceivedAt: time.Date(2026, 11, 4, 0, 0, 0, 999e6, time.UTC),
			Verdict:    attendance.Unverified, Reasons: []attendance.Reason{attendance.ReasonUnknownBadge}, State: -1, Verify: 4,
		},
		// 02:30 in Berlin on the night that has no such hour.
		"skipped-hour": {
			Key: attendance.TerminalKey("B", "7", skipped, 255, 0, "19"), Kind: attendance.KindPunch, Employee: "E7", Badge: "7",
			Direction: attendance.DirOvertimeOut, Method: attendance.MethodPassword, Device: attendance.Device{ID: "berlin", Driver: "zk"},
			DeviceTime: skipped, Zone: "+01:00", At: time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC),
			ReceivedAt: time.Date(2026, 3, 29, 1, 30, 1, 0, time.UTC), Verdict: attendance.Refused,
			Reasons: []attendance.Reason{attendance.ReasonNotEmployed}, State: 255, Verify: 0,
		},
	}
}

// golden reads testdata/v1/name, writing it first if it is new and -update is
// given. A file that exists is never written again: it must be read for ever.
func golden(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "v1", name)
	if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(path, append(bytes.Clone(content), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b)
}

func TestCheckpointGolden(t *testing.T) {
	note, err := os.ReadFile(filepath.Join("..", "checkpoint", "testdata", "v1", "note.txt"))
	if err != nil {
		t.Fatal(err)
	}
	now := AppendCheckpoint(nil, meta, 1042, &attendance.Checkpoint{Note: string(note), Edge: [][32]byte{{1}}})
	old := golden(t, "checkpoint.json", now)
	if !bytes.Equal(now, old) {
		t.Errorf("event changed:\nnow %s\nold %s", now, old)
	}
	e, err := ParseEvent(old)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Checkpoint(); err != nil || got != string(note) {
		t.Errorf("%q, %v", got, err)
	}
	if e.Type != TypeCheckpoint || e.Seq != 1042 || !e.Time.Equal(time.Date(2026, 11, 4, 0, 58, 12, 250e6, time.UTC)) {
		t.Errorf("envelope: %+v", e)
	}
	if _, err := e.Punch(); !errors.Is(err, protocol.ErrUnsupported) {
		t.Errorf("it is a punch: %v", err)
	}
	// One that is no head goes too: what it is worth the receiver finds out.
	e, err = ParseEvent(AppendCheckpoint(nil, meta, 1, &attendance.Checkpoint{Note: "打卡\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Checkpoint(); err != nil || got != "打卡\n" || !e.Time.IsZero() {
		t.Errorf("%q, %v", got, err)
	}
	for _, data := range []string{``, `{}`, `{"note":7}`, `{"note":"a"`, `[]`} {
		e := Event{Type: TypeCheckpoint, Data: []byte(data)}
		if got, err := e.Checkpoint(); !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrIncomplete) {
			t.Errorf("%s: %q, %v", data, got, err)
		}
	}
}

func TestEventGolden(t *testing.T) {
	for name, want := range punches() {
		t.Run(name, func(t *testing.T) {
			now := AppendEvent(nil, meta, 42, want)
			old := golden(t, "punch-"+name+".json", now)
			if !bytes.Equal(now, old) {
				t.Errorf("event changed:\nnow %s\nold %s", now, old)
			}
			e, err := ParseEvent(old)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Punch()
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if e.ID != want.Key.String() || e.Source != "/sites/xm-hq/gateways/gw-01" || e.Type != TypePunch || e.Seq != 42 ||
				e.Subject != want.Employee || e.PartitionKey != want.Employee || !e.Time.Equal(want.At) || !e.RecordedTime.Equal(want.ReceivedAt) {
				t.Errorf("envelope: %+v", e)
			}
			if e.Time.Format("-07:00") != want.Zone {
				t.Errorf("time %v is not written at offset %s", e.Time, want.Zone)
			}
		})
	}
}

func sorted() iter.Seq2[uint64, attendance.Record] {
	all := punches()
	return func(yield func(uint64, attendance.Record) bool) {
		for i, name := range slices.Sorted(maps.Keys(all)) {
			if !yield(uint64(i+7), all[name]) {
				return
			}
		}
	}
}

func TestBatchGolden(t *testing.T) {
	now := AppendBatch(nil, meta, sorted())
	old := golden(t, "batch.json", now)
	if !bytes.Equal(now, old) {
		t.Errorf("batch changed:\nnow %s\nold %s", now, old)
	}
	events, err := ParseBatch(old)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 4 || events[0].Seq != 7 || events[3].Seq != 10 {
		t.Errorf("%+v", events)
	}
	if empty := AppendBatch(nil, meta, func(func(uint64, attendance.Record) bool) {}); string(empty) != "[]" {
		t.Errorf("a batch of none is %s", empty)
	}
}

// What is evidence stays on the gateway, whatever it is.
func TestEvidenceStaysAtHome(t *testing.T) {
	p := punches()["phone"]
	before := AppendEvent(nil, meta, 1, p)
	p.Evidence = attendance.Evidence{
		Fix:  &attendance.Fix{Lat: 24.479834, Lon: 118.089425, Acc: 12, Mock: true},
		WiFi: &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: "s"}, Note: "n", Challenge: "c", Raw: []byte("r"),
		Photo: &attendance.Photo{SHA256: "ab", Size: 1},
	}
	if after := AppendEvent(nil, meta, 1, p); !bytes.Equal(before, after) {
		t.Errorf("evidence changes the event:\n%s\n%s", before, after)
	}
}

// A clock can show anything. The event must stay readable and keep its
// identity, with what can't be written left out.
func TestBrokenClocks(t *testing.T) {
	far := time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, p := range map[string]*attendance.Punch{
		"unset":               {},
		"year 12026":          {At: far, DeviceTime: attendance.LocalOf(far), ReceivedAt: far},
		"year -1":             {At: far.AddDate(-12027, 0, 0), DeviceTime: attendance.LocalDate(-1, 1, 1, 0, 0, 0, 0)},
		"year 0":              {At: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), DeviceTime: attendance.LocalDate(0, 1, 1, 1, 0, 0, 0)},
		"first hour":          {At: time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC), DeviceTime: attendance.LocalDate(0, 12, 31, 12, 0, 0, 1)},
		"last hour":           {At: time.Date(9998, 12, 31, 23, 59, 59, 0, time.UTC), DeviceTime: attendance.LocalDate(9999, 1, 1, 11, 59, 59, 0)},
		"year 9999":           {At: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), DeviceTime: attendance.LocalDate(9999, 12, 31, 23, 59, 59, 0)},
		"least face":          {DeviceTime: math.MinInt64},
		"greatest face":       {DeviceTime: math.MaxInt64, At: time.Unix(0, 0)},
		"greatest instant":    {At: time.Unix(1<<62, 0), ReceivedAt: time.Unix(1<<62, 0)},
		"offset with seconds": {At: time.Unix(1e9, 0), DeviceTime: attendance.LocalOf(time.Unix(1e9, 0).UTC()) + 343_000},
		"offset of two days":  {At: time.Unix(1e9, 0), DeviceTime: attendance.LocalOf(time.Unix(1e9, 0).UTC()) + 48*3600_000},
		"nanoseconds":         {At: time.Unix(1e9, 999_999_999), DeviceTime: attendance.LocalOf(time.Unix(1e9, 0).UTC()), ReceivedAt: time.Unix(1e9, 1)},
		"skew of centuries":   {Skew: skew(math.MinInt64)},
	} {
		b := AppendEvent(nil, meta, math.MaxUint64, p)
		if !json.Valid(b) {
			t.Errorf("%s: not JSON: %s", name, b)
		}
		e, err := ParseEvent(b)
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, b)
			continue
		}
		got, err := e.Punch()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, b)
			continue
		}
		if got.Key != p.Key || e.Seq != math.MaxUint64 {
			t.Errorf("%s: another identity: %s", name, b)
		}
		// What could not be written reads as unset, and stays so.
		again, err := ParseEvent(AppendEvent(nil, meta, e.Seq, got))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if twice, err := again.Punch(); err != nil || !reflect.DeepEqual(twice, got) {
			t.Errorf("%s: %v\nonce  %+v\ntwice %+v", name, err, got, twice)
		}
	}
	// A face that fits no offset is told as it is, and the instant in UTC.
	p := &attendance.Punch{At: time.Unix(1e9, 0), DeviceTime: attendance.LocalOf(time.Unix(1e9, 0).UTC()) + 343_000}
	if b := AppendEvent(nil, meta, 1, p); !bytes.Contains(b, []byte(`"time":"2001-09-09T01:46:40Z"`)) || !bytes.Contains(b, []byte(`"device_time":"2001-09-09T01:52:23"`)) {
		t.Errorf("%s", b)
	}
}

// Every text, also one that is no UTF-8, comes out as encoding/json reads it.
func TestTexts(t *testing.T) {
	for _, s := range []string{
		"", "plain", "张三", "😀", "a\xffb", "\xff", "\xe5\xbc", "tail\xf0\x9f", "\x00\x1f\x7f", `"\`, "\u2028\u2029", "<script>&", "\uFFFD", "\xed\xa0\x80",
	} {
		got := appendText(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Errorf("%q gives %s: %v", s, got, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); len(s) > 0 && back != want && strings.Count(back, "\uFFFD") == 0 {
			t.Errorf("%q gives %q", s, back)
		}
		sc := scanner{b: got}
		if own, err := sc.text(""); err != nil || own != back {
			t.Errorf("%s: %q here, %q by encoding/json (%v)", got, own, back, err)
		}
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("张三\xff\"\\\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := appendText(nil, s)
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var a, b string
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatalf("%q gives %s: %v", s, got, err)
		}
		if err := json.Unmarshal(want, &b); err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Fatalf("%q is %q here and %q by encoding/json", s, a, b)
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	p := punches()["terminal"]
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = AppendEvent(buf[:0], meta, 42, p)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func benchmarkBatch(n int) []byte {
	p := punches()["terminal"]
	return AppendBatch(nil, meta, func(yield func(uint64, attendance.Record) bool) {
		for i := range n {
			q := *p
			q.Key[0], q.Key[1] = byte(i), byte(i>>8)
			yield(uint64(i), &q)
		}
	})
}

func BenchmarkParseBatch(b *testing.B) {
	batch := benchmarkBatch(500)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if _, err := ParseBatch(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkParseBatchStandard is the same work by encoding/json, which is what
// the scanner is measured against.
func BenchmarkParseBatchStandard(b *testing.B) {
	batch := benchmarkBatch(500)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		var events []struct {
			Specversion, ID, Source, Type, Subject, Sequence, Partitionkey, Datacontenttype string
			Time, Recordedtime                                                              time.Time
			Data                                                                            json.RawMessage
		}
		if err := json.Unmarshal(batch, &events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkPunch(b *testing.B) {
	e, err := ParseEvent(AppendEvent(nil, meta, 42, punches()["terminal"]))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := e.Punch(); err != nil {
			b.Fatal(err)
		}
	}
}

func isKind(err error) bool {
	for _, kind := range []error{protocol.ErrIncomplete, protocol.ErrMalformed, protocol.ErrTooLarge, protocol.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
