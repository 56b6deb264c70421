package ledger

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// TestMatch: a ledger has a frame only if all of it is the same, in whatever
// order they are asked for and with whatever is damaged around it.
func TestMatch(t *testing.T) {
	medium := filled(t, 64)
	mustRemove(t, medium, 23)
	l := mustOpen(t, known(medium, identity(t, medium), 64))
	defer closeLedger(t, l)
	var frames []Frame
	r := filled(t, 64)
	all, _ := readAll(t, openReader(r, dir, 0)) // the same records as those of medium
	for _, f := range all {
		f.Payload = bytes.Clone(f.Payload)
		frames = append(frames, f)
	}
	for what, m := range map[string]*Matcher{"open": l.Matcher(), "beside": OpenMatcher(medium, dir)} {
		defer m.Close()
		want := func(f Frame, says string) {
			t.Helper()
			err := m.Match(&f)
			if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: record %d: %v, want %q", what, f.Seq, err, says)
			}
		}
		for _, order := range []func(i int) int{func(i int) int { return i }, func(i int) int { return 63 - i }, func(i int) int { return i * 37 % 64 }} {
			for i := range 64 {
				f := frames[order(i)]
				if f.Seq >= 23 && f.Seq < 46 {
					want(f, "the ledger has not")
				} else {
					want(f, "")
				}
			}
		}
		for _, change := range []func(*Frame){
			func(f *Frame) { f.Kind++ }, func(f *Frame) { f.Flags++ }, func(f *Frame) { f.KeyID++ }, func(f *Frame) { f.Index++ }, func(f *Frame) { f.Count++ },
			func(f *Frame) { f.Payload = f.Payload[1:] }, func(f *Frame) { f.Payload = append(bytes.Clone(f.Payload[1:]), 'x') },
		} {
			f := frames[50]
			change(&f)
			want(f, "another record 50")
		}
		for _, seq := range []uint64{64, 1 << 40} {
			want(Frame{Seq: seq, Count: 1}, "ends before")
		}
	}
}

// TestWhich: it is the ledger that Open takes up.
func TestWhich(t *testing.T) {
	medium, other := filled(t, 64), filled(t, 64)
	id := identity(t, medium)
	foreign := func(m *disktest.Disk) {
		m.SetBytes(dir+"/"+segmentName(99), other.Bytes(dir+"/"+segmentName(0)))
	}
	for what, c := range map[string]struct {
		spoil    func(*disktest.Disk)
		expected Identity
		found    bool
		err      error
	}{
		"the one that is expected":     {func(*disktest.Disk) {}, id, true, nil},
		"another":                      {func(*disktest.Disk) {}, identity(t, other), true, nil},
		"none is expected":             {func(*disktest.Disk) {}, Identity{}, true, nil},
		"one of two":                   {foreign, id, true, nil},
		"one of two, none is expected": {foreign, Identity{}, false, ErrMixed},
		"no segment": {func(m *disktest.Disk) {
			for _, first := range []uint64{0, 23, 46} {
				mustRemove(t, m, first)
			}
		}, id, false, nil},
	} {
		m := medium.Clone()
		c.spoil(m)
		got, last, found, err := Which(m, dir, c.expected)
		if found != c.found || !errors.Is(err, c.err) || found && (got != id || last != 46) {
			t.Errorf("%s: %v from %d, %v, %v", what, got, last, found, err)
		}
	}
	if _, _, found, err := Which(nil, filepath.Join(t.TempDir(), "none"), id); found || err != nil {
		t.Errorf("no directory: %v, %v", found, err)
	}
}
