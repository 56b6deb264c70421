package zk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/zk"
)

// resolve reads the user table if records name their people by slot alone. It
// is read anew for each log with new records: a slot may have got another
// holder, which no count shows.
func (d *Driver) resolve(ctx context.Context, s *session, log *snapshot, records []zk.Record, count said) error {
	unnamed := func(r zk.Record) bool { return r.PIN == "" }
	if !slices.ContainsFunc(records, unnamed) {
		return nil
	}
	if log.users == nil {
		users, err := d.users(ctx, s, count)
		if err != nil {
			return err
		}
		log.users = users
	}
	nobody := uint64(0)
	for _, r := range records {
		if unnamed(r) && log.users[r.UID] == "" {
			nobody++
		}
	}
	if nobody > 0 {
		d.log.Warn("punches of slots that nobody holds: the user was deleted at the terminal", "punches", nobody)
		d.learn(func(q *quirks) { q.nobody += nobody })
	}
	return nil
}

// users gives the PIN of each slot. Without a table there is no telling who
// punched: the log waits then.
func (d *Driver) users(ctx context.Context, s *session, count said) (map[uint16]string, error) {
	data, err := s.fetch(ctx, userTable())
	if _, refused := errors.AsType[*zk.RefusedError](err); refused {
		return nil, readError{fmt.Errorf("%w; without it the log, which has slots in place of PINs, does not tell who punched", err)}
	}
	if err != nil {
		return nil, err
	}
	pins := map[uint16]string{}
	var records []byte
	if len(data) > 0 {
		if records, _, err = zk.SplitDataset(data); err != nil {
			return nil, err
		}
	}
	if len(records) == 0 {
		if count.Users > 0 {
			return nil, readError{fmt.Errorf("zk: the user table is empty, and the terminal says that it has %d users", count.Users)}
		}
		return pins, nil
	}
	layout, err := zk.GuessUserLayout(records)
	if errors.Is(err, protocol.ErrUnsupported) {
		return nil, readError{err}
	}
	if err != nil {
		return nil, err
	}
	users, bad, err := zk.ParseUsers(records, layout)
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 { // without their bytes, among which are passwords
		d.log.Warn("user records that can't be read", "users", len(bad), "first", bad[0].Err)
	}
	for _, u := range users {
		if before, twice := pins[u.UID]; twice && before != u.PIN {
			u.PIN = "" // one of two people, and nothing tells which
		}
		pins[u.UID] = u.PIN
	}
	return pins, nil
}
