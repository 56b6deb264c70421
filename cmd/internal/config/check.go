package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/punchd/punchd/sync/roster/strict"
)

// checker turns a raw configuration into a typed one and collects what is
// wrong with it.
type checker struct {
	doc    *strict.Document
	dir    string          // of the file; paths in it begin here
	read   strict.Problems // of the form, with their places
	found  strict.Problems // of the content, placed at the end
	warned strict.Problems // the same
}

// maxFound bounds the mistakes of content. A long list of users may have one
// each, and all of them are held against each other.
const maxFound = 1000

func (c *checker) fail(path, format string, args ...any) { c.hint(path, "", format, args...) }

func (c *checker) hint(path, hint, format string, args ...any) {
	// What could not be read is told already, and must not be told as missing.
	for _, p := range c.read {
		if p.Path == path || parent(p.Path) == parent(path) && strings.HasPrefix(format, "is missing") && strings.HasPrefix(p.Message, "unknown key") {
			return
		}
	}
	if len(c.found) >= maxFound || slices.ContainsFunc(c.found, func(p *strict.Problem) bool { return p.Path == path }) {
		return
	}
	c.found = append(c.found, &strict.Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *checker) warn(path, format string, args ...any) {
	c.warned = append(c.warned, &strict.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// sorted puts problems in the order of the lines.
func sorted(list strict.Problems) strict.Problems {
	slices.SortStableFunc(list, func(a, b *strict.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return list
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '.'), 0)] }

// path makes a path of the file one that can be opened.
func (c *checker) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(c.dir, p)
}

func (c *checker) config(raw *rawConfig) *Config {
	cfg := &Config{}
	c.site(raw.Site, cfg)
	c.gateway(raw.Gateway, cfg)
	c.terminals(raw.Terminals, cfg)
	c.phones(raw.Phones, cfg)
	c.gatewayKey(raw.Gateway, cfg)
	switch {
	case raw.Roster == nil:
		c.fail("roster", "is missing: {file: roster.yaml}")
	case raw.Roster.File == "":
		c.fail("roster.file", "is missing")
	default:
		cfg.Roster.File = c.path(raw.Roster.File)
	}
	c.sinks(raw.Sinks, cfg)
	if len(raw.Terminals) == 0 && raw.Phones == nil {
		c.warn("terminals", "neither terminals nor phones: there is nothing to take punches from")
	}
	return cfg
}

func (c *checker) site(raw *rawSite, cfg *Config) {
	if raw == nil {
		c.fail("site", "is missing: {id: my-office, timezone: Asia/Shanghai}")
		return
	}
	cfg.Site.ID = raw.ID
	c.id("site.id", raw.ID)
	cfg.Site.Zone = c.zone("site.timezone", raw.Timezone)
}

func (c *checker) gateway(raw *rawGateway, cfg *Config) {
	if raw == nil {
		c.fail("gateway", "is missing: {id: gw-01}")
		return
	}
	cfg.Gateway.ID = raw.ID
	c.id("gateway.id", raw.ID)
	cfg.Gateway.DataDir = c.path(cmp.Or(raw.DataDir, "punchd-data"))
}

// id checks an id that stands in topics, events and file names.
func (c *checker) id(path, id string) bool {
	switch {
	case id == "":
		c.fail(path, "is missing")
	case len(id) > 64:
		c.fail(path, "has %d bytes, the limit is 64", len(id))
	case !validName(id):
		c.fail(path, "%q may hold letters, digits, dots, dashes and underscores, and begins with a letter or digit", id)
	default:
		return true
	}
	return false
}

func validName(s string) bool {
	for i, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || i > 0 && (strings.ContainsRune("._-", r) || unicode.IsMark(r)) {
			continue
		}
		return false
	}
	return s != ""
}

// choice checks a word against those that are known.
func (c *checker) choice(path, what, word string, known ...string) bool {
	if slices.Contains(known, word) {
		return true
	}
	list := "known: " + strings.Join(known, ", ")
	if word == "" {
		c.hint(path, list, "is missing")
		return false
	}
	if near := strict.Nearest(word, known); near != "" {
		list = fmt.Sprintf("do you mean %q?", near)
	}
	c.hint(path, list, "unknown %s %.40q", what, word)
	return false
}

// foreign tells the keys that belong to another driver or kind.
func (c *checker) foreign(path, what, owner string, raw any) {
	known, foreign := keysFor(raw, owner)
	for _, key := range foreign {
		c.hint(path+"."+key, "known there: "+strings.Join(known, ", "), "is no key of the %s %s", what, owner)
	}
}

// listen checks an address to listen on.
func (c *checker) listen(path, address string) {
	if address == "" {
		c.fail(path, "is missing; an address is like 127.0.0.1:1883")
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, "/@ ") {
		c.fail(path, "%.40q is no address like 127.0.0.1:1883, [::1]:1883 or :1883", address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		c.fail(path, "port %.40q is not between 0 and %d", port, 1<<16-1)
	} else if n == 0 && host == "" {
		c.fail(path, "a port of 0 is another one at each start; that is of use on 127.0.0.1 only")
	}
}

// url checks an address of a service.
func (c *checker) url(path, text string, schemes ...string) *url.URL {
	if text == "" {
		c.fail(path, "is missing; it begins with %s://", strings.Join(schemes, ":// or "))
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		c.fail(path, "is no URL") // the error holds its text, and that may hold a password
	case !slices.Contains(schemes, u.Scheme):
		c.fail(path, "must begin with %s://", strings.Join(schemes, ":// or "))
	case u.User != nil:
		c.fail(path, "holds a user or a password, which would stand in logs; they have keys of their own")
	case u.Hostname() == "":
		c.fail(path, "names no host")
	case u.Port() != "" && !validPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		c.fail(path, "port %.40q is not between 1 and %d", u.Port(), 1<<16-1)
	case u.Fragment != "":
		c.fail(path, "holds a #")
	default:
		return u
	}
	return nil
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// loopback reports whether a host is this machine, as far as its name tells.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
