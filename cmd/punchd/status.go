package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/gateway"
)

func newStatus() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "Ask the running daemon who is connected and what waits",
		Long: `status asks the running daemon who is connected and what waits for the sinks.
NEW are the punches that each device has brought since the daemon's start; what
it only repeated is not counted. The ledger's numbers are of all time.
Its exit status is 1 if something needs a person, or if no daemon is running.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			s, err := gateway.FetchStatus(c.Context(), cfg.Gateway.DataDir)
			if err != nil {
				return unlessRunning(err, file)
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(s)
			} else {
				err = printStatus(c.OutOrStdout(), s, cfg.Site.Zone)
			}
			if err == nil && len(s.Problems) > 0 {
				err = errSilent
			}
			return err
		},
	}
	configFlag(c, &file)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
}

// page is a writer that keeps its first error.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// table prints rows, and under them what would not fit into a column.
func (p *page) table(head table.Row, rows []table.Row, more []string) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(head)
	t.AppendRows(rows)
	for line := range strings.SplitSeq(t.Render(), "\n") {
		p.line("%s", strings.TrimRight(line, " ")) // a padded line wraps to an empty one
	}
	for _, x := range more {
		p.line("   %s", printable(x))
	}
	p.line("")
}

func printStatus(w io.Writer, s *gateway.Status, zone *time.Location) error {
	p := &page{w: w}
	p.line("punchd %s  site %s, gateway %s, process %d, up %s\n", s.Version, s.Site, s.Gateway, s.PID, s.At.Sub(s.Started).Round(time.Second))
	for _, x := range s.Problems {
		p.line("! %s", printable(x))
	}
	if len(s.Problems) > 0 {
		p.line("")
	}
	devices(p, s, zone)
	sinks(p, s, zone)
	l := s.Ledger
	p.line("ledger  %s, %s (%s); %s and %s of indexes on disk, %s free; commits take %.1f ms, 99 of 100 within %.1f ms",
		count(l.Records, "record", "records"), count(l.Punches, "punch", "punches"), verdictCounts(l.Verdicts),
		humanize.IBytes(uint64(l.LedgerBytes)), humanize.IBytes(uint64(l.BufferBytes)), humanize.IBytes(l.FreeBytes), l.CommitP50MS, l.CommitP99MS)
	p.line("signed  %s", signed(&l, s.At, zone))
	p.line("roster  version %s of %s: %s, %s", s.Roster.Version, s.Roster.LoadedAt.In(zone).Format(tableTime),
		count(s.Roster.Employees, "employee", "employees"), count(s.Roster.Places, "place", "places"))
	return p.err
}

// signed says how much of the ledger nobody can change unseen any more.
func signed(l *gateway.LedgerStatus, now time.Time, zone *time.Location) string {
	if l.SignedAt == nil {
		return "nothing yet"
	}
	text := fmt.Sprintf("the first %s, last %s", count(l.Signed, "record", "records"), short(*l.SignedAt, now, zone))
	if rest := l.Records - min(l.Signed, l.Records); rest > 0 {
		text += fmt.Sprintf("; %d not yet", rest)
	}
	return text
}

func devices(p *page, s *gateway.Status, zone *time.Location) {
	all := s.Devices
	if s.Phones != nil {
		all = append(all[:len(all):len(all)], s.Phones.DeviceStatus)
	}
	if len(all) == 0 {
		p.line("no devices are configured\n")
		return
	}
	rows := make([]table.Row, len(all))
	var more []string
	for i, d := range all {
		state := "offline"
		if d.Online {
			state = "online"
		}
		last := "-"
		if d.LastHeard != nil {
			last = short(*d.LastHeard, s.At, zone)
		}
		rows[i] = table.Row{printable(d.ID), d.Driver, printable(d.Address), state, last, d.New}
		if d.Error != "" && !told(s, d.ID, d.Error) {
			more = append(more, d.ID+": "+d.Error)
		}
		for _, note := range d.Notes {
			if !told(s, d.ID, note) {
				more = append(more, d.ID+": "+note)
			}
		}
	}
	p.table(table.Row{"DEVICE", "DRIVER", "ADDRESS", "STATE", "LAST HEARD", "NEW"}, rows, more)
}

func sinks(p *page, s *gateway.Status, zone *time.Location) {
	if len(s.Sinks) == 0 {
		p.line("no sinks are configured: punches are kept and go nowhere\n")
		return
	}
	rows := make([]table.Row, len(s.Sinks))
	var more []string
	for i, k := range s.Sinks {
		rows[i] = table.Row{printable(k.Name), sinkState(&k, s.At, zone), k.Settled, k.Pending, k.Parked, k.Dead}
		if detail := sinkDetail(&k, s); detail != "" {
			more = append(more, k.Name+": "+detail)
		}
	}
	p.table(table.Row{"SINK", "STATE", "SETTLED", "WAITING", "PARKED", "DEAD"}, rows, more)
}

func sinkState(k *gateway.SinkStatus, now time.Time, zone *time.Location) string {
	switch {
	case k.Online:
		return "online"
	case k.Since != nil:
		return "offline since " + short(*k.Since, now, zone)
	}
	return "not tried yet"
}

// sinkDetail is what is wrong with a sink, unless the page has said so, and
// when that is tried again.
func sinkDetail(k *gateway.SinkStatus, s *gateway.Status) string {
	detail := k.Error
	if told(s, "sink "+k.Name, detail) {
		detail = ""
	}
	if k.NextTry == nil {
		return detail
	}
	next := "next try in " + max(k.NextTry.Sub(s.At), 0).Round(time.Second).String()
	if detail == "" {
		return next
	}
	return detail + " (" + next + ")"
}

// told says whether the problems at the top of the page hold an error of
// something.
func told(s *gateway.Status, of, err string) bool {
	return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, of) && strings.Contains(p, err) })
}

// short is a moment in few columns: of today the time of day alone, of another
// year the day alone.
func short(at, now time.Time, zone *time.Location) string {
	at, now = at.In(zone), now.In(zone)
	switch {
	case at.Year() != now.Year():
		return at.Format(time.DateOnly)
	case at.YearDay() != now.YearDay():
		return at.Format("2 Jan 15:04")
	}
	return at.Format(time.TimeOnly)
}

// verdictCounts lists the verdicts that occur.
func verdictCounts(m map[string]uint64) string {
	var parts []string
	for _, v := range []string{"accepted", "flagged", "refused", "unverified"} {
		if m[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", m[v], v))
		}
	}
	if parts == nil {
		return "none yet"
	}
	return strings.Join(parts, ", ")
}
