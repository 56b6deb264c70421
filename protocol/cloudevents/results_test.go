package cloudevents

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
)

var results = []Result{
	{ID: "9f86d081884c7d659a2feaa0c55ad015", Status: Accepted},
	{ID: "60303ae22b998861bce3b28f33eec1be", Status: Duplicate},
	{ID: "fd61a03af4f77d870fc21e05e7e80678", Status: Park, Reason: "unknown employee 张三", RetryAfter: 30 * time.Second},
	{ID: "a591a6d40bf420404a011733cfb7b190", Status: Park, Reason: "period \"2026-10\" is closed"},
	{ID: "ca978112ca1bbdcafac231b39a23dc4d", Status: Dead, Reason: "no such terminal", RetryAfter: 1500 * time.Millisecond},
}

func TestResultsGolden(t *testing.T) {
	now := AppendResults(nil, results)
	old := golden(t, "results.json", now)
	if string(now) != string(old) {
		t.Errorf("answer changed:\nnow %s\nold %s", now, old)
	}
	got, all, err := ParseResults(old)
	if err != nil || all || !reflect.DeepEqual(got, results) {
		t.Errorf("%+v, %v, %v", got, all, err)
	}
}

func TestParseResults(t *testing.T) {
	for _, c := range []struct {
		body string
		n    int
		all  bool
		want error
	}{
		{``, 0, true, nil},
		{" \r\n", 0, true, nil},
		{`{}`, 0, true, nil},
		{" { } ", 0, true, nil},
		{`{"ok":true,"nested":{"results":[]}}`, 0, false, protocol.ErrMalformed}, // who says something else may say no
		{`{"status":"error","message":"database is down"}`, 0, false, protocol.ErrMalformed},
		{`{"Results":[]}`, 0, false, protocol.ErrMalformed},
		{`{"":0}`, 0, false, protocol.ErrMalformed},
		{`{"results":[]}`, 0, false, nil}, // names nobody: nothing is answered
		{`{"results":[{"id":"a","status":"accepted","more":1}],"x":0}`, 1, false, nil},
		{`{"results":[{"id":"a","status":"park","reason":null,"retry_after":null}]}`, 1, false, nil},
		{`<!DOCTYPE html><html>Please log in</html>`, 0, false, protocol.ErrMalformed},
		{`OK`, 0, false, protocol.ErrMalformed},
		{`[]`, 0, false, protocol.ErrMalformed},
		{`null`, 0, false, protocol.ErrMalformed},
		{`{"results":null}`, 0, false, protocol.ErrMalformed},
		{`{"results":{}}`, 0, false, protocol.ErrMalformed},
		{`{"results":[],"results":[]}`, 0, false, protocol.ErrMalformed},
		{`{"results":[{"id":"a"}]}`, 0, false, protocol.ErrMalformed},
		{`{"results":[{"status":"dead"}]}`, 0, false, protocol.ErrMalformed},
		{`{"results":[{"id":"a","status":""}]}`, 0, false, protocol.ErrUnsupported},
		{`{"results":[{"id":"a","status":"Accepted"}]}`, 0, false, protocol.ErrUnsupported},
		{`{"results":[{"id":"a","status":"park","retry_after":-1}]}`, 0, false, protocol.ErrMalformed},
		{`{"results":[{"id":"a","status":"park","retry_after":"30"}]}`, 0, false, protocol.ErrMalformed},
		{`{"results":[{"id":"a","status":"dead"}`, 0, false, protocol.ErrIncomplete},
		{`{} {}`, 0, false, protocol.ErrMalformed},
		{strings.Repeat(" ", MaxResults+1), 0, false, protocol.ErrTooLarge},
		{`{"results":[` + strings.Repeat(`{"id":"a","status":"dead"},`, MaxEvents) + `{"id":"a","status":"dead"}]}`, 0, false, protocol.ErrTooLarge},
	} {
		got, all, err := ParseResults([]byte(c.body))
		if len(got) != c.n || all != c.all || !errors.Is(err, c.want) {
			t.Errorf("%.80s: %d results, all %v, %v", c.body, len(got), all, err)
		}
	}
	for text, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "0.25": 250 * time.Millisecond, "1e1": 10 * time.Second,
		"1e300": MaxRetryAfter, "1e999": MaxRetryAfter, "1e-999": 0, "-0": 0,
	} {
		got, _, err := ParseResults([]byte(`{"results":[{"id":"a","status":"park","retry_after":` + text + `}]}`))
		if err != nil || got[0].RetryAfter != want {
			t.Errorf("retry_after %s: %v, %v", text, got, err)
		}
	}
}

func TestParseResultsCut(t *testing.T) {
	whole := AppendResults(nil, results)
	for i := 1; i < len(whole); i++ {
		if _, _, err := ParseResults(whole[:i]); !errors.Is(err, protocol.ErrIncomplete) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func FuzzParseResults(f *testing.F) {
	seeds(f)
	for _, s := range []string{"", "{}", `{"results":[]}`, `{"Results":[]}`, `{"status":"error"}`, `{"results":[{"id":"\ud83d\ude00","status":"park","retry_after":0.0015}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, all, err := ParseResults(b)
		switch {
		case err != nil && !isKind(err):
			t.Fatalf("%v wraps no kind", err)
		case all:
			if s := strings.Join(strings.Fields(string(b)), ""); s != "" && s != "{}" {
				t.Fatalf("takes all: %q", b)
			}
			return
		case err != nil:
			return
		case !json.Valid(b):
			t.Fatalf("parsed, and is no JSON: %q", b)
		}
		again, all, err := ParseResults(AppendResults(nil, got))
		if err != nil || all || !reflect.DeepEqual(got, again) {
			t.Fatalf("%+v\n%+v, %v, %v", got, again, all, err)
		}
	})
}

func BenchmarkParseResults(b *testing.B) {
	many := make([]Result, 500)
	for i := range many {
		many[i] = results[0]
	}
	body := AppendResults(nil, many)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := ParseResults(body); err != nil {
			b.Fatal(err)
		}
	}
}
