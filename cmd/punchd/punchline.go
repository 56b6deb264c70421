package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/punchd/punchd/protocol/attendance"
)

// punchJSON is a punch as list, tail and export print it. What was evidence
// (positions, access points, notes) is not in it.
type punchJSON struct {
	Seq        uint64              `json:"seq"`
	Key        string              `json:"key"`
	Time       string              `json:"time"` // in the site's zone
	DeviceTime string              `json:"device_time"`
	Zone       string              `json:"zone"`
	ReceivedAt time.Time           `json:"received_at"`
	SkewMS     *int64              `json:"skew_ms,omitempty"`
	Employee   string              `json:"employee,omitempty"`
	Badge      string              `json:"badge,omitempty"`
	Kind       string              `json:"kind"`
	Direction  string              `json:"direction"`
	Method     string              `json:"method"`
	Device     string              `json:"device"`
	Driver     string              `json:"driver"`
	Serial     string              `json:"serial,omitempty"`
	Site       string              `json:"site"`
	Place      string              `json:"place,omitempty"`
	Verdict    string              `json:"verdict"`
	Reasons    []attendance.Reason `json:"reasons"`
	Late       bool                `json:"late"`
	Counter    uint64              `json:"counter,omitempty"`
	Gap        uint64              `json:"gap,omitempty"`
}

func toJSON(seq uint64, p *attendance.Punch, zone *time.Location) punchJSON {
	j := punchJSON{
		Seq: seq, Key: p.Key.String(), Time: p.At.In(zone).Format(time.RFC3339Nano), DeviceTime: p.DeviceTime.String(), Zone: p.Zone,
		ReceivedAt: p.ReceivedAt.UTC(), Employee: p.Employee, Badge: p.Badge, Kind: p.Kind.String(), Direction: p.Direction.String(),
		Method: p.Method.String(), Device: p.Device.ID, Driver: p.Device.Driver, Serial: p.Device.Serial, Site: p.Site, Place: p.Place,
		Verdict: p.Verdict.String(), Reasons: p.Reasons, Late: p.Late, Counter: p.Counter, Gap: p.Gap,
	}
	if j.Reasons == nil {
		j.Reasons = []attendance.Reason{}
	}
	if p.Skew != nil {
		ms := p.Skew.Milliseconds()
		j.SkewMS = &ms
	}
	return j
}

// who is the employee, or in brackets the badge of nobody known.
func who(p *attendance.Punch) string {
	switch {
	case p.Employee != "":
		return p.Employee
	case p.Badge != "":
		return "(" + p.Badge + ")"
	}
	return "(" + p.Device.ID + ")"
}

func reasons(p *attendance.Punch) string {
	words := make([]string, len(p.Reasons))
	for i, r := range p.Reasons {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

// printable takes out what would move the cursor of a terminal: the texts come
// from devices.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}

const tableTime = "2006-01-02 15:04:05"

func printPunches(w io.Writer, zone *time.Location, items []numbered, asJSON bool) error {
	if asJSON {
		return (&lines{w: w, zone: zone, json: true}).all(items)
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(table.Row{"SEQ", "TIME", "EMPLOYEE", "DIRECTION", "METHOD", "DEVICE", "PLACE", "VERDICT", "REASONS"})
	for _, it := range items {
		p := it.p
		t.AppendRow(table.Row{it.seq, p.At.In(zone).Format(tableTime), printable(who(p)), p.Direction.String(), p.Method.String(),
			printable(p.Device.ID), printable(p.Place), p.Verdict.String(), printable(reasons(p))})
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

// lines prints one punch after the other.
type lines struct {
	w    io.Writer
	zone *time.Location
	json bool
}

func (l *lines) all(items []numbered) error {
	for _, it := range items {
		if err := l.one(it.seq, it.p); err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) one(seq uint64, p *attendance.Punch) error {
	if l.json {
		return json.NewEncoder(l.w).Encode(toJSON(seq, p, l.zone))
	}
	_, err := fmt.Fprintf(l.w, "%d  %s  %-12s %-12s %-11s %-12s %s\n", seq, p.At.In(l.zone).Format(tableTime), printable(who(p)),
		p.Direction, p.Method, printable(p.Device.ID), strings.TrimRight(p.Verdict.String()+" "+printable(reasons(p)), " "))
	return err
}

// exporter writes punches in one format.
type exporter interface {
	begin() error
	punch(seq uint64, p *attendance.Punch) error
	end() error
}

var exporters = map[string]func(io.Writer, *time.Location) exporter{
	"csv":   func(w io.Writer, zone *time.Location) exporter { return &csvExporter{csv.NewWriter(w), zone} },
	"jsonl": func(w io.Writer, zone *time.Location) exporter { return newJSONExporter(w, zone) },
}

type jsonExporter struct {
	buf *bufio.Writer
	lines
}

func newJSONExporter(w io.Writer, zone *time.Location) *jsonExporter {
	buf := bufio.NewWriter(w)
	return &jsonExporter{buf, lines{buf, zone, true}}
}

func (e *jsonExporter) begin() error                                { return nil }
func (e *jsonExporter) punch(seq uint64, p *attendance.Punch) error { return e.one(seq, p) }
func (e *jsonExporter) end() error                                  { return e.buf.Flush() }

type csvExporter struct {
	w    *csv.Writer
	zone *time.Location
}

var csvHeader = []string{"seq", "key", "time", "device_time", "zone", "received_at", "skew_ms", "employee", "badge", "kind", "direction", "method",
	"device", "driver", "serial", "site", "place", "verdict", "reasons", "late", "counter", "gap"}

func (e *csvExporter) begin() error { return e.w.Write(csvHeader) }

func (e *csvExporter) punch(seq uint64, p *attendance.Punch) error {
	j := toJSON(seq, p, e.zone)
	skew, counter, gap := "", "", ""
	if p.Counter > 0 { // else it is no phone that counts
		counter, gap = strconv.FormatUint(p.Counter, 10), strconv.FormatUint(p.Gap, 10)
	}
	if j.SkewMS != nil {
		skew = strconv.FormatInt(*j.SkewMS, 10)
	}
	return e.w.Write([]string{
		strconv.FormatUint(seq, 10), j.Key, j.Time, j.DeviceTime, j.Zone, j.ReceivedAt.Format(time.RFC3339Nano), skew,
		cell(j.Employee), cell(j.Badge), j.Kind, j.Direction, j.Method, cell(j.Device), j.Driver, cell(j.Serial), cell(j.Site), cell(j.Place),
		j.Verdict, reasons(p), strconv.FormatBool(j.Late), counter, gap,
	})
}

func (e *csvExporter) end() error {
	e.w.Flush()
	return e.w.Error()
}

// cell keeps a spreadsheet from taking a text that a device sent for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
