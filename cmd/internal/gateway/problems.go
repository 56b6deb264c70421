package gateway

import (
	"fmt"
	"strings"
	"time"

	"github.com/punchd/punchd/sync/journal"
)

// longOutage is how long a sink may be away before a person is asked. Most
// outages (a router that starts again, a provider's work at night, an update of
// the far end) mend by themselves in less; and one that began in the morning is
// told while somebody is still at work.
const longOutage = 4 * time.Hour

func (s *Status) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

func (s *Status) ledgerProblems(js *journal.Stats) {
	if js.Failure != nil {
		s.problem("nothing is accepted any more: %v", js.Failure)
	}
	if n := len(js.Damage); n > 0 {
		s.problem("the ledger is damaged in %d places", n)
	}
	if n := len(js.Lost); n > 0 {
		s.problem("%d stretches of records can't be read, in the ledger or in the copy", n)
	}
	for _, x := range js.Suspects {
		s.problem("a buffer was moved aside: %+v", x)
	}
}

func (s *Status) otherProblems() {
	for _, d := range s.Devices {
		if !d.Online && d.Error != "" {
			s.problem("%s: %s", d.ID, d.Error)
		}
	}
	if p := s.Phones; p != nil && p.Error != "" {
		s.problem("phones: %s", p.Error)
	}
	for i := range s.Sinks {
		s.sinkProblems(&s.Sinks[i])
	}
	switch r := &s.Roster; {
	case r.Error != "":
		s.problem("the roster file can't be used; the last good one is in force (version %s): %s; see: punchd check", r.Version, firstLine(r.Error))
	case r.FromCache:
		s.problem("the roster file can't be used; the last good one is in force (version %s)", r.Version)
	}
}

func (s *Status) sinkProblems(k *SinkStatus) {
	switch {
	case k.Alarm != "":
		s.problem("sink %s: %s", k.Name, k.Alarm)
	case !k.Online && k.Since != nil && s.At.Sub(*k.Since) >= longOutage:
		s.problem("sink %s has not answered for %s, and %s: %s", k.Name, inHours(s.At.Sub(*k.Since)), waiting(k.Pending), k.Error)
	}
	if k.Dead > 0 {
		s.problem("sink %s will never take %s; see which and why with: punchd dead list; once the cause is gone, send them again with: punchd dead replay",
			k.Name, punches(k.Dead))
	}
}

// inHours says a long time as a person would.
func inHours(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func waiting(n uint64) string {
	if n == 1 {
		return "1 punch waits"
	}
	return punches(n) + " wait"
}

func punches(n uint64) string {
	if n == 1 {
		return "1 punch"
	}
	return fmt.Sprintf("%d punches", n)
}

// firstLine is the first of a text's lines, with how many more there are.
func firstLine(text string) string {
	first, rest, more := strings.Cut(text, "\n")
	if more {
		first += fmt.Sprintf(" (and %d more)", 1+strings.Count(rest, "\n"))
	}
	return first
}
