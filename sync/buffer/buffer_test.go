package buffer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/ledger"
)

var (
	id  = ledger.Identity{ID: [16]byte{0: 0xa0, 15: 0xaf}, Salt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	at  = time.Date(2026, 11, 4, 0, 58, 12, 5, time.UTC)
	key = attendance.Key{0: 0x62, 1: 0x2e, 15: 0xff}
)

// TestFormat holds keys and values to the bytes of FORMAT.md.
func TestFormat(t *testing.T) {
	sink := Sink{Cursor: 0x102, Passed: 3, Parked: 4, Dead: 5}
	p := Parked{Seq: 7, At: 8, Reason: ReasonHash("unknown employee"), Since: at, Until: at.Add(time.Hour), Tries: 2}
	counts := Counts{Kinds: [8]uint64{1: 10, 7: 2}, Verdicts: [4]uint64{0: 1, 3: 9}}
	const zero = "0000000000000000"
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"block key":    {blockKey(0x010203, 0x1f4), "r/" + "0000000000010203" + "000001f4"},
		"punch key":    {punchKey(key), "k/" + "622e00000000000000000000000000ff"},
		"phone key":    {phoneKey("p-7f3a"), "c/" + "295896c52a1183e04d4f7ec1048a4b5b"},
		"sink key":     {sinkKey("hq"), "s/" + "6871"},
		"parked key":   {recordKey(prefixParked, "hq", 7), "p/" + "687100" + "0000000000000007"},
		"due key":      {dueKey("hq", at, 7), "t/" + "687100" + "18e4b1a93b226805" + "0000000000000007"},
		"dead key":     {recordKey(prefixDead, "hq", 7), "d/" + "687100" + "0000000000000007"},
		"finding key":  {Finding{FoundLost, 7, 0x102}.key(), "f/" + "6c" + "0000000000000007" + "0000000000000102"},
		"numbers":      {numbers(1, 0x0203), zero[:15] + "1" + zero[:13] + "203"},
		"ledger":       {encodeLedger(id), "a00000000000000000000000000000af0102030405060708"},
		"sink":         {sink.encode(), "0000000000000102" + "0000000000000003" + "0000000000000004" + "0000000000000005"},
		"parked":       {p.encode(), "0000000000000008" + "fee3c876b47a1dd5" + "18e4b1a93b226805" + "18e4b4ef6bdb0805" + "0000000000000002"},
		"counts":       {counts.encode(), zero + "000000000000000a" + strings.Repeat(zero, 5) + "0000000000000002" + "0000000000000001" + zero + zero + "0000000000000009"},
		"a lost block": {lost, "00"},
	} {
		text, digits := c.want, c.want
		if len(text) > 2 && text[1] == '/' {
			digits = hex.EncodeToString([]byte(text[:2])) + text[2:]
		}
		want, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(name, err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: %x, want %x", name, c.got, want)
		}
		if len(c.got) > maxInline {
			t.Errorf("%s has %d bytes, at most %d stand in a table", name, len(c.got), maxInline)
		}
	}
	for k, v := range map[string]string{"version": "m/version", "ledger": "m/ledger", "applied": "m/applied", "counts": "m/counts", "clean": "m/clean"} {
		got := map[string][]byte{"version": keyVersion, "ledger": keyLedger, "applied": keyApplied, "counts": keyCounts, "clean": keyClean}[k]
		if string(got) != v {
			t.Errorf("key %s is %q", k, got)
		}
	}

	// And back.
	first, count, err := parseBlockKey(blockKey(1<<40, 77))
	if first != 1<<40 || count != 77 || err != nil {
		t.Errorf("block key: %d %d %v", first, count, err)
	}
	until, seq := parseDueKey(dueKey("a/b", at, 9))
	if !until.Equal(at) || seq != 9 {
		t.Errorf("due key: %v %d", until, seq)
	}
	var s Sink
	if err := s.decode(nil, sink.encode()); err != nil || s != sink {
		t.Errorf("sink: %+v %v", s, err)
	}
	var q Parked
	if err := q.decode(recordKey(prefixParked, "hq", 7), p.encode()); err != nil || !reflect.DeepEqual(q, p) {
		t.Errorf("parked: %+v, want %+v, %v", q, p, err)
	}
	if got, err := decodeLedger(encodeLedger(id)); err != nil || got != id {
		t.Errorf("ledger: %+v, %v", got, err)
	}
	for n := range 32 {
		if err := s.decode([]byte("s/x"), make([]byte, n)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("a sink of %d bytes: %v", n, err)
		}
	}
	if _, _, err := parseBlockKey([]byte("r/short")); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("short block key: %v", err)
	}
	if _, err := decodeLedger([]byte("short")); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("short ledger: %v", err)
	}
}

func TestTimesAreKept(t *testing.T) {
	last := time.Unix(0, 1<<63-1).UTC()
	for _, c := range []struct{ in, out time.Time }{
		{time.Time{}, time.Time{}}, {at, at}, {time.Unix(0, 0), time.Unix(0, 1).UTC()},
		{time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 1).UTC()},
		{time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC), last}, {last, last},
	} {
		if got := instant(nanos(c.in)); !got.Equal(c.out) || got.IsZero() != c.out.IsZero() {
			t.Errorf("%v is kept as %v, want %v", c.in, got, c.out)
		}
	}
}

func mustOpen(t *testing.T, dir string) *Buffer {
	t.Helper()
	b, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustClose(t *testing.T, b *Buffer) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// begun is an open buffer that belongs to a ledger.
func begun(t *testing.T, dir string) *Buffer {
	t.Helper()
	b := mustOpen(t, dir)
	if !b.Fresh() {
		t.Fatal("a new buffer is not fresh")
	}
	if err := b.Begin(id); err != nil {
		t.Fatal(err)
	}
	return b
}

func commit(t *testing.T, b *Buffer, applied uint64, do func(*Update)) {
	t.Helper()
	u := b.Update()
	defer u.Drop()
	do(u)
	if err := u.Commit(applied); err != nil {
		t.Fatal(err)
	}
}

func TestUpdate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buffer")
	b := begun(t, dir)
	commit(t, b, 3, func(u *Update) {
		u.Block(0, 3, bytes.Repeat([]byte("frames "), 100))
		u.Key(key, 1)
		u.Counter("p-1", 5)
		u.Counter("p-1", 3)
		u.Counter("p-2", 1)
		u.Count(attendance.RecordPunch, attendance.Flagged)
		u.Count(attendance.RecordPunch, 77)
		u.Count(attendance.RecordSettled, 0)
		u.Count(200, 0)
		u.Bury("hq", Dead{Seq: 1, At: 2})
		u.Pass("hq", 3, 2)
		u.Park("hq", Parked{Seq: 0, At: 2, Reason: 9, Since: at, Until: at})
		if u.Cursor("hq") != 3 || u.Cursor("other") != 0 {
			t.Error("a change does not see itself")
		}
	})
	check := func(b *Buffer) {
		t.Helper()
		want := Counts{Kinds: [8]uint64{0: 1, 1: 2, 2: 1}, Verdicts: [4]uint64{0: 1, attendance.Flagged: 1}}
		if b.Applied() != 3 || b.Counts() != want || want.Records() != 4 || want.Punches() != 2 || b.Ledger() != id {
			t.Errorf("applied %d, %+v", b.Applied(), b.Counts())
		}
		if got := b.Sinks(); !reflect.DeepEqual(got, map[string]Sink{"hq": {3, 2, 1, 1}}) {
			t.Errorf("sinks %+v", got)
		}
		l := b.Look()
		defer l.Close()
		if seq, found, err := l.Seq(key); seq != 1 || !found || err != nil {
			t.Errorf("key: %d %v %v", seq, found, err)
		}
		if _, found, err := l.Seq(attendance.Key{}); found || err != nil {
			t.Errorf("unknown key: %v %v", found, err)
		}
		for phone, want := range map[string]uint64{"p-1": 5, "p-2": 1, "p-3": 0} {
			if n, err := l.Counter(phone); n != want || err != nil {
				t.Errorf("%s: %d, %v, want %d", phone, n, err, want)
			}
		}
		if p, found, err := l.Parked("hq", 0); !found || err != nil || p.At != 2 || p.Tries != 1 || !p.Since.Equal(at) {
			t.Errorf("parked %+v %v %v", p, found, err)
		}
		if d, err := l.AllDead("hq", 0, 9); err != nil || !slices.Equal(d, []Dead{{1, 2}}) {
			t.Errorf("dead %v %v", d, err)
		}
		if due, err := l.Due("hq", at, 9); err != nil || !slices.Equal(due, []uint64{0}) {
			t.Errorf("due %v %v", due, err)
		}
		if due, err := l.Due("hq", at.Add(-1), 9); err != nil || due != nil {
			t.Errorf("due too early %v %v", due, err)
		}
	}
	check(b)
	u := b.Update() // what is dropped leaves nothing
	u.Pass("hq", 99, 50)
	u.Key(attendance.Key{1}, 5)
	u.Drop()
	check(b)
	mustClose(t, b)
	b = mustOpen(t, dir)
	check(b)
	if size, err := b.Size(); err != nil || size < 1000 {
		t.Errorf("size %d, %v", size, err)
	}

	// Parked again keeps since and counts tries; unparked and dead go on.
	commit(t, b, 4, func(u *Update) {
		u.Park("hq", Parked{Seq: 0, At: 3, Reason: 10, Since: at.Add(time.Hour), Until: at.Add(2 * time.Hour)})
		u.Block(3, 1, nil)
	})
	l := b.Look()
	p, found, err := l.Parked("hq", 0)
	if want := (Parked{0, 3, 10, at, at.Add(2 * time.Hour), 2}); !found || err != nil || p != want {
		t.Errorf("parked again %+v, want %+v, %v", p, want, err)
	}
	if due, err := l.Due("hq", at.Add(time.Hour), 9); err != nil || due != nil {
		t.Errorf("due by its old time: %v %v", due, err)
	}
	l.Close()
	commit(t, b, 4, func(u *Update) { u.Unpark("hq", 0); u.Unpark("hq", 0); u.Bury("hq", Dead{Seq: 1, At: 2}) })
	if got := b.Sinks()["hq"]; got != (Sink{3, 2, 0, 1}) {
		t.Errorf("after unparking twice and burying again: %+v", got)
	}
	l = b.Look()
	if due, err := l.Due("hq", at.AddDate(1, 0, 0), 9); err != nil || due != nil {
		t.Errorf("due though not parked: %v %v", due, err)
	}
	l.Close()
	mustClose(t, b)
}

// TestLargeUpdate: a change of more entries than Badger takes at once. If only
// its first part survives, applying it again comes to the same.
func TestLargeUpdate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buffer")
	b := begun(t, dir)
	const n = 9000
	apply := func(u *Update) {
		for i := range uint64(n) {
			u.Count(attendance.RecordPunch, attendance.Accepted)
			u.Key(attendance.Key{byte(i), byte(i >> 8)}, i)
			switch i % 3 {
			case 0:
				u.Park("hq", Parked{Seq: i, Since: at, Until: at.Add(time.Duration(i))})
			case 1:
				u.Bury("hq", Dead{Seq: i})
			}
		}
		u.Pass("hq", n, n)
		u.Block(0, n, []byte("frames"))
	}
	u := b.Update()
	apply(u) // several parts are committed on the way
	u.Drop() // and then the power goes
	mustClose(t, b)
	b = mustOpen(t, dir)
	if b.Applied() != 0 || b.Counts().Records() != 0 {
		t.Errorf("applied %d, %+v", b.Applied(), b.Counts())
	}
	if aside, err := b.Suspects(); len(aside) > 0 || err != nil {
		t.Errorf("suspect: %v, %v", aside, err)
	}
	if s := b.Sinks()["hq"]; s.Parked == 0 {
		t.Error("nothing was committed on the way: the test tests nothing")
	}
	commit(t, b, n, apply)
	if s := b.Sinks()["hq"]; s != (Sink{n, n, n / 3, n / 3}) || b.Counts().Punches() != n {
		t.Errorf("%+v %+v", s, b.Counts())
	}
	mustClose(t, b)
}

// TestRevived: parking a dead record ends that it is dead, wherever the change
// is cut in two and applied again.
func TestRevived(t *testing.T) {
	b := begun(t, filepath.Join(t.TempDir(), "buffer"))
	for shift := range uint64(11) { // eleven entries are written for two records
		sink := fmt.Sprint("sink ", shift)
		const n = maxEntries / 5
		apply := func(u *Update) {
			for i := range shift {
				u.Key(attendance.Key{1, byte(i)}, i)
			}
			for i := range uint64(n) {
				u.Bury(sink, Dead{Seq: i, At: 1})
				u.Park(sink, Parked{Seq: i, At: 2, Since: at, Until: at})
				if i%2 == 0 {
					u.Bury(sink, Dead{Seq: i, At: 3})
					u.Unpark(sink, i)
				}
			}
			u.Pass(sink, n, n)
		}
		u := b.Update()
		apply(u)
		u.Drop()
		mustClose(t, b)
		b = mustOpen(t, b.dir)
		if b.Sinks()[sink] == (Sink{}) {
			t.Fatal("nothing was committed on the way: the test tests nothing")
		}
		commit(t, b, 0, apply)
		if got := b.Sinks()[sink]; got != (Sink{n, n, n / 2, n / 2}) {
			t.Errorf("shifted by %d: %+v of %d", shift, got, n)
		}
		l := b.Look()
		parked, err := l.AllParked(sink, 0, n)
		dead, derr := l.AllDead(sink, 0, n)
		due, uerr := l.Due(sink, at, n)
		if err := errors.Join(err, derr, uerr); err != nil || len(parked) != n/2 || len(dead) != n/2 || len(due) != n/2 || parked[0].Seq != 1 || dead[1] != (Dead{2, 3}) {
			t.Errorf("shifted by %d: %d parked, %d dead, %d due, %v", shift, len(parked), len(dead), len(due), err)
		}
		l.Close()
	}
	mustClose(t, b)
}

func TestRetryAll(t *testing.T) {
	b := begun(t, filepath.Join(t.TempDir(), "buffer"))
	defer mustClose(t, b)
	commit(t, b, 0, func(u *Update) {
		for i := range uint64(2*retryStep + 7) {
			u.Park("hq", Parked{Seq: i, Since: at, Until: at.AddDate(1, 0, 0)})
			u.Park("hq2", Parked{Seq: i, Since: at})
		}
	})
	if n, err := b.RetryAll("hq", at); err != nil || n != 2*retryStep+7 {
		t.Errorf("retried %d, %v", n, err)
	}
	l := b.Look()
	defer l.Close()
	if due, err := l.Due("hq", at, 1e6); err != nil || len(due) != 2*retryStep+7 || due[3] != 3 {
		t.Errorf("%d due, %v", len(due), err)
	}
	if due, err := l.Due("hq2", at.AddDate(9, 0, 0), 1e6); err != nil || due != nil {
		t.Errorf("%d of another sink due, %v", len(due), err)
	}
	if p, _, err := l.Parked("hq", 5); err != nil || p.Tries != 1 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestBlocks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "buffer")
	b := begun(t, dir)
	small, large := []byte("a short one"), bytes.Repeat([]byte("long "), 100_000)
	commit(t, b, 10, func(u *Update) { u.Block(0, 10, small) })
	commit(t, b, 1000, func(u *Update) { u.Block(10, 990, large) })
	commit(t, b, 1005, func(u *Update) { u.Block(1000, 5, nil) })
	commit(t, b, 1006, func(u *Update) { u.Block(1005, 1, small) })
	for range 2 {
		for _, c := range []struct {
			seq  uint64
			want Block
		}{
			{0, Block{0, 10, small}}, {9, Block{0, 10, small}}, {10, Block{10, 990, large}}, {999, Block{10, 990, large}},
			{1000, Block{1000, 5, nil}}, {1004, Block{1000, 5, nil}}, {1005, Block{1005, 1, small}},
		} {
			got, found, err := b.Block(c.seq)
			if err != nil || !found || !reflect.DeepEqual(got, c.want) {
				t.Errorf("block of %d: %d+%d %d bytes, %v, %v", c.seq, got.First, got.Count, len(got.Frames), found, err)
			}
		}
		if _, found, err := b.Block(1006); found || err != nil {
			t.Errorf("behind the last: %v, %v", found, err)
		}
		mustClose(t, b)
		b = mustOpen(t, dir)
	}
	mustClose(t, b)
}

// TestContradictions: a buffer that does not fit together is moved aside.
func TestContradictions(t *testing.T) {
	raw := func(do func(txn *badger.Txn) error) func(*Buffer) error {
		return func(b *Buffer) error { return b.db.Update(do) }
	}
	set := func(key, val []byte) func(*Buffer) error {
		return raw(func(txn *badger.Txn) error { return txn.Set(key, val) })
	}
	for name, spoil := range map[string]func(*Buffer) error{
		"another version":     set(keyVersion, numbers(version+1)),
		"version of no sense": set(keyVersion, []byte("?")),
		"no ledger":           raw(func(txn *badger.Txn) error { return txn.Delete(keyLedger) }),
		"no counts":           raw(func(txn *badger.Txn) error { return txn.Delete(keyCounts) }),
		"no version":          raw(func(txn *badger.Txn) error { return txn.Delete(keyVersion) }),
		"a sink of no sense":  set(sinkKey("hq"), []byte("?")),
		"applied too high":    set(keyApplied, numbers(11)),
		"applied too low":     set(keyApplied, numbers(9)),
		"applied nothing":     set(keyApplied, numbers(0)),
		"the last block gone": raw(func(txn *badger.Txn) error { return txn.Delete(blockKey(5, 5)) }),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "buffer")
			b := begun(t, dir)
			commit(t, b, 5, func(u *Update) { u.Block(0, 5, []byte("x")) })
			commit(t, b, 10, func(u *Update) { u.Block(5, 5, []byte("y")) })
			if err := spoil(b); err != nil {
				t.Fatal(err)
			}
			mustClose(t, b)
			b = mustOpen(t, dir)
			defer mustClose(t, b)
			aside, err := b.Suspects()
			if err != nil || len(aside) != 1 || aside[0].Reason == "" || !b.Fresh() || b.Applied() != 0 {
				t.Errorf("suspects %v, %v, fresh %v, applied %d", aside, err, b.Fresh(), b.Applied())
			}
			if err := b.Begin(id); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIncurable: an error that a new buffer would meet as well moves nothing.
func TestIncurable(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("x: %w", syscall.ENOSPC), syscall.EFBIG, syscall.EDQUOT, syscall.EIO, errors.New("while opening: " + syscall.EMFILE.Error()), &fs.PathError{Err: fs.ErrPermission},
		errors.New("Cannot acquire directory lock on \"x\".  Another process is using this Badger database."),
	} {
		if !incurable(err) {
			t.Errorf("%v: counted as one that a new buffer cures", err)
		}
	}
	if incurable(errors.New("checksum mismatch")) {
		t.Error("a checksum mismatch is counted as incurable")
	}
	dir := filepath.Join(t.TempDir(), "buffer")
	b := begun(t, dir)
	defer mustClose(t, b)
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Error("opened twice")
	}
	if left, _ := filepath.Glob(dir + suspectMark + "*"); left != nil {
		t.Errorf("a buffer in use was moved: %v", left)
	}
}

func TestSinkNames(t *testing.T) {
	for _, name := range []string{"hq", "总部", "a/b c", strings.Repeat("x", MaxSinkName)} {
		if err := CheckSinkName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "a\x00b", "a\nb", "\xff", strings.Repeat("x", MaxSinkName+1)} {
		if err := CheckSinkName(name); err == nil {
			t.Errorf("%q: accepted", name)
		}
	}
}
