package attendance

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

func skew(d time.Duration) *time.Duration { return &d }

// stored holds one of every record; its bytes are in testdata/v1 and must
// decode to these values for ever.
var stored = map[string]Record{
	"punch-terminal": &Punch{
		Key: TerminalKey("SIM0001", "0012", LocalDate(2026, 11, 4, 8, 58, 12, 0), 0, 1, ""), Kind: KindPunch,
		Employee: "E1001", Badge: "0012", Direction: DirIn, Method: MethodFingerprint,
		Device: Device{ID: "lobby", Driver: "zk", Serial: "SIM0001"}, Site: "xm-hq", Place: "hq",
		DeviceTime: LocalDate(2026, 11, 4, 8, 58, 12, 0), Zone: "Asia/Shanghai",
		At:         time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC),
		ReceivedAt: time.Date(2026, 11, 4, 0, 58, 13, 120e6, time.UTC), Skew: skew(-310 * time.Millisecond),
		Verdict: Accepted, State: 0, Verify: 1, Evidence: Evidence{Raw: []byte{1, 2, 3}},
	},
	"punch-phone": &Punch{
		Key: PhoneKey("p-7f3a", 42), Kind: KindVisit, Employee: "E1002", Direction: DirArrive, Method: MethodPhone,
		Device: Device{ID: "p-7f3a", Driver: "phone"}, Site: "xm-hq", Place: "customer-17",
		DeviceTime: LocalDate(2026, 11, 4, 8, 58, 12, 250), Zone: "+08:00",
		At:         time.Date(2026, 11, 4, 0, 58, 12, 250e6, time.UTC),
		ReceivedAt: time.Date(2026, 11, 4, 3, 0, 0, 1, time.UTC), Skew: skew(0),
		Verdict: Flagged, Reasons: []Reason{ReasonWiFiMatch, ReasonLate}, Late: true, State: -1, Verify: -1, Counter: 42, Gap: 3,
		Evidence: Evidence{
			Fix:  &Fix{Lat: 24.479834, Lon: 118.089425, Acc: 12, At: time.Date(2026, 11, 4, 0, 58, 11, 0, time.UTC), Mock: true},
			WiFi: &WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: "办公室", Seen: []Heard{{"a2:8b:7f:c0:27:4c", -61}, {}}},
			Note: "见客户", Photo: &Photo{SHA256: strings.Repeat("ab", 32), Size: 48211}, Challenge: "c", Raw: []byte("eyJ..."),
		},
	},
	"settled":    &Settled{Sink: "hq", First: 7, Last: 506, Dead: []Dead{{Seq: 9, Reason: "no such field"}, {Seq: 0}}},
	"parked":     &Parked{Sink: "hq", Seq: 12, Reason: "unknown employee", RetryAfter: 30 * time.Second},
	"checkpoint": &Checkpoint{Note: "punchd/ledger/00\n2\n", Edge: [][32]byte{{1, 2}, {31: 3}}},
	"operator": &Operator{
		At: time.Date(2026, 11, 4, 1, 0, 0, 0, time.UTC), Who: "root", Action: "dead replay", Detail: "hq 9",
	},
	"clock": &ClockReading{At: time.Date(2026, 11, 4, 1, 0, 0, 0, time.UTC), Device: "lobby", Skew: -time.Hour},
	"device": &DeviceEvent{
		At: time.Date(2026, 11, 4, 1, 0, 0, 0, time.UTC), Device: Device{ID: "lobby", Driver: "zk", Serial: "SIM0001"},
		Event: "log-cleared", Detail: "5000 records",
	},
}

func TestStoredGolden(t *testing.T) {
	for name, want := range stored {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "v1", name+".hex")
			if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
				if err := os.WriteFile(path, []byte(hex.EncodeToString(AppendRecord(nil, want))+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			old, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeRecord(want.RecordKind(), old)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if now := AppendRecord(nil, want); !bytes.Equal(now, old) {
				t.Errorf("stored form changed:\nnow %x\nold %x", now, old)
			}
		})
	}
}

// A stored record cut anywhere is an error or a shorter record, never a panic;
// a field of the future is passed over.
func TestStoredBadInput(t *testing.T) {
	for name, r := range stored {
		b := AppendRecord(nil, r)
		for i := range b {
			_, _ = DecodeRecord(r.RecordKind(), b[:i]) // must not panic; short ones may decode
		}
		future := appendText(bytes.Clone(b), 900, "from a newer version")
		got, err := DecodeRecord(r.RecordKind(), future)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s with an unknown field: %+v, %v", name, got, err)
		}
	}
	for _, c := range []struct {
		name string
		kind RecordKind
		b    []byte
		want error
	}{
		{"no kind", 0, nil, protocol.ErrUnsupported},
		{"kind of the future", 200, nil, protocol.ErrUnsupported},
		{"punch without key", RecordPunch, nil, protocol.ErrMalformed},
		{"short key", RecordPunch, appendBytes(nil, 1, []byte("short")), protocol.ErrMalformed},
		{"lying length", RecordPunch, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, protocol.ErrMalformed},
		{"enum out of range", RecordPunch, appendUint(appendBytes(nil, 1, make([]byte, 16)), 2, 256), protocol.ErrMalformed},
		{"half a hash", RecordCheckpoint, appendBytes(nil, 2, make([]byte, 33)), protocol.ErrMalformed},
		{"too many hashes", RecordCheckpoint, appendBytes(nil, 2, make([]byte, 65*32)), protocol.ErrMalformed},
		{"settled backwards", RecordSettled, appendUint(nil, 2, 5), protocol.ErrMalformed},
		{"too large", RecordPunch, make([]byte, MaxStored+1), protocol.ErrTooLarge},
	} {
		if _, err := DecodeRecord(c.kind, c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// FuzzDecodeRecord holds that what decodes has one stored form: encoding it and
// decoding again gives the same bytes.
func FuzzDecodeRecord(f *testing.F) {
	for _, r := range stored {
		f.Add(uint8(r.RecordKind()), AppendRecord(nil, r))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		r, err := DecodeRecord(RecordKind(kind), b)
		if err != nil {
			return
		}
		once := AppendRecord(nil, r)
		again, err := DecodeRecord(RecordKind(kind), once)
		if err != nil {
			t.Fatalf("%x decoded, its own form %x did not: %v", b, once, err)
		}
		if twice := AppendRecord(nil, again); !bytes.Equal(once, twice) {
			t.Fatalf("two forms of one record:\n%x\n%x", once, twice)
		}
	})
}

func BenchmarkAppendRecord(b *testing.B) {
	p := stored["punch-phone"]
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = AppendRecord(buf[:0], p)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecodeRecord(b *testing.B) {
	buf := AppendRecord(nil, stored["punch-phone"])
	for b.Loop() {
		if _, err := DecodeRecord(RecordPunch, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFloatsAreKeptBitForBit(t *testing.T) {
	for _, v := range []float64{0, math.Copysign(0, -1), math.MaxFloat64, math.Inf(-1), 118.08942500000001} {
		p := &Punch{Evidence: Evidence{Fix: &Fix{Lat: v}}, State: -1, Verify: -1}
		r, err := DecodeRecord(RecordPunch, AppendRecord(nil, p))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.(*Punch).Evidence.Fix.Lat; math.Float64bits(got) != math.Float64bits(v) {
			t.Errorf("%v came back as %v", v, got)
		}
	}
}
