package buffer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

// asideWith makes a buffer that was moved aside, with one file in it.
func asideWith(t *testing.T, dir, when, file string, b []byte) (path string) {
	t.Helper()
	path = dir + suspectMark + when
	if err := errors.Join(os.MkdirAll(path, 0o700), os.WriteFile(filepath.Join(path, file), b, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProved: the newest frame of a ledger counts, in whichever buffer it is,
// unless it is further than there can be records.
func TestProved(t *testing.T) {
	other := id
	other.Salt[0]++
	stretch := func(id ledger.Identity, first, last uint64) (b []byte) {
		for seq := first; seq <= last; seq++ {
			b = append(b, frameOf(id, seq, "a record")...)
		}
		return b
	}
	for what, c := range map[string]struct {
		aside     [][]byte
		note      string // ledger.txt of the last
		checked   string // checked.txt of the last
		seen      uint64
		all, some uint64 // what is proved by all, and by those not checked
	}{
		"none":                     {nil, "", "", 0, 0, 0},
		"nothing in it":            {[][]byte{make([]byte, 1000)}, "", "", 0, 0, 0},
		"one":                      {[][]byte{stretch(id, 0, 9)}, "", "", 0, 10, 10},
		"the older has more":       {[][]byte{stretch(id, 0, 9), stretch(id, 0, 5)}, "", "", 0, 10, 10},
		"in any order":             {[][]byte{append(stretch(id, 5, 9), stretch(id, 0, 4)...)}, "", "", 0, 10, 10},
		"of another ledger":        {[][]byte{stretch(other, 0, 9)}, "", "", 0, 0, 0},
		"noted as of this":         {[][]byte{stretch(id, 0, 9)}, id.String(), "", 0, 10, 10},
		"noted as of another":      {[][]byte{stretch(id, 0, 9)}, strings.Repeat("0f", 16), "", 0, 0, 0},
		"checked":                  {[][]byte{stretch(id, 0, 5), stretch(id, 0, 9)}, id.String(), id.String() + "\n", 0, 10, 6},
		"checked, note cut":        {[][]byte{stretch(id, 0, 9)}, id.String(), "", 0, 10, 10},
		"further than can be":      {[][]byte{append(stretch(id, 0, 9), frameOf(id, 1000, "by chance")...)}, "", "", 0, 10, 10},
		"far, but lost before":     {[][]byte{frameOf(id, 1000, "")}, "", "", 1000, 1001, 1001},
		"a bit of it is flipped":   {[][]byte{append(stretch(id, 0, 8), flipped(frameOf(id, 9, "x"))...)}, "", "", 0, 9, 9},
		"far, behind another's":    {[][]byte{stretch(id, 0, 99), stretch(id, 90, 101)}, "", "", 0, 102, 102},
		"behind what is not frame": {[][]byte{append([]byte("xyz"), stretch(id, 0, 3)...)}, "", "", 0, 4, 4},
	} {
		dir := filepath.Join(t.TempDir(), "buffer")
		var path string
		for i, b := range c.aside {
			path = asideWith(t, dir, string(rune('1'+i)), "000001.vlog", b)
		}
		for name, text := range map[string]string{ledgerName: c.note, checkedName: c.checked} {
			if path != "" {
				if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		b := mustOpen(t, dir)
		for all, want := range map[bool]uint64{true: c.all, false: c.some} {
			if got, err := b.Proved(id, c.seen, all); got != want || err != nil {
				t.Errorf("%s, all %v: %d, %v, want %d", what, all, got, err, want)
			}
		}
		mustClose(t, b)
	}
}

func flipped(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

// overwrite replaces what is in all files of a directory.
func overwrite(with []byte) func(dir string) error {
	return func(dir string) error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, e.Name()), with, 0o600))
		}
		return err
	}
}

// TestShowsLedger: a buffer that was opened and no more shows no ledger, in
// whatever state it was left; one that was begun does.
func TestShowsLedger(t *testing.T) {
	for what, c := range map[string]struct {
		write func(b *Buffer) error
		spoil func(dir string) error
		shows bool
	}{
		"opened":                   {nil, nil, false},
		"opened, and all is zeros": {nil, overwrite(make([]byte, 100)), false},
		"opened, and all is empty": {nil, overwrite(nil), false},
		"opened, with a note": {nil, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ledgerName), []byte(id.String()), 0o600)
		}, true},
		"begun": {func(b *Buffer) error { return b.Begin(id) }, nil, true},
		"begun, and its table is gone": {func(b *Buffer) error { return b.Begin(id) }, func(dir string) error {
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			for _, path := range tables {
				err = errors.Join(err, os.Remove(path))
			}
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "00001.mem"), append(make([]byte, logHeader), "!m/ledger"...), 0o600))
		}, true},
		"a file": {nil, func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, []byte("a file"), 0o600))
		}, false},
	} {
		dir := filepath.Join(t.TempDir(), "buffer")
		b := mustOpen(t, dir)
		if c.write != nil {
			if err := c.write(b); err != nil {
				t.Fatal(err)
			}
		}
		look := func(when string) {
			x := Suspect{dir, "", ledgerOf(dir), ""}
			if got := x.ShowsLedger(); got != c.shows {
				t.Errorf("%s, %s: %v", what, when, got)
			}
		}
		if c.spoil == nil {
			look("as a kill leaves it")
		}
		mustClose(t, b)
		if c.spoil != nil {
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
		}
		look("closed")
	}
}

// TestWeighSuspects: what was moved aside goes only if the ledger has each of
// its records as it is there, and what has another says so.
func TestWeighSuspects(t *testing.T) {
	at := filepath.Join(t.TempDir(), "ledger")
	l, err := ledger.Open(ledger.Config{Dir: at, SegmentSize: ledger.MinSegmentSize})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, err := l.Append([]ledger.Entry{{Kind: attendance.RecordPunch, Payload: []byte("zero")}, {Kind: attendance.RecordPunch, Payload: []byte("one")}})
	if err != nil {
		t.Fatal(err)
	}
	id := l.Identity()
	for what, c := range map[string]struct {
		holds  []byte
		needed string // empty if it is worth nothing
	}{
		"the same":          {w.Frames, ""},
		"no record":         {nil, ""},
		"damaged":           {flipped(bytes.Clone(w.Frames[:len(w.Frames)/2])), ""}, // no copy any more
		"another record":    {append(bytes.Clone(w.Frames), frameOf(id, 1, "another")...), "another record 1"},
		"one behind it":     {append(bytes.Clone(w.Frames), frameOf(id, 2, "two")...), "has record 2"},
		"one far behind it": {frameOf(id, 1<<35, "far"), "has record"},
	} {
		dir := filepath.Join(t.TempDir(), "buffer")
		b := mustOpen(t, dir)
		old := asideWith(t, dir, "1", "000001.vlog", c.holds)
		asideWith(t, dir, "1", ledgerName, []byte(id.String()))
		newest := asideWith(t, dir, "2", "00001.mem", append([]byte("mem"), c.holds...))
		asideWith(t, dir, "2", ledgerName, []byte(id.String()))
		for _, prune := range []bool{false, true, true} {
			m := l.Matcher()
			err := b.WeighSuspects(id, m, prune)
			m.Close()
			aside, serr := b.Suspects()
			if err := errors.Join(err, serr); err != nil {
				t.Fatal(err)
			}
			want := []string{old, newest}
			if c.needed == "" && prune {
				want = want[1:]
			}
			if len(aside) != len(want) {
				t.Fatalf("%s, prune %v: left %v", what, prune, aside)
			}
			for i, x := range aside {
				if x.Path != want[i] || !strings.Contains(x.Needed, c.needed) || (x.Needed == "") != (c.needed == "") || checked(x.Path, id) != (c.needed == "") {
					t.Errorf("%s, prune %v: %+v", what, prune, x)
				}
			}
		}
		freeAll(t, what, at, dir, id, c.needed)
		mustClose(t, b)
	}
}

// freeAll holds that on a full disk nothing is kept that is worth nothing, and
// all else with the reason.
func freeAll(t *testing.T, what, at, dir string, id ledger.Identity, needed string) {
	t.Helper()
	m := ledger.OpenMatcher(nil, at)
	defer m.Close()
	removed, kept, err := FreeSuspects(dir, id, m)
	switch {
	case err != nil:
		t.Error(err)
	case needed == "":
		if len(removed) != 1 || len(kept) > 0 {
			t.Errorf("%s: removed %v, kept %v", what, removed, kept)
		}
	case len(removed) > 0 || len(kept) != 2 || !strings.Contains(kept[0].Why.Error(), needed):
		t.Errorf("%s: removed %v, kept %v", what, removed, kept)
	}
}
