package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/punchd/punchd/protocol/cardline"
)

// badgeForms are the texts that each form can have, with or without zeros
// before a number. Capitals do not count in a roster.
var badgeForms = map[cardline.Form]*regexp.Regexp{
	cardline.FormHex:   regexp.MustCompile(`^[0-9A-Fa-f]{1,16}$`),
	cardline.FormDec10: regexp.MustCompile(`^[0-9]{1,10}$`),
	cardline.FormFCCN:  regexp.MustCompile(`^[0-9]+,[0-9]+$`),
}

// forms are those in which the readers write badges, nil if one of them may
// write anything. Other drivers than cardline read no badges.
func (c *Config) forms() []cardline.Form {
	var forms []cardline.Form
	for _, t := range c.Terminals {
		switch r := t.Cardline; {
		case r == nil:
		case r.Form != cardline.FormText:
			forms = append(forms, r.Form)
		case r.Format == "line":
			return nil
		default:
			forms = append(forms, cardline.FormHex)
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// ReadsBadge reports whether a reader could send a badge as it is written. If
// there are no readers nothing is known, and it says yes.
func (c *Config) ReadsBadge(badge string) bool {
	forms := c.forms()
	return len(forms) == 0 || slices.ContainsFunc(forms, func(f cardline.Form) bool {
		return badgeForms[f] == nil || badgeForms[f].MatchString(badge)
	})
}

// BadgeForms names the forms in which the readers here write badges.
func (c *Config) BadgeForms() string {
	var words []string
	for _, f := range c.forms() {
		words = append(words, string(f))
	}
	return strings.Join(words, " and ")
}
