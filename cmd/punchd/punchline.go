package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
	ReceivedAt *time.Time          `json:"received_at"` // null if JSON has no way to write it
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
		ReceivedAt: writable(p.ReceivedAt), Employee: p.Employee, Badge: p.Badge, Kind: p.Kind.String(), Direction: p.Direction.String(),
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

// writable is a time for JSON, nil if it is of a clock so wrong that JSON has no
// way to write it: the rest of the punch is as good as ever.
func writable(t time.Time) *time.Time {
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return &t
}

// printable takes out what would move the cursor of a terminal, break a line or
// turn the text round: the texts come from devices. Names need the joiners.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		const joiners = "\u200c\u200d"
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && !strings.ContainsRune(joiners, r) {
			return '\ufffd'
		}
		return r
	}, s)
}

const tableTime = "2006-01-02 15:04:05"

// lines prints one punch after the other.
type lines struct {
	w    io.Writer
	zone *time.Location
	json bool
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
	skew, counter, gap, received := "", "", "", ""
	if p.Counter > 0 { // else it is no phone that counts
		counter, gap = strconv.FormatUint(p.Counter, 10), strconv.FormatUint(p.Gap, 10)
	}
	if j.SkewMS != nil {
		skew = strconv.FormatInt(*j.SkewMS, 10)
	}
	if j.ReceivedAt != nil {
		received = j.ReceivedAt.Format(time.RFC3339Nano)
	}
	return e.w.Write([]string{
		strconv.FormatUint(seq, 10), j.Key, j.Time, j.DeviceTime, cell(j.Zone), received, skew,
		cell(j.Employee), cell(j.Badge), j.Kind, j.Direction, j.Method, cell(j.Device), cell(j.Driver), cell(j.Serial), cell(j.Site), cell(j.Place),
		j.Verdict, cell(reasons(p)), strconv.FormatBool(j.Late), counter, gap,
	})
}

func (e *csvExporter) end() error {
	e.w.Flush()
	return e.w.Error()
}

// offset is a zone as phones tell it. It can be no formula, and programs read it.
var offset = regexp.MustCompile(`^[+-]\d\d:\d\d$`)

// cell keeps a spreadsheet from taking a text that a device sent for a formula.
// Some take the full-width signs for the others.
func cell(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	if s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) && !offset.MatchString(s) {
		return "'" + s
	}
	return s
}
