package main

import (
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

// errFound ends the search in a ledger.
var errFound = errors.New("found")

func newPunchesShow() *cobra.Command {
	var (
		f      punchesFlags
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show all that is kept of one punch, with its evidence",
		Long: `show prints one punch with what it was judged by: position, access points, note,
photo, and the message or record as it came. ID is the id of the event that
central has received, which is the key in the other commands' JSON.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := attendance.ParseKey(args[0])
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("%q is no id of a punch: that has 32 hex digits, as in the event that central has received", args[0])}
			}
			if err := f.load(); err != nil {
				return err
			}
			var found numbered
			g := &gaps{out: c.ErrOrStderr()}
			_, err = f.scan(c.Context(), 0, g, func(seq uint64, p *attendance.Punch) error {
				if p.Key != key {
					return nil
				}
				found = numbered{seq, p}
				return errFound
			})
			switch {
			case errors.Is(err, errFound):
				return show(c.OutOrStdout(), f.cfg.Site.Zone, found, asJSON)
			case err != nil:
				return err
			}
			return errors.Join(fmt.Errorf("no punch in the ledger of %s has the id %s; is it from another gateway?", f.cfg.Gateway.DataDir, key), g.err())
		},
	}
	configFlag(c, &f.config)
	jsonFlag(c, &asJSON, "print one JSON object")
	return c
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
		lines = append(lines, [2]string{"counter", fmt.Sprintf("%d (%d before it never arrived)", d.Counter, d.Gap)})
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
