package zk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/punchd/punchd/protocol"
)

func TestUsers(t *testing.T) {
	for _, c := range []struct {
		layout UserLayout
		raw    string
		want   User
	}{
		{User72, "0e00 06 3132333435360000 4e7565766f" + strings.Repeat("00", 19) + "8f190000 01 0000 000000000000 3131323234343838" + strings.Repeat("00", 16),
			User{UID: 14, PIN: "11224488", Name: "Nuevo", Password: "123456", Card: 6543, Privilege: PrivilegeAdmin, Group: 1}},
		{User28, "0100 0e 3132333400 4164610000000000 de000000 00 01 0000 65000000",
			User{UID: 1, PIN: "101", Name: "Ada", Password: "1234", Card: 222, Privilege: PrivilegeSuper, Group: 1}},
		{User72, "0100 01 0000000000000000 e5bca0e4bc9f" + strings.Repeat("00", 18) + "00000000 00 0100 020003000400 30303132" + strings.Repeat("00", 20),
			User{UID: 1, PIN: "0012", Name: "张伟", Disabled: true, Zones: [4]uint16{1, 2, 3, 4}}},
		{User28, "ffff 03 3132333435 4d61727468616161 00000000 00 ff ffff ffffffff", // no NUL anywhere
			User{UID: 65535, PIN: "4294967295", Name: "Marthaaa", Password: "12345", Privilege: PrivilegeEnroller, Disabled: true, Group: 255, Zones: [4]uint16{65535}}},
	} {
		raw := unhex(t, c.raw)
		if u, err := ParseUser(raw, c.layout); u != c.want || err != nil {
			t.Errorf("%+v, %v; want %+v", u, err, c.want)
		}
		if again, err := AppendUser(nil, c.layout, c.want); !bytes.Equal(again, raw) || err != nil {
			t.Errorf("made %x, %v\nwas  %x", again, err, raw)
		}
		for n := range raw {
			if u, err := ParseUser(raw[:n], c.layout); !errors.Is(err, protocol.ErrMalformed) || u != (User{}) {
				t.Errorf("cut to %d: %+v, %v", n, u, err)
			}
		}
		if got, err := GuessUserLayout(raw); got != c.layout || err != nil {
			t.Errorf("taken for %v, %v", got, err)
		}
	}
	// Text ends at its first NUL, whatever memory held behind it.
	raw, err := AppendUser(nil, User72, User{UID: 2, PIN: "7", Name: "Bo", Password: "444"})
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[7:], "\xc6\x9a\x80\x7c")
	copy(raw[14:], "\xff\x01garbage")
	copy(raw[50:], "\xee\xee")
	if u, err := ParseUser(raw, User72); u.Password != "444" || u.Name != "Bo" || u.PIN != "7" || err != nil {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestUsersBad(t *testing.T) {
	good, err := AppendUser(nil, User72, User{UID: 2, PIN: "7"})
	if err != nil {
		t.Fatal(err)
	}
	control := bytes.Clone(good)
	control[48] = 7
	users, bad, err := ParseUsers(slicesOf(good, make([]byte, 72), good, control, good[:71]), User72)
	if err != nil || len(users) != 2 || len(bad) != 3 || bad[0].Index != 1 || bad[1].Index != 3 || bad[2].Index != 4 ||
		!errors.Is(bad[0].Err, protocol.ErrMalformed) || !errors.Is(bad[1].Err, protocol.ErrMalformed) || !errors.Is(bad[2].Err, protocol.ErrIncomplete) {
		t.Errorf("%+v, %+v, %v", users, bad, err)
	}
	for _, l := range []UserLayout{-1, 0, 29, 1 << 40} {
		if _, _, err := ParseUsers(good, l); !errors.Is(err, protocol.ErrUnsupported) {
			t.Error(l, err)
		}
		if _, err := AppendUser(nil, l, User{UID: 1, PIN: "1"}); !errors.Is(err, protocol.ErrUnsupported) {
			t.Error(l, err)
		}
	}
	if _, _, err := ParseUsers(make([]byte, 65536*28), User28); !errors.Is(err, protocol.ErrTooLarge) {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		l UserLayout
		u User
	}{
		"no PIN":                              {User72, User{UID: 1}},
		"PIN too long":                        {User72, User{UID: 1, PIN: strings.Repeat("1", 25)}},
		"PIN not ASCII":                       {User72, User{UID: 1, PIN: "张"}},
		"name too long":                       {User72, User{UID: 1, PIN: "1", Name: strings.Repeat("a", 25)}},
		"name with a NUL":                     {User72, User{UID: 1, PIN: "1", Name: "a\x00b"}},
		"password too long":                   {User72, User{UID: 1, PIN: "1", Password: "123456789"}},
		"an odd privilege":                    {User72, User{UID: 1, PIN: "1", Privilege: 1}},
		"PIN with a leading zero as a number": {User28, User{UID: 1, PIN: "0012"}},
		"no PIN as a number":                  {User28, User{UID: 1}},
		"four time zones":                     {User28, User{UID: 1, PIN: "1", Zones: [4]uint16{1, 2, 0, 0}}},
	} {
		if b, err := AppendUser(nil, c.l, c.u); err == nil || len(b) > 0 {
			t.Errorf("%s: % x, %v", name, b, err)
		}
	}
}

func TestGuessUserLayout(t *testing.T) {
	for _, l := range []UserLayout{User28, User72} {
		for n := 1; n <= 60; n++ {
			for seed := range uint64(10) {
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				var b []byte
				for i := range n {
					u := User{
						UID: uint16(i + 1), PIN: fmt.Sprint(1 + r.IntN(pick(r, 9, 9999, 1<<30))), Card: r.Uint32N(pick(r, uint32(1), 1<<31)),
						Name: pick(r, "", "Ada", "张伟", "\xd5\xc5\xce\xb0", "محمد"), Password: Secret(pick(r, "", "1234", "0")),
						Privilege: pick(r, PrivilegeUser, PrivilegeUser, PrivilegeSuper), Disabled: r.IntN(9) == 0, Group: uint8(r.IntN(3)),
					}
					var err error
					if b, err = AppendUser(b, l, u); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := GuessUserLayout(b); got != l || err != nil {
					t.Errorf("%d users of %d bytes, seed %d: %v, %v", n, l, seed, got, err)
				}
			}
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 504), bytes.Repeat([]byte{0xff}, 504), bytes.Repeat([]byte("1"), 71)} {
		if l, err := GuessUserLayout(b); !errors.Is(err, protocol.ErrUnsupported) {
			t.Errorf("%d bytes: %v, %v", len(b), l, err)
		}
	}
}

// TestNameRoom holds that a name cut to the room of a layout fits it.
func TestNameRoom(t *testing.T) {
	for _, l := range []UserLayout{User28, User72} {
		name := Charset{}.Raw(strings.Repeat("欧a", 30), l.NameRoom())
		b, err := AppendUser(nil, l, User{UID: 1, PIN: "1", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if u, err := ParseUser(b, l); u.Name != name || len(name) < l.NameRoom()-3 || err != nil {
			t.Errorf("%d bytes: %q, %v", l, u.Name, err)
		}
	}
}

func TestSecret(t *testing.T) {
	u := User{UID: 1, PIN: "1", Password: "8697"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, u); strings.Contains(s, "8697") || !strings.Contains(s, "***") {
			t.Errorf("%s: %s", verb, s)
		}
	}
	if Secret("").String() != "" {
		t.Error("no password looks like one")
	}
}

func TestCharset(t *testing.T) {
	for _, c := range []struct{ charset, raw, text string }{
		{"utf-8", "张伟", "张伟"},
		{"utf-8", "\xd5\xc5\xce\xb0", "\uFFFDΰ"}, // half of it happens to be UTF-8
		{"gbk", "\xd5\xc5\xce\xb0", "张伟"},
		{"GBK", "张伟", "张伟"}, // a new terminal in an old setting
		{"gbk", "Ada", "Ada"},
		{"windows-1256", "\xe3\xcd\xe3\xcf", "محمد"},
		{"windows-1252", "Jos\xe9", "José"},
		{"windows-1251", "\xc0\xed\xed\xe0", "Анна"},
		{"euc-kr", "\xb1\xe8", "김"},
		{"gbk", "\x80\xff", "€\uFFFD"},
	} {
		cs, err := ParseCharset(c.charset)
		if err != nil {
			t.Fatal(err)
		}
		if got := cs.Text(c.raw); got != c.text {
			t.Errorf("%s: % x is %q, want %q", c.charset, c.raw, got, c.text)
		}
	}
	if _, err := ParseCharset("utf-16"); err == nil || !strings.Contains(err.Error(), "windows-1256") {
		t.Error(err)
	}
	gbk, err := ParseCharset("gbk")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cs   Charset
		text string
		room int
		raw  string
	}{
		{Charset{}, "张伟", 23, "张伟"},
		{Charset{}, "欧阳娜娜欧阳娜娜", 23, "欧阳娜娜欧阳娜"},
		{Charset{}, "张伟", 5, "张"},
		{Charset{}, "张伟", 2, ""},
		{gbk, "张伟", 4, "\xd5\xc5\xce\xb0"},
		{gbk, "张伟", 3, "\xd5\xc5"},
		{gbk, "Zoë 👋", 23, "Zo? ?"},
		{Charset{}, "a\x00b\tc\xff", 23, "a?b?c?"},
	} {
		if got := c.cs.Raw(c.text, c.room); got != c.raw {
			t.Errorf("%q in %d bytes: % x, want % x", c.text, c.room, got, c.raw)
		}
	}
}

func FuzzUsers(f *testing.F) {
	f.Add(unhex(f, "01000e3132333400416461000000000 0de000000000100006500 0000"), true)
	for _, u := range []User{{UID: 14, PIN: "11224488", Name: "Nuevo", Password: "123456", Card: 6543}, {UID: 1, PIN: "0012", Name: "张伟"}} {
		b, err := AppendUser(nil, User72, u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, short bool) {
		l := User72
		if short {
			l = User28
		}
		if _, err := GuessUserLayout(b); err != nil && !isKind(err) {
			t.Error(err)
		}
		users, bad, err := ParseUsers(b, l)
		if err != nil {
			if !isKind(err) || users != nil || bad != nil {
				t.Error(users, bad, err)
			}
			return
		}
		if want := (len(b) + int(l) - 1) / int(l); len(users)+len(bad) != want {
			t.Errorf("%d users, %d bad, of %d", len(users), len(bad), want)
		}
		for _, u := range users {
			again, err := AppendUser(nil, l, u)
			if err != nil {
				t.Fatalf("%+v: %v", u, err)
			}
			if back, err := ParseUser(again, l); back != u || err != nil {
				t.Errorf("%+v comes back as %+v, %v", u, back, err)
			}
			if !utf8.ValidString((Charset{}).Text(u.Name)) {
				t.Errorf("%q is no text", u.Name)
			}
		}
	})
}
