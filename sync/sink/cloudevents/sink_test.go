package cloudevents

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sinktest"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

const (
	source  = "/sites/xm-hq/gateways/gw-01"
	secretA = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// service is the receiving end as FORMAT.md describes it.
type service struct {
	t      testing.TB
	mu     sync.Mutex
	secret string
	down   bool
	hang   bool
	lose   bool
	answer http.HandlerFunc // instead of taking; nil: takes
	held   []attendance.Key
	seen   map[string]bool
	asked  []*http.Request
	bodies [][]byte
}

func newService(t testing.TB) (*service, *httptest.Server) {
	s := &service{t: t, seen: map[string]bool{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv
}

func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		panic(http.ErrAbortHandler)
	}
	if s.hang {
		s.hang = false
		s.mu.Unlock()
		defer s.mu.Lock()
		if _, err := io.Copy(io.Discard, r.Body); err == nil { // only then the server notices that the client goes
			<-r.Context().Done()
		}
		return
	}
	body := s.read(r)
	s.asked, s.bodies = append(s.asked, r), append(s.bodies, body)
	if s.answer != nil {
		s.answer(w, r)
		return
	}
	if s.secret != "" && !s.verified(r, body) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	results := s.take(body)
	if s.lose {
		s.lose = false
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(cloudevents.AppendResults(nil, results)); err != nil {
		s.t.Error(err)
	}
}

func (s *service) read(r *http.Request) []byte {
	from := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			s.t.Error(err)
			return nil
		}
		from = unpacked
	}
	body, err := io.ReadAll(from)
	if err != nil {
		s.t.Error(err)
	}
	return body
}

func (s *service) verified(r *http.Request, body []byte) bool {
	key, err := cloudevents.ParseKey(s.secret)
	if err != nil {
		s.t.Error(err)
	}
	h := cloudevents.Headers{ID: r.Header.Get(cloudevents.HeaderID), Timestamp: r.Header.Get(cloudevents.HeaderTimestamp), Signature: r.Header.Get(cloudevents.HeaderSignature)}
	return cloudevents.Verify(h, body, time.Now(), key) == nil
}

func (s *service) take(body []byte) []cloudevents.Result {
	events, err := cloudevents.ParseBatch(body)
	if err != nil {
		s.t.Error(err)
	}
	results := make([]cloudevents.Result, len(events))
	for i, e := range events {
		results[i] = cloudevents.Result{ID: e.ID, Status: cloudevents.Duplicate}
		if s.seen[e.Source+" "+e.ID] {
			continue
		}
		s.seen[e.Source+" "+e.ID] = true
		results[i].Status = cloudevents.Accepted
		p, err := e.Punch()
		if err != nil {
			s.t.Error(err)
			continue
		}
		s.held = append(s.held, p.Key)
	}
	return results
}

func newSink(t testing.TB, url string, change ...func(*Config)) *Sink {
	t.Helper()
	cfg := Config{Name: "hq", URL: url, Source: source, Version: "1.2.3"}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
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

func signedBy(secret string) func(*Config) {
	return func(c *Config) { c.Secret = func() (string, error) { return secret, nil } }
}

func items(from, to int) (its []forward.Item) {
	for n := from; n < to; n++ {
		its = append(its, forward.Item{Seq: uint64(n), Punch: sourcetest.Punch(n)})
	}
	return its
}

func TestConformance(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"plain":  func(*Config) {},
		"signed": signedBy(secretA),
		"gzip":   func(c *Config) { signedBy(secretA)(c); c.Gzip = true },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.TestSink(t, func(t *testing.T) sinktest.Far {
				service, srv := newService(t)
				if name != "plain" {
					service.secret = secretA
				}
				return sinktest.Far{
					Sink: func(t testing.TB) forward.Sink { return newSink(t, srv.URL+"/punches?token=hush", change) },
					Held: func(testing.TB) (held []attendance.Key) {
						service.set(func() { held = slices.Clone(service.held) })
						return held
					},
					Down:   func(_ testing.TB, down bool) { service.set(func() { service.down = down }) },
					Hang:   func(testing.TB) { service.set(func() { service.hang = true }) },
					Lose:   func(testing.TB) { service.set(func() { service.lose = true }) },
					Secret: "hush",
				}
			})
		})
	}
}

func TestRequest(t *testing.T) {
	service, srv := newService(t)
	s := newSink(t, srv.URL+"/punches", signedBy(secretB))
	its := items(5, 8)
	for range 2 {
		if _, err := s.Send(t.Context(), its); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Send(t.Context(), its[:2]); err != nil {
		t.Fatal(err)
	}
	first, second, other := service.asked[0], service.asked[1], service.asked[2]
	for name, want := range map[string]string{"Content-Type": "application/cloudevents-batch+json", "Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "punchd/1.2.3", "Content-Encoding": ""} {
		if got := first.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if first.Method != http.MethodPost || first.URL.Path != "/punches" {
		t.Errorf("%s %s", first.Method, first.URL)
	}
	id := first.Header.Get("webhook-id")
	if !strings.HasPrefix(id, "punchd-5-7-") || strings.Contains(id, ".") || second.Header.Get("webhook-id") != id || other.Header.Get("webhook-id") == id {
		t.Errorf("ids %q, %q, %q", id, second.Header.Get("webhook-id"), other.Header.Get("webhook-id"))
	}
	service.secret = secretB
	if !service.verified(first, service.bodies[0]) {
		t.Error("the signature does not fit")
	}
	if first.RemoteAddr != second.RemoteAddr {
		t.Error("the connection is not used again")
	}
	want := cloudevents.AppendBatch(nil, cloudevents.Meta{Source: source}, func(yield func(uint64, attendance.Record) bool) {
		_ = yield(5, its[0].Punch) && yield(6, its[1].Punch) && yield(7, its[2].Punch)
	})
	if !bytes.Equal(service.bodies[0], want) {
		t.Errorf("body %s", service.bodies[0])
	}
}

// What is signed is the batch itself, whatever is done to it on the way.
func TestGzip(t *testing.T) {
	service, srv := newService(t)
	service.secret = secretA
	s := newSink(t, srv.URL, signedBy(secretA), func(c *Config) { c.Gzip = true })
	if _, err := s.Send(t.Context(), items(0, 500)); err != nil {
		t.Fatal(err)
	}
	if r := service.asked[0]; r.ContentLength*4 > int64(len(service.bodies[0])) {
		t.Errorf("%d bytes of %d", r.ContentLength, len(service.bodies[0]))
	}
}

// kindOf names the type of an error.
func kindOf(err error) string {
	switch e := err.(type) {
	case nil:
		return "none"
	case forward.Later:
		return "later"
	case forward.Unclear:
		return "unclear"
	case forward.Denied:
		return "denied"
	case forward.Misconfigured:
		return "misconfigured"
	case forward.Rejected:
		if e.TooLarge {
			return "too large"
		}
		return "rejected"
	}
	return "plain"
}

// The table of FORMAT.md and sync/forward/DESIGN.md, with every status there is.
func TestStatuses(t *testing.T) {
	want := map[int]string{
		400: "rejected", 409: "rejected", 422: "rejected", 413: "too large",
		401: "denied", 403: "denied", 407: "denied",
		408: "later", 423: "later", 424: "later", 425: "later", 429: "later",
		501: "misconfigured", 505: "misconfigured", 511: "misconfigured",
	}
	for code := 200; code < 600; code++ {
		w, ok := want[code]
		switch {
		case ok:
		case code < 300:
			w = "none"
		case code < 500:
			w = "misconfigured"
		default:
			w = "later"
		}
		service, srv := newService(t)
		service.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			if code < 300 {
				w.WriteHeader(code)
				return
			}
			http.Error(w, "line one\n\x1b[31mline two", code)
		}
		r, err := newSink(t, srv.URL).Send(t.Context(), items(0, 3))
		if got := kindOf(err); got != w {
			t.Errorf("%d is %s, want %s (%v)", code, got, w, err)
		}
		if err == nil && len(r) != 3 {
			t.Errorf("%d: %v", code, r)
		}
		if err != nil && code != 304 && !strings.Contains(err.Error(), fmt.Sprintf("%d", code)) {
			t.Errorf("%d: %v", code, err)
		}
		if code == 400 && !strings.HasSuffix(err.Error(), ": 400 Bad Request: line one [31mline two") {
			t.Errorf("%q", err)
		}
		srv.Close()
	}
}

func TestAnswers(t *testing.T) {
	its := items(0, 3)
	id := func(i int) string { return its[i].Punch.Key.String() }
	u, a, d, p, x := forward.Unanswered, forward.Accepted, forward.Duplicate, forward.Park, forward.Dead
	for _, c := range []struct {
		body string
		kind string
		want []forward.Outcome
	}{
		{"", "none", []forward.Outcome{a, a, a}},
		{"{}", "none", []forward.Outcome{a, a, a}},
		{" \r\n", "none", []forward.Outcome{a, a, a}},
		{`{"ok":true}`, "misconfigured", nil},
		{`{"status":"error","message":"database is down"}`, "misconfigured", nil},
		{`{"Results":[]}`, "misconfigured", nil},
		{`{"results":[]}`, "none", []forward.Outcome{u, u, u}},
		{`{"results":[{"id":"` + id(2) + `","status":"duplicate"},{"id":"` + id(0) + `","status":"park","reason":"r","retry_after":7}]}`, "none", []forward.Outcome{p, u, d}},
		{`{"results":[{"id":"` + strings.ToUpper(id(1)) + `","status":"dead"},{"id":"another","status":"dead"},{"id":"` + strings.Repeat("0", 32) + `","status":"dead"}]}`, "none", []forward.Outcome{u, x, u}},
		{`{"results":[{"id":"` + id(0) + `","status":"accepted"},{"id":"` + id(0) + `","status":"accepted"}]}`, "none", []forward.Outcome{a, u, u}},
		{`{"results":[{"id":"` + id(0) + `","status":"accepted"},{"id":"` + id(0) + `","status":"dead"}]}`, "misconfigured", nil},
		{`<!DOCTYPE html><html><body>Please log in</body></html>`, "misconfigured", nil},
		{`OK`, "misconfigured", nil},
		{`{"results":[{"id":"` + id(0) + `","status":"later"}]}`, "misconfigured", nil},
		{`{"results":[`, "misconfigured", nil},
		{strings.Repeat(" ", cloudevents.MaxResults+1), "misconfigured", nil},
	} {
		service, srv := newService(t)
		service.answer = func(w http.ResponseWriter, _ *http.Request) {
			if _, err := io.WriteString(w, c.body); err != nil && len(c.body) < cloudevents.MaxResults {
				t.Error(err)
			}
		}
		r, err := newSink(t, srv.URL).Send(t.Context(), its)
		if kindOf(err) != c.kind {
			t.Errorf("%.100s: %v", c.body, err)
		}
		if strings.HasPrefix(c.body, `{"status":`) && (!strings.Contains(err.Error(), "database is down") || !strings.Contains(err.Error(), `must answer {"results":[...]}, {} or an empty body`)) {
			t.Errorf("the operator is not told what to do: %v", err)
		}
		var got []forward.Outcome
		for _, res := range r {
			got = append(got, res.Outcome)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%.100s: %v, want %v", c.body, got, c.want)
		}
		if len(r) > 0 && r[0].Outcome == p && (r[0].RetryAfter != 7*time.Second || r[0].Reason != "r") {
			t.Errorf("%+v", r[0])
		}
	}
}

// An answer that ends before its length is a lost answer.
func TestCutAnswer(t *testing.T) {
	service, srv := newService(t)
	service.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		if _, err := io.WriteString(w, "{}"); err != nil {
			t.Error(err)
		}
	}
	if _, err := newSink(t, srv.URL).Send(t.Context(), items(0, 1)); kindOf(err) != "later" {
		t.Errorf("%v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	date := time.Now().Add(-100 * time.Hour).UTC() // the service's clock is wrong
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "-1": 0, "soon": 0, "99999999999": time.Hour, "99999999999999999999999": time.Hour, "3601": time.Hour,
		date.Add(48 * time.Hour).Format(http.TimeFormat): time.Hour,
		date.Add(time.Minute).Format(http.TimeFormat):    time.Minute, date.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		for _, code := range []int{429, 503} {
			service, srv := newService(t)
			service.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", date.Format(http.TimeFormat))
				w.Header().Set("Retry-After", text)
				w.WriteHeader(code)
			}
			_, err := newSink(t, srv.URL).Send(t.Context(), items(0, 1))
			if later, ok := errors.AsType[forward.Later](err); !ok || later.After != want {
				t.Errorf("%d with %q: %+v", code, text, err)
			}
		}
	}
	at := time.Now().Add(time.Hour)
	got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {at.UTC().Format(http.TimeFormat)}}})
	if got < 59*time.Minute || got > 61*time.Minute {
		t.Errorf("without the service's own clock: %v", got)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere, srv2 := newService(t)
	service, srv := newService(t)
	for _, code := range []int{301, 302, 307, 308} {
		service.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, srv2.URL+"/x?token=hush", code) }
		_, err := newSink(t, srv.URL).Send(t.Context(), items(0, 1))
		if kindOf(err) != "misconfigured" || !strings.Contains(err.Error(), "to "+srv2.URL+":") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%d: %v", code, err)
		}
	}
	if len(elsewhere.asked) != 0 {
		t.Error("punches went elsewhere")
	}
}

func TestTimeout(t *testing.T) {
	service, srv := newService(t)
	service.hang = true
	s := newSink(t, srv.URL, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	if _, err := s.Send(t.Context(), items(0, 1)); kindOf(err) != "later" || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("%v", err)
	}
}

// A secret that is changed on both sides costs no outage; one that is changed
// there alone stops the sink, and is read again each time.
func TestRotatedSecret(t *testing.T) {
	service, srv := newService(t)
	service.secret = secretA
	secret, reads := secretA, 0
	var broken error
	s := newSink(t, srv.URL, func(c *Config) {
		c.Secret = func() (string, error) { reads++; return secret, broken }
	})
	for n := range 3 {
		if _, err := s.Send(t.Context(), items(n, n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if reads != 1 {
		t.Errorf("the secret was read %d times", reads)
	}
	service.secret = secretB
	if _, err := s.Send(t.Context(), items(3, 4)); kindOf(err) != "denied" || len(service.asked) != 4 {
		t.Errorf("%v after %d requests", err, len(service.asked))
	}
	secret = secretB
	if r, err := s.Send(t.Context(), items(3, 4)); err != nil || r[0].Outcome != forward.Accepted {
		t.Errorf("%v, %v", r, err)
	}
	service.secret = secretA
	for _, bad := range []string{"not a key", "whsec_short"} {
		secret = bad
		if _, err := s.Send(t.Context(), items(4, 5)); kindOf(err) != "denied" || strings.Contains(err.Error(), bad) {
			t.Errorf("%v", err)
		}
	}
	broken = errors.New("permission denied")
	if _, err := s.Send(t.Context(), items(4, 5)); kindOf(err) != "denied" || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v", err)
	}
	fresh := newSink(t, srv.URL, func(c *Config) { c.Secret = func() (string, error) { return "", broken } })
	before := len(service.asked)
	if _, err := fresh.Send(t.Context(), items(4, 5)); kindOf(err) != "misconfigured" || len(service.asked) != before {
		t.Errorf("%v", err)
	}
}

func TestRefusedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = newSink(t, "http://user:hush@"+addr+"/hush?x=hush").Send(t.Context(), items(0, 1))
	if kindOf(err) != "later" || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Name: "hq", URL: "https://central.example/punches", Source: source}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no name":        func(c *Config) { c.Name = "" },
		"no source":      func(c *Config) { c.Source = "" },
		"no url":         func(c *Config) { c.URL = "" },
		"no host":        func(c *Config) { c.URL = "https:///x" },
		"another scheme": func(c *Config) { c.URL = "ftp://central.example/hush" },
		"no url at all":  func(c *Config) { c.URL = "https://hush:%zz@x" },
		"no ca":          func(c *Config) { c.CAFile = "/no/such/file" },
		"ca is no pem":   func(c *Config) { c.CAFile = "sink_test.go" },
		"cert alone":     func(c *Config) { c.CertFile = "sink_test.go" },
		"pin":            func(c *Config) { c.Pin = "sha256/AAAA" },
		"pin of sha1":    func(c *Config) { c.Pin = "sha1/AAAA" },
		"pin for http":   func(c *Config) { c.URL, c.Pin = "http://x", "sha256/AAAA" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error tells the url: %v", name, err)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			b.Error(err)
		}
	}))
	defer srv.Close()
	s := newSink(b, srv.URL, signedBy(secretA))
	its := items(0, 500)
	for b.Loop() {
		if _, err := s.Send(b.Context(), its); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
