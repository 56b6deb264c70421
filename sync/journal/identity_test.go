package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchd/punchd/sync/ledger"
)

// unmount leaves an empty directory where the ledger was; the other brings it back.
func unmount(t *testing.T, dir string) (mount func()) {
	t.Helper()
	at := filepath.Join(dir, LedgerDir)
	if err := errors.Join(os.Rename(at, at+".elsewhere"), os.Mkdir(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(os.Remove(at), os.Rename(at+".elsewhere", at)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNotMountedAndNoBuffer: an empty directory is no first start, whatever is
// left to tell that there was a ledger; with the disk there all is as before.
func TestNotMountedAndNoBuffer(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, dir string) error{
		"buffer broken": func(t *testing.T, dir string) error { spoilBuffer(t, dir); return nil },
		"buffer gone":   func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, bufferDir)) },
		"id damaged": func(t *testing.T, dir string) error {
			flip(t, filepath.Join(dir, identityName), 20)
			return os.RemoveAll(filepath.Join(dir, bufferDir))
		},
		"id empty": func(_ *testing.T, dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, bufferDir)), os.WriteFile(filepath.Join(dir, identityName), nil, 0o600))
		},
		"of an older program": func(t *testing.T, dir string) error {
			spoilBuffer(t, dir)
			return os.Remove(filepath.Join(dir, identityName))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filledDir(t)
			mount := unmount(t, dir)
			if err := lose(t, dir); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				j, err := Open(t.Context(), Config{Dir: dir, SegmentSize: 64 << 10})
				if !errors.Is(err, ledger.ErrEmpty) || !strings.Contains(err.Error(), "mount its disk") {
					t.Fatalf("%v, %v", j, err)
				}
				// What alone tells that there was a ledger is named, for whom it misleads.
				if aside := suspectPaths(t, dir); name == "of an older program" && !strings.Contains(err.Error(), aside[0]+", a buffer that was moved aside: if this really is a first start") {
					t.Errorf("%v does not name %s", err, aside[0])
				}
			}
			mount()
			j := openDir(t, dir)
			checkFilled(t, j)
			if got, err := j.readIdentity(); err != nil || got != (known{j.ledger.Identity(), true}) {
				t.Errorf("known now: %v, %v", got, err)
			}
		})
	}
}

// TestLedgerLostForGood: a person says so by removing the directory; then a new
// ledger is begun, and that is known the next time.
func TestLedgerLostForGood(t *testing.T) {
	t.Parallel()
	dir := filledDir(t)
	old := openDir(t, dir).ledger.Identity().String()
	dir = filledDir(t)
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, LedgerDir)), os.RemoveAll(filepath.Join(dir, bufferDir))); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, Config{Dir: dir})
	if got := mustAppend(t, j, realistic(5)); got[0].Seq != 0 || j.ledger.Identity().String() == old {
		t.Errorf("appended as %+v", got)
	}
	id := j.ledger.Identity()
	closeJournal(t, j)
	if was, err := j.readIdentity(); err != nil || was.id != id {
		t.Errorf("known: %v, %v", was, err)
	}
}

// TestFirstStart: an empty directory for the ledger is one where its disk is
// mounted already, and the file that tells of it is for its owner alone.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, LedgerDir), 0o700); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, openDir(t, dir), realistic(1))
	fi, err := os.Stat(filepath.Join(dir, identityName))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
}

// TestIdentityTellsMixedLedgers: with the buffer gone the file says which ledger
// it is when segments of another were copied into its directory.
func TestIdentityTellsMixedLedgers(t *testing.T) {
	t.Parallel()
	dir, other := filledDir(t), filledDir(t)
	b, err := os.ReadFile(segments(t, other)[0])
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(dir, LedgerDir, "00000000000000009999.seg"), b, 0o600)
	if err := errors.Join(err, os.RemoveAll(filepath.Join(dir, bufferDir))); err != nil {
		t.Fatal(err)
	}
	checkFilled(t, openDir(t, dir))
}

// TestIdentityLine: what was written is read, and nothing else.
func TestIdentityLine(t *testing.T) {
	id := ledger.Identity{ID: [16]byte{1, 2, 3}, Salt: [8]byte{9}}
	line := formatIdentity(id)
	if got, err := parseIdentity(line); got != id || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for i := range line {
		b := []byte(line)
		b[i] ^= 1
		if got, err := parseIdentity(string(b)); err == nil || got != (ledger.Identity{}) {
			t.Errorf("byte %d: %v, %v", i, got, err)
		}
		if got, err := parseIdentity(line[:i]); err == nil {
			t.Errorf("cut at %d: %v", i, got)
		}
	}
}
