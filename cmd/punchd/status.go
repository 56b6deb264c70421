package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
Its exit status is 1 if something needs a person, or if no daemon is running.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			s, err := gateway.FetchStatus(c.Context(), cfg.Gateway.DataDir)
			if errors.Is(err, gateway.ErrNotRunning) {
				err = fmt.Errorf("%w; start it with: punchd run -c %s", err, file)
			}
			if err != nil {
				return err
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

func (p *page) table(head table.Row, rows []table.Row) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(head)
	t.AppendRows(rows)
	p.line("%s\n", t.Render())
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
	p.line("ledger  %d records, %d punches (%s); %s and %s of indexes on disk, %s free; commits take %.1f ms, at worst %.1f",
		l.Records, l.Punches, verdictCounts(l.Verdicts), humanize.IBytes(uint64(l.LedgerBytes)), humanize.IBytes(uint64(l.BufferBytes)),
		humanize.IBytes(l.FreeBytes), l.CommitP50MS, l.CommitP99MS)
	p.line("roster  version %s of %s: %d employees, %d places", s.Roster.Version, s.Roster.LoadedAt.In(zone).Format(tableTime), s.Roster.Employees, s.Roster.Places)
	return p.err
}

func devices(p *page, s *gateway.Status, zone *time.Location) {
	var rows []table.Row
	add := func(d gateway.DeviceStatus, detail string) {
		state := "offline"
		if d.Online {
			state = "online"
		}
		last := "-"
		if d.LastRead != nil {
			last = d.LastRead.In(zone).Format(tableTime)
		}
		if d.Error != "" {
			detail = d.Error
		}
		rows = append(rows, table.Row{printable(d.ID), d.Driver, printable(d.Address), state, last, d.Punches, printable(detail)})
	}
	for _, d := range s.Devices {
		add(d, strings.Join(d.Notes, "; "))
	}
	if s.Phones != nil {
		add(s.Phones.DeviceStatus, strings.Join(s.Phones.Notes, "; "))
	}
	if len(rows) == 0 {
		p.line("no devices are configured\n")
		return
	}
	p.table(table.Row{"DEVICE", "DRIVER", "ADDRESS", "STATE", "LAST HEARD", "PUNCHES", ""}, rows)
}

func sinks(p *page, s *gateway.Status, zone *time.Location) {
	if len(s.Sinks) == 0 {
		p.line("no sinks are configured: punches are kept and go nowhere\n")
		return
	}
	rows := make([]table.Row, len(s.Sinks))
	for i, k := range s.Sinks {
		state := "not tried yet"
		switch {
		case k.Online:
			state = "online"
		case k.Since != nil:
			state = "offline since " + k.Since.In(zone).Format(tableTime)
		}
		detail := k.Error
		if k.NextTry != nil {
			detail += fmt.Sprintf(" (next try in %s)", max(k.NextTry.Sub(s.At), 0).Round(time.Second))
		}
		rows[i] = table.Row{printable(k.Name), state, k.Settled, k.Pending, k.Parked, k.Dead, printable(detail)}
	}
	p.table(table.Row{"SINK", "STATE", "SETTLED", "WAITING", "PARKED", "DEAD", ""}, rows)
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
