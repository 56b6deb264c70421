package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/punchd/punchd/sync/ledger/audit"
)

// headTime is the time of a signed head for a person, in the zone of who asks.
func headTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -07:00") }

func printReport(w io.Writer, r *audit.Report) error {
	p := page{w: w}
	for i := range r.Findings {
		f := &r.Findings[i]
		p.line("! %s", printable(f.String()))
		p.line("    %s", f.Help())
	}
	if r.More > 0 {
		p.line("! and %s more, which are only counted", humanize.Comma(int64(r.More)))
	}
	p.line("%s", summary(r))
	if r.Unsigned > audit.SignedAfter {
		p.line("That is more than a gateway leaves unsigned for long. For what is not signed nobody vouches; central may have newer heads: --witness.")
	}
	if t := r.Torn; t != nil {
		p.line("Behind the last record, in %s from byte %d on, stands what was never finished or is being written now: nobody was told that it is kept.", t.Segment, t.Offset)
	}
	return p.err
}

// summary is the line for somebody who reads no other.
func summary(r *audit.Report) string {
	if r.Records == 0 && len(r.Findings) == 0 {
		return fmt.Sprintf("ledger %s has no records yet", r.Ledger)
	}
	line := fmt.Sprintf("%s records of ledger %s are as they were signed", humanize.Comma(int64(r.Records)), r.Ledger)
	if n := len(r.Findings) + r.More; n > 0 {
		if slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.OfRecords() }) {
			line = fmt.Sprintf("of %s records of ledger %s not all can be shown to be as they were signed", humanize.Comma(int64(r.Records)), r.Ledger)
		}
		line += fmt.Sprintf("; %s above", count(n, "finding", "findings"))
	}
	if r.Heads > 0 {
		line += "; last head at " + headTime(r.Last)
	}
	if r.Unsigned > 0 {
		line += fmt.Sprintf("; %s not signed yet", humanize.Comma(int64(r.Unsigned)))
	}
	if r.Witness > 0 {
		line += fmt.Sprintf("; %s", count(r.Witness, "head kept elsewhere agrees", "heads kept elsewhere agree"))
	}
	return line
}

// reportJSON is a report for programs. Fields are added to it, and never change.
type reportJSON struct {
	Ledger    string        `json:"ledger"`
	Records   uint64        `json:"records"`
	Bytes     int64         `json:"bytes"`
	Segments  int           `json:"segments"`
	Heads     int           `json:"heads"`
	FirstHead *time.Time    `json:"first_head,omitempty"`
	LastHead  *time.Time    `json:"last_head,omitempty"`
	Signed    uint64        `json:"signed"`
	Unsigned  uint64        `json:"unsigned"`
	Agreed    int           `json:"agreed"` // heads kept elsewhere
	Torn      bool          `json:"torn"`
	Seconds   float64       `json:"seconds"`
	Findings  []findingJSON `json:"findings"`
	More      int           `json:"more,omitempty"`
}

type findingJSON struct {
	Kind     audit.Kind `json:"kind"`
	First    uint64     `json:"first"`
	Last     uint64     `json:"last"`
	Segment  string     `json:"segment,omitempty"`
	Offset   int64      `json:"offset,omitempty"`
	SignedAt *time.Time `json:"signed_at,omitempty"`
	What     string     `json:"what"`
	Help     string     `json:"help"`
}

func encodeReport(w io.Writer, r *audit.Report) error {
	j := reportJSON{
		Ledger: r.Ledger, Records: r.Records, Bytes: r.Bytes, Segments: r.Segments, Heads: r.Heads, FirstHead: known(r.First), LastHead: known(r.Last),
		Signed: r.Signed, Unsigned: r.Unsigned, Agreed: r.Witness, Torn: r.Torn != nil, Seconds: r.Took.Seconds(), Findings: []findingJSON{}, More: r.More,
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		j.Findings = append(j.Findings, findingJSON{f.Kind, f.First, f.Last, f.Segment, f.Offset, known(f.At), f.String(), f.Help()})
	}
	return json.NewEncoder(w).Encode(j)
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return writable(t)
}

// progress shows on a terminal how far a check is, once it takes long.
type progress struct {
	w    io.Writer // nil: to nobody
	mu   sync.Mutex
	next time.Time
	told bool
}

// How long a check may take without a word, and how often there is one then.
const (
	quietFor  = time.Second
	tellEvery = 200 * time.Millisecond
)

func newProgress(w io.Writer) *progress {
	p := &progress{next: time.Now().Add(quietFor)}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

func (p *progress) tell(records uint64, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.w != nil && !now.Before(p.next) {
		p.next, p.told = now.Add(tellEvery), true
		fmt.Fprintf(p.w, "\r%s records, %s", humanize.Comma(int64(records)), humanize.Bytes(uint64(bytes))) // of no worth if the terminal is gone
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.w = nil
}
