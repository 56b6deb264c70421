package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/punchd/punchd/geofence"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cardline"
	"github.com/punchd/punchd/protocol/zk"
	"github.com/punchd/punchd/sync/roster/strict"
)

// home is a directory with keys in it.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, ec := pair(t)
	private, _, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"gateway": string(private), "damaged": "gateway key\n", "ec": ec, "verifies": "whpk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", "lobby": "12345\n", "webhook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n", "mqtt-ada": "s3cr3t-打卡", "empty": "\n", "words": "not a number\n",
	} {
		put(t, dir, "keys/"+name, text, 0o600)
	}
	put(t, dir, "keys/open", "x", 0o644)
	put(t, dir, "keys/group", "x", 0o640)
	put(t, dir, "keys/big", strings.Repeat("x", maxSecret+1), 0o600)
	cert, key := pair(t)
	put(t, dir, "keys/tls.crt", cert, 0o644)
	put(t, dir, "keys/tls.key", key, 0o600)
	_, other := pair(t)
	put(t, dir, "keys/other.key", other, 0o600)
	return dir
}

func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// pair makes a certificate and its key.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw-01"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", raw)
}

// load reads a text as a configuration in dir; the directory is left out of
// the error.
func load(t *testing.T, dir, text string) (*Config, string) {
	t.Helper()
	put(t, dir, "punchd.yaml", text, 0o644)
	cfg, err := Load(filepath.Join(dir, "punchd.yaml"))
	if err != nil {
		if cfg != nil {
			t.Error("an error and a configuration")
		}
		return nil, strings.ReplaceAll(err.Error(), dir+"/", "")
	}
	return cfg, ""
}

// The golden configuration is of the first version of the format, uses every
// key, and must load for ever.
func TestGolden(t *testing.T) {
	dir := home(t)
	text, err := os.ReadFile("testdata/v1/punchd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "keys"))
	cfg, problem := load(t, dir, string(text))
	if problem != "" {
		t.Fatal(problem)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	file := func(name string) Secret { return Secret{path: in("keys/" + name)} }

	if cfg.File != in("punchd.yaml") || cfg.Site.ID != "xm-hq" || cfg.Site.Zone.String() != "Asia/Shanghai" {
		t.Errorf("site: %+v", cfg.Site)
	}
	if want := (Gateway{ID: "gw-01", DataDir: in("data"), Key: file("gateway")}); cfg.Gateway != want {
		t.Errorf("gateway: %+v", cfg.Gateway)
	}
	terminals := []Terminal{
		{ID: "lobby", Driver: "zk", ZK: &ZK{Poll: 10 * time.Second, CommKey: file("lobby"), Layout: zk.Layout40}},
		{ID: "plain", Driver: "zk", ZK: &ZK{Poll: 30 * time.Second, Live: true, Layout: zk.LayoutMA300}},
		{ID: "gate", Driver: "cardline", Cardline: &Cardline{Format: "rdm6300", Form: cardline.FormDec10, Confirm: 3, ConfirmWithin: 400 * time.Millisecond,
			Absent: 600 * time.Millisecond, Lockout: -1, Direction: attendance.DirIn}},
		{ID: "仓库", Driver: "cardline", Cardline: &Cardline{Format: "line", Form: cardline.FormHex, Lockout: 5 * time.Second, IdleGap: 70 * time.Millisecond, Method: attendance.MethodQR,
			Line: cardline.Line{Prefix: "%", Suffix: "?", Terminator: cardline.EndIdle, SevenBit: true, Pattern: "^(?P<card>[01]+)$", Base: "bin", Bits: 32, Reverse: true, StripZeros: true, Form: cardline.FormHex}}},
		{ID: "dock", Driver: "cardline", Cardline: &Cardline{Format: "line", Form: cardline.FormFCCN, Line: cardline.Line{Base: "hex", Layout: cardline.H10301, Form: cardline.FormFCCN}}},
	}
	zones := []string{"Asia/Kolkata", "Asia/Shanghai", "+05:45", "Asia/Shanghai", "Asia/Shanghai"}
	links := []string{"tcp://192.168.1.201:4370", "tcp://[fe80::17%25eth0]:4370?timeout=2s", "serial:///dev/ttyUSB0", "serial:///dev/serial/by-id/usb-FTDI?baud=19200&data=7&parity=even", "tcp://10.0.0.7:9000"}
	for i, got := range cfg.Terminals {
		if got.Zone.String() != zones[i] || got.Link.String() != links[i] {
			t.Errorf("%s: zone %s, link %s", got.ID, got.Zone, got.Link)
		}
		got.Zone, got.Link = nil, nil
		if !reflect.DeepEqual(got, terminals[i]) {
			t.Errorf("terminal %d:\n got %+v %+v %+v\nwant %+v", i, got, got.ZK, got.Cardline, terminals[i])
		}
	}
	phones := &Phones{Formats: []string{"owntracks", "native"}, Embedded: &Embedded{
		Listen: "0.0.0.0:8883", MaxClients: 77, TLS: &TLS{Cert: in("keys/tls.crt"), Key: file("tls.key")},
		Users: map[string]Secret{"ada": {path: in("keys/mqtt-ada"), credential: "mqtt-ada"}},
	}}
	if !reflect.DeepEqual(cfg.Phones, phones) {
		t.Errorf("phones: %+v", cfg.Phones)
	}
	if cfg.Roster.File != "/etc/punchd/roster.json" {
		t.Errorf("roster: %+v", cfg.Roster)
	}
	sinks := []Sink{
		{Name: "hq", Kind: "cloudevents", RetryMax: 5 * time.Minute, CloudEvents: &CloudEvents{URL: "https://central.example/punches", Secret: file("webhook"), CA: in("keys/tls.crt"),
			Client: &TLS{Cert: in("keys/tls.crt"), Key: file("tls.key")}, Gzip: true, Batch: 100}},
		{Name: "plain", Kind: "cloudevents", RetryMax: 10 * time.Second, CloudEvents: &CloudEvents{URL: "http://127.0.0.1:8080/", Secret: file("webhook"), Batch: 500}},
		{Name: "file", Kind: "file", RetryMax: 5 * time.Minute, JSONLines: &JSONLines{Path: in("out/punches.jsonl")}},
	}
	if !reflect.DeepEqual(cfg.Sinks, sinks) {
		t.Errorf("sinks: %+v", cfg.Sinks)
	}
	if w := cfg.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}

	// Every key of the format stands in it, or in the second file.
	more, err := os.ReadFile("testdata/v1/external.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys(reflect.TypeFor[rawConfig]()) {
		if !regexp.MustCompile(`\b` + key + `:`).MatchString(string(text) + string(more)) {
			t.Errorf("testdata/v1 has no key %s", key)
		}
	}
	cfg, problem = load(t, dir, string(more))
	if problem != "" {
		t.Fatal(problem)
	}
	external := &External{URL: "mqtts://broker.example", ClientID: "punchd", Username: "gw", Password: file("mqtt-ada"), CA: in("keys/tls.crt")}
	if !reflect.DeepEqual(cfg.Phones, &Phones{Formats: []string{"native", "owntracks"}, External: external}) {
		t.Errorf("phones: %+v %+v", cfg.Phones, cfg.Phones.External)
	}
	// A client id that is left out is the gateway's.
	if cfg, problem := load(t, dir, strings.Replace(string(more), "client_id: punchd, ", "", 1)); problem != "" || cfg.Phones.External.ClientID != "gw-02" {
		t.Errorf("client id: %s", problem)
	}
	if cfg.Gateway != (Gateway{ID: "gw-02", DataDir: in("punchd-data"), Key: file("gateway")}) {
		t.Errorf("gateway: %+v", cfg.Gateway)
	}
}

// keys are those of a raw struct and all below it.
func keys(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keys(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var all []string
	for f := range t.Fields() {
		if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" {
			all = append(all, key)
			all = append(all, keys(f.Type)...)
		}
	}
	return all
}

// FORMAT.md names every key of both files.
func TestFormatIsComplete(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	all := append(keys(reflect.TypeFor[rawConfig]()), keys(reflect.TypeFor[attendance.Roster]())...)
	if len(all) < 80 {
		t.Errorf("only %d keys", len(all))
	}
	for _, key := range all {
		if !strings.Contains(string(text), "`"+key+"`") {
			t.Errorf("FORMAT.md does not describe `%s`", key)
		}
	}
}

// The files that a new gateway begins with are right as they stand, and so is
// the configuration with everything in it that is commented out.
func TestExample(t *testing.T) {
	dir := home(t)
	punchd, people := Example()
	cfg, problem := load(t, dir, punchd)
	if problem != "" {
		t.Fatal(problem)
	}
	if cfg.Site.ID != "my-office" || len(cfg.Sinks) != 1 || cfg.Phones != nil || cfg.Roster.File != filepath.Join(dir, "roster.yaml") {
		t.Errorf("%+v", cfg)
	}
	full := uncomment(punchd)
	cfg, problem = load(t, dir, full)
	if problem != "" {
		t.Fatalf("with everything: %s\n%s", problem, full)
	}
	if len(cfg.Terminals) != 2 || cfg.Phones == nil || cfg.Phones.Embedded.TLS == nil || len(cfg.Sinks) != 2 || len(cfg.Warnings()) != 0 {
		t.Errorf("with everything: %+v %v", cfg, cfg.Warnings())
	}

	for name, text := range map[string]string{"as it stands": people, "with everything": uncomment(people)} {
		var r attendance.Roster
		if _, err := strict.Decode("roster.yaml", []byte(text), &r); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if _, err := attendance.NewIndex(&r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "with everything" { // it has a circle and a polygon to choose from
			r.Places[0].Polygon = nil
		}
		if _, err := geofence.New(&r, geofence.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A comment at every line that sets something.
	sets := regexp.MustCompile(`^ *(- )?[a-z_]+: \S`)
	for i, line := range strings.Split(punchd+people, "\n") {
		if sets.MatchString(line) && !strings.Contains(line, " # ") {
			t.Errorf("line %d has no comment: %s", i+1, line)
		}
	}
}

// uncomment takes the # off every line that is a commented-out entry.
func uncomment(text string) string {
	entry := regexp.MustCompile(`^(\s*)# ?(\s*(?:# )?(?:- )?(?:\{|[a-z_]+:(?: |$)).*)$`)
	var out []string
	for _, line := range strings.Split(text, "\n") {
		for range 2 {
			if m := entry.FindStringSubmatch(line); m != nil {
				line = m[1] + m[2]
			}
		}
		out = append(out, line)
	}
	text = strings.Join(out, "\n")
	return strings.NewReplacer("terminals: []", "terminals:", "excuses: []", "excuses:").Replace(text)
}

func TestSecret(t *testing.T) {
	dir := home(t)
	at := func(name string) Secret { return Secret{path: filepath.Join(dir, "keys", name)} }
	for name, want := range map[string]string{"damaged": "gateway key", "webhook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "mqtt-ada": "s3cr3t-打卡"} {
		if got, err := at(name).Read(); got != want || err != nil {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if n, err := at("lobby").Number(); n != 12345 || err != nil {
		t.Errorf("comm key: %d %v", n, err)
	}
	for name, want := range map[string]string{
		"open":    "DIR/open can be read by others (mode 0644); make it yours alone: chmod 600 DIR/open",
		"group":   "DIR/group can be read by others (mode 0640); make it yours alone: chmod 600 DIR/group",
		"missing": "there is no file DIR/missing",
		"empty":   "DIR/empty is empty",
		"big":     "DIR/big has 65537 bytes, the limit is 65536",
		".":       "DIR is no regular file",
	} {
		_, err := at(name).Read()
		if err == nil || strings.ReplaceAll(err.Error(), filepath.Join(dir, "keys"), "DIR") != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	// A number that is none is not told.
	if _, err := at("words").Number(); err == nil || strings.Contains(err.Error(), "not a number") {
		t.Errorf("words: %v", err)
	}
	if _, err := (Secret{}).Read(); err == nil || (Secret{}).IsSet() {
		t.Errorf("none: %v", err)
	}
}

// Printing a configuration in any way tells no secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	dir := home(t)
	text, err := os.ReadFile("testdata/v1/punchd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "keys"))
	cfg, problem := load(t, dir, string(text))
	if problem != "" {
		t.Fatal(problem)
	}
	asJSON, err := json.Marshal(cfg.Phones)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "key", cfg.Gateway.Key, "password", cfg.Phones.Embedded.Users["ada"])
	all := fmt.Sprintf("%v %+v %#v %s %s", cfg.Phones.Embedded, cfg.Gateway, cfg.Sinks[0].CloudEvents, asJSON, logged.String())
	for _, secret := range []string{"12345", "whsec_", "s3cr3t", "PRIVATE"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is told in %s", secret, all)
		}
	}
	for _, where := range []string{"file:" + dir, "credential:mqtt-ada"} {
		if !strings.Contains(all, where) {
			t.Errorf("%s is not told in %s", where, all)
		}
	}
}

func TestZones(t *testing.T) {
	known := strings.Fields(zoneNames)
	for _, name := range known {
		if _, err := time.LoadLocation(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"Asia/Shangai": "Asia/Shanghai", "asia/shanghai": "Asia/Shanghai", "Shanghai": "Asia/Shanghai", "new york": "America/New_York",
		"Europe/Berlim": "Europe/Berlin", "Mars/Olympus": "",
	} {
		if got := nearestZone(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for text, want := range map[string]int{"+08:00": 28800, "-03:30": -12600, "+05:45": 20700, "+14:00": 50400, "+00:00": 0} {
		loc, err := offset(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, got := time.Unix(0, 0).In(loc).Zone(); got != want || loc.String() != text {
			t.Errorf("%s: %d %s", text, got, loc)
		}
	}
	for _, text := range []string{"+8", "+08", "+0800", "+24:00", "+14:01", "-15:00", "+08:60", "08:00", "+08:00 "} {
		if loc, err := offset(text); err == nil {
			t.Errorf("%q is %v", text, loc)
		}
	}
}
