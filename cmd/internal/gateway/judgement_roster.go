package gateway

import (
	"fmt"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// phoneKeys reads the keys of native phones. A key is one phone's: with that
// of two, each could sign as the other.
func (j *judgement) phoneKeys(r *attendance.Roster) []error {
	type owner struct{ path, id string }
	var errs []error
	owners := map[string]owner{} // by key, in its one spelling
	for i := range r.Employees {
		e := &r.Employees[i]
		for k, p := range e.Phones {
			if p.Key == "" {
				continue
			}
			path := fmt.Sprintf("employees[%d].phones[%d].key", i, k)
			key, err := phone.ParseKey(p.Key)
			if first, taken := owners[key.JWK()]; err == nil && taken {
				err = fmt.Errorf("is the key at %s (%.128s) already; each phone has a key of its own", first.path, first.id)
			}
			if err != nil {
				errs = append(errs, &attendance.EntryError{Path: path, ID: e.ID, Err: err})
				continue
			}
			owners[key.JWK()] = owner{path, e.ID}
			j.keys[p.ID] = key
		}
	}
	return errs
}

// shutOut warns of a roster of nobody, and of phones that can't log in to the
// gateway's own broker, which may be those of another office.
func shutOut(cfg *config.Config, r *attendance.Roster) []error {
	if len(r.Employees) == 0 {
		return []error{&attendance.EntryError{Path: "employees", Err: fmt.Errorf("names nobody: every punch is of an unknown person, and every check-in is refused")}}
	}
	if cfg.Phones == nil || cfg.Phones.Embedded == nil || len(cfg.Phones.Embedded.Users) == 0 {
		return nil
	}
	var list []error
	more := 0
	for i := range r.Employees {
		for k, p := range r.Employees[i].Phones {
			user, key := mqttUser(p)
			if _, known := cfg.Phones.Embedded.Users[user]; known || user == "" {
				continue
			}
			if len(list) == maxStrange {
				more++
				continue
			}
			list = append(list, &attendance.EntryError{Path: fmt.Sprintf("employees[%d].phones[%d].%s", i, k, key), ID: r.Employees[i].ID,
				Err: fmt.Errorf("%q is no user of the broker here (phones.broker.embedded.users), so this phone can't log in", user)})
		}
	}
	if more > 0 {
		list = append(list, fmt.Errorf("and %d more phones that are no user of the broker here", more))
	}
	return list
}

// mqttUser is whom a phone logs in as, and the key of the roster that says so.
func mqttUser(p attendance.Phone) (user, key string) {
	if p.OwnTracksUser != "" {
		return p.OwnTracksUser, "owntracks_user"
	}
	return p.ID, "id"
}

// UnusedUsers are the users of the gateway's own broker who are nobody's phone,
// in any order.
func UnusedUsers(cfg *config.Config, r *attendance.Roster) []string {
	if cfg.Phones == nil || cfg.Phones.Embedded == nil {
		return nil
	}
	owned := map[string]bool{}
	for i := range r.Employees {
		for _, p := range r.Employees[i].Phones {
			user, _ := mqttUser(p)
			owned[user] = true
		}
	}
	var unused []string
	for user := range cfg.Phones.Embedded.Users {
		if !owned[user] {
			unused = append(unused, user)
		}
	}
	return unused
}
