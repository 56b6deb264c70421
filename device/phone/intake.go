package phone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

// maxProblem bounds what is kept of an error in a record, in bytes.
const maxProblem = 512

// intake turns what arrives on a topic into check-ins, whatever the transport.
type intake struct {
	settings
	counters
	status
}

// take handles one message of an authenticated user. A nil error says that it
// may be acknowledged; reply is the receipt to send, nil for none.
func (in *intake) take(ctx context.Context, user, topic string, payload []byte) (reply []byte, err error) {
	c, err := in.open(user, topic, payload)
	if c == nil {
		return nil, err
	}
	return in.keep(ctx, c)
}

// open is the first half of take: what the message is. It is nil for what is
// acknowledged and dropped.
func (in *intake) open(user, topic string, payload []byte) (*attendance.CheckIn, error) {
	now := time.Now()
	in.lastRead.Store(now.UnixNano())
	if len(payload) > phone.MaxPayload { // for OwnTracks the bound is the same
		in.tooLarge.Add(1)
		return nil, fmt.Errorf("phone: a message of %d bytes, the limit is %d: %w", len(payload), phone.MaxPayload, protocol.ErrTooLarge)
	}
	c := in.read(user, topic, payload)
	if c == nil {
		in.ignored.Add(1)
		return nil, nil
	}
	c.User, c.Topic, c.ReceivedAt = user, topic, now
	return c, nil
}

// keep is the second half of take: it makes the check-in durable and signs the
// answer.
func (in *intake) keep(ctx context.Context, c *attendance.CheckIn) (reply []byte, err error) {
	user := c.User
	receipt, err := in.verify(ctx, c)
	if err != nil && ctx.Err() != nil { // the gateway stops; the phone keeps its check-in
		return nil, err
	}
	if err != nil {
		in.failed.Add(1)
		err = fmt.Errorf("phone: check-in of %q not stored: %w", user, err)
		in.log.Error("check-in not stored; the phone will send it again", "user", user, "err", err)
		in.trouble(err)
		return nil, err
	}
	in.stored(c)
	if receipt == nil {
		return nil, nil
	}
	if reply, err = in.sign(receipt); err != nil {
		// The check-in is safe; the phone sends it again for its receipt.
		in.unanswered.Add(1)
		err = fmt.Errorf("phone: receipt for %q not signed: %w", user, err)
		in.log.Error("receipt not signed; the phone will send its check-in again", "user", user, "err", err)
		in.trouble(err)
		return nil, nil
	}
	return reply, nil
}

// stored counts a check-in that is durable.
func (in *intake) stored(c *attendance.CheckIn) {
	in.checkIns.Add(1)
	in.fine()
	switch c.Auth {
	case attendance.AuthMalformed:
		in.malformed.Add(1)
	case attendance.AuthBadSignature:
		in.badSignature.Add(1)
	case attendance.AuthUnknownPhone:
		in.unknownPhone.Add(1)
	default:
		return
	}
	in.log.Info("check-in kept as refused", "user", c.User, "topic", c.Topic, "why", c.Problem)
}

// read makes a check-in of a message, nil if it is none by its nature. What
// should be a check-in and can't be read becomes one with
// [attendance.AuthMalformed], so that nothing is lost unseen.
func (in *intake) read(user, topic string, payload []byte) *attendance.CheckIn {
	switch {
	case len(payload) == 0: // somebody cleared a retained message
		return nil
	case in.native && topic == phone.CheckInTopic(in.site, user):
		return in.readNative(user, payload)
	case in.owntracks:
		if t, ok := owntracks.ParseTopic(topic); ok && t.User == user {
			return in.readOwnTracks(user, payload, t.Part == "")
		}
	}
	return nil
}

func (in *intake) readNative(user string, payload []byte) *attendance.CheckIn {
	key, enrolled := in.keys(user)
	c, err := phone.OpenCheckIn(payload, key)
	if errors.Is(err, phone.ErrSignature) {
		unproven, unreadable := phone.ReadCheckIn(payload)
		if unreadable != nil {
			return malformed(user, payload, true, unreadable)
		}
		c = unproven
		c.Problem = err.Error()
		if !enrolled {
			c.Auth, c.Problem = attendance.AuthUnknownPhone, fmt.Sprintf("no key is enrolled for phone %q", user)
		}
	} else if err != nil {
		return malformed(user, payload, true, err)
	}
	if c.Phone != user {
		// Whoever sent it, the phone it names did not.
		c.Auth, c.Problem = attendance.AuthBadSignature, fmt.Sprintf("names phone %q and was sent by %q", c.Phone, user)
		c.Phone, c.Foreign = user, true
	}
	return c
}

// readOwnTracks reads a message of the apps. A check-in counts on whatever topic
// of the user's it comes; what can't be read could be one on the base topic only.
func (in *intake) readOwnTracks(user string, payload []byte, base bool) *attendance.CheckIn {
	m, err := owntracks.Parse(payload)
	if err != nil && base {
		return malformed(user, payload, false, err)
	}
	if l, ok := m.(*owntracks.Location); ok && l.IsCheckIn() {
		return l.CheckIn(user, payload)
	}
	return nil
}

func malformed(user string, payload []byte, native bool, err error) *attendance.CheckIn {
	problem := err.Error()
	return &attendance.CheckIn{
		Phone: user, Native: native, Auth: attendance.AuthMalformed, Problem: problem[:min(len(problem), maxProblem)],
		Evidence: attendance.Evidence{Raw: payload},
	}
}
