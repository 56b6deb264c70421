package roster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster/strict"
)

const good = "employees:\n  - {id: E1, pins: [0012]}\n  - {id: E2}\n"

// record keeps what was logged.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) Enabled(context.Context, slog.Level) bool { return true }
func (r *record) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *record) WithGroup(string) slog.Handler            { return r }
func (r *record) Handle(_ context.Context, e slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := e.Level.String() + " " + e.Message
	e.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			line += ": " + a.Value.String()
		}
		return true
	})
	r.lines = append(r.lines, line)
	return nil
}

// told gives what was logged since the last call.
func (r *record) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// desk is a directory with a roster and a log.
type desk struct {
	t    *testing.T
	dir  string
	log  *record
	cfg  Config
	tick int64
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir(), log: &record{}}
	d.cfg = Config{File: filepath.Join(d.dir, "roster.yaml"), Cache: filepath.Join(d.dir, "last-good"), Log: slog.New(d.log)}
	return d
}

// write changes a file in place, and its time of change for certain.
func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	d.tick++
	if err := os.Chtimes(name, time.Time{}, time.Unix(1_700_000_000+d.tick, 0)); err != nil {
		d.t.Fatal(err)
	}
}

// replace renames another file over it, with the same time of change and size.
func (d *desk) replace(name, text string) {
	d.t.Helper()
	before, err := os.Stat(name)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(name+".new", []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Chtimes(name+".new", time.Time{}, before.ModTime()); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) open() *Keeper {
	d.t.Helper()
	k, err := Open(d.t.Context(), d.cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	return k
}

func (d *desk) expect(want ...string) {
	d.t.Helper()
	got := d.log.told()
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], d.dir+"/", "")
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("told %q, want %q", got, want)
	}
}

func TestOpen(t *testing.T) {
	d := newDesk(t)
	d.write(d.cfg.File, good)
	k := d.open()
	s := k.Current()
	if e, ok := s.Index.ByPIN("0012"); !ok || e.ID != "E1" {
		t.Errorf("by PIN: %v %v", e, ok)
	}
	// sha256sum of the file
	const digest = "202b5423fef8065563356216a03f52c0925252c18c3c519694af21ef87285aca"
	if s.Digest != digest || s.Version != digest[:12] || s.Source != d.cfg.File || s.FromCache || s.LoadedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	d.expect("INFO took the roster")
	d.write(d.cfg.File, `{"version": "2026-11-04.7", "employees": [{"id": "E3"}]}`)
	if err := k.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := k.Current().Version; v != "2026-11-04.7" {
		t.Errorf("version %q", v)
	}
	if s != nil && len(s.Roster.Employees) != 2 {
		t.Error("the snapshot before has changed")
	}
}

// What is wrong is told with its line, whoever finds it.
func TestErrorsHaveLines(t *testing.T) {
	refuse := func(s *Snapshot) error {
		var errs []error
		for i, p := range s.Roster.Places {
			if p.Circle == nil {
				errs = append(errs, &attendance.EntryError{Path: fmt.Sprintf("places[%d].wifi[0]", i), ID: p.ID, Err: errors.New("is odd")})
			}
		}
		if len(errs) > 0 {
			return fmt.Errorf("geofence: %w", errors.Join(append(errs, errors.New("and 3 more"))...))
		}
		if len(s.Roster.Policies) > 0 {
			return fmt.Errorf("no policies today: %w", errors.New("closed"))
		}
		return nil
	}
	for _, c := range []struct{ name, text, want string }{
		{"syntax", "employees: [\n", "roster.yaml:1:12: not YAML: sequence end token ']' not found"},
		{"key", "employees:\n  - {id: a, badge: x}\n", `roster.yaml:2:13: employees[0].badge: unknown key "badge" (do you mean "badges"?)`},
		{"index", "employees:\n  - id: a\n    pins:\n      - 7\n  - id: b\n    badges: [1]\n    pins: [8,\n     7]\n",
			`roster.yaml:8:6: employees[1].pins[1]: "b": PIN "7" stands at employees[0].pins[0] (a) already`},
		{"several", "places:\n  - id: x\n  - id: x\nemployees:\n  - id:\n    until: x\n",
			"roster.yaml:3:5: places[1].id: \"x\": places[0] has the same id\nroster.yaml:5:5: employees[0].id: is empty\nroster.yaml:6:5: employees[0].until: \"x\" is no date like 2026-11-04"},
		{"accept", "places:\n  - id: x\n    wifi:\n      - {bssid: 1}\n", "roster.yaml:4:10: places[0].wifi[0]: \"x\": is odd\nroster.yaml: and 3 more"},
		{"accept without an entry", "policies: [{}]\n", "roster.yaml: no policies today: closed"},
		{"empty", "", "roster.yaml:1:1: the file is empty"},
	} {
		d := newDesk(t)
		d.cfg.Cache, d.cfg.Accept = "", refuse
		d.write(d.cfg.File, c.text)
		k, err := Open(t.Context(), d.cfg)
		if err == nil || k != nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), d.dir+"/", ""); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if _, ok := errors.AsType[strict.Problems](err); !ok {
			t.Errorf("%s: %T holds no Problems", c.name, err)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	d := newDesk(t)
	d.write(d.cfg.File, "employees:\n"+strings.Repeat("  - {name: x}\n", 20_000))
	_, err := Open(t.Context(), d.cfg)
	if err == nil || strings.Count(err.Error(), "\n") > strict.MaxProblems+1 || !strings.Contains(err.Error(), "roster.yaml:51:6: employees[49].id: is empty") {
		t.Errorf("%.300v", err)
	}
	d.write(d.cfg.File, "employees: [{id: "+strings.Repeat("x", 300_000)+"}]\n")
	if _, err = Open(t.Context(), d.cfg); err == nil || len(err.Error()) > 1500 {
		t.Errorf("%.300v", err)
	}
}

// watch runs a keeper in a bubble and gives what lets its clock go on for some
// looks at the file, and what ends it.
func watch(t *testing.T, k *Keeper) (looks func(n int), stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	looks = func(n int) {
		time.Sleep(time.Duration(n) * 2 * time.Second)
		synctest.Wait()
	}
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return looks, stop
}

func pins(k *Keeper) string {
	var all []string
	for _, e := range k.Current().Roster.Employees {
		all = append(all, e.PINs...)
	}
	return strings.Join(all, " ")
}

func file(pins ...string) string {
	var b strings.Builder
	b.WriteString("employees:\n")
	for _, p := range pins {
		fmt.Fprintf(&b, "  - {id: E%s, pins: [%s]}\n", p, p)
	}
	return b.String()
}

func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.write(d.cfg.File, file("1"))
		k := d.open()
		looks, stop := watch(t, k)
		defer stop()
		d.expect("INFO took the roster")
		looks(10)
		d.expect()

		d.write(d.cfg.File, file("1", "2"))
		looks(1)
		if got := pins(k); got != "1" {
			t.Errorf("taken at once, when it may be half written: %s", got)
		}
		looks(1)
		if got := pins(k); got != "1 2" {
			t.Errorf("written in place: %s", got)
		}
		d.expect("INFO took the roster")

		d.replace(d.cfg.File, file("1", "3")) // the same size and time
		looks(2)
		if got := pins(k); got != "1 3" {
			t.Errorf("renamed: %s", got)
		}
		d.expect("INFO took the roster")

		d.write(d.cfg.File, file("1", "3")) // touched
		looks(10)
		d.expect()
	})
}

// A writer that takes its time is not interrupted: each part that it has
// written so far is a good roster, of too few people.
func TestSlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.write(d.cfg.File, file("1", "2", "3", "4"))
		k := d.open()
		looks, stop := watch(t, k)
		defer stop()
		for i := range 4 {
			d.write(d.cfg.File, file([]string{"5", "6", "7", "8"}[:i+1]...))
			looks(1)
			if got := pins(k); got != "1 2 3 4" {
				t.Errorf("taken after %d parts: %s", i+1, got)
			}
		}
		looks(1)
		if got := pins(k); got != "5 6 7 8" {
			t.Errorf("at last: %s", got)
		}
	})
}

// A wrong file is told once, changes nothing, and a right one mends it.
func TestWrongFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.write(d.cfg.File, file("1"))
		k := d.open()
		looks, stop := watch(t, k)
		defer stop()
		d.log.told()

		d.write(d.cfg.File, "employees: [{id: a}, {id: a}]\n")
		looks(20)
		wrong := "WARN the roster file can't be used; the roster stays as it was: "
		d.expect(wrong + `roster.yaml:1:23: employees[1].id: "a": id "a" stands at employees[0].id (a) already`)
		if err := k.Reload(t.Context()); err == nil {
			t.Error("Reload says nothing of it")
		}
		d.write(d.cfg.File, "employees: [{id: a}, {id: \"\"}]\n")
		looks(20)
		d.expect(wrong + "roster.yaml:1:23: employees[1].id: is empty")

		if err := os.Remove(d.cfg.File); err != nil {
			t.Fatal(err)
		}
		looks(20)
		d.expect(wrong + "roster: stat roster.yaml: no such file or directory")
		if got := pins(k); got != "1" {
			t.Errorf("the roster is now that of %q", got)
		}
		d.write(d.cfg.File, file("1")) // as it was: nothing to tell
		looks(2)
		d.expect()
		d.write(d.cfg.File, file("2"))
		looks(2)
		d.expect("INFO took the roster")
		if got := pins(k); got != "2" {
			t.Errorf("mended: %s", got)
		}
		for range 2 { // wrong in the same way as before, after it was right
			d.write(d.cfg.File, "employees: [{id: \"\"}]\n")
			looks(3)
			d.expect(wrong + "roster.yaml:1:14: employees[0].id: is empty")
			d.write(d.cfg.File, file("3"))
			looks(3)
			d.log.told()
		}
	})
}

func TestLastGoodRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.write(d.cfg.File, file("1"))
		first := d.open().Current()
		if info, err := os.Stat(d.cfg.Cache); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the kept roster: %v %v", info, err)
		}
		d.log.told()

		for text, why := range map[string]string{
			"":          "roster: stat roster.yaml: no such file or directory",
			"employees": `roster.yaml:1:1: must be keys and values, not "employees"`,
		} {
			if err := os.RemoveAll(d.cfg.File); err != nil {
				t.Fatal(err)
			}
			if text != "" {
				d.write(d.cfg.File, text)
			}
			k := d.open()
			if s := k.Current(); !s.FromCache || s.Source != d.cfg.Cache || s.Digest != first.Digest || pins(k) != "1" {
				t.Errorf("%+v", s)
			}
			d.expect("WARN the roster file can't be used; going on with the last good roster: " + why)
			looks, stop := watch(t, k)
			looks(10)
			d.expect() // it was told at the start

			// The file comes back, the same as the kept one.
			d.write(d.cfg.File, file("1"))
			looks(2)
			if s := k.Current(); s.FromCache || s.Source != d.cfg.File {
				t.Errorf("after the file came back: %+v", s)
			}
			d.expect("INFO took the roster")
			stop()
		}

		// Not even a kept one, or none that is any good.
		if err := os.Remove(d.cfg.File); err != nil {
			t.Fatal(err)
		}
		d.write(d.cfg.Cache, "x: [")
		if _, err := Open(t.Context(), d.cfg); err == nil || !strings.Contains(err.Error(), "roster: and the earlier one can't be used: "+d.cfg.Cache+":1:4: not YAML") {
			t.Errorf("a broken kept roster: %v", err)
		}
		if err := os.Remove(d.cfg.Cache); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), d.cfg)
		if err == nil || !errors.Is(err, os.ErrNotExist) || !strings.HasSuffix(err.Error(), "roster: and there is no earlier one in "+d.cfg.Cache) {
			t.Errorf("nothing at all: %v", err)
		}
	})
}

// A refused roster is not kept for the next start.
func TestRefusedIsNotKept(t *testing.T) {
	d := newDesk(t)
	d.write(d.cfg.File, file("1"))
	d.cfg.Accept = func(s *Snapshot) error {
		if s.Version == "bad" {
			return errors.New("no")
		}
		return nil
	}
	k := d.open()
	d.write(d.cfg.File, "version: bad\nemployees: []\n")
	if err := k.Reload(t.Context()); err == nil {
		t.Error("taken")
	}
	if text, err := os.ReadFile(d.cfg.Cache); err != nil || string(text) != file("1") || pins(k) != "1" {
		t.Errorf("kept %q, %v", text, err)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left over: %v %v", entries, err)
	}
}

// A roster that can't be kept is taken all the same.
func TestNowhereToKeep(t *testing.T) {
	d := newDesk(t)
	d.write(d.cfg.File, file("1"))
	d.cfg.Cache = filepath.Join(d.dir, "missing", "last-good")
	k := d.open()
	got := d.log.told()
	if pins(k) != "1" || len(got) != 2 || !strings.HasPrefix(got[1], "WARN can't keep the roster for the next start: open ") {
		t.Errorf("%q", got)
	}

	d.cfg.Cache = filepath.Join(d.dir, "taken")
	if err := os.MkdirAll(filepath.Join(d.cfg.Cache, "by a directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.open()
	if got := d.log.told(); len(got) != 2 || !strings.HasPrefix(got[1], "WARN can't keep the roster for the next start: rename ") {
		t.Errorf("%q", got)
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, ".roster-*")); len(left) != 0 || err != nil {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestNoRosterFile(t *testing.T) {
	d := newDesk(t)
	d.cfg.File = d.dir
	if _, err := Open(t.Context(), d.cfg); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("a directory: %v", err)
	}
	d.cfg.File = filepath.Join(d.dir, "big")
	f, err := os.Create(d.cfg.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(strict.MaxJSON+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), d.cfg); err == nil || !strings.Contains(err.Error(), "has 67108865 bytes, the limit is 67108864") {
		t.Errorf("a huge file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if k, err := Open(ctx, d.cfg); k != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v %v", k, err)
	}
}

// Reading, looking and asking at once; the race detector watches. Every
// snapshot that is seen is whole.
func TestReloadAndCurrent(t *testing.T) {
	d := newDesk(t)
	d.write(d.cfg.File, file("1"))
	d.cfg.Every = time.Millisecond
	k := d.open()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s := k.Current()
				for _, e := range s.Roster.Employees {
					if got, ok := s.Index.ByID(e.ID); !ok || got.ID != e.ID {
						t.Errorf("%s is not in its own snapshot", e.ID)
						return
					}
				}
			}
		})
	}
	for i := range 60 {
		text := file(fmt.Sprint(i), fmt.Sprint(i+1000))
		if err := os.WriteFile(d.cfg.File+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(d.cfg.File+".new", d.cfg.File); err != nil {
			t.Fatal(err)
		}
		if err := k.Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d %d", i, i+1000); pins(k) != want {
			t.Errorf("after Reload: %s, want %s", pins(k), want)
		}
	}
	cancel()
	wg.Wait()
}

// What is wrong with the file can be asked for until it is right again.
func TestErr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.write(d.cfg.File, good)
		k := d.open()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		wrong := func(want string) {
			t.Helper()
			time.Sleep(3 * 2 * time.Second)
			synctest.Wait()
			err := k.Err()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		wrong("")
		d.write(d.cfg.File, "employees: [{id: E1, colour: red}]\n")
		wrong("roster.yaml:1:")
		wrong("unknown key") // still
		if err := os.Rename(d.cfg.File, d.cfg.File+".away"); err != nil {
			t.Fatal(err)
		}
		wrong("no such file")
		d.write(d.cfg.File, good) // as it was
		wrong("")
		d.write(d.cfg.File, "employees: [\n")
		if err := k.Reload(t.Context()); err == nil || k.Err() == nil {
			t.Errorf("reloaded: %v, %v", err, k.Err())
		}
		d.write(d.cfg.File, good+"  - {id: E3}\n")
		wrong("")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}

		// And at a start with the last good one.
		d.write(d.cfg.File, "employees: 7\n")
		if k := d.open(); k.Err() == nil || !k.Current().FromCache {
			t.Errorf("%v, from the cache: %v", k.Err(), k.Current().FromCache)
		}
	})
}
