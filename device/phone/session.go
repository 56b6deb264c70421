package phone

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

// Bounds of a session with an external broker.
const (
	workers       = 16   // check-ins of different phones at one time
	maxOutOfOrder = 256  // messages that wait for their acknowledgement
	maxAnswers    = 1024 // receipts that the broker has not acknowledged
	answerTimeout = 10 * time.Second
	keepAlive     = 30 * time.Second
	farewell      = 250 // milliseconds for the DISCONNECT

	// publishTimeout is also how long the library may hold a worker when the
	// connection ends under it.
	publishTimeout = 2 * time.Second
)

// session is one connection to the broker, from login to loss.
//
// MQTT wants acknowledgements in the order of the messages, and a phone's
// check-ins want to be worked on in theirs, but no phone should wait for
// another. So messages go to workers by phone, and one goroutine acknowledges
// in order as they get ready. The first that is not stored ends the session
// with everything behind it unacknowledged, and the broker sends all that again.
type session struct {
	*Client
	ctx     context.Context // of the session
	stored  context.Context // of the check-ins: a lost connection does not break off what is being stored
	end     context.CancelCauseFunc
	client  paho.Client
	order   chan job          // all messages; what stands here is bounded
	shards  [workers]chan job // the same by phone, so that order is full before any of them
	seed    maphash.Seed
	slots   chan struct{} // one for each of answers
	answers chan paho.Token
}

// job is a message and what becomes of it.
type job struct {
	m    paho.Message
	user string
	done chan error // buffered
}

// session logs in on conn and takes check-ins until the connection or ctx ends.
func (c *Client) session(ctx context.Context, conn net.Conn) error {
	s := &session{
		Client: c, stored: ctx, order: make(chan job, maxOutOfOrder), seed: maphash.MakeSeed(),
		slots: make(chan struct{}, maxAnswers), answers: make(chan paho.Token, maxAnswers),
	}
	s.ctx, s.end = context.WithCancelCause(ctx)
	defer s.end(nil)
	opts, err := s.options(conn)
	if err != nil {
		return err
	}
	s.client = paho.NewClient(opts)

	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range s.shards {
		s.shards[i] = make(chan job, maxOutOfOrder+1) // and the one that was just taken out of order
		wg.Go(func() { s.work(s.shards[i]) })
	}
	wg.Go(s.acknowledge)
	wg.Go(s.collect)
	defer s.client.Disconnect(farewell)
	if err := s.login(); err != nil {
		s.end(err) // unless it has ended by itself: what the broker kept comes before the answers
	} else {
		c.set(true, nil)
		c.log.Info("phones: subscribed", "broker", c.dialer.String())
	}
	<-s.ctx.Done()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(s.ctx)
}

// options are those of a client that lives as long as one connection. The
// library could connect again by itself; it would then mix the acknowledgements
// of two connections, and could not be told to let go of a connection on which
// something was not stored.
func (s *session) options(conn net.Conn) (*paho.ClientOptions, error) {
	opts := paho.NewClientOptions().AddBroker(s.dialer.String()).SetProtocolVersion(4).
		SetClientID(s.cfg.ClientID).SetCleanSession(false).SetOrderMatters(true).SetAutoAckDisabled(true).
		SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(dialTimeout).
		SetKeepAlive(keepAlive).SetPingTimeout(keepAlive / 2).SetWriteTimeout(publishTimeout).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return conn, nil }).
		SetDefaultPublishHandler(s.arrived). // kept messages come before any subscription is answered
		SetConnectionLostHandler(func(_ paho.Client, err error) {
			s.end(fmt.Errorf("phone: broker: connection lost: %w", err))
		})
	if s.cfg.Username != "" {
		opts.SetUsername(s.cfg.Username)
	}
	if s.cfg.Password != nil {
		password, err := s.cfg.Password()
		if err != nil {
			return nil, fmt.Errorf("phone: broker: password: %w", err)
		}
		opts.SetPassword(password)
	}
	return opts, nil
}

// login connects and subscribes.
func (s *session) login() error {
	connect := s.client.Connect()
	if err := s.wait(connect); err != nil {
		return fmt.Errorf("phone: broker: login as %q with client id %q: %w", s.cfg.Username, s.cfg.ClientID, err)
	}
	if t, ok := connect.(*paho.ConnectToken); ok && !t.SessionPresent() {
		s.log.Warn("phones: the broker knows no session of this client; what it was sent before is lost, unless phones send it again", "broker", s.dialer.String())
	}
	filters := map[string]byte{}
	if s.native {
		filters[phone.CheckInTopic(s.site, "+")] = 1
	}
	if s.owntracks {
		filters["owntracks/+/+"] = 1
	}
	subscribe := s.client.SubscribeMultiple(filters, nil)
	if err := s.wait(subscribe); err != nil {
		return fmt.Errorf("phone: broker: subscribe: %w", err)
	}
	if t, ok := subscribe.(*paho.SubscribeToken); ok {
		for filter, granted := range t.Result() {
			if granted > 2 {
				return fmt.Errorf("phone: broker: it refuses the subscription to %s; allow it in its ACL", filter)
			}
		}
	}
	return nil
}

// wait waits for the broker's answer.
func (s *session) wait(t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-time.After(answerTimeout + dialTimeout):
		return errors.New("no answer")
	}
}

// arrived hands a message on. The library calls it for one message at a time;
// blocking here holds the broker back.
func (s *session) arrived(_ paho.Client, m paho.Message) {
	j := job{m: m, user: s.sender(m.Topic()), done: make(chan error, 1)}
	select {
	case s.order <- j:
	case <-s.ctx.Done():
		return
	}
	switch {
	case m.Retained():
		// A stored copy of what was delivered before: live messages come
		// without the flag, also those that were kept for this client.
		s.retained.Add(1)
		j.done <- nil
		return
	case j.user == "":
		s.ignored.Add(1)
		j.done <- nil
		return
	}
	s.shards[maphash.String(s.seed, j.user)%workers] <- j
}

// sender is the user that a topic belongs to, empty for none.
func (s *session) sender(topic string) string {
	if site, user, ok := phone.ParseCheckInTopic(topic); ok && site == s.site {
		return user
	}
	if t, ok := owntracks.ParseTopic(topic); ok {
		return t.User
	}
	return ""
}

// work takes the check-ins of some phones, each phone's in order.
func (s *session) work(jobs <-chan job) {
	for {
		select {
		case j := <-jobs:
			reply, err := s.take(s.stored, j.user, j.m.Topic(), s.bounded(j))
			j.done <- err
			if err != nil {
				return // or a later check-in of the same phone would be stored before this one
			}
			if reply != nil {
				s.answer(j.user, reply)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// bounded is the payload, cut if it is larger than any check-in. It can't be
// turned away with its sender's connection here, and unacknowledged it would
// come again and again before everybody else's: cut, it is kept as one more
// check-in that can't be read.
func (s *session) bounded(j job) []byte {
	payload := j.m.Payload()
	if len(payload) <= phone.MaxPayload {
		return payload
	}
	s.tooLarge.Add(1)
	s.log.Warn("phones: message cut", "user", j.user, "bytes", len(payload), "limit", phone.MaxPayload)
	return payload[:phone.MaxPayload:phone.MaxPayload]
}

// acknowledge acknowledges messages in the order in which they came.
func (s *session) acknowledge() {
	for {
		var j job
		select {
		case j = <-s.order:
		case <-s.ctx.Done():
			return
		}
		select {
		case err := <-j.done:
			if err != nil {
				s.end(err)
				return
			}
			j.m.Ack()
		case <-s.ctx.Done():
			return
		}
	}
}

// answer publishes a receipt without waiting for the broker: its answer comes
// behind the check-ins that wait for this worker. A receipt that does not reach
// the broker is no loss, the phone asks again.
func (s *session) answer(user string, receipt []byte) {
	select {
	case s.slots <- struct{}{}:
		s.answers <- s.client.Publish(phone.ReceiptTopic(s.site, user), 1, false, receipt)
	default:
		s.unanswered.Add(1)
	}
}

// collect counts the receipts that the broker has taken.
func (s *session) collect() {
	for {
		var token paho.Token
		select {
		case token = <-s.answers:
		case <-s.ctx.Done():
			return
		}
		reached := false
		select {
		case <-token.Done():
			reached = token.Error() == nil
		case <-s.ctx.Done():
		case <-time.After(answerTimeout):
		}
		if reached {
			s.receipts.Add(1)
		} else {
			s.unanswered.Add(1)
		}
		<-s.slots
	}
}
