package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/punchd/punchd/cmd/internal/gateway"
)

// daemon answers orders to replay in the place of a daemon of two sinks.
func (o *office) daemon(replay func(gateway.Replay) (*gateway.Sent, string)) {
	o.t.Helper()
	l, err := net.Listen("unix", o.path("data", gateway.SocketName))
	if err != nil {
		o.t.Fatal(err)
	}
	answer := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			o.t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, gateway.Status{Sinks: []gateway.SinkStatus{{Name: "hq", Online: true}, {Name: "backup", Since: new(noon), Error: "refused"}}})
	})
	mux.HandleFunc("POST /sinks/replay", func(w http.ResponseWriter, r *http.Request) {
		var q gateway.Replay
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			o.t.Error(err)
		}
		sent, why := replay(q)
		if why != "" {
			w.WriteHeader(http.StatusConflict)
			answer(w, map[string]string{"error": why})
			return
		}
		answer(w, sent)
	})
	srv := &http.Server{Handler: mux}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	o.t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			o.t.Error(err)
		}
		<-done
	})
}

// An order that fails half way hides nothing of what it has done.
func TestReplayFailsHalfWay(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		o := newOffice(t, punchesOf(1)...)
		o.daemon(func(q gateway.Replay) (*gateway.Sent, string) {
			if q.From > 0 {
				return nil, "the disk is full"
			}
			return &gateway.Sent{Sink: q.Sink, Punches: 256, Next: 900}, ""
		})
		args, want := []string{"dead", "replay", "--all"}, "hq: 256 dead punches are sent again\n"
		if asJSON {
			args, want = append(args, "--json"), `{"sink":"hq","punches":256}`+"\n"
		}
		out, _, err := o.run(t.Context(), args...)
		if out != want || err == nil || err.Error() != "the disk is full" {
			t.Errorf("%q, %v, want %q and why it ended", out, err, want)
		}
	}
}

// A sink for which nothing was dead is not spoken of.
func TestReplayNames(t *testing.T) {
	o := newOffice(t, punchesOf(1)...)
	o.daemon(func(q gateway.Replay) (*gateway.Sent, string) {
		if q.Sink == "hq" {
			return &gateway.Sent{Sink: q.Sink, NotDead: q.Which}, ""
		}
		return &gateway.Sent{Sink: q.Sink, Punches: 1}, ""
	})
	out, _, err := o.run(t.Context(), "dead", "replay", "8")
	if want := "backup: 1 dead punch goes out as soon as it answers (it is offline: refused)\n"; out != want || err != nil {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func TestPrintSent(t *testing.T) {
	online, away, untried := gateway.SinkStatus{Online: true}, gateway.SinkStatus{Since: new(noon), Error: "refused\x1b[2J"}, gateway.SinkStatus{}
	for _, c := range []struct {
		n    uint64
		sink gateway.SinkStatus
		want string
	}{
		{0, online, "no punch was parked"},
		{1, online, "1 parked punch is sent again"},
		{2, online, "2 parked punches are sent again"},
		{0, away, "no punch was parked; what waits goes out as soon as it answers (it is offline: refused\ufffd[2J)"},
		{1, away, "1 parked punch goes out as soon as it answers (it is offline: refused\ufffd[2J)"},
		{2, untried, "2 parked punches go out as soon as it answers (it has not been tried yet)"},
	} {
		var out bytes.Buffer
		if err := printSent(&out, &gateway.Sent{Sink: "hq", Punches: c.n}, &c.sink, "parked", false); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSuffix(out.String(), "\n"); got != "hq: "+c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
