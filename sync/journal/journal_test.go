package journal

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
)

var epoch = time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC)

// keyOf gives a key that looks like one.
func keyOf(n int) attendance.Key {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return attendance.Key(sum[:16])
}

// terminalPunch is punch n of a terminal, about 150 bytes stored.
func terminalPunch(n int) *attendance.Punch {
	at := epoch.Add(time.Duration(n) * time.Second)
	return &attendance.Punch{
		Key: keyOf(n), Kind: attendance.KindPunch, Employee: fmt.Sprintf("E%04d", n%700), Badge: fmt.Sprint(n % 700),
		Direction: attendance.DirIn, Method: attendance.MethodFingerprint,
		Device: attendance.Device{ID: "lobby", Driver: "zk", Serial: "SIM0001"}, Site: "xm-hq", Place: "hq",
		DeviceTime: attendance.LocalOf(at), Zone: "Asia/Shanghai", At: at, ReceivedAt: at.Add(300 * time.Millisecond),
		Verdict: attendance.Verdict(n % 4), State: 0, Verify: 1,
	}
}

// ownTracksPunch holds a message of about 350 bytes, signedPunch one of 900.
func ownTracksPunch(n int) *attendance.Punch {
	p := terminalPunch(n)
	p.Badge, p.State, p.Verify, p.Method = "", -1, -1, attendance.MethodPhone
	p.Device = attendance.Device{ID: fmt.Sprintf("ot-%d", n%700), Driver: "owntracks"}
	p.Evidence.Raw = fmt.Appendf(nil, `{"_type":"location","BSSID":"a2:8b:7f:c0:27:%02x","SSID":"Office","_id":"%08x","acc":%d,"alt":12,"batt":%d,"bs":1,"cog":0,`+
		`"conn":"w","created_at":%d,"inregions":["office"],"inrids":["6da9cf"],"lat":24.47%04d,"lon":118.08%04d,"m":1,"rad":50,"source":"fused",`+
		`"t":"u","tid":"e%d","topic":"owntracks/e%d/phone","tst":%d,"vac":2,"vel":0}`,
		n%256, uint32(n)*2654435761, n%50, n%100, p.At.Unix(), n%10000, n*7%10000, n%100, n%700, p.At.Unix())
	return p
}

func signedPunch(n int) *attendance.Punch {
	p := terminalPunch(n)
	p.Badge, p.State, p.Verify, p.Method = "", -1, -1, attendance.MethodPhone
	p.Device = attendance.Device{ID: fmt.Sprintf("p-%d", n%700), Driver: "phone"}
	p.Counter = uint64(n/700) + 1
	random := sha256.Sum256(p.Key[:])
	claims := fmt.Sprintf(`{"v":1,"phone":"p-%d","ctr":%d,"at":"%s","kind":"punch","direction":"in","fix":{"lat":24.47%04d,"lon":118.08%04d,"acc":%d,"at":"%s","mock":false},`+
		`"wifi":{"bssid":"a2:8b:7f:c0:27:%02x","ssid":"Office","seen":[{"bssid":"a2:8b:7f:c0:27:4b","rssi":-61},{"bssid":"a2:8b:7f:c0:27:4c","rssi":-71},`+
		`{"bssid":"a2:8b:7f:c0:27:4d","rssi":-77}]},"challenge":"%x","place":"hq"}`,
		n%700, p.Counter, p.At.Format(time.RFC3339Nano), n%10000, n*7%10000, n%30, p.At.Format(time.RFC3339Nano), n%256, random[:16])
	encode := base64.RawURLEncoding.EncodeToString
	p.Evidence.Raw = []byte(encode([]byte(`{"alg":"ES256","kid":"p-12","typ":"punchd-checkin+jwt"}`)) + "." + encode([]byte(claims)) + "." + encode(append(random[:], random[:]...)))
	return p
}

// realistic mixes OwnTracks and signed check-ins.
func realistic(n int) *attendance.Punch {
	if n%2 == 0 {
		return ownTracksPunch(n)
	}
	return signedPunch(n)
}

func mustOpen(t testing.TB, cfg Config) *Journal {
	t.Helper()
	j, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// openDir opens a journal with small segments that is closed with the test.
func openDir(t testing.TB, dir string) *Journal {
	t.Helper()
	j := mustOpen(t, Config{Dir: dir, SegmentSize: 64 << 10})
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func records(from, to int, punch func(int) *attendance.Punch) []attendance.Record {
	var recs []attendance.Record
	for n := from; n < to; n++ {
		recs = append(recs, punch(n))
	}
	return recs
}

func mustAppend(t testing.TB, j *Journal, recs ...attendance.Record) []Result {
	t.Helper()
	results, err := j.Append(t.Context(), recs)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(recs) {
		t.Fatalf("%d results for %d records", len(results), len(recs))
	}
	return results
}

// flush waits until everything durable is applied to the buffer.
func flush(t testing.TB, j *Journal) {
	t.Helper()
	r := newRequest(nil)
	r.run = func() error { return nil }
	if err := j.send(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func mustSettle(t testing.TB, j *Journal, sink string, answers ...forward.Answer) {
	t.Helper()
	if err := j.Settle(t.Context(), sink, answers...); err != nil {
		t.Fatal(err)
	}
}

// pending reads all from a sequence on.
func pending(t testing.TB, j *Journal, from uint64) (seqs []uint64, punches []*attendance.Punch) {
	t.Helper()
	for {
		items, next, err := j.Pending(t.Context(), from, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			seqs = append(seqs, it.Seq)
			punches = append(punches, it.Punch)
		}
		if next == from {
			return seqs, punches
		}
		from = next
	}
}

func sinkStats(t testing.TB, j *Journal, name string) SinkStats {
	t.Helper()
	flush(t, j)
	s, err := j.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Sinks {
		if k.Name == name {
			return k
		}
	}
	return SinkStats{Name: name, Pending: s.Punches}
}

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openDir(t, dir)
	var want []*attendance.Punch
	for n := 0; n < 3000; {
		size := 1 + n%137
		var recs []attendance.Record
		for _, r := range records(n, n+size, realistic) {
			want = append(want, r.(*attendance.Punch))
			recs = append(recs, r)
		}
		for i, r := range mustAppend(t, j, recs...) {
			if r.Seq != uint64(n+i) || r.Duplicate {
				t.Fatalf("record %d: %+v", n+i, r)
			}
		}
		n += size
	}
	check := func(j *Journal) {
		t.Helper()
		seqs, punches := pending(t, j, 0)
		if len(punches) != len(want) {
			t.Fatalf("%d punches pending, want %d", len(punches), len(want))
		}
		for i, p := range punches {
			if seqs[i] != uint64(i) || !reflect.DeepEqual(p, want[i]) {
				t.Fatalf("punch %d: %d %+v, want %+v", i, seqs[i], p, want[i])
			}
		}
		for n := 0; n < len(want); n += 97 {
			seq, p, found, err := j.Lookup(keyOf(n))
			if err != nil || !found || seq != uint64(n) || !reflect.DeepEqual(p, want[n]) {
				t.Fatalf("look-up %d: %d %v %v", n, seq, found, err)
			}
		}
		if _, _, found, err := j.Lookup(keyOf(1 << 30)); found || err != nil {
			t.Errorf("an unknown key: %v %v", found, err)
		}
		if c, err := j.Counter("p-11"); err != nil || c != 5 { // 11, 711, 1411, 2111, 2811
			t.Errorf("counter %d, %v", c, err)
		}
		if c, err := j.Counter("ot-10"); err != nil || c != 0 {
			t.Errorf("counter of a phone that does not count: %d, %v", c, err)
		}
		s, err := j.Stats()
		if err != nil || s.Next != uint64(len(want)) || s.FreeBytes == 0 || s.LedgerBytes == 0 || s.BufferBytes == 0 {
			t.Errorf("stats %+v, %v", s, err)
		}
		if s.Torn != nil || s.Damage != nil || s.Lost != nil || s.Headers != nil || s.Suspects != nil || s.Failure != nil || s.Copies != 0 {
			t.Errorf("something is wrong: %+v", s)
		}
	}
	check(j)
	closeJournal(t, j)
	j = openDir(t, dir)
	check(j)
	s, err := j.Stats()
	if err != nil || s.Records != uint64(len(want)) || s.Punches != s.Records || s.Replayed != 0 {
		t.Errorf("opened again: %+v, %v", s, err)
	}
	var sum uint64
	for _, v := range s.Verdicts {
		sum += v
	}
	if sum != s.Punches {
		t.Errorf("verdicts %v of %d punches", s.Verdicts, s.Punches)
	}
}
