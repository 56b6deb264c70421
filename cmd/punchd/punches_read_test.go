package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward/sourcetest"
	"github.com/punchd/punchd/sync/ledger"
)

// What can't be read hides nothing that can: a damaged record, one without
// sense, and one that a newer version has sealed.
func TestGapsHideNothing(t *testing.T) {
	victim := sourcetest.Punch(1)
	victim.Employee = "victim"
	o := newOffice(t,
		[]ledger.Entry{entry(sourcetest.Punch(0))},
		[]ledger.Entry{entry(victim)},
		[]ledger.Entry{entry(sourcetest.Punch(2)), {Kind: attendance.RecordPunch, Payload: []byte{0xff}}},
		[]ledger.Entry{{Kind: attendance.RecordPunch, Flags: ledger.FlagSealed, KeyID: 7, Payload: []byte("secret")}, entry(sourcetest.Punch(5))},
	)
	o.damage("victim")
	for _, args := range [][]string{
		{"punches", "list"}, {"punches", "list", "-n", "0"}, {"punches", "list", "--json"}, {"punches", "tail"}, {"punches", "export"},
		{"punches", "export", "-o", o.path("out.csv")},
	} {
		name := strings.Join(args, " ")
		out, errOut, err := o.run(t.Context(), args...)
		if strings.HasSuffix(name, ".csv") {
			if out != "3 punches in "+o.path("out.csv")+"\n" {
				t.Errorf("%s: %q", name, out)
			}
			out = o.read("out.csv")
		}
		for _, seq := range []string{"0", "2", "5"} {
			if got := seqs(strings.ReplaceAll(out, `{"seq":`, "")); !slices.Contains(got, seq) {
				t.Errorf("%s: %s is missing of %q", name, seq, got)
			}
		}
		for _, text := range []string{"record 1 can't be read: ", "record 3 can't be read: ", "record 4 can't be read: it is sealed, by a newer version of punchd\n"} {
			if strings.Count(errOut, text) != 1 {
				t.Errorf("%s: %q is not once in %q", name, text, errOut)
			}
		}
		want := "the ledger is damaged, and 2 records can't be read by this version: what is shown is not everything."
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ": punchd status") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stopAt ends a command's context when a text is written.
type stopAt struct {
	strings.Builder
	text string
	stop func()
}

func (s *stopAt) Write(p []byte) (int, error) {
	n, err := s.Builder.Write(p)
	if strings.Contains(s.String(), s.text) {
		s.stop()
	}
	return n, err
}

// Following goes on behind what can't be read.
func TestFollowBehindDamage(t *testing.T) {
	victim := sourcetest.Punch(0)
	victim.Employee = "victim"
	o := newOffice(t, []ledger.Entry{entry(victim)}, []ledger.Entry{entry(sourcetest.Punch(1))})
	o.damage("victim")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	appended := make(chan error, 1)
	out := &stopAt{text: "2  2026-11-04", stop: cancel}
	errOut := &stopAt{text: "warning: the ledger is damaged", stop: func() { // told before it follows
		select {
		case appended <- o.add(sourcetest.Punch(2)):
		default:
		}
	}}
	c := newRoot()
	c.SetOut(out)
	c.SetErr(errOut)
	c.SetArgs([]string{"punches", "tail", "-f", "-c", o.path("punchd.yaml")})
	if err := c.ExecuteContext(ctx); err != nil {
		t.Error(err)
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if got := seqs(out.String()); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("%q, %q", out, errOut)
	}
}

// add appends a punch to the ledger, as a daemon would.
func (o *office) add(p *attendance.Punch) error {
	l, err := ledger.Open(ledger.Config{Dir: o.path("data", "ledger")})
	if err != nil {
		return err
	}
	if _, err := l.Append([]ledger.Entry{entry(p)}); err != nil {
		return err
	}
	return l.Close()
}

// Of thousands of records that can't be read ten are told, and all are counted.
func TestManyUnreadable(t *testing.T) {
	bad := make([]ledger.Entry, 500)
	for i := range bad {
		bad[i] = ledger.Entry{Kind: attendance.RecordPunch, Flags: 2, Payload: []byte{1}}
	}
	o := newOffice(t, bad)
	_, errOut, err := o.run(t.Context(), "punches", "list")
	if strings.Count(errOut, "\n") != maxTold || err == nil || !strings.HasPrefix(err.Error(), "500 records of the ledger can't be read by this version; is there a newer one?") {
		t.Errorf("%v\n%s", err, errOut)
	}
}

// Long lists are streamed, and have the same punches as short ones.
func TestLongLists(t *testing.T) {
	const n = 2*inMemory + 300
	o := newOffice(t, punchesOf(n)...)
	for _, last := range []int{1, 3, sized, inMemory, inMemory + 1, n - 1, n, n + 1, 0} {
		first := max(0, n-last)
		if last == 0 {
			first = 0
		}
		for _, format := range []string{"table", "json"} {
			args := []string{"punches", "list", "-n", fmt.Sprint(last)}
			if format == "json" {
				args = append(args, "--json")
			}
			out, errOut, err := o.run(t.Context(), args...)
			if err != nil || errOut != "" {
				t.Fatal(err, errOut)
			}
			got := seqs(strings.ReplaceAll(out, `{"seq":`, ""))
			if format == "table" {
				got = got[1:]
			}
			if len(got) != n-first || got[0] != fmt.Sprint(first) || got[len(got)-1] != fmt.Sprint(n-1) {
				t.Errorf("-n %d, %s: %d punches, %s to %s", last, format, len(got), got[0], got[len(got)-1])
			}
		}
	}
	if out, errOut, err := o.run(t.Context(), "punches", "list", "-n", "0", "--employee", "nobody"); out != "" || errOut != "no punch matches\n" || err != nil {
		t.Errorf("%q %q %v", out, errOut, err)
	}
	if out, _, err := o.run(t.Context(), "punches", "tail", "-n", "0"); out != "" || err != nil {
		t.Errorf("%q %v", out, err)
	}
}

// The columns of rows behind those that were measured stand where the others do.
func TestColumnsStayInPlace(t *testing.T) {
	o := newOffice(t, punchesOf(sized+50)...)
	out, _, err := o.run(t.Context(), "punches", "list", "-n", "0")
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for line := range strings.Lines(out) {
		i := strings.Index(line, "accepted")
		if at >= 0 && i >= 0 && i != at {
			t.Fatalf("column %d, not %d: %q", i, at, line)
		}
		at = max(at, i)
	}
}

// A gateway's clock that is wrong by thousands of years spoils one time, and
// not the list.
func TestClockBeyondJSON(t *testing.T) {
	p := phonePunch()
	p.ReceivedAt = time.Date(12026, 11, 4, 0, 0, 0, 0, time.UTC)
	p.Evidence.Fix.At = p.ReceivedAt
	o := newOffice(t, []ledger.Entry{entry(p), entry(sourcetest.Punch(1))})
	out, _, err := o.run(t.Context(), "punches", "list", "--json")
	var got []map[string]any
	for line := range strings.Lines(out) {
		var j map[string]any
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatal(err)
		}
		got = append(got, j)
	}
	if err != nil || len(got) != 2 || got[0]["received_at"] != nil || got[0]["employee"] != "E1001" || got[1]["received_at"] == nil {
		t.Errorf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"punches", "export", "--format", "csv"}, {"punches", "export", "--format", "jsonl"}, {"punches", "show", p.Key.String()}, {"punches", "show", "--json", p.Key.String()}} {
		if out, _, err := o.run(t.Context(), args...); err != nil || !strings.Contains(out, "E1001") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
}
