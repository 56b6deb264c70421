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

// maxLedgerProblems bounds what is told of the ledger: a disk that dies damages
// it in hundreds of places, and the first ones say it.
const maxLedgerProblems = 20

func (s *Status) ledgerProblems(js *journal.Stats) {
	told := js.Problems[:min(len(js.Problems), maxLedgerProblems)]
	s.Problems = append(s.Problems, told...)
	if n := len(js.Problems) - len(told); n > 0 {
		s.problem("the ledger has %d more problems; the log tells each", n)
	}
}

func (s *Status) otherProblems() {
	for i := range s.Devices {
		s.deviceProblems(&s.Devices[i])
	}
	if p := s.Phones; p != nil {
		if p.Error != "" {
			s.problem("phones: %s", p.Error)
		}
		s.lost("phones", p.Notes)
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

func (s *Status) deviceProblems(d *DeviceStatus) {
	switch {
	case d.Error == "":
	case !d.Online:
		s.problem("%s: %s", d.ID, d.Error)
	case d.ErrorSince != nil && s.At.Sub(*d.ErrorSince) >= longTrouble:
		// A terminal whose log can't be understood is online, and gives nothing.
		s.problem("%s: online, but: %s", d.ID, d.Error)
	}
	s.lost(d.ID, d.Notes)
}

// lost tells of punches that are gone. Drivers say it in words alone, in which
// they write LOST for it and nothing else. Their other notes describe a device
// or count what was refused rightly, and ask nothing of a person.
func (s *Status) lost(of string, notes []string) {
	for _, n := range notes {
		if strings.Contains(n, "LOST") {
			s.problem("%s: %s", of, n)
		}
	}
}

func (s *Status) sinkProblems(k *SinkStatus) {
	switch {
	case k.Alarm != "":
		s.problem("sink %s: %s", k.Name, k.Alarm)
	case !k.Online && k.Since != nil && s.At.Sub(*k.Since) >= longOutage:
		s.problem("sink %s has not answered for %s, and %s: %s", k.Name, inHours(s.At.Sub(*k.Since)), waiting(k.Pending), k.Error)
	}
	if k.NoWitness != "" {
		s.problem("sink %s takes no signed heads of the ledger, by which it could show that the ledger was changed: %s; it should answer accepted for events of type attendance.checkpoint.v1", k.Name, k.NoWitness)
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
