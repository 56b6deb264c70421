package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/protocol/attendance"
)

// The files that --write leaves for a person to paste.
const (
	employeesFile = "employees.yaml"
	phonesFile    = "phones.yaml"
)

// writePhones writes what a gateway must know of the phones, and says where
// each part goes.
func writePhones(out io.Writer, fleet *phone.Fleet, dir, broker string) error {
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return err
	}
	files := map[string]string{
		employeesFile: employeesYAML(fleet.RosterEntries()),
		phonesFile:    phonesYAML(fleet.Users(), broker),
	}
	for _, user := range fleet.Users() {
		password, _ := fleet.Password(user) // it names its own users
		files[filepath.Join("keys", "mqtt-"+user)] = password + "\n"
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, `wrote %s: paste it into roster.yaml, below the line "employees:"
wrote %s: paste it into punchd.yaml, at its end
wrote %d passwords, which the latter names: %s

If punchd.yaml has "phones:" already, paste only the users, below its "users:".
A running punchd takes up the roster by itself. For a change of punchd.yaml it
must be stopped and started again.
`, filepath.Join(dir, employeesFile), filepath.Join(dir, phonesFile), len(fleet.Users()), filepath.Join(dir, "keys", "mqtt-*"))
	return err
}

// employeesYAML is entries for the list of employees in a roster, as far as the
// phones' owners have anything to tell.
func employeesYAML(employees []attendance.Employee) string {
	var b strings.Builder
	for _, e := range employees {
		fmt.Fprintf(&b, "  - id: %s\n    name: %s\n    phones:\n", yamlText(e.ID), yamlText(e.Name))
		for _, p := range e.Phones {
			if p.OwnTracksUser != "" {
				fmt.Fprintf(&b, "      - {owntracks_user: %s}\n", yamlText(p.OwnTracksUser))
			} else {
				fmt.Fprintf(&b, "      - {id: %s, key: %s}\n", yamlText(p.ID), yamlText(p.Key))
			}
		}
	}
	return b.String()
}

// phonesYAML is the section of punchd.yaml for a broker of the gateway's own,
// at the address at which the phones will look for it.
func phonesYAML(users []string, broker string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "phones:\n  broker:\n    embedded:\n      listen: %s\n      users:\n", yamlText(broker))
	for _, user := range users {
		fmt.Fprintf(&b, "        %s: {file: keys/mqtt-%[1]s}\n", user)
	}
	return b.String()
}

// yamlText writes a text so that YAML reads it as just that. Always in quotes,
// since true, 0012 and many more would be something else without.
func yamlText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s) // YAML knows every escape that Go writes
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
