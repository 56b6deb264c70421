package central

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var meta = cloudevents.Meta{Source: "/sites/xm-hq/gateways/gw-01"}

func punch(n int) *attendance.Punch {
	at := time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	return &attendance.Punch{
		Key: attendance.ReaderKey("r", fmt.Sprint(n), at), Kind: attendance.KindPunch, Employee: fmt.Sprintf("E%d", n%10), Badge: fmt.Sprint(n),
		Device: attendance.Device{ID: fmt.Sprintf("door-%d", n%3), Driver: "cardline"}, At: at, DeviceTime: attendance.LocalOf(at),
		ReceivedAt: at, State: -1, Verify: -1,
	}
}

// batch is the body that a gateway sends for the punches from..to-1.
func batch(from, to int) []byte {
	return cloudevents.AppendBatch(nil, meta, func(yield func(uint64, attendance.Record) bool) {
		for n := from; n < to && yield(uint64(n), punch(n)); n++ {
		}
	})
}

func newCentral(t testing.TB, cfg Config) *Central {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// post makes a request without a network; status 0 means that the connection
// was closed without an answer.
func post(t testing.TB, c *Central, body []byte, change ...func(*http.Request)) (status int, results []cloudevents.Result, text string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/punches", bytes.NewReader(body))
	r.Header.Set("Content-Type", cloudevents.ContentType)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	if aborted(func() { c.ServeHTTP(w, r) }) {
		return 0, nil, ""
	}
	if w.Code == http.StatusOK && w.Header().Get("Content-Type") == "application/json" {
		var err error
		if results, _, err = cloudevents.ParseResults(w.Body.Bytes()); err != nil {
			t.Error(err)
		}
	}
	return w.Code, results, w.Body.String()
}

func aborted(f func()) (yes bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case http.ErrAbortHandler:
			yes = true
		default:
			panic(r)
		}
	}()
	f()
	return false
}

func statuses(results []cloudevents.Result) (s []cloudevents.Status) {
	for _, r := range results {
		s = append(s, r.Status)
	}
	return s
}

// wantHeld checks which punches are held, in order.
func wantHeld(t testing.TB, c *Central, want ...int) {
	t.Helper()
	held, err := c.Held()
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != len(want) {
		t.Fatalf("%d are held, want %d", len(held), len(want))
	}
	for i, h := range held {
		p := punch(want[i])
		got, err := h.Punch()
		if err != nil || got.Key != p.Key || got.Badge != p.Badge || h.Device != p.Device.ID || h.Subject != p.Employee || !h.Time.Equal(p.At) || h.Seq != uint64(want[i]) {
			t.Errorf("number %d is %s (%v), want %+v", i, h.Raw, err, p)
		}
	}
	if n := c.Stats().Distinct; n != uint64(len(want)) {
		t.Errorf("%d are counted", n)
	}
}

func span(from, to int) (ns []int) {
	for n := from; n < to; n++ {
		ns = append(ns, n)
	}
	return ns
}

// What comes again, in whatever company, is a duplicate and held once.
func TestHoldsInOrderOfArrival(t *testing.T) {
	c := newCentral(t, Config{})
	a, d := cloudevents.Accepted, cloudevents.Duplicate
	for _, s := range []struct {
		from, to int
		want     []cloudevents.Status
	}{
		{0, 3, []cloudevents.Status{a, a, a}},
		{0, 3, []cloudevents.Status{d, d, d}},
		{7, 9, []cloudevents.Status{a, a}},
		{2, 5, []cloudevents.Status{d, a, a}},
		{0, 0, nil},
	} {
		status, results, _ := post(t, c, batch(s.from, s.to))
		if status != 200 || !reflect.DeepEqual(statuses(results), s.want) {
			t.Errorf("%d to %d: %d, %v", s.from, s.to, status, results)
		}
	}
	wantHeld(t, c, 0, 1, 2, 7, 8, 3, 4)
	twice := "[" + string(cloudevents.AppendEvent(nil, meta, 9, punch(9))) + "," + string(cloudevents.AppendEvent(nil, meta, 9, punch(9))) + "]"
	if _, results, _ := post(t, c, []byte(twice)); !reflect.DeepEqual(statuses(results), []cloudevents.Status{a, d}) {
		t.Errorf("twice in one batch: %v", results)
	}
	// Another gateway's event with the same id is another event.
	other := "[" + string(cloudevents.AppendEvent(nil, cloudevents.Meta{Source: "/other"}, 9, punch(9))) + "]"
	if _, results, _ := post(t, c, []byte(other)); results[0].Status != a {
		t.Errorf("from another source: %v", results)
	}
	want := Stats{Requests: 7, Received: 14, Distinct: 9, Duplicates: 5}
	if got := c.Stats(); got != want {
		t.Errorf("%+v", got)
	}
}

// The batch of a stranger is held too: the envelope counts.
func TestHoldsOtherEvents(t *testing.T) {
	c := newCentral(t, Config{})
	post(t, c, []byte(`[{"specversion":"1.0","id":"1","source":"/s","type":"attendance.watermark.v1"},{"specversion":"1.0","id":"2","source":"/s","type":"attendance.punch.v1","data":{"device":"zk-01"}}]`))
	held, err := c.Held()
	if err != nil || len(held) != 2 || held[1].Device != "" || string(held[1].Data) != `{"device":"zk-01"}` {
		t.Errorf("%+v, %v", held, err)
	}
}

func TestRefuses(t *testing.T) {
	c := newCentral(t, Config{MaxHeld: 5})
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, s := range map[string]struct {
		body   []byte
		change func(*http.Request)
		want   int
	}{
		"PUT":               {batch(0, 1), func(r *http.Request) { r.Method = http.MethodPut }, 405},
		"another type":      {batch(0, 1), header("Content-Type", "application/json"), 415},
		"no type":           {batch(0, 1), header("Content-Type", ""), 415},
		"another coding":    {batch(0, 1), header("Content-Encoding", "zstd"), 415},
		"no gzip":           {batch(0, 1), header("Content-Encoding", "gzip"), 400},
		"half a batch":      {batch(0, 1)[:50], header("X", ""), 400},
		"no batch":          {[]byte("{}"), header("X", ""), 400},
		"too many bytes":    {bytes.Repeat([]byte(" "), cloudevents.MaxBatch+1), header("X", ""), 413},
		"more than it held": {batch(0, 6), header("X", ""), 507},
	} {
		if status, _, text := post(t, c, s.body, s.change); status != s.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	wantHeld(t, c)
	if status, _, _ := post(t, c, batch(0, 5), header("Content-Type", cloudevents.ContentType+"; charset=utf-8")); status != 200 {
		t.Errorf("with a charset: %d", status)
	}
	if status, _, _ := post(t, c, batch(3, 6)); status != 507 {
		t.Errorf("one too many: %d", status)
	}
	wantHeld(t, c, span(0, 5)...)
}

func TestGzip(t *testing.T) {
	c := newCentral(t, Config{})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(batch(0, 3)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	coded := func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }
	if status, _, text := post(t, c, packed.Bytes(), coded); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	wantHeld(t, c, 0, 1, 2)
	packed.Reset() // a bomb
	z.Reset(&packed)
	if _, err := z.Write(make([]byte, cloudevents.MaxBatch+1)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := post(t, c, packed.Bytes(), coded); status != 413 {
		t.Errorf("a bomb: %d", status)
	}
}

func TestSignature(t *testing.T) {
	c := newCentral(t, Config{Secrets: []string{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", secret}})
	key, err := cloudevents.ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(at time.Time, body []byte) func(*http.Request) {
		h, err := key.Sign("id", at, body)
		if err != nil {
			t.Fatal(err)
		}
		return func(r *http.Request) {
			r.Header.Set(cloudevents.HeaderID, h.ID)
			r.Header.Set(cloudevents.HeaderTimestamp, h.Timestamp)
			r.Header.Set(cloudevents.HeaderSignature, h.Signature)
		}
	}
	for name, s := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"good":         {signed(time.Now(), batch(0, 2)), 200},
		"none":         {func(*http.Request) {}, 401},
		"another body": {signed(time.Now(), batch(0, 3)), 401},
		"too old":      {signed(time.Now().Add(-time.Hour), batch(0, 2)), 401},
	} {
		if status, _, text := post(t, c, batch(0, 2), s.change); status != s.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	wantHeld(t, c, 0, 1)
	if n := c.Stats().Denied; n != 3 {
		t.Errorf("%d are counted", n)
	}
}

func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCentral(t, Config{})
		post(t, c, batch(0, 1))
		began := time.Now()
		c.SetDown(true)
		c.SetDown(true)
		if status, _, _ := post(t, c, batch(1, 2)); status != 0 {
			t.Errorf("while down: %d", status)
		}
		time.Sleep(time.Hour)
		if o := c.Outages(); len(o) != 1 || !o[0].From.Equal(began) || !o[0].To.IsZero() {
			t.Errorf("%+v", o)
		}
		c.SetDown(false)
		c.SetDown(false)
		if status, _, _ := post(t, c, batch(1, 2)); status != 200 {
			t.Errorf("up again: %d", status)
		}
		wantHeld(t, c, 0, 1)
		// A request that is under way when the outage begins was taken, and its
		// answer is lost.
		if err := c.SetFaults(Faults{Delay: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { c.SetDown(true) })
		if status, _, _ := post(t, c, batch(2, 3)); status != 0 {
			t.Errorf("under way: %d", status)
		}
		c.SetDown(false)
		wantHeld(t, c, 0, 1, 2)
		if o := c.Outages(); len(o) != 2 || o[0].To.Sub(o[0].From) != time.Hour || c.Stats().Down != 1 {
			t.Errorf("%+v", o)
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCentral(t, Config{Faults: Faults{Delay: time.Second, Jitter: time.Second}})
		var sum time.Duration
		for n := range 200 {
			began := time.Now()
			post(t, c, batch(n, n+1))
			took := time.Since(began)
			if took < time.Second || took > 2*time.Second {
				t.Fatalf("it took %v", took)
			}
			sum += took
		}
		if mean := sum / 200; mean < 1400*time.Millisecond || mean > 1600*time.Millisecond {
			t.Errorf("on average it took %v", mean)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if status, _, _ := post(t, c, batch(0, 1), func(r *http.Request) { *r = *r.WithContext(ctx) }); status != 0 || time.Since(began) != 100*time.Millisecond {
			t.Errorf("a client that went away was served after %v: %d", time.Since(began), status)
		}
	})
}

// Every fault is as frequent as asked for, the same seed draws the same, and
// nothing is held that was not answered for unless the answer was lost.
func TestFaultsByChance(t *testing.T) {
	run := func(seed uint64) (log []string, stats Stats, c *Central) {
		c = newCentral(t, Config{Seed: seed, Faults: Faults{Fail: 0.3, Lose: 0.2, HTML: 0.1, ParkShare: 0.1, DeadShare: 0.05, RetryAfter: 90 * time.Second, ParkFor: 30 * time.Second}})
		for n := range 2000 {
			status, results, text := post(t, c, batch(n, n+1))
			log = append(log, fmt.Sprint(status, results, strings.Contains(text, "html")))
		}
		return log, c.Stats(), c
	}
	log, s, c := run(7)
	if again, same, _ := run(7); !reflect.DeepEqual(log, again) || s != same {
		t.Error("the same seed, and other faults")
	}
	if other, _, _ := run(8); reflect.DeepEqual(log, other) {
		t.Error("another seed, and the same faults")
	}
	within := func(name string, got uint64, of, share float64) {
		if want := of * share; float64(got) < want*0.8 || float64(got) > want*1.2 {
			t.Errorf("%s: %d, want about %.0f", name, got, want)
		}
	}
	count := func(part string) (n uint64) {
		for _, l := range log {
			if strings.HasPrefix(l, part) {
				n++
			}
		}
		return n
	}
	within("failed", s.Failed, 2000, 0.3)
	within("500", count("500"), 2000, 0.1)
	within("503", count("503"), 2000, 0.1)
	within("closed", count("0 "), 2000, 0.1+0.7*0.9*0.2)
	within("html", count("200 [] true"), 2000, 0.7*0.1*0.8+0.7*0.1*0.2)
	within("lost", s.Lost, float64(s.Received), 0.2)
	within("dead", s.Dead, float64(s.Received), 0.05)
	within("parked", s.Parked, float64(s.Received), 0.95*0.1)
	if s.Distinct+s.Dead+s.Parked != s.Received {
		t.Errorf("%+v", s)
	}
	// Everything comes again, until it is answered for: then all is held but
	// what is dead, and of what was parked by chance everything.
	if err := c.SetFaults(Faults{DeadShare: 0.05, ParkShare: 0.1}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		post(t, c, batch(0, 2000))
	}
	dead := newCentral(t, Config{Seed: 7, Faults: Faults{DeadShare: 0.05}})
	post(t, dead, batch(0, 2000))
	if n := c.Stats().Distinct; n != 2000-dead.Stats().Dead || dead.Stats().Dead == 0 {
		t.Errorf("%d are held, %d are dead", n, dead.Stats().Dead)
	}
}

func TestFailStatus(t *testing.T) {
	c := newCentral(t, Config{Faults: Faults{Fail: 1, FailStatus: 429, RetryAfter: 1500 * time.Millisecond}})
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(batch(0, 1)))
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	wantHeld(t, c)
}

func TestChosenEmployees(t *testing.T) {
	c := newCentral(t, Config{Faults: Faults{Park: []string{"E1"}, Dead: []string{"E2"}, Poison: []string{"E5"}, ParkFor: time.Minute}})
	_, results, _ := post(t, c, batch(0, 4))
	a, p, d := cloudevents.Accepted, cloudevents.Park, cloudevents.Dead
	if !reflect.DeepEqual(statuses(results), []cloudevents.Status{a, p, d, a}) || results[1].RetryAfter != time.Minute || results[1].Reason == "" || results[2].Reason == "" {
		t.Errorf("%+v", results)
	}
	if status, _, _ := post(t, c, batch(4, 6)); status != 400 {
		t.Errorf("with poison: %d", status)
	}
	wantHeld(t, c, 0, 3)
	if err := c.SetFaults(Faults{}); err != nil { // the period is open again
		t.Fatal(err)
	}
	post(t, c, batch(1, 6))
	wantHeld(t, c, 0, 3, 1, 2, 4, 5)
	if s := c.Stats(); s.Parked != 1 || s.Dead != 1 || s.Poisoned != 1 {
		t.Errorf("%+v", s)
	}
}

// A batch with poison by chance is refused whole, each time.
func TestPoisonShare(t *testing.T) {
	c := newCentral(t, Config{Faults: Faults{PoisonShare: 0.01}})
	var bad []int
	for n := range 1000 {
		if status, _, _ := post(t, c, batch(n, n+1)); status == 400 {
			bad = append(bad, n)
		}
	}
	if len(bad) < 3 || len(bad) > 25 {
		t.Errorf("%d are poison", len(bad))
	}
	for _, n := range bad {
		if status, _, _ := post(t, c, batch(n, n+3)); status != 400 {
			t.Errorf("%d is no poison any more", n)
		}
	}
}

func TestSetFaultsRefuses(t *testing.T) {
	nan := 0.0
	nan /= nan
	for _, f := range []Faults{{Fail: 1.1}, {Lose: -0.1}, {HTML: nan}, {ParkShare: 2}, {DeadShare: 2}, {PoisonShare: 2}, {FailStatus: 200}, {FailStatus: 600}, {Delay: -1}, {ParkFor: -1}} {
		if _, err := New(Config{Faults: f}); err == nil {
			t.Errorf("%+v: no error", f)
		}
	}
	if _, err := New(Config{Secrets: []string{"x"}}); err == nil {
		t.Error("a secret that is none")
	}
}

// What is in the file is held again after a restart, also after one in the
// middle of a line.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held.jsonl")
	c := newCentral(t, Config{Out: path})
	post(t, c, batch(0, 2))
	pretty := new(bytes.Buffer)
	if err := json.Indent(pretty, batch(2, 3), "", "\t"); err != nil {
		t.Fatal(err)
	}
	post(t, c, pretty.Bytes())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := post(t, c, batch(3, 4)); status != 500 {
		t.Errorf("after Close: %d", status)
	}
	whole, err := os.ReadFile(path)
	if err != nil || bytes.Count(whole, []byte("\n")) != 3 {
		t.Fatalf("%s, %v", whole, err)
	}
	for _, cut := range []int{0, 1, len(whole) - 1, len(whole) - 400, len(whole) / 2, 10} {
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		n := bytes.Count(whole[:len(whole)-cut], []byte("\n"))
		c := newCentral(t, Config{Out: path})
		wantHeld(t, c, span(0, n)...)
		post(t, c, batch(0, 5))
		wantHeld(t, c, span(0, 5)...)
		wantHeld(t, newCentral(t, Config{Out: path}), span(0, 5)...)
	}
	if err := os.WriteFile(path, append([]byte("nonsense\n"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Out: path}); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Out: path, MaxHeld: 2}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	if _, err := New(Config{Out: filepath.Join(path, "x")}); err == nil {
		t.Error("no error for a path that can't be")
	}
}

// A file that can't be written means that nothing is taken any more.
func TestFileFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held.jsonl")
	c := newCentral(t, Config{Out: path})
	post(t, c, batch(0, 2))
	good := c.store.out
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c.store.out = readOnly
	for range 2 {
		if status, _, _ := post(t, c, batch(1, 4)); status != 500 {
			t.Errorf("%d", status)
		}
	}
	wantHeld(t, c, 0, 1)
	if n := c.Stats().FileErrors; n != 2 {
		t.Errorf("%d are counted", n)
	}
	c.store.out = good
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
}

// Over a real connection, from several gateways at once: faults close the
// connection, and everything is held once in the end.
func TestServe(t *testing.T) {
	c := newCentral(t, Config{Faults: Faults{Fail: 0.2, Lose: 0.2}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, l) }()
	url := "http://" + l.Addr().String() + "/punches"
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := g * 100; n < g*100+100; n += 10 {
				for tries := 0; ; tries++ {
					if tries > 100 {
						t.Error("no answer in a hundred tries")
						return
					}
					resp, err := client.Post(url, cloudevents.ContentType, bytes.NewReader(batch(n, n+10)))
					if err != nil {
						continue
					}
					_, err = io.Copy(io.Discard, resp.Body)
					if resp.Body.Close(); err == nil && resp.StatusCode == 200 {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	var stats Stats
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		t.Error(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if stats.Distinct != 400 || stats.Lost == 0 || stats.Duplicates == 0 {
		t.Errorf("%+v", stats)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("it still answers")
	}
}

func TestServeListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newCentral(t, Config{}).Serve(t.Context(), l); err == nil {
		t.Error("no error")
	}
}

func BenchmarkTake(b *testing.B) {
	c := newCentral(b, Config{MaxHeld: 1 << 40})
	n := 0
	for b.Loop() {
		b.StopTimer()
		body := batch(n, n+500)
		n += 500
		b.StartTimer()
		if status, _, text := post(b, c, body); status != 200 {
			b.Fatal(text)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
