package gateway

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// The drivers of phones' punches, as they stand in records.
const (
	driverPhone     = "phone"
	driverOwnTracks = "owntracks"
)

// verify takes a check-in from a phone: it finds out whether the message is
// new, judges it, makes it durable, and says what became of it. A nil error
// means durable; the receipt is nil for what is no native check-in.
//
// One check-in of a phone is handled at a time, since the counter of one
// decides about the next; different phones go side by side.
func (g *Gateway) verify(ctx context.Context, c *attendance.CheckIn) (*attendance.Receipt, error) {
	unlock, err := g.phones.lock(ctx, c.User)
	if err != nil {
		return nil, err
	}
	defer unlock()

	claim, err := g.claim(c)
	if err != nil {
		return nil, err
	}
	seq, before, found, err := g.journal.Lookup(claim.key)
	if err != nil {
		return nil, err
	}
	if found && c.Auth == attendance.AuthSigned && claim.replay == "" && !sameClaims(before, c) {
		// The counter is used up and this says something else: the phone's key
		// was copied, or its counter set back. Stored under a key of its own.
		claim.replay = "counter used by another check-in"
		claim.key = attendance.RefusedKey(c.User, c.Topic, c.Evidence.Raw)
		if seq, before, found, err = g.journal.Lookup(claim.key); err != nil {
			return nil, err
		}
	}
	if found {
		g.counts.duplicates.Add(1)
		return receipt(c, seq, before, true), nil
	}

	p := g.judge(c, claim)
	results, err := g.journal.Append(ctx, []attendance.Record{p})
	if err != nil {
		return nil, err
	}
	if results[0].Duplicate {
		// Appended by another connection between the look-up and here, which
		// the lock prevents for one user and the key makes harmless for two.
		if seq, before, found, err = g.journal.Lookup(claim.key); err != nil || !found {
			return nil, fmt.Errorf("gateway: record %d is said to be a duplicate and can't be read: %w", results[0].Seq, err)
		}
		g.counts.duplicates.Add(1)
		return receipt(c, seq, before, true), nil
	}
	g.counts.punch(p)
	return receipt(c, results[0].Seq, p, false), nil
}

// claim is what a check-in says it is.
type claim struct {
	key    attendance.Key
	replay string // why it is a replay, empty if it is none
	gap    uint64 // counters that never arrived
}

// claim derives the key of a check-in from as much of it as is proven.
func (g *Gateway) claim(c *attendance.CheckIn) (claim, error) {
	refused := attendance.RefusedKey(c.User, c.Topic, c.Evidence.Raw)
	switch c.Auth {
	case attendance.AuthSigned:
		key := attendance.PhoneKey(c.Phone, c.Counter)
		last, err := g.journal.Counter(c.Phone)
		if err != nil || c.Counter > last {
			return claim{key: key, gap: c.Counter - last - 1}, err
		}
		// Either the same message again, which the key finds, or a replay.
		_, _, found, err := g.journal.Lookup(key)
		if err != nil || found {
			return claim{key: key}, err
		}
		return claim{key: refused, replay: fmt.Sprintf("counter %d after %d", c.Counter, last)}, nil
	case attendance.AuthUser:
		return claim{key: attendance.OwnTracksKey(c.Topic, c.Message, c.Evidence.Raw)}, nil
	default:
		return claim{key: refused}, nil
	}
}

// judge makes the punch of a check-in that the ledger does not have yet.
func (g *Gateway) judge(c *attendance.CheckIn, cl claim) *attendance.Punch {
	now := g.judgement.Load()
	e := now.employee(c)
	finding := now.judge.Judge(c, e, g.history.of(e))
	p := &attendance.Punch{
		Key: cl.key, Kind: c.Kind, Direction: c.Direction, Method: attendance.MethodPhone,
		Device: attendance.Device{ID: c.Phone, Driver: driverPhone},
		Site:   finding.Site, Place: finding.Place,
		At: c.At.UTC(), DeviceTime: attendance.LocalOf(c.At), Zone: offsetOf(c.At), ReceivedAt: c.ReceivedAt,
		Verdict: finding.Verdict, Reasons: finding.Reasons, Late: finding.Late,
		State: -1, Verify: -1, Evidence: c.Evidence,
	}
	if !c.Native {
		p.Device.Driver = driverOwnTracks
	}
	if p.Kind == 0 {
		p.Kind = attendance.KindPunch
	}
	if p.Site == "" {
		p.Site = now.site
	}
	if c.Auth == attendance.AuthMalformed { // nothing of the payload can be believed: the gateway's clock counts
		p.At, p.DeviceTime, p.Zone = c.ReceivedAt.UTC(), attendance.LocalOf(c.ReceivedAt.In(now.zone)), now.zone.String()
	}
	if e != nil {
		p.Employee = e.ID
	}
	if c.Auth == attendance.AuthSigned {
		p.Counter, p.Gap = c.Counter, cl.gap
	}
	if cl.replay != "" {
		// The counter stays out of the record: it belongs to another message.
		p.Counter, p.Gap = 0, 0
		p.Verdict = attendance.Refused
		p.Reasons = append([]attendance.Reason{attendance.ReasonReplayed}, p.Reasons...)
		return p
	}
	if e != nil {
		g.history.saw(e.ID, c)
	}
	return p
}

// sameClaims reports whether a signed check-in says what the one before it with
// the same counter said. The signatures may differ: a phone that signs anew
// makes another one, and of one anybody can make a second (ECDSA).
func sameClaims(before *attendance.Punch, c *attendance.CheckIn) bool {
	return bytes.Equal(phone.SigningInput(before.Evidence.Raw), phone.SigningInput(c.Evidence.Raw))
}

func receipt(c *attendance.CheckIn, seq uint64, p *attendance.Punch, duplicate bool) *attendance.Receipt {
	if !c.Native || c.Auth == attendance.AuthMalformed {
		return nil
	}
	return &attendance.Receipt{
		Phone: c.Phone, Counter: c.Counter, Key: p.Key, Seq: seq,
		Verdict: p.Verdict, Reasons: p.Reasons, ReceivedAt: p.ReceivedAt, Duplicate: duplicate,
	}
}

// offsetOf writes the offset of t as +08:00: a phone tells an offset, no zone.
func offsetOf(t time.Time) string { return t.Format("-07:00") }
