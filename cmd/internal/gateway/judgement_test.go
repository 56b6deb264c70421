package gateway

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/cardline"
	"github.com/punchd/punchd/protocol/phone"
	"github.com/punchd/punchd/sync/roster"
)

// examined looks at a roster's text as check does; the directory is left out.
func examined(t *testing.T, cfg *config.Config, text string) (mistakes, warnings string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := roster.Examine(file, ExamineRoster(cfg))
	if err != nil {
		t.Fatal(err)
	}
	short := func(s string) string { return strings.ReplaceAll(s, file, "f") }
	return short(x.Mistakes.Error()), short(x.Warnings.Error())
}

// Mistakes of every sort are told at once, in the order of the lines, and none
// that only follows from another.
func TestExamine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"right", "employees: [{id: E1}]\n", ""},
		{"of every sort", `employees:
  - {id: E1, badges: [AA], naem: x}
  - {id: E2, badges: [aa], pins: [""]}
  - {id: E1, until: 2026-13-01}
places:
  - {id: hq, kind: ofice, wifi: [{bssid: nonsense}]}
  - {id: dock}
policies:
  - {presence: al}
  - {group: staff, place: nowhere}
excuses:
  - {employee: E9, from: 2026-11-04T09:00:00+08:00, until: 2026-11-04T08:00:00+08:00}
  - {employee: E1, from: 2026-11-04, until: 2026-11-04T12:00:00+08:00}
`, `f:2:28: employees[0].naem: unknown key "naem" (do you mean "name"?)
f:3:23: employees[1].badges[0]: "E2": badge "aa" stands at employees[0].badges[0] (E1) already
f:3:35: employees[1].pins[0]: "E2": is empty
f:4:6: employees[2].id: "E1": id "E1" stands at employees[0].id (E1) already
f:4:14: employees[2].until: "E1": "2026-13-01" is no date like 2026-11-04
f:6:14: places[0].kind: "hq": "ofice" is unknown (known: office, customer, no-go)
f:6:35: places[0].wifi[0]: "hq": invalid BSSID: "nonsense" has no six octets
f:7:6: places[1]: "dock": can't be recognised: give it a circle, a polygon or wifi
f:9:6: policies[0].presence: "al" is unknown (known: any, all, wifi-first)
f:10:20: policies[1].place: there is no place "nowhere"
f:12:6: excuses[0].employee: "E9": no such employee
f:12:53: excuses[0].until: "E9": is not after from
f:13:26: excuses[1].from: "2026-11-04" is no time with its offset, like 2026-11-04T08:58:00+08:00`},
		{"an id that is misspelt", "employees: [{idd: E1}]\nexcuses: [{employee: E1, from: 2026-11-04T09:00:00+08:00, until: 2026-11-04T10:00:00+08:00}]\n",
			`f:1:14: employees[0].idd: unknown key "idd" (do you mean "id"?)`},
		{"a list that is misspelt", "employes: [{id: E1}]\nexcuses: [{employee: E1, from: 2026-11-04T09:00:00+08:00, until: 2026-11-04T10:00:00+08:00}]\n",
			`f:1:1: employes: unknown key "employes" (do you mean "employees"?)`},
		{"a fence that is misspelt", "employees: []\nplaces: [{id: hq, cirlce: {lat: 1, lon: 2, radius: 3}}]\npolicies: [{place: hq, presence: all}]\n",
			`f:2:19: places[0].cirlce: unknown key "cirlce" (do you mean "circle"?)`},
		{"a number that is none", "employees: []\nplaces: [{id: hq, circle: {lat: x, lon: 2, radius: 3}}]\n",
			`f:2:33: places[0].circle.lat: must be a number, not "x"`},
		{"a group that is misspelt", "employees: []\npolicies: [{photo: none}, {gruop: a}]\n", `f:2:28: policies[1].gruop: unknown key "gruop" (do you mean "group"?)`},
		{"no YAML", "employees: [\n", "f:1:12: not YAML: sequence end token ']' not found"},
		{"half of JSON", "{\"employees\": [{\"idd\": 1}], \"excuses\":", "f:1:17: employees[0].idd: unknown key \"idd\" (do you mean \"id\"?)\nf:1:39: not JSON: the text ends too early"},
	} {
		got, _ := examined(t, &config.Config{}, c.text)
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// What is allowed and hardly meant is warned of, if there are no mistakes.
func TestExamineWarns(t *testing.T) {
	readers := func(forms ...cardline.Form) *config.Config {
		cfg := &config.Config{Terminals: []config.Terminal{{ZK: &config.ZK{}}}}
		for _, f := range forms {
			cfg.Terminals = append(cfg.Terminals, config.Terminal{Cardline: &config.Cardline{Format: "rdm6300", Form: f}})
		}
		return cfg
	}
	broker := &config.Config{Phones: &config.Phones{Embedded: &config.Embedded{Users: map[string]config.Secret{"p-1": {}, "ada": {}, "old": {}}}}}
	text := &config.Config{Terminals: []config.Terminal{{Cardline: &config.Cardline{Format: "line"}}}}
	badges := "employees:\n  - {id: E1, badges: [zz zz]}\n  - {id: E2, badges: [000414cd7e]}\n  - {id: E3, badges: [\"0068472190\"]}\n  - {id: E4, badges: [\"20,52606\"]}\n"
	for _, c := range []struct {
		name, text, want string
		cfg              *config.Config
	}{
		{"a group of nobody", "employees: [{id: E1, groups: [staff]}]\npolicies:\n  - {photo: none}\n  - {group: sales}\n",
			`f:4:6: policies[1].group: nobody is in the group "sales"`, readers()},
		{"no reader", badges, "", readers()},
		{"a reader of anything", badges, "", text},
		{"two forms", badges, `f:2:23: employees[0].badges[0]: "E1": no reader here can send the badge "zz zz" (forms: dec10 and hex)` + "\n" +
			`f:5:23: employees[3].badges[0]: "E4": no reader here can send the badge "20,52606" (forms: dec10 and hex)`, readers("hex", "dec10", "")},
		{"nobody", "places: []\n", "f:1:1: employees: names nobody: every punch is of an unknown person, and every check-in is refused", broker},
		{"phones that can't log in", "employees:\n  - id: E1\n    phones: [{owntracks_user: ada}, {owntracks_user: bob}]\n  - id: E2\n    phones:\n" + phoneOf("p-1", 1) + phoneOf("p-2", 2),
			`f:3:38: employees[0].phones[1].owntracks_user: "E1": "bob" is no user of the broker here (phones.broker.embedded.users), so this phone can't log in` + "\n" +
				`f:7:10: employees[1].phones[1].id: "E2": "p-2" is no user of the broker here (phones.broker.embedded.users), so this phone can't log in`, broker},
		{"somebody else's broker", "employees: [{id: E1, phones: [{owntracks_user: bob}]}]\n", "", &config.Config{Phones: &config.Phones{External: &config.External{}}}},
		{"facility codes", "employees: [{id: E1, badges: [\"020,52606\", 02052606]}]\n",
			`f:1:44: employees[0].badges[1]: "E1": no reader here can send the badge "02052606" (forms: fc,cn)`, readers("fc,cn")},
	} {
		if mistakes, got := examined(t, c.cfg, c.text); mistakes != "" || got != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.name, mistakes, got, c.want)
		}
	}
	// If all are strange, the log is not flooded.
	_, got := examined(t, readers("hex"), "employees: [{id: E1, badges: [zzz]}, {id: E2, badges: [z1, z2, z3, z4, z5, z6, z7, z8, z9, z10, z11]}]\n")
	if strings.Count(got, "\n") != maxStrange || !strings.HasSuffix(got, "and 2 more badges that no reader here can send") {
		t.Error(got)
	}
}

// phoneOf is a native phone with the key of a number.
func phoneOf(id string, key byte) string {
	return fmt.Sprintf("      - {id: %s, key: '%s'}\n", id, keyOf(key).JWK())
}

func keyOf(n byte) phone.Key {
	key, err := phone.NewKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)).Public())
	if err != nil {
		panic(err)
	}
	return key
}

// A key is one phone's, however it is written.
func TestKeyOfTwo(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)).Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	two := "employees:\n  - id: E1\n    phones:\n" + phoneOf("p-1", 1) + phoneOf("p-2", 2) + "  - {id: E2, phones: [{id: p-3, key: " + asPEM + "}]}\n"
	want := `f:6:33: employees[1].phones[0].key: "E2": is the key at employees[0].phones[0].key (E1) already; each phone has a key of its own`
	if got, _ := examined(t, &config.Config{}, two); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, _ := examined(t, &config.Config{}, "employees:\n  - id: E1\n    phones:\n"+phoneOf("p-1", 1)+phoneOf("p-2", 2)); got != "" {
		t.Error(got)
	}
}

// No text makes it panic, and it finds something wrong where the keeper does.
func FuzzExamine(f *testing.F) {
	f.Add("employees: [{idd: E1, badges: [A]}]\nplaces: [{id: hq, circle: {lat: 91, lon: 0, radius: -1}, polygon: [{lat: 1}]}]\npolicies: [{place: x}, {place: x}]\nexcuses: [{employee: a}]\n")
	f.Add(`{"employees":[{"id":"E1","phones":[{"key":"x"}]}],"places":[{"id":"","wifi":[{"bssid":"a2:8b:7f:c0:27:40","mask":"00"}]}]}`)
	cfg := &config.Config{}
	file := filepath.Join(f.TempDir(), "f")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := roster.Examine(file, ExamineRoster(cfg))
		if err != nil {
			t.Fatal(err)
		}
		_, err = roster.Open(t.Context(), roster.Config{File: file, Accept: func(s *roster.Snapshot) error { _, err := newJudgement(cfg, s); return err }})
		if (err == nil) != (len(x.Mistakes) == 0) {
			t.Errorf("%q: %v, but the keeper says %v", text, x.Mistakes, err)
		}
	})
}
