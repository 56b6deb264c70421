package rig

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchd/punchd/protocol/attendance"
)

// ConfigFile is the configuration that [World.WriteFiles] writes.
const ConfigFile = "punchd.yaml"

// WriteFiles writes a gateway's configuration, roster and keys into a
// directory: everything `punchd run` needs to serve this world.
func (w *World) WriteFiles(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(w.key)
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	roster, err := json.MarshalIndent(w.roster(), "", " ")
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	files := map[string]string{
		ConfigFile:     w.config(),
		"roster.json":  string(roster),
		"keys/gateway": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"keys/webhook": w.secret,
	}
	if w.fleet != nil {
		for _, user := range w.fleet.Users() {
			password, _ := w.fleet.Password(user) // it names its own users
			files["keys/mqtt-"+user] = password
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "site: {id: %s, timezone: %s}\n", Site, w.zone)
	fmt.Fprintf(&b, "gateway: {id: %s, data_dir: %s}\n", Gateway, dataDir)
	fmt.Fprintf(&b, "roster: {file: roster.json}\n")
	fmt.Fprintf(&b, "sinks:\n  - {name: hq, kind: cloudevents, retry_max: 2s, url: \"http://%s/punches\", secret: {file: keys/webhook}}\n", w.seenFrom(w.listener.Addr().String()))
	fmt.Fprintf(&b, "terminals:\n")
	for _, t := range w.terminals {
		fmt.Fprintf(&b, "  - {id: %s, driver: zk, link: \"tcp://%s\", poll: 2s%s}\n", t.id, w.seenFrom(t.listener.Addr().String()), t.layout)
	}
	if w.reader != nil {
		link := w.link
		if address, found := strings.CutPrefix(link, "tcp://"); found {
			link = "tcp://" + w.seenFrom(address)
		}
		fmt.Fprintf(&b, "  - {id: %s, driver: cardline, link: \"%s\", format: rdm6300}\n", ReaderID, link)
	}
	if w.fleet != nil {
		listen := w.broker
		if w.scene.Apart != nil {
			listen = w.scene.Apart.Listen
		}
		fmt.Fprintf(&b, "phones:\n  broker:\n    embedded:\n      listen: %s\n      users:\n", listen)
		for _, user := range w.fleet.Users() {
			fmt.Fprintf(&b, "        %s: {file: keys/mqtt-%[1]s}\n", user)
		}
	}
	return b.String()
}

// leftOn is the last day of those who have left and still have a card and a PIN.
const leftOn = "2019-12-31"

// roster lists the people of the terminals, the reader's cards and the phones,
// and the office. One in eight has left long ago, and one card in four is
// nobody's.
func (w *World) roster() *attendance.Roster {
	r := &attendance.Roster{Version: "simulated"}
	if len(w.terminals) > 0 { // of one seed, so all know the same people
		for _, u := range w.terminals[0].Users() {
			r.Employees = append(r.Employees, attendance.Employee{ID: "E" + u.PIN, Name: u.Name, PINs: []string{u.PIN}})
		}
	}
	if w.reader != nil {
		staff := len(r.Employees)
		for i, card := range w.reader.Cards() {
			switch {
			case i%4 == 3:
			case i < staff:
				r.Employees[i].Badges = []string{card}
			case staff == 0: // no terminal knows anybody
				r.Employees = append(r.Employees, attendance.Employee{ID: "C" + card, Badges: []string{card}})
			}
		}
	}
	for i := range r.Employees {
		if i%8 == 1 {
			r.Employees[i].Until = leftOn
		}
	}
	if w.fleet != nil {
		r.Employees = append(r.Employees, w.fleet.RosterEntries()...)
	}
	r.Places = []attendance.Place{{
		ID: "hq", Site: Site, Kind: "office", Circle: &attendance.Circle{Lat: office.Lat, Lon: office.Lon, Radius: 200},
		WiFi: []attendance.AccessPoint{{BSSID: office.BSSID, Mask: "ff:ff:ff:ff:ff:f0"}},
	}}
	r.Policies = []attendance.Policy{{Presence: "all", Outside: "flag"}} // so that a foreign access point counts
	return r
}
