package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/punchd/punchd/protocol"
)

// UserLayout is the form of a terminal's user records, named by their length.
type UserLayout int

// The layouts.
const (
	User28 UserLayout = 28 // black-and-white terminals: PINs are numbers
	User72 UserLayout = 72 // terminals with colour screens: PINs are text
)

// NameRoom is how many bytes a name may have.
func (l UserLayout) NameRoom() int {
	if l == User28 {
		return 7
	}
	return 23
}

// Privilege is what a user may do at the terminal itself.
type Privilege uint8

// The privileges.
const (
	PrivilegeUser     Privilege = 0
	PrivilegeEnroller Privilege = 2
	PrivilegeAdmin    Privilege = 6
	PrivilegeSuper    Privilege = 14
)

// Secret is a password in clear, as terminals hold it. Printing it with any
// verb hides it; convert it to a string to read it.
type Secret string

// String hides the password.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the password.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// User is an entry of a terminal's user table.
type User struct {
	// UID is the slot. It differs from terminal to terminal and is given to
	// another person after a deletion; the PIN is who it is.
	UID       uint16
	PIN       string // text: 0012 is not 12
	Name      string // its bytes in the terminal's charset: see [Charset]
	Password  Secret
	Card      uint32 // 0: none
	Privilege Privilege
	Disabled  bool
	Group     uint8
	// Zones are the access time zones. User72 has a flag and three of them,
	// User28 the first alone.
	Zones [4]uint16
}

// ParseUser reads one user record. Text ends at its first NUL; the bytes
// behind that are what memory held before. The error wraps
// [protocol.ErrMalformed], also if b has another length than the layout.
func ParseUser(b []byte, l UserLayout) (User, error) {
	if l != User28 && l != User72 || len(b) != int(l) {
		return User{}, fmt.Errorf("zk: user record of %d bytes, it has %d or %d: %w", len(b), User28, User72, protocol.ErrMalformed)
	}
	le := binary.LittleEndian
	u := User{UID: le.Uint16(b), Privilege: Privilege(b[2] &^ 1), Disabled: b[2]&1 != 0}
	if l == User28 {
		u.Password = Secret(cutNUL(b[3:8]))
		u.Name = string(cutNUL(b[8:16]))
		u.Card = le.Uint32(b[16:])
		u.Group = b[21]
		u.Zones[0] = le.Uint16(b[22:])
		if pin := le.Uint32(b[24:]); pin != 0 {
			u.PIN = strconv.FormatUint(uint64(pin), 10)
		}
	} else {
		u.Password = Secret(cutNUL(b[3:11]))
		u.Name = string(cutNUL(b[11:35]))
		u.Card = le.Uint32(b[35:])
		u.Group = b[39]
		for i := range u.Zones {
			u.Zones[i] = le.Uint16(b[40+2*i:])
		}
		pin := cutNUL(b[48:72])
		if !printable(pin) {
			return User{}, fmt.Errorf("zk: user %d has the PIN %q: %w", u.UID, pin, protocol.ErrMalformed)
		}
		u.PIN = string(pin)
	}
	if u.PIN == "" {
		return User{}, fmt.Errorf("zk: user %d has no PIN: %w", u.UID, protocol.ErrMalformed)
	}
	return u, nil
}

// AppendUser appends the record of u. It fails if a field has no room for its
// value: nothing is cut, least of all a PIN.
func AppendUser(dst []byte, l UserLayout, u User) ([]byte, error) {
	if l != User28 && l != User72 {
		return dst, noUserLayout(l)
	}
	var name, password []byte
	b := make([]byte, l)
	le := binary.LittleEndian
	if l == User28 {
		pin, ok := numericPIN(u.PIN)
		if !ok || u.Zones[1]|u.Zones[2]|u.Zones[3] != 0 {
			return dst, fmt.Errorf("zk: a user record of %d bytes holds a number as PIN and one time zone, not PIN %.32q and zones %v", l, u.PIN, u.Zones)
		}
		password, name = b[3:8], b[8:16]
		le.PutUint32(b[16:], u.Card)
		b[21] = u.Group
		le.PutUint16(b[22:], u.Zones[0])
		le.PutUint32(b[24:], pin)
	} else {
		if u.PIN == "" || len(u.PIN) > 24 || !printable([]byte(u.PIN)) {
			return dst, fmt.Errorf("zk: %.32q can't be a PIN", u.PIN)
		}
		password, name = b[3:11], b[11:35]
		le.PutUint32(b[35:], u.Card)
		b[39] = u.Group
		for i, z := range u.Zones {
			le.PutUint16(b[40+2*i:], z)
		}
		copy(b[48:], u.PIN)
	}
	if !fill(name, u.Name) || !fill(password, string(u.Password)) || u.Privilege&1 != 0 {
		return dst, fmt.Errorf("zk: the name (%d bytes), password or privilege of user %d does not fit a record of %d bytes", len(u.Name), u.UID, l)
	}
	le.PutUint16(b, u.UID)
	b[2] = byte(u.Privilege)
	if u.Disabled {
		b[2] |= 1
	}
	return append(dst, b...), nil
}

// ParseUsers reads the records of a dataset, and keeps apart those that can't
// be read, among them what is left at the end. The error says that there is
// no such layout, or wraps [protocol.ErrTooLarge]: there are 65,535 slots.
func ParseUsers(records []byte, l UserLayout) (users []User, bad []Bad, err error) {
	if l != User28 && l != User72 {
		return nil, nil, noUserLayout(l)
	}
	if n := len(records) / int(l); n > math.MaxUint16 {
		return nil, nil, fmt.Errorf("zk: %d users, at most %d: %w", n, math.MaxUint16, protocol.ErrTooLarge)
	}
	users = make([]User, 0, len(records)/int(l))
	i := 0
	for raw := range slices.Chunk(records, int(l)) {
		if len(raw) < int(l) {
			bad = append(bad, partial(i, raw, int(l)))
		} else if u, err := ParseUser(raw, l); err != nil {
			bad = append(bad, Bad{i, raw, err})
		} else {
			users = append(users, u)
		}
		i++
	}
	return users, bad, nil
}

// GuessUserLayout finds the layout of a dataset by its content: that under
// which at least four records in five make sense while the other makes none.
// The error wraps [protocol.ErrUnsupported] if none or both fit.
func GuessUserLayout(records []byte) (UserLayout, error) {
	// Both lengths divide 504, so both see whole records of the sample.
	sample := records[:min(len(records), 504*128)]
	fits := func(l UserLayout) bool {
		good, all := 0, (len(sample)+int(l)-1)/int(l)
		for raw := range slices.Chunk(sample, int(l)) {
			if u, err := ParseUser(raw, l); err == nil && plausibleUser(u) {
				good++
			}
		}
		return good > 0 && good >= all-all/5
	}
	switch short, long := fits(User28), fits(User72); {
	case short && !long:
		return User28, nil
	case long && !short:
		return User72, nil
	case short:
		return 0, fmt.Errorf("zk: %d bytes of users make sense with records of %d and of %d bytes: %w", len(records), User28, User72, protocol.ErrUnsupported)
	}
	return 0, fmt.Errorf("zk: %d bytes are no users with records of %d or %d bytes: %w", len(records), User28, User72, protocol.ErrUnsupported)
}

func plausibleUser(u User) bool {
	text := func(s string) bool { return !bytes.ContainsFunc([]byte(s), func(r rune) bool { return r < ' ' }) }
	return u.UID != 0 && u.Privilege <= PrivilegeSuper && text(u.Name) && printable([]byte(u.Password))
}

// fill copies text into a field of zeros and reports whether it has room and
// reads back the same.
func fill(field []byte, text string) bool {
	return copy(field, text) == len(text) && bytes.IndexByte([]byte(text), 0) < 0
}

func cutNUL(b []byte) []byte {
	text, _, _ := bytes.Cut(b, []byte{0})
	return text
}

// printable reports whether b is printable ASCII, as PINs and passwords are.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// numericPIN is the number that a PIN is in layouts that hold it as one. Text
// that would not come back as it is, such as 0012, is none.
func numericPIN(pin string) (uint32, bool) {
	n, err := strconv.ParseUint(pin, 10, 32)
	return uint32(n), err == nil && n != 0 && strconv.FormatUint(n, 10) == pin
}

func noUserLayout(l UserLayout) error {
	return fmt.Errorf("zk: there is no user record of %d bytes: %w", l, protocol.ErrUnsupported)
}

func partial(index int, raw []byte, size int) Bad {
	return Bad{index, raw, fmt.Errorf("zk: the last record has %d of %d bytes: %w", len(raw), size, protocol.ErrIncomplete)}
}
