package zk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	wire "github.com/punchd/punchd/protocol/zk"
)

// User is somebody whom the terminal knows.
type User struct {
	UID  uint16 // slot
	PIN  string
	Name string // as text, whatever the terminal's charset
	Card uint32 // 0: none
}

// The ways to be recognised, as the log has them.
const (
	byPassword = 0
	byFinger   = 1
	byCard     = 2
	byFace     = 15
	byPalm     = 25
)

// person is a user with what the terminal keeps of him.
type person struct {
	wire.User
	raw    []byte  // the record as it is given out, with what memory held behind each NUL
	ways   []uint8 // verify codes
	shift  int     // hour at which he comes
	former string  // whose the slot was, empty: nobody's
}

// roll is the user table.
type roll struct {
	layout wire.UserLayout
	people map[uint16]*person
	byPIN  map[string]uint16
	slots  []uint16 // in use, sorted
}

func newRoll(c *Config, names wire.Charset, slots *rand.Rand) (roll, error) {
	r := roll{wire.User72, map[uint16]*person{}, map[string]uint16{}, nil}
	if c.Quirks.blackAndWhite() {
		r.layout = wire.User28
	}
	random := rand.New(rand.NewPCG(c.Seed, streamPeople))
	uids := slots.Perm(c.Users)
	former := map[string]bool{}
	first := ""
	for i := range c.Users {
		p := &person{User: wire.User{UID: uint16(uids[i] + 1), Group: 1}, shift: []int{9, 9, 9, 8, 6, 14, 22}[random.IntN(7)]}
		p.PIN = drawPIN(&c.Quirks, random, r.byPIN, former)
		switch zero := "0" + first; {
		case i == 0:
			first = p.PIN
		case i == 2 && !c.Quirks.numbersOnly() && len(zero) <= 9 && r.byPIN[zero] == 0 && !former[zero]:
			p.PIN = zero // who reads PINs as numbers takes two people for one
		}
		p.Name = drawName(names, random, i, r.layout.NameRoom())
		p.ways = [][]uint8{{byFinger}, {byFinger, byPassword}, {byFace}, {byFace, byCard}, {byCard}, {byPalm}}[random.IntN(6)]
		if card := random.Uint32(); slices.Contains(p.ways, byCard) {
			p.Card = max(card, 1)
		}
		if digits := 1000 + random.IntN(9000); slices.Contains(p.ways, byPassword) {
			p.Password = wire.Secret(fmt.Sprint(digits))
		}
		if i == 0 {
			p.Privilege = wire.PrivilegeSuper
		}
		raw, err := wire.AppendUser(nil, r.layout, p.User)
		if err != nil {
			return roll{}, err
		}
		p.raw = litter(raw, r.layout, random)
		r.put(p)
		if was := drawPIN(&c.Quirks, random, r.byPIN, former); c.Quirks.UIDReuse && i%3 == 0 {
			p.former = was
			former[was] = true
		}
	}
	return r, nil
}

// drawPIN makes a PIN that nobody has or had.
func drawPIN(q *Quirks, random *rand.Rand, has map[string]uint16, had map[string]bool) string {
	for {
		var digits [9]byte
		n := 1 + random.IntN(len(digits))
		for k := range digits {
			digits[k] = '0' + byte(random.IntN(10))
		}
		pin, odd := string(digits[:n]), random.IntN(3)
		switch {
		case q.numbersOnly() && pin[0] == '0':
			continue
		case q.PINAlnum && odd == 0:
			pin = "NB" + string(digits[:7])
		case q.PINAlnum && odd == 1:
			pin = "10000" + string(digits[:])
		case !q.numbersOnly() && odd == 2 && n < len(digits):
			pin = "0" + pin
		}
		if strings.Trim(pin, "0") != "" && has[pin] == 0 && !had[pin] {
			return pin
		}
	}
}

var (
	families = strings.Fields("王 李 张 刘 陈 杨 黄 赵 吴 周 欧阳 司马")
	givens   = strings.Fields("伟 芳 娜 敏 静 强 磊 洋 艳 秀英 志明 小红 建国 雨桐")
	others   = []string{"Ada Byron", "José Álvarez", "Nguyễn Văn An", "Søren Holm", "Zoë Müller", "Nuevo", "Иван Петров", "محمد علي", "O'Neill", "R. Sharma"}
)

// drawName makes a name that survives the terminal's charset.
func drawName(names wire.Charset, random *rand.Rand, i, room int) string {
	text := families[random.IntN(len(families))] + givens[random.IntN(len(givens))]
	if other := others[random.IntN(len(others))]; random.IntN(3) == 0 {
		text = other
	}
	raw := names.Raw(text, room)
	if strings.Contains(raw, "?") {
		raw = names.Raw(fmt.Sprintf("No. %d", i+1), room)
	}
	return raw
}

// litter puts into about every third record what real ones have: leavings of memory
// behind the NUL of a password and a name.
func litter(raw []byte, l wire.UserLayout, random *rand.Rand) []byte {
	fields := [][2]int{{3, 11}, {11, 35}}
	if l == wire.User28 {
		fields = [][2]int{{3, 8}, {8, 16}}
	}
	dirty := random.IntN(3) == 0
	for _, f := range fields {
		field := raw[f[0]:f[1]]
		after := false
		for i := range field {
			if rest := byte(random.Uint32()); dirty && after {
				field[i] = rest
			}
			after = after || field[i] == 0
		}
	}
	return raw
}

// put writes a person into his slot, and so over whoever has it.
func (r *roll) put(p *person) {
	if old := r.people[p.UID]; old != nil {
		delete(r.byPIN, old.PIN)
	} else {
		at, _ := slices.BinarySearch(r.slots, p.UID)
		r.slots = slices.Insert(r.slots, at, p.UID)
	}
	r.people[p.UID] = p
	r.byPIN[p.PIN] = p.UID
}

// remove reports whether somebody was in the slot.
func (r *roll) remove(uid uint16) bool {
	p := r.people[uid]
	if p == nil {
		return false
	}
	delete(r.people, uid)
	delete(r.byPIN, p.PIN)
	at, _ := slices.BinarySearch(r.slots, uid)
	r.slots = slices.Delete(r.slots, at, at+1)
	return true
}

func (r *roll) clear() {
	clear(r.people)
	clear(r.byPIN)
	r.slots = nil
}

// write is USER_WRQ. The error says why the terminal refuses.
func (r *roll) write(w wire.UserWrite, raw []byte, q *Quirks) error {
	u := w.User
	uid, taken := r.byPIN[u.PIN]
	switch {
	case w.Layout != r.layout:
		return fmt.Errorf("a user record here has %d bytes", r.layout)
	case u.UID == 0 || r.people[u.UID] == nil && len(r.slots) >= maxUsers:
		return errors.New("no such slot")
	case taken && uid != u.UID:
		return fmt.Errorf("slot %d has this PIN", uid)
	case len(u.PIN) > int(q.pinWidth()), !q.PINAlnum && strings.Trim(u.PIN, "0123456789") != "", q.numbersOnly() && u.PIN[0] == '0':
		return errors.New("not a PIN of this terminal")
	}
	p := &person{User: u, raw: slices.Clone(raw), ways: []uint8{byFinger}, shift: 9}
	if u.Card != 0 {
		p.ways = append(p.ways, byCard)
	}
	r.put(p)
	return nil
}

// pinWidth is how many characters a PIN may have.
func (q Quirks) pinWidth() uint8 {
	if q.PINAlnum {
		return 14
	}
	return 9
}

// demote takes everybody's rights.
func (r *roll) demote() {
	for _, p := range r.people {
		p.Privilege = wire.PrivilegeUser
		p.raw[2] &= 1
	}
}

// records is the user table as it is given out, by slot.
func (r *roll) records() []byte {
	all := make([]byte, 0, len(r.slots)*int(r.layout))
	for _, uid := range r.slots {
		all = append(all, r.people[uid].raw...)
	}
	return all
}

// Users are the people whom the terminal knows, by slot.
func (t *Terminal) Users() []User {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]User, 0, len(t.people.slots))
	for _, uid := range t.people.slots {
		p := t.people.people[uid]
		all = append(all, User{p.UID, p.PIN, t.names.Text(p.Name), p.Card})
	}
	return all
}
