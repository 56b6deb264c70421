package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

// desk is a gateway that nobody has connected to: a test hands it what phones
// publish.
type desk struct {
	t   *testing.T
	dir string
	g   *Gateway
}

const (
	deskSite = "xm-hq"
	deskUser = "p-1" // a native phone
	deskApp  = "ada" // an OwnTracks user
)

// newDesk opens a gateway whose roster has the phone's key, and the app's user.
func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	private, _, err := config.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	d.write("gateway", string(private))
	d.write("password", "secret-enough")
	d.write("punchd.yaml", fmt.Sprintf(`site: {id: %s, timezone: Asia/Shanghai}
gateway: {id: gw-01, data_dir: data, key: {file: gateway}}
roster: {file: roster.json}
phones: {broker: {embedded: {listen: "127.0.0.1:0", users: {%s: {file: password}}}}}
sinks: [{name: out, kind: file, path: out.jsonl}]
`, deskSite, deskUser))
	d.enrol(phoneKey(1))
	d.open()
	t.Cleanup(func() { d.close() })
	return d
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// enrol writes a roster in which the phone has a key, or none at all if it is
// nil, and puts it in force.
func (d *desk) enrol(key ed25519.PrivateKey) {
	d.t.Helper()
	e := []attendance.Employee{{ID: "E2", Name: "Ada", Phones: []attendance.Phone{{OwnTracksUser: deskApp}}}}
	if key != nil {
		public, err := phone.NewKey(key.Public())
		if err != nil {
			d.t.Fatal(err)
		}
		e = append(e, attendance.Employee{ID: "E1", Name: "Lin", Phones: []attendance.Phone{{ID: deskUser, Key: public.JWK()}}})
	}
	text, err := json.Marshal(&attendance.Roster{Version: fmt.Sprint(len(e), key), Employees: e})
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("roster.json", string(text))
	if d.g != nil {
		if err := d.g.roster.Reload(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *desk) open() {
	d.t.Helper()
	cfg, err := config.Load(filepath.Join(d.dir, "punchd.yaml"))
	if err != nil {
		d.t.Fatal(err)
	}
	if d.g, err = New(d.t.Context(), cfg, Options{}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) close() {
	d.t.Helper()
	if d.g == nil {
		return
	}
	if err := d.g.close(); err != nil {
		d.t.Error(err)
	}
	d.g = nil
}

// restart opens the gateway anew; rebuilt, without what it knew beside the ledger.
func (d *desk) restart(rebuilt bool) {
	d.t.Helper()
	d.close()
	if rebuilt {
		buffer := filepath.Join(d.dir, "data", "buffer")
		if _, err := os.Stat(buffer); err != nil {
			d.t.Fatal(err)
		}
		if err := os.RemoveAll(buffer); err != nil {
			d.t.Fatal(err)
		}
	}
	d.open()
}

// phoneKey is a key that a test can make again.
func phoneKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// message is a check-in as the phone publishes it.
func (d *desk) message(key ed25519.PrivateKey, counter uint64, note string) []byte {
	d.t.Helper()
	at := time.Now().Add(time.Duration(counter%1000) * time.Millisecond)
	payload, err := phone.SignCheckIn(key, &attendance.CheckIn{Phone: deskUser, Counter: counter, At: at, Kind: attendance.KindPunch, Evidence: attendance.Evidence{Note: note}})
	if err != nil {
		d.t.Fatal(err)
	}
	return payload
}

// native hands in what the phone's user has published, as the driver does.
func (d *desk) native(payload []byte) *attendance.Receipt {
	d.t.Helper()
	key, enrolled := d.g.key(deskUser)
	c, err := phone.OpenCheckIn(payload, key)
	if errors.Is(err, phone.ErrSignature) {
		c, err = phone.ReadCheckIn(payload)
		if !enrolled && err == nil {
			c.Auth = attendance.AuthUnknownPhone
		}
	}
	if err != nil {
		d.t.Fatal(err)
	}
	c.User, c.Topic = deskUser, phone.CheckInTopic(deskSite, deskUser)
	r := d.verify(c)
	if sum := sha256.Sum256(payload); !bytes.Equal(r.Message, sum[:]) {
		d.t.Errorf("the receipt of %d answers %x, the message is %x", c.Counter, r.Message, sum)
	}
	return r
}

func (d *desk) verify(c *attendance.CheckIn) *attendance.Receipt {
	d.t.Helper()
	c.ReceivedAt = time.Now()
	r, err := d.g.verify(d.t.Context(), c)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// punches is all that the ledger holds, in its order.
func (d *desk) punches() (list []*attendance.Punch) {
	d.t.Helper()
	items, _, err := d.g.journal.Pending(context.Background(), 0, 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, it := range items {
		list = append(list, it.Punch)
	}
	return list
}

func replayed(p *attendance.Punch) bool {
	return p.Verdict == attendance.Refused && slices.Contains(p.Reasons, attendance.ReasonReplayed)
}

// TestOutOfOrder: a check-in is worth the same whichever came first. Only a
// counter that another message has is a replay.
func TestOutOfOrder(t *testing.T) {
	for _, order := range [][]uint64{{1, 3, 2}, {3, 2, 1}, {math.MaxInt64, 1, 2}, {5, 1, 9, 4}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			key := phoneKey(1)
			sent := map[uint64][]byte{}
			for i, counter := range order {
				sent[counter] = d.message(key, counter, "")
				r := d.native(sent[counter])
				if r.Duplicate || r.Key != attendance.PhoneKey(deskUser, counter) || r.Verdict == attendance.Refused || r.Keep {
					t.Fatalf("%d after %v: %+v", counter, order[:i], r)
				}
			}
			check := func(when string) {
				t.Helper()
				got := d.punches()
				if len(got) != len(order) {
					t.Fatalf("%s: %d records of %d messages", when, len(got), len(order))
				}
				highest := uint64(0)
				for i, p := range got {
					var gap uint64
					if order[i] > highest {
						if highest > 0 { // before the first of a phone nothing is missed
							gap = order[i] - highest - 1
						}
						highest = order[i]
					}
					if p.Counter != order[i] || p.Gap != gap || p.Employee != "E1" || replayed(p) {
						t.Errorf("%s: record %d is counter %d, gap %d, of %q, %v %v; want counter %d, gap %d", when, i, p.Counter, p.Gap, p.Employee, p.Verdict, p.Reasons, order[i], gap)
					}
				}
				for counter, payload := range sent {
					if r := d.native(payload); !r.Duplicate || r.Key != attendance.PhoneKey(deskUser, counter) {
						t.Errorf("%s: %d again: %+v", when, counter, r)
					}
				}
				if n, err := d.g.journal.Counter(deskUser); err != nil || n != highest {
					t.Errorf("%s: the highest counter is %d, %v; want %d", when, n, err, highest)
				}
				if n := len(d.punches()); n != len(order) {
					t.Errorf("%s: repetitions made %d records", when, n-len(order))
				}
			}
			check("live")
			d.restart(false)
			check("after a restart")
			d.restart(true)
			check("rebuilt")

			used := order[len(order)-1]
			other := d.message(key, used, "something else")
			for again := range 2 {
				if r := d.native(other); r.Key == attendance.PhoneKey(deskUser, used) || !slices.Contains(r.Reasons, attendance.ReasonReplayed) || r.Duplicate != (again == 1) {
					t.Errorf("another message under counter %d: %+v", used, r)
				}
			}
			if got := d.punches(); len(got) != len(order)+1 || !replayed(got[len(order)]) || got[len(order)].Counter != 0 {
				t.Errorf("%d records after a replay", len(got))
			}
		})
	}
}

// TestRepeatedAfterRoster: the receipt that a phone missed it gets, whatever
// became of its key meanwhile.
func TestRepeatedAfterRoster(t *testing.T) {
	d := newDesk(t)
	payload := d.message(phoneKey(1), 1, "")
	first := d.native(payload)
	for name, key := range map[string]ed25519.PrivateKey{"enrolled anew": phoneKey(2), "taken out": nil} {
		d.enrol(key)
		r := d.native(payload)
		if !r.Duplicate || r.Keep || r.Key != first.Key || r.Seq != first.Seq || r.Verdict != first.Verdict || !slices.Equal(r.Reasons, first.Reasons) {
			t.Errorf("%s: %+v, the first time %+v", name, r, first)
		}
		if n := len(d.punches()); n != 1 {
			t.Errorf("%s: %d records of one message", name, n)
		}
	}
	d.enrol(phoneKey(2))
	// Another message under that counter, by the old key: refused.
	if r := d.native(d.message(phoneKey(1), 1, "again")); r.Key == first.Key || r.Verdict != attendance.Refused || r.Duplicate {
		t.Errorf("another message by the old key: %+v", r)
	}
	// The phone goes on with its new key and its counter.
	if r := d.native(d.message(phoneKey(2), 2, "")); r.Key != attendance.PhoneKey(deskUser, 2) || r.Verdict == attendance.Refused {
		t.Errorf("the next by the new key: %+v", r)
	}
}

// TestEnrolledLate: what a phone sent before it was enrolled is kept once, and
// becomes its own once it is.
func TestEnrolledLate(t *testing.T) {
	d := newDesk(t)
	d.enrol(nil)
	payload := d.message(phoneKey(1), 1, "")
	for again := range 3 {
		r := d.native(payload)
		if !r.Keep || r.Verdict != attendance.Refused || r.Duplicate != (again > 0) || r.Key == attendance.PhoneKey(deskUser, 1) {
			t.Errorf("before it is enrolled: %+v", r)
		}
	}
	if n := len(d.punches()); n != 1 {
		t.Errorf("%d records of a repeated message", n)
	}
	d.restart(true)
	if r := d.native(payload); !r.Keep || !r.Duplicate {
		t.Errorf("after a restart: %+v", r)
	}
	d.enrol(phoneKey(1))
	for again := range 2 {
		r := d.native(payload)
		if r.Keep || r.Verdict == attendance.Refused || r.Key != attendance.PhoneKey(deskUser, 1) || r.Duplicate != (again == 1) {
			t.Errorf("once it is enrolled: %+v", r)
		}
	}
	got := d.punches()
	if len(got) != 2 || got[0].Verdict != attendance.Refused || got[1].Employee != "E1" || got[1].Counter != 1 {
		t.Errorf("%d records: %+v", len(got), got)
	}
	// A new key may come late to the roster as well.
	payload = d.message(phoneKey(3), 2, "")
	if r := d.native(payload); !r.Keep || !slices.Contains(r.Reasons, attendance.ReasonBadSignature) {
		t.Errorf("by another key: %+v", r)
	}
	d.enrol(phoneKey(3))
	if r := d.native(payload); r.Keep || r.Verdict == attendance.Refused || r.Key != attendance.PhoneKey(deskUser, 2) {
		t.Errorf("once the new key is enrolled: %+v", r)
	}
}

// TestOwnTracksRepeated: an OwnTracks message that has the identity of another
// and other bytes is kept too, as refused; a repetition is nothing new.
func TestOwnTracksRepeated(t *testing.T) {
	d := newDesk(t)
	now := time.Now().Unix()
	send := func(lat float64) {
		t.Helper()
		payload := fmt.Appendf(nil, `{"_type":"location","_id":"0badcafe","acc":12,"created_at":%d,"lat":%v,"lon":118.089425,"t":"u","tid":"ad","tst":%[1]d}`, now, lat)
		m, err := owntracks.Parse(payload)
		if err != nil {
			t.Fatal(err)
		}
		c := m.(*owntracks.Location).CheckIn(deskApp, payload)
		c.User, c.Topic = deskApp, "owntracks/ada/pixel"
		if r := d.verify(c); r != nil {
			t.Errorf("a receipt for what is not signed: %+v", r)
		}
	}
	for range 2 {
		send(24.5)
	}
	if n := len(d.punches()); n != 1 {
		t.Fatalf("%d records of one message", n)
	}
	for range 2 {
		send(25.5)
	}
	d.restart(false)
	send(25.5)
	send(24.5)
	got := d.punches()
	if len(got) != 2 || replayed(got[0]) || !replayed(got[1]) || got[1].Employee != "E2" || got[1].Evidence.Fix.Lat != 25.5 {
		t.Errorf("%d records: %+v", len(got), got)
	}
}
