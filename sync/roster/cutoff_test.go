package roster

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// A file that has lost its people is not taken, not even for the next start,
// nor by it, until somebody removes the kept one.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		whole := file("1", "2", "3", "4", "5", "6")
		d.write(d.cfg.File, whole)
		k := d.open()
		looks, stop := watch(t, k)
		d.log.told()
		const why = ": this may be a part of the file, so it is not taken (complete the file; or, if it is right, stop punchd, remove last-good and start it again)"
		for _, c := range []struct{ text, want string }{
			{"{}", "1:1: employees: 0 in place of 6"},
			{file("1"), "1:1: employees: 1 in place of 6"},
			{"employees:\n", "1:1: employees: 0 in place of 6"},
			{"{\"employees\":\n[]}", "1:2: employees: 0 in place of 6"},
			{strings.Join(strings.SplitAfter(whole, "\n")[:3], ""), "1:1: employees: 2 in place of 6"},
		} {
			d.write(d.cfg.File, c.text)
			looks(300) // ten minutes change nothing
			d.expect("WARN the roster file can't be used; the roster stays as it was: roster.yaml:" + c.want + why)
			kept, err := os.ReadFile(d.cfg.Cache)
			if pins(k) != "1 2 3 4 5 6" || k.Err() == nil || err != nil || string(kept) != whole {
				t.Errorf("%q: %s, %v, kept %q %v", c.text, pins(k), k.Err(), kept, err)
			}
		}
		if err := k.Reload(t.Context()); err == nil {
			t.Error("Reload takes it")
		}
		for _, fewer := range []string{file("1", "2", "3"), file("1", "2"), file("1")} { // half, and of a few
			d.write(d.cfg.File, fewer)
			looks(3)
			if pins(k) != strings.Join(strings.Fields("1 2 3")[:strings.Count(fewer, "id")], " ") || k.Err() != nil {
				t.Errorf("%q: %s, %v", fewer, pins(k), k.Err())
			}
		}
		stop()

		// What cut the file off may have restarted the daemon too.
		d.write(d.cfg.File, whole)
		d.open()
		d.log.told()
		d.write(d.cfg.File, file("1"))
		k = d.open()
		kept, err := os.ReadFile(d.cfg.Cache)
		if pins(k) != "1 2 3 4 5 6" || !k.Current().FromCache || k.Err() == nil || err != nil || string(kept) != whole {
			t.Errorf("restarted: %s, %v, kept %q %v", pins(k), k.Err(), kept, err)
		}
		if err := os.Remove(d.cfg.Cache); err != nil {
			t.Fatal(err)
		}
		if k := d.open(); pins(k) != "1" || k.Current().FromCache {
			t.Errorf("without the kept one: %s", pins(k))
		}
		d.log.told()

		// The last good roster is held against the file too.
		d.write(d.cfg.Cache, whole)
		d.write(d.cfg.File, "employees: [")
		k = d.open()
		d.write(d.cfg.File, file("1", "2"))
		if err := k.Reload(t.Context()); err == nil || pins(k) != "1 2 3 4 5 6" {
			t.Errorf("after a start without the file: %s, %v", pins(k), err)
		}
	})
}
