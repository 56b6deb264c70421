package zk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type twin struct {
	pin           string
	at            int64
	state, verify uint8
}

// twins counts the entries that have one like them before.
func twins(log []Entry) (n int) {
	has := map[twin]bool{}
	for _, e := range log {
		k := twin{e.PIN, int64(e.At), e.State, e.Verify}
		if has[k] {
			n++
		}
		has[k] = true
	}
	return n
}

// newIn makes a terminal in a bubble.
func newIn(t *testing.T, cfg Config) *Terminal {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = clock(morning)
	}
	term, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return term
}

// The log tells of working days before now, in order, and no two entries are
// alike.
func TestHistory(t *testing.T) {
	for seed := range uint64(6) {
		for _, c := range []Config{{Users: 1, Logs: 5000}, {Users: 3, Logs: 1}, {Users: 50, Logs: 20_000}, {Users: 2000, Logs: 3000}, {Users: 30, Logs: 5000, Quirks: quirks(t, "uid_reuse")}} {
			c.Seed, c.Zone = seed, time.FixedZone("", -9*3600-1800)
			term := newIn(t, c)
			log := term.Log()
			if len(log) != c.Logs || twins(log) != 0 {
				t.Fatalf("%d entries of %d, %d twins", len(log), c.Logs, twins(log))
			}
			states, days := map[uint8]int{}, map[string]bool{}
			for i, e := range log {
				face := time.UnixMilli(int64(e.At)).UTC()
				if wd := face.Weekday(); wd == time.Saturday || wd == time.Sunday || face.Year() < 2015 || e.At >= term.face() || e.At%1000 != 0 {
					t.Fatalf("entry at %v", e.At)
				}
				if i > 0 && e.At < log[i-1].At || e.Seq != i || e.UID == 0 || e.PIN == "" {
					t.Fatalf("entry %d: %+v behind %+v", i, e, log[max(0, i-1)])
				}
				states[e.State]++
				days[face.Format(time.DateOnly)] = true
			}
			if diff := states[0] - states[1]; c.Logs > 1 && (diff < -50 || diff > 50) || len(days) > maxDays {
				t.Errorf("states %v, %d days", states, len(days))
			}
		}
	}
}

func TestSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quirks(t, "count_lies=off", "clock_jump=1h")
		make := func(seed uint64, serial string) *Terminal {
			term := newIn(t, Config{Users: 40, Logs: 500, Seed: seed, Serial: serial, Quirks: q})
			if err := term.Run(t.Context(), 0, 100); err != nil {
				t.Fatal(err)
			}
			return term
		}
		pins := func(term *Terminal) (all []string) {
			for _, u := range term.Users() {
				all = append(all, u.PIN)
			}
			slices.Sort(all)
			return all
		}
		a, again, other, stranger := make(1, "A"), make(1, "A"), make(1, "B"), make(2, "A")
		same(t, "log of the same", again.Log(), a.Log())
		same(t, "users of the same", again.Users(), a.Users())
		same(t, "drawn", again.Drawn(), a.Drawn())
		same(t, "people at another terminal", pins(other), pins(a))
		if slices.Equal(other.Log(), a.Log()) || slices.Equal(other.Users(), a.Users()) {
			t.Error("two terminals of one seed have one log, or one order of slots")
		}
		if slices.Equal(pins(stranger), pins(a)) {
			t.Error("two seeds have the same people")
		}
		// Serials differ where nobody gave any.
		if a, b := newIn(t, Config{ID: "a"}), newIn(t, Config{ID: "b"}); a.Serial() == b.Serial() {
			t.Errorf("both have the serial %s", a.Serial())
		}
		if s := a.String(); !strings.Contains(s, "serial A, seed 1, count_lies=off clock_jump=1h0m0s") {
			t.Error(s)
		}
	})
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newIn(t, Config{Users: 2, Seed: 3})
		start := time.Now()
		if err := term.Run(t.Context(), time.Minute, 100); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 80*time.Minute || took > 120*time.Minute || len(term.Log()) != 100 {
			t.Errorf("%d entries in %v", len(term.Log()), took)
		}
		// Two people make a few different entries a second, not a hundred.
		start = time.Now()
		if err := term.Run(t.Context(), time.Millisecond, 200); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); twins(term.Log()) != 0 || took < 5*time.Second || took > 100*time.Second {
			t.Errorf("%d twins, 200 entries in %v", twins(term.Log()), took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := term.Run(ctx, time.Hour, 0); err != nil {
			t.Errorf("at the end of the context: %v", err)
		}
		// Nobody is there, until a host writes somebody.
		b := inMemory(t, Config{Clock: clock(morning)})
		done := make(chan error, 1)
		go func() { done <- b.Run(t.Context(), 0, 1) }()
		time.Sleep(time.Minute)
		user := make([]byte, 72)
		user[0], user[48] = 1, '7'
		b.host().want(2000, 8, user...)
		if err := <-done; err != nil || b.Log()[0].PIN != "7" {
			t.Errorf("%+v, %v", b.Log(), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		term := newIn(t, Config{Users: 20, Quirks: quirks(t, "dup_second")})
		if err := term.Run(t.Context(), time.Second, 400); err != nil {
			t.Fatal(err)
		}
		if n := twins(term.Log()); len(term.Log()) != 400 || n < 40 || n > 160 {
			t.Errorf("%d twins among %d", n, len(term.Log()))
		}
	})
	// No twins either when the clock goes over the same time again.
	synctest.Test(t, func(t *testing.T) {
		term := newIn(t, Config{Users: 3, Logs: 50, Quirks: quirks(t, "clock_jump=-2s")})
		if err := term.Run(t.Context(), 10*time.Millisecond, 300); err != nil {
			t.Fatal(err)
		}
		if n := twins(term.Log()); n != 0 {
			t.Errorf("%d twins", n)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for want, cfg := range map[string]Config{
		"users":       {Users: 60_001},
		"-1":          {Logs: -1},
		"need users":  {Logs: 1},
		"pin_alnum":   {Quirks: quirks(t, "pin_alnum", "att_size=16")},
		"rt_len=12":   {Quirks: quirks(t, "pin_alnum", "rt_len=12")},
		"uid_reuse":   {Quirks: quirks(t, "uid_reuse", "att_size=8")},
		"dup_second":  {Quirks: quirks(t, "dup", "dup_second")},
		"comm_key":    {CommKey: 1, Quirks: quirks(t, "comm_key=2")},
		"digits":      {CommKey: 100_000_000},
		"split=-1":    {Quirks: Quirks{Split: -1}},
		"sizes=81":    {Quirks: Quirks{Sizes: 81}},
		"connect=":    {Quirks: Quirks{Connect: 7}},
		"att_size=41": {Quirks: Quirks{AttSize: 41}},
		"serial":      {Serial: strings.Repeat("1", 300)},
		"platform":    {Platform: "a\x00b"},
		"2000":        {Clock: clock("1999-12-31T23:59:59")},
		"2099":        {Clock: clock("2100-01-01T00:00:00")},
		"room":        {Users: 1, Logs: 100, Clock: clock("2000-01-10T00:00:00")},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "zk terminal: ") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestParseQuirk(t *testing.T) {
	values := map[string]string{
		"att_size": "49 ma300 8", "sizes": "80", "count_lies": "off", "log_full": "100", "name_charset": "gbk", "state": "255",
		"connect": "6001", "comm_key": "123456 close 99,close", "bulk": "4989 unsupported", "piece": "1008 whole", "trailing": "glued",
		"opt_unknown": "1387", "sn_refused": "2", "cmd_unknown": "unknown", "clock_skew": "-1m30s", "clock_jump": "1h0m0s", "rt_len": "37", "rt_silent_drop": "3",
		"split": "1", "gap": "2ms 0s", "single_client": "starve", "rst_on_connect": "2 all", "slow": "9600", "silence": "5 7,always", "cut": "1000",
	}
	for _, info := range KnownQuirks() {
		if info.Means == "" || info.Seen == "" {
			t.Errorf("%s is not explained", info.Name)
		}
		texts := []string{info.Name}
		if info.Value != "" {
			texts = nil
			for v := range strings.FieldsSeq(values[info.Name]) {
				texts = append(texts, info.Name+"="+v)
			}
		}
		if len(texts) == 0 {
			t.Errorf("%s is not tried", info.Name)
		}
		for _, text := range texts {
			q := quirks(t, text)
			if q.String() != text || q == (Quirks{}) {
				t.Errorf("%s reads as %q", text, q.String())
			}
			if err := q.check(0); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		wrong := []string{info.Name + "=nonsense", info.Name + "=-1"}
		if info.Value != "" {
			wrong = append(wrong, info.Name, info.Name+"=")
		}
		for _, text := range wrong {
			var q Quirks
			if err := ParseQuirk(&q, text); err == nil || !strings.Contains(err.Error(), info.Name) || q != (Quirks{}) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	if err := ParseQuirk(new(Quirks), "atsize=49"); err == nil || !strings.Contains(err.Error(), "att_size, ") {
		t.Error(err)
	}
	if q := quirks(t, "split=3", "comm_key=5", "comm_key=close", "cut=9"); fmt.Sprint(q) != "comm_key=5,close split=3 cut=9" {
		t.Error(q)
	}
}

// What parses is written so that it parses to the same.
func FuzzParseQuirk(f *testing.F) {
	for _, info := range KnownQuirks() {
		f.Add(info.Name)
		f.Add(info.Name + "=1")
		for word := range strings.FieldsSeq(info.Value) {
			f.Add(info.Name + "=" + strings.Trim(word, ","))
		}
	}
	f.Add("gap=0")
	f.Add("clock_skew=-90s")
	f.Add("silence=7,always")
	f.Add("comm_key=7,close")
	f.Fuzz(func(t *testing.T, text string) {
		var q, again Quirks
		if err := ParseQuirk(&q, text); err != nil {
			if q != (Quirks{}) {
				t.Fatalf("%q: %v, and %+v", text, err, q)
			}
			return
		}
		for word := range strings.FieldsSeq(q.String()) {
			if err := ParseQuirk(&again, word); err != nil {
				t.Fatalf("%q is written %q: %v", text, word, err)
			}
		}
		if again != q || q.check(0) != nil {
			t.Fatalf("%q reads as %+v, %q as %+v (%v)", text, q, q.String(), again, q.check(0))
		}
	})
}
