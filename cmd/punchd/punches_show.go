package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/protocol/attendance"
)

func newPunchesShow() *cobra.Command {
	var (
		f      punchesFlags
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "show SEQ|KEY",
		Short: "Show all that is kept of one punch, with its evidence",
		Long: `show prints one punch with what it was judged by: position, access points, note,
photo, and the message or record as it came. The punch is named by its sequence,
which is the first column of punchd punches list, or by its key of 32 hex digits:
that stands in the lists of the other commands with --json, and is the id of the
event that central has received.`,
		Args: oneArg("punch by its sequence or key", false),
		RunE: func(c *cobra.Command, args []string) error {
			is, err := named(args[0])
			if err != nil {
				return err
			}
			if err := f.load(); err != nil {
				return err
			}
			g := &gaps{out: c.ErrOrStderr()}
			found, err := f.find(c.Context(), g, is)
			switch {
			case err != nil:
				return err
			case found.p != nil:
				return show(c.OutOrStdout(), f.cfg.Site.Zone, found, asJSON)
			}
			return errors.Join(fmt.Errorf("no punch in the ledger of %s has the %s; those that are there: punchd punches list -n 0; is it of another gateway?", f.cfg.Gateway.DataDir, is), g.err())
		},
	}
	configFlag(c, &f.config)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
}

// punchName is a punch's sequence, or its key.
type punchName struct {
	seq   uint64
	key   attendance.Key
	byKey bool
}

func named(text string) (punchName, error) {
	if key, err := attendance.ParseKey(text); err == nil {
		return punchName{key: key, byKey: true}, nil
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return punchName{}, &exitError{exitUsage, fmt.Errorf("%q is neither a sequence nor a key of 32 hex digits; both are told by: punchd punches list --json", text)}
	}
	return punchName{seq: seq}, nil
}

func (n punchName) String() string {
	if n.byKey {
		return "key " + n.key.String()
	}
	return "sequence " + strconv.FormatUint(n.seq, 10)
}

// find looks for a punch in the ledger; its p is nil if it is not there.
func (f *punchesFlags) find(ctx context.Context, g *gaps, is punchName) (found numbered, err error) {
	_, err = f.scan(ctx, is.seq, g, func(seq uint64, p *attendance.Punch) error {
		switch {
		case is.byKey && p.Key != is.key:
			return nil
		case is.byKey || seq == is.seq:
			found = numbered{seq, p}
		}
		return errEnough // behind a sequence it can't be
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// detailJSON is a punch with all that is kept of it.
type detailJSON struct {
	punchJSON
	State    *int         `json:"state,omitempty"`
	Verify   *int         `json:"verify,omitempty"`
	Evidence evidenceJSON `json:"evidence"`
}

type evidenceJSON struct {
	Fix       *fixJSON   `json:"fix,omitempty"`
	WiFi      *wifiJSON  `json:"wifi,omitempty"`
	Note      string     `json:"note,omitempty"`
	Photo     *photoJSON `json:"photo,omitempty"`
	Challenge string     `json:"challenge,omitempty"`
	Raw       string     `json:"raw,omitempty"`     // as it came: a signed check-in is a JWS
	RawHex    string     `json:"raw_hex,omitempty"` // the same of what is no text
}

type fixJSON struct {
	Lat  float64    `json:"lat"`
	Lon  float64    `json:"lon"`
	Acc  float64    `json:"acc,omitempty"`
	At   *time.Time `json:"at,omitempty"`
	Mock bool       `json:"mock"`
}

type wifiJSON struct {
	BSSID string      `json:"bssid,omitempty"`
	SSID  string      `json:"ssid,omitempty"`
	Seen  []heardJSON `json:"seen,omitempty"`
}

type heardJSON struct {
	BSSID string `json:"bssid"`
	RSSI  int    `json:"rssi"`
}

type photoJSON struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

func detailOf(it numbered, zone *time.Location) detailJSON {
	d := detailJSON{punchJSON: toJSON(it.seq, it.p, zone)}
	if it.p.State >= 0 {
		d.State = &it.p.State
	}
	if it.p.Verify >= 0 {
		d.Verify = &it.p.Verify
	}
	e := &it.p.Evidence
	d.Evidence = evidenceJSON{Note: e.Note, Challenge: e.Challenge}
	if x := e.Fix; x != nil {
		d.Evidence.Fix = &fixJSON{Lat: x.Lat, Lon: x.Lon, Acc: x.Acc, Mock: x.Mock}
		if !x.At.IsZero() {
			d.Evidence.Fix.At = writable(x.At)
		}
	}
	if w := e.WiFi; w != nil {
		d.Evidence.WiFi = &wifiJSON{BSSID: w.BSSID, SSID: w.SSID}
		for _, h := range w.Seen {
			d.Evidence.WiFi.Seen = append(d.Evidence.WiFi.Seen, heardJSON{h.BSSID, h.RSSI})
		}
	}
	if x := e.Photo; x != nil {
		d.Evidence.Photo = &photoJSON{x.SHA256, x.Size}
	}
	if isText(e.Raw) {
		d.Evidence.Raw = string(e.Raw)
	} else {
		d.Evidence.RawHex = hex.EncodeToString(e.Raw)
	}
	return d
}

func isText(b []byte) bool {
	return utf8.Valid(b) && strings.IndexFunc(string(b), func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) }) < 0
}

// show prints a punch; what is not known of it is left out.
func show(w io.Writer, zone *time.Location, it numbered, asJSON bool) error {
	d := detailOf(it, zone)
	if asJSON {
		return json.NewEncoder(w).Encode(d)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range append(facts(d), evidence(d.Evidence, zone)...) {
		if line[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\n", line[0], printable(line[1])); err != nil {
			return err
		}
	}
	return t.Flush()
}

func facts(d detailJSON) [][2]string {
	words := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		words[i] = string(r)
	}
	received := ""
	if d.ReceivedAt != nil {
		received = d.ReceivedAt.Format(time.RFC3339Nano)
	}
	lines := [][2]string{
		{"id", d.Key}, {"sequence", strconv.FormatUint(d.Seq, 10)}, {"time", d.Time}, {"device time", d.DeviceTime + " (" + d.Zone + ")"},
		{"received at", received}, {"device's skew", milliseconds(d.SkewMS)}, {"employee", d.Employee}, {"badge", d.Badge},
		{"kind", d.Kind}, {"direction", d.Direction}, {"method", d.Method}, {"device", d.Device}, {"driver", d.Driver}, {"serial", d.Serial},
		{"site", d.Site}, {"place", d.Place}, {"verdict", d.Verdict}, {"reasons", strings.Join(words, " ")}, {"late", strconv.FormatBool(d.Late)},
	}
	if d.Counter > 0 {
		counter := strconv.FormatUint(d.Counter, 10)
		if d.Gap > 0 { // as it was then: messages overtake each other
			counter += fmt.Sprintf(" (%d right below it had not arrived yet)", d.Gap)
		}
		lines = append(lines, [2]string{"counter", counter})
	}
	return append(lines, [2]string{"state code", number(d.State)}, [2]string{"verify code", number(d.Verify)})
}

func evidence(e evidenceJSON, zone *time.Location) [][2]string {
	var lines [][2]string
	if x := e.Fix; x != nil {
		text := fmt.Sprintf("%.6f %.6f", x.Lat, x.Lon)
		if x.Acc > 0 {
			text += fmt.Sprintf(", within %g m", x.Acc)
		}
		if x.At != nil {
			text += ", measured " + x.At.In(zone).Format(time.RFC3339)
		}
		if x.Mock {
			text += ", made by a test provider"
		}
		lines = append(lines, [2]string{"position", text})
	}
	if w := e.WiFi; w != nil {
		lines = append(lines, [2]string{"access point", strings.TrimSpace(w.BSSID + " " + w.SSID)})
		for _, h := range w.Seen {
			lines = append(lines, [2]string{"heard", fmt.Sprintf("%s %d dBm", h.BSSID, h.RSSI)})
		}
	}
	if x := e.Photo; x != nil {
		lines = append(lines, [2]string{"photo", fmt.Sprintf("%d bytes, SHA-256 %s", x.Size, x.SHA256)})
	}
	return append(lines, [2]string{"note", e.Note}, [2]string{"challenge", e.Challenge}, [2]string{"as it came", e.Raw}, [2]string{"as it came (hex)", e.RawHex})
}

func milliseconds(ms *int64) string {
	if ms == nil {
		return ""
	}
	return fmt.Sprintf("%d ms", *ms)
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
