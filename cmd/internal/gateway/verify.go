package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
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
// One check-in of a phone is handled at a time, since what one leaves in the
// ledger decides about the next; different phones go side by side.
func (g *Gateway) verify(ctx context.Context, c *attendance.CheckIn) (*attendance.Receipt, error) {
	unlock, err := g.phones.lock(ctx, c.User)
	if err != nil {
		return nil, err
	}
	defer unlock()

	cl, before, err := g.claim(c)
	if err != nil {
		return nil, err
	}
	if before != nil {
		return g.again(c, before), nil
	}
	r, before, err := g.record(ctx, c, cl)
	if before != nil && c.Auth == attendance.AuthUser && !bytes.Equal(before.punch.Evidence.Raw, c.Evidence.Raw) {
		// OwnTracks signs nothing: what repeats the identity of a message and
		// says something else is a fact of its own, and must be seen.
		r, before, err = g.record(ctx, c, claim{key: refusedKey(c), replay: true})
	}
	if before != nil {
		return g.again(c, before), nil
	}
	return r, err
}

// record judges a check-in and makes it durable under the key of its claim. If
// the ledger has that key already, nothing is kept and its punch is returned.
func (g *Gateway) record(ctx context.Context, c *attendance.CheckIn, cl claim) (*attendance.Receipt, *stored, error) {
	p := g.judge(c, cl)
	results, err := g.journal.Append(ctx, []attendance.Record{p})
	if err != nil {
		return nil, nil, err
	}
	if results[0].Duplicate {
		_, first, _, err := g.journal.Lookup(cl.key)
		if err != nil {
			return nil, nil, err
		}
		return nil, &stored{results[0].Seq, first}, nil
	}
	g.remember(c, p)
	g.counts.punch(p)
	return receipt(c, &stored{results[0].Seq, p}, false), nil, nil
}

// stored is a punch in its place in the ledger.
type stored struct {
	seq   uint64
	punch *attendance.Punch
}

// again answers a message that the ledger has already, as the first time.
func (g *Gateway) again(c *attendance.CheckIn, first *stored) *attendance.Receipt {
	g.counts.duplicates.Add(1)
	return receipt(c, first, true)
}

// claim is what a check-in says it is.
type claim struct {
	key    attendance.Key
	replay bool   // it claims what another message is already
	gap    uint64 // counters right below its own that have not arrived
}

// claim derives the key of a check-in from as much of it as is proven. If that
// alone shows that the message came before, the punch of it is returned.
func (g *Gateway) claim(c *attendance.CheckIn) (claim, *stored, error) {
	switch c.Auth {
	case attendance.AuthSigned:
		return g.signedClaim(c)
	case attendance.AuthUser:
		return claim{key: attendance.OwnTracksKey(c.Topic, c.Message, c.Evidence.Raw)}, nil, nil
	}
	before, err := g.proven(c)
	return claim{key: refusedKey(c)}, before, err
}

// proven finds the punch of a message that proves nothing now and did so
// before: its key has been replaced in the roster, or taken out, and the phone
// asks for the receipt that it missed. Only the very same bytes count, since
// nothing else of the message can be believed.
func (g *Gateway) proven(c *attendance.CheckIn) (*stored, error) {
	if !c.Native || c.Counter == 0 {
		return nil, nil
	}
	seq, before, found, err := g.journal.Lookup(attendance.PhoneKey(c.Phone, c.Counter))
	if err != nil || !found || !bytes.Equal(before.Evidence.Raw, c.Evidence.Raw) {
		return nil, err
	}
	return &stored{seq, before}, nil
}

func (g *Gateway) signedClaim(c *attendance.CheckIn) (claim, *stored, error) {
	key := attendance.PhoneKey(c.Phone, c.Counter)
	last, err := g.journal.Counter(c.Phone)
	if err != nil {
		return claim{}, nil, err
	}
	// In the first two cases no record can have it.
	switch {
	case last == 0: // the first of this phone: where it began to count nobody knows
		return claim{key: key}, nil, nil
	case c.Counter > last:
		return claim{key: key, gap: c.Counter - last - 1}, nil, nil
	}
	seq, before, found, err := g.journal.Lookup(key)
	if err != nil {
		return claim{}, nil, err
	}
	switch {
	case !found:
		// Messages overtake each other, on the phone and on the way. That a
		// later one was first says nothing against this one: what is counted
		// once is the key, and how old it is the judge sees.
		return claim{key: key}, nil, nil
	case sameClaims(before, c):
		return claim{}, &stored{seq, before}, nil
	}
	// The counter is used up, and this says something else: the phone's key was
	// copied, or its counter set back. It is stored under a key of its own.
	return claim{key: refusedKey(c), replay: true}, nil, nil
}

func refusedKey(c *attendance.CheckIn) attendance.Key {
	return attendance.RefusedKey(c.User, c.Topic, c.Evidence.Raw)
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
	if cl.replay {
		// A counter stays out of the record: it belongs to another message.
		p.Counter, p.Gap = 0, 0
		p.Verdict = attendance.Refused
		p.Reasons = append([]attendance.Reason{attendance.ReasonReplayed}, p.Reasons...)
	}
	return p
}

// remember keeps where an employee was, once the punch is durable: a message
// that comes again must not count again.
func (g *Gateway) remember(c *attendance.CheckIn, p *attendance.Punch) {
	if p.Employee != "" && !slices.Contains(p.Reasons, attendance.ReasonReplayed) {
		g.history.saw(p.Employee, c)
	}
}

// sameClaims reports whether a signed check-in says what the one before it with
// the same counter said. The signatures may differ: a phone that signs anew
// makes another one, and of one anybody can make a second (ECDSA).
func sameClaims(before *attendance.Punch, c *attendance.CheckIn) bool {
	return bytes.Equal(phone.SigningInput(before.Evidence.Raw), phone.SigningInput(c.Evidence.Raw))
}

func receipt(c *attendance.CheckIn, s *stored, duplicate bool) *attendance.Receipt {
	if !c.Native || c.Auth == attendance.AuthMalformed {
		return nil
	}
	answered := sha256.Sum256(c.Evidence.Raw)
	return &attendance.Receipt{
		Phone: c.Phone, Counter: c.Counter, Key: s.punch.Key, Seq: s.seq,
		Verdict: s.punch.Verdict, Reasons: s.punch.Reasons, ReceivedAt: s.punch.ReceivedAt, Duplicate: duplicate,
		Message: answered[:],
		// What came before its phone, or the phone's new key, was enrolled is
		// judged anew once it is. What names somebody else never will be.
		Keep: c.Auth != attendance.AuthSigned && !c.Foreign && s.punch.Key == refusedKey(c),
	}
}

// offsetOf writes the offset of t as +08:00: a phone tells an offset, no zone.
func offsetOf(t time.Time) string { return t.Format("-07:00") }
