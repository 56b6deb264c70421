package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/punchd/punchd/sync/roster/strict"
)

// begin is the part that every test configuration has, on two lines.
const begin = "site: {id: hq, timezone: Asia/Shanghai}\ngateway: {id: gw}\n"

// rest makes a configuration whole.
const rest = "roster: {file: roster.yaml}\n"

// Every mistake is told with its line, in whole.
func TestErrors(t *testing.T) {
	dir := home(t)
	terminal := func(keys string) string {
		return begin + "terminals:\n  - {id: a, driver: " + keys + "}\n" + rest
	}
	zk := func(keys string) string { return terminal(`zk, link: "tcp://h:1", ` + keys) }
	reader := func(keys string) string { return terminal(`cardline, link: "tcp://h:1", ` + keys) }
	broker := func(keys string) string {
		return begin + "phones:\n  formats: [owntracks]\n  broker: {" + keys + "}\n" + rest
	}
	embedded := func(keys string) string { return broker("embedded: {" + keys + "}") }
	sink := func(keys string) string { return begin + rest + "sinks:\n  - {name: a, kind: " + keys + "}\n" }
	events := func(keys string) string { return sink(`cloudevents, url: "https://h/", ` + keys) }

	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "punchd.yaml:1:1: the file is empty"},
		{"no YAML", "site: [", "punchd.yaml:1:7: not YAML: sequence end token ']' not found"},
		{"nothing in it", "sinks: []\n", "punchd.yaml:1:1: site: is missing: {id: my-office, timezone: Asia/Shanghai}\n" +
			"punchd.yaml:1:1: gateway: is missing: {id: gw-01}\npunchd.yaml:1:1: roster: is missing: {file: roster.yaml}"},
		{"unknown key", begin + "roster: {flie: x}\n", `punchd.yaml:3:10: roster.flie: unknown key "flie" (do you mean "file"?)`},
		{"unknown part", begin + rest + "console: {listen: \"127.0.0.1:8480\"}\n", `punchd.yaml:4:1: console: unknown key "console" (known here: gateway, phones, roster, sinks, site, terminals)`},
		{"form and meaning at once", "site: {id: hq, timezone: Asia/Shangai}\ngateway: {id: gw, dir: x}\nroster: {}\n",
			"punchd.yaml:1:16: site.timezone: unknown time zone \"Asia/Shangai\" (do you mean \"Asia/Shanghai\"?)\n" +
				"punchd.yaml:2:19: gateway.dir: unknown key \"dir\" (known here: data_dir, id, key)\npunchd.yaml:3:1: roster.file: is missing"},
		{"twice", begin + begin + rest, "punchd.yaml:3:1: site: is given twice, first on line 1\npunchd.yaml:4:1: gateway: is given twice, first on line 2"},

		{"no zone", "site: {id: hq}\ngateway: {id: gw}\n" + rest, "punchd.yaml:1:1: site.timezone: is missing; a zone is a name like Asia/Shanghai or an offset like +08:00"},
		{"local zone", "site: {id: hq, timezone: Local}\ngateway: {id: gw}\n" + rest, `punchd.yaml:1:16: site.timezone: unknown time zone "Local" (names are like Asia/Shanghai, offsets like +08:00)`},
		{"offset", "site: {id: hq, timezone: \"+8\"}\ngateway: {id: gw}\n" + rest, `punchd.yaml:1:16: site.timezone: "+8" is no offset like +08:00 or -03:30`},
		{"site as a topic", "site: {id: a/b, timezone: UTC}\ngateway: {id: \"a b\"}\n" + rest,
			"punchd.yaml:1:8: site.id: \"a/b\" may hold letters, digits, dots, dashes and underscores, and begins with a letter or digit\n" +
				"punchd.yaml:2:11: gateway.id: \"a b\" may hold letters, digits, dots, dashes and underscores, and begins with a letter or digit"},
		{"long id", "site: {id: " + strings.Repeat("x", 65) + ", timezone: UTC}\ngateway: {id: gw}\n" + rest, "punchd.yaml:1:8: site.id: has 65 bytes, the limit is 64"},
		{"gateway key", "site: {id: hq, timezone: UTC}\ngateway: {id: gw, key: {file: keys/none}}\n" + rest, "punchd.yaml:2:19: gateway.key: neither receipts to phones nor the ledger can be signed: there is no file keys/none (" + newKeyHelp + ")"},

		{"damaged gateway key", "site: {id: hq, timezone: UTC}\ngateway: {id: gw, key: {file: keys/damaged}}\n" + rest,
			"punchd.yaml:2:19: gateway.key: neither receipts to phones nor the ledger can be signed: keys/damaged is no private key in PEM (" + newKeyHelp + ")"},
		{"gateway key of another kind", "site: {id: hq, timezone: UTC}\ngateway: {id: gw, key: {file: keys/ec}}\n" + rest,
			"punchd.yaml:2:19: gateway.key: neither receipts to phones nor the ledger can be signed: keys/ec holds a private key of another kind; an Ed25519 key is needed (" + newKeyHelp + ")"},
		{"open gateway key", "site: {id: hq, timezone: UTC}\ngateway: {id: gw, key: {file: keys/open}}\n" + rest,
			"punchd.yaml:2:19: gateway.key: keys/open can be read by others (mode 0644); make it yours alone: chmod 600 keys/open"},
		{"no scheme", terminal(`zk, link: "10.0.0.1:4370"`), "punchd.yaml:4:25: terminals[0].link: address has no scheme; write tcp://10.0.0.1:4370"},
		{"no address", terminal(`zk, link: "tcp://192.168.1.300:4370"`),
			"punchd.yaml:4:25: terminals[0].link: 192.168.1.300 is no IP address: it has four numbers from 0 to 255 without zeros before them, as in tcp://192.168.1.201:4370"},

		{"driver", terminal(`zkt, link: "tcp://h:1"`), `punchd.yaml:4:13: terminals[0].driver: unknown driver "zkt" (do you mean "zk"?)`},
		{"far driver", terminal(`osdp, link: "tcp://h:1"`), `punchd.yaml:4:13: terminals[0].driver: unknown driver "osdp" (known: cardline, zk)`},
		{"nothing of a terminal", begin + "terminals: [{}]\n" + rest, "punchd.yaml:3:13: terminals[0].id: is missing\n" +
			"punchd.yaml:3:13: terminals[0].link: is missing; it is like tcp://192.168.1.201:4370 or serial:///dev/ttyUSB0?baud=9600\npunchd.yaml:3:13: terminals[0].driver: is missing (known: cardline, zk)"},
		{"key of another driver", zk("format: line, lockout: 3s"),
			"punchd.yaml:4:44: terminals[0].format: is no key of the driver zk (known there: id, driver, link, timezone, poll, live, comm_key, layout)\n" +
				"punchd.yaml:4:58: terminals[0].lockout: is no key of the driver zk (known there: id, driver, link, timezone, poll, live, comm_key, layout)"},
		{"scheme", terminal(`zk, link: "udp://h:1"`), `punchd.yaml:4:25: terminals[0].link: unknown scheme "udp" (known: serial, tcp)`},
		{"terminal on a serial port", terminal(`zk, link: "serial:///dev/ttyS0"`), "punchd.yaml:4:25: terminals[0].link: can't be a serial port with the driver zk, whose framing there nobody has published; use the terminal's network, tcp://"},
		{"port", terminal(`zk, link: "tcp://h:70000"`), "punchd.yaml:4:25: terminals[0].link: port 70000 is not between 1 and 65535"},
		{"poll", zk("poll: 30"), `punchd.yaml:4:50: terminals[0].poll: "30" is no duration like 30s, 5m or 1h30m`},
		{"short poll", zk("poll: 1ms"), "punchd.yaml:4:44: terminals[0].poll: 1ms is not between 1s and 24h0m0s"},
		{"comm key in the file", zk("comm_key: 4711"), "punchd.yaml:4:54: terminals[0].comm_key: is a secret, and is not written here; put it alone into a file that only you can read, and name that: {file: keys/name}"},
		{"comm key of words", zk("comm_key: {file: keys/words}"), "punchd.yaml:4:44: terminals[0].comm_key: keys/words holds no whole number from 0 to 4294967295"},
		{"layout of nothing", zk("layout: 41x"), `punchd.yaml:4:44: terminals[0].layout: "41x" is no layout of attendance records (known: 8, 8-ma300, 16, 40, 49, others up to 128)`},
		{"terminal's zone", zk("timezone: Europe/Berlim"), `punchd.yaml:4:44: terminals[0].timezone: unknown time zone "Europe/Berlim" (do you mean "Europe/Berlin"?)`},
		{"two of one id", begin + "terminals:\n  - {id: a, driver: zk, link: \"tcp://h:1\"}\n  - {id: a, driver: zk, link: \"tcp://h:2\"}\n" + rest,
			`punchd.yaml:5:6: terminals[1].id: "a" is the id of terminals[0] already`},
		{"two of one link", begin + "terminals:\n  - {id: a, driver: zk, link: \"tcp://h:1\"}\n  - {id: b, driver: zk, link: \"tcp://h:1?timeout=5s\"}\n" + rest,
			"punchd.yaml:5:25: terminals[1].link: is the link of terminals[0] already, and takes one driver"},

		{"no format", reader("confirm: 1"), "punchd.yaml:4:6: terminals[0].format: is missing (known: rdm6300, id12, line)"},
		{"format", reader("format: rdm630"), `punchd.yaml:4:50: terminals[0].format: unknown format "rdm630" (do you mean "rdm6300"?)`},
		{"keys of lines", reader("format: id12, pattern: x"),
			"punchd.yaml:4:50: terminals[0].format: id12 takes no keys of lines (prefix, suffix, terminator, seven_bit, pattern, base, bits, layout, reverse, strip_zeros)"},
		{"pattern", reader(`format: line, pattern: "("`), "punchd.yaml:4:64: terminals[0].pattern: error parsing regexp: missing closing ): `(`"},
		{"base", reader(`format: line, base: oct`), `punchd.yaml:4:6: terminals[0]: unknown base "oct" (known: dec, hex, bin)`},
		{"times of a reader", reader("format: id12, confirm: 0, absent: 0s, lockout: -1s, idle_gap: 1h, confirm_within: 0s"),
			"punchd.yaml:4:64: terminals[0].confirm: 0 is not between 1 and 10\npunchd.yaml:4:76: terminals[0].absent: 0s is not between 1ms and 10m0s\n" +
				"punchd.yaml:4:88: terminals[0].lockout: -1s is not between 0s and 10m0s\npunchd.yaml:4:102: terminals[0].idle_gap: 1h0m0s is not between 1ms and 10m0s\n" +
				"punchd.yaml:4:116: terminals[0].confirm_within: 0s is not between 1ms and 10m0s"},
		{"method", reader("format: id12, method: nfc, direction: up"),
			"punchd.yaml:4:64: terminals[0].method: \"nfc\" is no method (known: unknown, card, fingerprint, face, palm, password, phone, qr)\n" +
				"punchd.yaml:4:77: terminals[0].direction: \"up\" is no direction (known: unknown, in, out, break-out, break-in, overtime-in, overtime-out, arrive, leave)"},

		{"native phones without a key", "site: {id: hq, timezone: UTC}\ngateway: {id: gw, key: {file: keys/none}}\nphones: {broker: {embedded: {users: {ada: {file: keys/mqtt-ada}}}}}\n" + rest,
			"punchd.yaml:2:19: gateway.key: neither receipts to phones nor the ledger can be signed: there is no file keys/none (" + newKeyHelp + ")"},
		{"formats", begin + "phones: {formats: [owntrack, owntracks, owntracks], broker: {embedded: {}}}\n" + rest,
			"punchd.yaml:3:20: phones.formats[0]: unknown format \"owntrack\" (do you mean \"owntracks\"?)\npunchd.yaml:3:41: phones.formats[2]: \"owntracks\" stands here twice"},
		{"no format of phones", begin + "phones: {formats: [], broker: {embedded: {}}}\n" + rest, "punchd.yaml:3:10: phones.formats: is empty; leave it out for all, or name some of: native, owntracks"},
		{"no broker", begin + "phones: {formats: [owntracks]}\n" + rest,
			"punchd.yaml:3:1: phones.broker: is missing; give embedded: {listen: 127.0.0.1:1883} for a broker of its own, or url: mqtts://host for another"},
		{"a broker of nothing", broker("client_id: x"),
			"punchd.yaml:5:3: phones.broker: names no broker; give embedded: {listen: 127.0.0.1:1883} for a broker of its own, or url: mqtts://host for another"},
		{"two brokers", broker(`embedded: {}, url: "mqtt://h"`),
			"punchd.yaml:5:12: phones.broker.embedded: stands beside url, client_id, username, password or ca, which are for another broker; give one of the two"},
		{"listen", embedded("listen: 1883"), `punchd.yaml:5:23: phones.broker.embedded.listen: "1883" is no address like 127.0.0.1:1883, [::1]:1883 or :1883`},
		{"listen on a port too high", embedded(`listen: "127.0.0.1:65536"`), `punchd.yaml:5:23: phones.broker.embedded.listen: port "65536" is not between 0 and 65535`},
		{"listen on a name", embedded(`listen: "127.0.0.1:mqtt"`), `punchd.yaml:5:23: phones.broker.embedded.listen: port "mqtt" is not between 0 and 65535`},
		{"listen on any port", embedded(`listen: ":0"`), "punchd.yaml:5:23: phones.broker.embedded.listen: a port of 0 is another one at each start; that is of use on 127.0.0.1 only"},
		{"clients", embedded("max_clients: 0"), "punchd.yaml:5:23: phones.broker.embedded.max_clients: 0 is not between 1 and 100000"},
		{"password in the file", embedded("users: {ada: hunter2}"),
			"punchd.yaml:5:36: phones.broker.embedded.users.ada: is a secret, and is not written here; put it alone into a file that only you can read, and name that: {file: keys/name}"},
		{"user as a topic", embedded("users: {a/b: {file: keys/mqtt-ada}}"),
			`punchd.yaml:5:31: phones.broker.embedded.users.a/b: "a/b" can't be a level of an MQTT topic: it is empty, longer than 128 bytes, begins or ends with a space, or holds a control character or one of / + #`},
		{"user that the broker never lets in", embedded(`users: {"a\u0001b": {file: keys/mqtt-ada}}`),
			`punchd.yaml:5:31: phones.broker.embedded.users.a` + "\ufffd" + `b: "a\x01b" can't be a level of an MQTT topic: it is empty, longer than 128 bytes, begins or ends with a space, or holds a control character or one of / + #`},
		{"user without a password", embedded("users: {ada: ~}"), "punchd.yaml:5:31: phones.broker.embedded.users.ada: has no password: {file: keys/name}"},
		{"no pair", embedded("tls: {cert: keys/tls.crt, key: {file: keys/other.key}}"),
			"punchd.yaml:5:23: phones.broker.embedded.tls: certificate and key are no pair: private key does not match public key"},
		{"half a pair", embedded("tls: {cert: keys/tls.crt}"), "punchd.yaml:5:23: phones.broker.embedded.tls.key: is missing: {file: keys/name}, the certificate's key in PEM"},
		{"the other half", embedded("tls: {key: {file: keys/tls.key}}"), "punchd.yaml:5:23: phones.broker.embedded.tls.cert: is missing: the path of a certificate in PEM"},
		{"scheme of a broker", broker(`url: "tcp://h:1883"`), "punchd.yaml:5:12: phones.broker.url: must begin with mqtts:// or mqtt://"},
		{"password in the URL", broker(`url: "mqtts://u:hunter2@h"`), "punchd.yaml:5:12: phones.broker.url: holds a user or a password, which would stand in logs; they have keys of their own"},
		{"no URL", broker(`url: "mqtts://u:hunter2@h:%zz"`), "punchd.yaml:5:12: phones.broker.url: is no URL"},
		{"password of nobody", broker(`url: "mqtts://h", password: {file: keys/mqtt-ada}`), "punchd.yaml:5:30: phones.broker.password: stands there without a username"},
		{"ca of no use", broker(`url: "mqtt://127.0.0.1", ca: keys/tls.crt`), "punchd.yaml:5:37: phones.broker.ca: is of no use with mqtt://, only with mqtts://"},

		{"kind", sink("webhook"), `punchd.yaml:5:15: sinks[0].kind: unknown kind of sink "webhook" (known: cloudevents, file)`},
		{"key of another kind", sink(`file, path: x, url: "https://h"`), "punchd.yaml:5:36: sinks[0].url: is no key of the kind file (known there: name, kind, retry_max, path)"},
		{"no path", sink("file"), "punchd.yaml:5:6: sinks[0].path: is missing"},
		{"no url", sink("cloudevents"), "punchd.yaml:5:6: sinks[0].url: is missing; it begins with https:// or http://"},
		{"no host", sink("cloudevents, url: \"https:///x\""), "punchd.yaml:5:34: sinks[0].url: names no host"},
		{"port of a url", sink("cloudevents, url: \"https://h:0/x\""), "punchd.yaml:5:34: sinks[0].url: port \"0\" is not between 1 and 65535"},
		{"missing secret", events("secret: {file: keys/none}"), "punchd.yaml:5:53: sinks[0].secret: there is no file keys/none"},
		{"secret that is none", events("secret: {file: keys/mqtt-ada}"),
			"punchd.yaml:5:53: sinks[0].secret: keys/mqtt-ada can't be used: a key begins with whsec_, whsk_ or whpk_ (a secret to sign with is like whsec_ and base64 of 24 to 64 bytes)"},
		{"secret that only verifies", events("secret: {file: keys/verifies}"),
			"punchd.yaml:5:53: sinks[0].secret: keys/verifies can't be used: this key can't sign (a secret to sign with is like whsec_ and base64 of 24 to 64 bytes)"},
		{"open secret", events("secret: {file: keys/open}"), "punchd.yaml:5:53: sinks[0].secret: keys/open can be read by others (mode 0644); make it yours alone: chmod 600 keys/open"},
		{"secret of nothing", events("secret: {}"), "punchd.yaml:5:53: sinks[0].secret: names no secret: {file: keys/name} or {credential: name}"},
		{"secret of both", events("secret: {file: a, credential: b}"), "punchd.yaml:5:53: sinks[0].secret: has both a file and a credential; give one"},
		{"credential", events("secret: {credential: hook}"),
			"punchd.yaml:5:62: sinks[0].secret.credential: is only there in a service of systemd, which sets CREDENTIALS_DIRECTORY; use {file: ...} elsewhere"},
		{"credential elsewhere", events("secret: {credential: ../x}"), `punchd.yaml:5:62: sinks[0].secret.credential: "../x" is no name of a credential`},
		{"ca", events("ca: keys/lobby"), "punchd.yaml:5:53: sinks[0].ca: keys/lobby holds no certificate in PEM"},
		{"no ca", events("ca: keys/none"), "punchd.yaml:5:53: sinks[0].ca: open keys/none: no such file or directory"},
		{"batch", events("batch: 0"), "punchd.yaml:5:53: sinks[0].batch: 0 is not between 1 and 10000"},
		{"tls of no use", sink(`cloudevents, url: "http://h/", ca: keys/tls.crt`), "punchd.yaml:5:34: sinks[0].url: begins with http://, which ca, cert and key are of no use for"},
		{"two of one name", begin + rest + "sinks:\n  - {name: a, kind: file, path: x}\n  - {name: a, kind: file, path: y}\n", `punchd.yaml:6:6: sinks[1].name: "a" is the name of sinks[0] already`},
	} {
		_, got := load(t, dir, c.text)
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestNativePhonesNeedAKey(t *testing.T) {
	dir := home(t)
	text := begin + "phones: {broker: {embedded: {users: {ada: {file: keys/mqtt-ada}}}}}\n" + rest
	if _, problem := load(t, dir, text); problem != "" {
		t.Error(problem)
	}
	if err := os.Remove(dir + "/keys/gateway"); err != nil {
		t.Fatal(err)
	}
	want := "punchd.yaml:2:1: gateway.key: neither receipts to phones nor the ledger can be signed: there is no file keys/gateway (" + newKeyHelp + ")"
	if _, problem := load(t, dir, text); problem != want {
		t.Errorf("%s, want %s", problem, want)
	}
}

func TestLoadNeedsAFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "punchd.yaml")); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "config: open ") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory")
	}
	dir := t.TempDir()
	if _, problem := load(t, dir, strings.Repeat("#", maxFile+1)); problem != "config: punchd.yaml has more than 1048576 bytes" {
		t.Errorf("a huge file: %s", problem)
	}
}

// Whatever stands in the file, what is told of it is short, and told soon.
func TestErrorsAreShort(t *testing.T) {
	dir := home(t)
	long := strings.Repeat("x", 100_000)
	var users strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&users, "%q: null,", fmt.Sprint("u", i))
	}
	for name, text := range map[string]string{
		"texts": "site: {id: " + long + ", timezone: " + long + "}\ngateway: {id: gw, key: {file: " + long + "}, data_dir: [" + long + "]}\n" + rest +
			"terminals: [{id: a, driver: " + long + ", link: " + long + "}]\nsinks: [{name: a, kind: " + long + ", path: x}]\n",
		"links": begin + rest + "terminals: [{id: a, driver: cardline, link: \"tcp://h:1?" + long + "\", format: line, pattern: \"(" + long + "\", method: " + long + "}]\n",
		"keys":  begin + rest + "phones: {broker: {embedded: {listen: " + long + ", users: {" + long + ": {file: " + long + "}}}}}\n" + long + ": 1\n",
		"users": `{"phones": {"broker": {"embedded": {"users": {` + strings.TrimSuffix(users.String(), ",") + "}}}}}",
	} {
		_, got := load(t, dir, text)
		for line := range strings.Lines(got) {
			if len(line) > 3500 { // a path, a message and a hint
				t.Errorf("%s: %d bytes: %.200s", name, len(line), line)
			}
		}
		if got == "" || strings.Count(got, "\n") > strict.MaxProblems {
			t.Errorf("%s: %.300s", name, got)
		}
	}
}

// What a gateway reads is listed with the keys that name it.
func TestInputs(t *testing.T) {
	dir := home(t)
	t.Setenv("CREDENTIALS_DIRECTORY", dir+"/keys")
	var got []string
	for _, name := range []string{"punchd.yaml", "external.yaml"} {
		text, err := os.ReadFile("testdata/v1/" + name)
		if err != nil {
			t.Fatal(err)
		}
		cfg, problem := load(t, dir, string(text))
		if problem != "" {
			t.Fatal(problem)
		}
		for _, in := range cfg.Inputs() {
			got = append(got, in.Key+"="+strings.TrimPrefix(in.Path, dir+"/"))
		}
	}
	want := []string{"=punchd.yaml", "roster.file=/etc/punchd/roster.json", "gateway.key=keys/gateway", "terminals[0].comm_key=keys/lobby",
		"phones.broker.embedded.users.ada=keys/mqtt-ada", "phones.broker.embedded.tls.cert=keys/tls.crt", "phones.broker.embedded.tls.key=keys/tls.key",
		"sinks[0].secret=keys/webhook", "sinks[0].ca=keys/tls.crt", "sinks[0].cert=keys/tls.crt", "sinks[0].key=keys/tls.key", "sinks[1].secret=keys/webhook",
		"=punchd.yaml", "roster.file=", "gateway.key=keys/gateway", "phones.broker.password=keys/mqtt-ada", "phones.broker.ca=keys/tls.crt"}
	for i := range want {
		if i < len(got) && strings.HasPrefix(got[i], "roster.file=") && want[i] == "roster.file=" {
			want[i] = got[i]
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// What is wrong in one place keeps nobody from looking at the rest.
func TestInspect(t *testing.T) {
	dir := home(t)
	put(t, dir, "punchd.yaml", "site: {id: hq, timezone: Mars}\ngateway: {id: gw}\nroster: {file: people.yaml}\nsinks: [{name: a, kind: file, path: x}]\n", 0o644)
	cfg, err := Inspect(dir + "/punchd.yaml")
	if err == nil || cfg == nil || cfg.Roster.File != dir+"/people.yaml" || cfg.Sinks[0].JSONLines.Path != dir+"/x" {
		t.Fatalf("%+v, %v", cfg, err)
	}
	if p := cfg.Problem("sinks[0].path", "is %s", "full"); p.Error() != dir+"/punchd.yaml:4:31: sinks[0].path: is full" {
		t.Error(p)
	}
	if cfg, err := Load(dir + "/punchd.yaml"); cfg != nil || err == nil {
		t.Errorf("%+v, %v", cfg, err)
	}
	put(t, dir, "punchd.yaml", "sinks: [\n", 0o644)
	if cfg, err := Inspect(dir + "/punchd.yaml"); cfg != nil || err == nil {
		t.Errorf("%+v, %v", cfg, err)
	}
	if err := Validate(dir+"/none.yaml", []byte(begin+rest)); err != nil {
		t.Error(err)
	}
}

func TestMissingCredential(t *testing.T) {
	dir := home(t)
	t.Setenv("CREDENTIALS_DIRECTORY", dir+"/keys")
	want := `punchd.yaml:4:38: sinks[0].secret: systemd has given no credential "hook"; add LoadCredential=hook:/path/to/it to the service`
	text := begin + rest + "sinks: [{name: a, kind: cloudevents, secret: {credential: hook}, url: \"https://h\"}]\n"
	if _, problem := load(t, dir, text); problem != want {
		t.Errorf("%s, want %s", problem, want)
	}
}

func TestErrorsAreProblems(t *testing.T) {
	dir := home(t)
	put(t, dir, "punchd.yaml", "sinks: 3\n", 0o644)
	_, err := Load(dir + "/punchd.yaml")
	if ps, ok := errors.AsType[strict.Problems](err); !ok || len(ps) != 4 {
		t.Errorf("%T %v", err, err)
	}
}

func TestWarnings(t *testing.T) {
	dir := home(t)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing to do", begin + rest, []string{
			"punchd.yaml:1:1: sinks: none: punches are kept and go nowhere",
			"punchd.yaml:1:1: terminals: neither terminals nor phones: there is nothing to take punches from"}},
		{"in the clear", begin + "phones:\n  formats: [owntracks]\n  broker: {embedded: {listen: \":1883\"}}\n" + rest +
			"sinks:\n  - {name: a, kind: cloudevents, url: \"http://central.example/\"}\n  - {name: b, kind: cloudevents, url: \"http://localhost/\", secret: {file: keys/webhook}}\n", []string{
			"punchd.yaml:5:12: phones.broker.embedded.users: names nobody: no phone can log in",
			"punchd.yaml:5:23: phones.broker.embedded.listen: takes connections from other machines without TLS: passwords and positions can be read on the network",
			"punchd.yaml:8:6: sinks[0]: has no secret: the receiver can't tell these punches from anybody's",
			"punchd.yaml:8:34: sinks[0].url: is not encrypted: who was where and when can be read and changed on the way; use https://"}},
		{"another's broker", begin + "phones:\n  formats: [owntracks]\n  broker: {url: \"mqtt://broker.example\"}\n" + rest + "sinks: [{name: a, kind: file, path: x}]\n", []string{
			"punchd.yaml:5:12: phones.broker.url: is not encrypted: the password and positions can be read on the network; use mqtts://"}},
		{"none", begin + "phones:\n  formats: [owntracks]\n  broker: {embedded: {listen: \"[::1]:1883\", users: {ada: {file: keys/mqtt-ada}}}}\n" + rest + "sinks: [{name: a, kind: file, path: x}]\n", nil},
	} {
		cfg, problem := load(t, dir, c.text)
		if problem != "" {
			t.Errorf("%s: %s", c.name, problem)
			continue
		}
		var got []string
		for _, w := range cfg.Warnings() {
			got = append(got, strings.ReplaceAll(w.Error(), dir+"/", ""))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// No text makes Load panic, and what it takes is whole.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/v1/punchd.yaml", "testdata/v1/external.yaml", "example/punchd.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(begin + rest))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := inspect("testdata/none/punchd.yaml", text)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%v with %v", cfg, err)
			}
			return
		}
		if cfg.Site.Zone == nil || cfg.Site.ID == "" || cfg.Gateway.ID == "" || cfg.Roster.File == "" {
			t.Errorf("half a configuration: %+v", cfg)
		}
		for _, terminal := range cfg.Terminals {
			if terminal.Link == nil || terminal.Zone == nil || (terminal.ZK == nil) == (terminal.Cardline == nil) {
				t.Errorf("half a terminal: %+v", terminal)
			}
		}
		for _, s := range cfg.Sinks {
			if (s.CloudEvents == nil) == (s.JSONLines == nil) {
				t.Errorf("half a sink: %+v", s)
			}
		}
	})
}
