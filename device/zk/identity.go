package zk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/zk"
)

// A terminal that never told a serial number is asked over so many connections
// and so long before something else stands in for it.
const (
	namelessTries = 3
	namelessFor   = 2 * time.Minute
)

// What stands in for a serial number in keys begins so.
const (
	macPrefix = "mac "
	idPrefix  = "id "
)

// newID is what a person can do if a terminal tells nothing of what the one before
// it was known by, and never will.
const newID = "if another terminal has taken its place, give it an id of its own in the configuration, and it is read as a new one"

// nameless is what is known of a terminal that has told no serial number yet.
type nameless struct {
	since time.Time
	tries int
	mac   string // as told last
}

// identify learns which terminal this is, and holds that the punches of one
// terminal have one identity in their keys for ever: with another, its whole log
// would become new punches. If it is another terminal than before, nothing that
// was known holds.
func (d *Driver) identify(ctx context.Context, s *session) error {
	if !d.recalled && d.cfg.Known != nil {
		known, err := d.cfg.Known(ctx)
		if err != nil {
			return fmt.Errorf("zk: find out by what its punches were told apart: %w", err)
		}
		d.known = known
	}
	d.recalled = true
	before := cmp.Or(d.terminal.identity, d.known)
	serial, err := d.name(ctx, s, zk.OptSerial)
	if err != nil {
		return err
	}
	identity, err := d.identity(ctx, s, before, serial)
	if err != nil {
		return err
	}
	if d.terminal.identity != identity {
		q := quirks{identity: inWords(identity)}
		if before != "" && before != identity {
			d.log.Warn("another terminal answers at this address: its log is read as a new one", "before", before, "now", identity)
			q.replaced = before
		}
		d.terminal, d.nameless = newTerminal(identity), nameless{}
		d.learn(func(known *quirks) { *known = q })
	}
	return d.describe(ctx, s, serial)
}

// identity says by what the punches of this terminal are told apart, given what
// those before it were told apart by, and its serial number if it tells one.
func (d *Driver) identity(ctx context.Context, s *session, before, serial string) (string, error) {
	mac, byMAC := strings.CutPrefix(before, macPrefix)
	switch {
	case before == idPrefix+d.cfg.ID:
		// Nothing tells whether this is the same terminal; that it is another one
		// does no harm, and a new identity for the same one would.
		return before, nil
	case byMAC:
		now, err := d.name(ctx, s, zk.OptMAC)
		switch {
		case err != nil:
			return "", err
		case strings.EqualFold(now, mac):
			return before, nil
		case now == "":
			return "", fmt.Errorf("zk: the punches of this terminal are told apart by its MAC, %s, and it does not tell one now; it is asked again, and not read before; %s", mac, newID)
		}
	case before != "" && serial == "":
		return "", fmt.Errorf("zk: the terminal was %s before and does not tell its serial number now; it is asked again, and not read before; %s", before, newID)
	}
	if serial != "" {
		return serial, nil
	}
	return d.standIn(ctx, s)
}

// standIn gives what takes the place of a serial number, once the terminal has
// been asked for it often enough.
func (d *Driver) standIn(ctx context.Context, s *session) (string, error) {
	mac, err := d.name(ctx, s, zk.OptMAC)
	if err != nil {
		return "", err
	}
	n := &d.nameless
	if n.tries++; n.tries == 1 {
		n.since = time.Now()
	}
	n.mac = cmp.Or(mac, n.mac)
	switch {
	case n.tries < namelessTries || time.Since(n.since) < namelessFor:
		return "", errors.New("zk: the terminal tells no serial number; it is asked for some minutes more, and then read without one")
	case n.mac != "":
		return macPrefix + n.mac, nil
	}
	return idPrefix + d.cfg.ID, nil
}

// inWords tells an identity that is no serial number.
func inWords(identity string) string {
	switch {
	case strings.HasPrefix(identity, macPrefix):
		return "told no serial number at first: its punches are told apart by its MAC"
	case strings.HasPrefix(identity, idPrefix):
		return "told neither serial number nor MAC at first: its punches are told apart by the configured id, which must not change"
	}
	return ""
}
