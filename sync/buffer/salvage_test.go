package buffer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

func frameOf(id ledger.Identity, seq uint64, payload string) []byte {
	return id.AppendFrame(nil, ledger.Frame{Seq: seq, Count: 1, Entry: ledger.Entry{Kind: attendance.RecordPunch, Payload: []byte(payload)}})
}

// TestSalvage: frames are found in what was moved aside, long and short, in
// whatever file Badger put them; the newest counts, and nobody else's.
func TestSalvage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buffer")
	b := begun(t, dir)
	long := string(bytes.Repeat([]byte("long "), 100))
	commit(t, b, 4, func(u *Update) {
		u.Block(0, 2, append(frameOf(id, 0, long), frameOf(id, 1, "old")...))
		u.Block(2, 1, nil)
		u.Block(3, 1, frameOf(id, 3, "short: it stands in a table"))
	})
	mustClose(t, b)
	b = mustOpen(t, dir)
	defer mustClose(t, b)
	if err := b.Reset("a test"); err != nil {
		t.Fatal(err)
	}
	other := id
	other.Salt[0]++
	newer := append([]byte("xyz"), frameOf(id, 1, "new")...) // at any offset
	newer = append(append(newer, frameOf(other, 2, "of another ledger")...), 0, 0)
	aside := dir + suspectMark + "99990101T000000.000000000Z"
	if err := errors.Join(os.Mkdir(aside, 0o700), os.WriteFile(filepath.Join(aside, "x"), newer, 0o600), os.WriteFile(aside+"-file", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err := b.Salvage(id, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := map[uint64]string{}
	for seq, ok := s.Next(0); ok; seq, ok = s.Next(seq + 1) {
		f, err := s.Frame(seq)
		if err != nil || f.Seq != seq {
			t.Fatalf("record %d: %d, %v", seq, f.Seq, err)
		}
		got[seq] = string(f.Payload)
	}
	if want := map[uint64]string{0: long, 1: "new", 3: "short: it stands in a table"}; !reflect.DeepEqual(got, want) {
		t.Errorf("found %v", got)
	}
	if _, err := s.Frame(2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("record 2: %v", err)
	}
	if s, err := b.Salvage(id, 1, 2); err != nil || len(s.places) != 1 {
		t.Errorf("from 1 to 2: %v, %v", s.places, err)
	}
}

// TestFindings: they are kept over a start until they are forgotten; a lost
// block is one by itself.
func TestFindings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buffer")
	b := begun(t, dir)
	commit(t, b, 9, func(u *Update) { u.Block(0, 9, nil) })
	damage, bad := Finding{FoundDamage, 3, 300}, Finding{FoundUndecodable, 7, 7}
	if err := errors.Join(b.Note(bad), b.Note(damage), b.Note(damage)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, b)
	b = mustOpen(t, dir)
	defer mustClose(t, b)
	lost := Finding{FoundLost, 0, 8}
	if all, err := b.Findings(); err != nil || !reflect.DeepEqual(all, []Finding{damage, lost, bad}) {
		t.Errorf("%v, %v", all, err)
	}
	if err := b.Forget(damage, bad); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Findings(); err != nil || !reflect.DeepEqual(all, []Finding{lost}) {
		t.Errorf("%v, %v", all, err)
	}
}

// TestNoRoom: without room nothing is opened, begun or moved.
func TestNoRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buffer")
	full := &fs.PathError{Op: "test", Path: dir, Err: errors.New("no space left on device")}
	room := error(full)
	cfg := Config{Dir: dir, Room: func() error { return room }}
	if b, err := Open(cfg); !errors.Is(err, full) {
		t.Fatalf("opened: %v, %v", b, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	room = nil
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Begin(id); err != nil {
		t.Fatal(err)
	}
	room = full
	if err := b.Reset("a test"); !errors.Is(err, full) {
		t.Errorf("begun anew: %v", err)
	}
	mustClose(t, b)
	if aside, err := b.Suspects(); len(aside) > 0 || err != nil {
		t.Errorf("moved: %v, %v", aside, err)
	}
}
