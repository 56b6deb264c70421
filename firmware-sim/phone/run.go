package phone

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/owntracks"
	"github.com/punchd/punchd/protocol/phone"
)

// Bounds of a phone's connection.
const (
	keepAlive   = 60 * time.Second
	shortestTry = 50 * time.Millisecond // between two connections, doubling ...
	longestTry  = time.Second           // ... up to this
)

// run has the phone check in until ctx ends or its number is made and answered.
func (h *handset) run(ctx context.Context) {
	if h.next.IsZero() {
		h.next = time.Now().Add(h.pause()) // so that a fleet does not begin in step
	}
	pause := shortestTry
	for ctx.Err() == nil && !h.done() {
		before := h.kept
		err := h.connection(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if text := err.Error(); text != h.trouble {
			h.trouble = text
			h.fleet.cfg.Log.Info("phone simulator: no connection", "phone", h.user, "err", err)
		}
		if h.kept > before { // it was good for something
			pause = shortestTry
		}
		h.idle(ctx, pause/2+time.Duration(h.random.Int64N(int64(pause))))
		pause = min(2*pause, longestTry)
	}
}

// done reports whether the phone's number is made and answered.
func (h *handset) done() bool { return h.enough() && len(h.waiting) == 0 }

func (h *handset) enough() bool { return h.fleet.cfg.Each > 0 && h.pressed >= h.fleet.cfg.Each }

// pause is the time to the next press.
func (h *handset) pause() time.Duration {
	if h.fleet.cfg.Pace == 0 {
		return 0
	}
	return h.fleet.cfg.Pace/2 + time.Duration(h.random.Int64N(int64(h.fleet.cfg.Pace)))
}

// due makes the check-in whose time has come, if any, and says how long it is
// to the next. Its owner presses without a connection, too.
func (h *handset) due() (time.Duration, error) {
	for {
		if h.enough() || len(h.waiting) >= maxWaiting || h.fleet.cfg.Pace == 0 && len(h.waiting) >= h.atOnce() {
			return keepAlive / 2, nil
		}
		now := time.Now()
		if left := h.next.Sub(now); left > 0 {
			return min(left, keepAlive/2), nil
		}
		if err := h.press(h.fleet.cfg.Clock()); err != nil {
			return 0, err
		}
		if h.pressed%h.atOnce() == 0 {
			h.next = now.Add(h.pause())
		}
	}
}

// atOnce is how many check-ins the phone makes and sends together.
func (h *handset) atOnce() int {
	if h.behaviour == Pipelined {
		return pipeline
	}
	return 1
}

// idle waits without a connection.
func (h *handset) idle(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); ctx.Err() == nil; {
		next, err := h.due()
		if err != nil {
			h.fleet.cfg.Log.Error("phone simulator", "err", err)
			return
		}
		left := time.Until(end)
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(left, next)):
		}
	}
}

// connection logs in once and checks in until the connection fails, ctx ends or
// the phone is done.
func (h *handset) connection(ctx context.Context) error {
	cfg := &h.fleet.cfg
	nc, err := cfg.Dial(ctx, "tcp", cfg.Broker)
	if err != nil {
		return err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	w := &wire{nc: nc, r: bufio.NewReaderSize(nc, 1<<10)}
	if err := w.within(cfg.Patience); err != nil {
		return err
	}
	if err := w.connect(h.login()); err != nil {
		return err
	}
	if h.native {
		// Receipts that a session of before left for us may come first.
		if err := w.subscribe(phone.ReceiptTopic(cfg.Site, h.user), func(b []byte) { h.receipt(b) }); err != nil {
			return err
		}
	}
	for !h.done() {
		rest, err := h.due()
		if err != nil {
			return err
		}
		quiet := time.Until(h.quiet)
		if quiet > 0 {
			rest = min(rest, quiet)
		}
		if len(h.waiting) == 0 || quiet > 0 {
			if err := h.rest(w, rest); err != nil {
				return err
			}
			continue
		}
		if err := h.send(w); err != nil {
			return err
		}
	}
	w.goodbye()
	return nil
}

func (h *handset) login() login {
	password, _ := h.fleet.Password(h.user) // its own user
	l := login{version: 4, user: h.user, password: password, id: h.user, clean: true, keepAlive: uint16(keepAlive / time.Second)}
	if h.native {
		return l
	}
	// As the apps have it: sessions that stay, a retained will, and on Android
	// the oldest protocol.
	l.clean = false
	l.willTopic = owntracks.Topic{User: h.user, Device: "sim"}.String()
	l.willText = string(owntracks.AppendLWT(nil, &owntracks.LWT{Connected: time.Now().Unix()}))
	if h.dialect == owntracks.Android {
		l.version = 3
	}
	return l
}

// rest keeps the connection alive for a while and notices its end.
func (h *handset) rest(w *wire, d time.Duration) error {
	if err := w.within(d); err != nil {
		return err
	}
	_, err := w.r.Peek(1) // takes nothing, so that the time may be over in between
	if patience := w.within(h.fleet.cfg.Patience); patience != nil {
		return patience
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if d < keepAlive/2 {
			return nil
		}
		return w.ping()
	case err != nil:
		return err
	}
	p, err := w.next()
	if err == nil && p.kind == packetPublish {
		h.receipt(p.payload)
	}
	return err
}

// send publishes the oldest check-in that waits, or as many as the phone sends
// at once, and waits until they are answered.
func (h *handset) send(w *wire) error {
	if err := w.within(h.fleet.cfg.Patience); err != nil {
		return err
	}
	var id uint16
	n := min(h.atOnce(), len(h.waiting))
	left := len(h.waiting) - n
	for _, m := range h.waiting[:n] {
		id = h.nextID()
		// The apps retain by default.
		if err := w.publish(m.topic, id, !h.native, m.payload); err != nil {
			return err
		}
	}
	acked := false
	for len(h.waiting) > left && !time.Now().Before(h.quiet) {
		p, err := w.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("no answer within %v (acknowledged: %v)", h.fleet.cfg.Patience, acked)
		case err != nil:
			return err
		case p.kind == packetPublish:
			h.receipt(p.payload)
		case p.kind == packetPuback && p.id == id:
			if acked = true; !h.native {
				h.answered(0, nil, true)
				return h.status(w)
			}
		}
	}
	return nil
}

func (h *handset) nextID() uint16 {
	if h.id++; h.id == 0 {
		h.id = 1
	}
	return h.id
}

// status is what the Android app sends behind every press. Nobody waits for its
// acknowledgement.
func (h *handset) status(w *wire) error {
	if h.dialect != owntracks.Android {
		return nil
	}
	topic := owntracks.Topic{User: h.user, Device: "sim", Part: "status"}.String()
	return w.publish(topic, h.nextID(), false, owntracks.AppendStatus(nil, &owntracks.Status{}))
}

// receipt takes a receipt that the gateway signed; anything else is passed over.
func (h *handset) receipt(payload []byte) {
	r, err := phone.OpenReceipt(payload, h.fleet.cfg.Gateway)
	if err != nil {
		h.fleet.cfg.Log.Warn("phone simulator: not a receipt of the gateway", "phone", h.user, "err", err)
		return
	}
	// It is for exactly the bytes of one that waits, or is passed over: somebody
	// else's message under the same counter is answered on this topic, too.
	i := slices.IndexFunc(h.waiting, func(m *message) bool {
		return r.Phone == h.user && r.Counter == m.checkIn.Counter && bytes.Equal(r.Message, m.digest[:])
	})
	if i < 0 {
		return
	}
	m := h.waiting[i]
	switch {
	case r.Keep && h.behaviour != WrongKey: // who lies about the key does not wait for it to become the right one
		h.quiet = time.Now().Add(h.fleet.cfg.Again)
		h.fleet.cfg.Log.Warn("phone simulator: the gateway does not know this phone; is it in the roster?", "phone", h.user, "again_in", h.fleet.cfg.Again)
	case r.Key != m.key:
		// Final, and not what the phone made: a good app shows it. For an honest
		// one it is a punch that nobody will pay.
		h.turned++
		h.fleet.cfg.Log.Warn("phone simulator: taken for something else", "phone", h.user, "counter", r.Counter, "key", r.Key, "verdict", r.Verdict, "reasons", r.Reasons)
		h.answered(i, r, false)
	default:
		h.answered(i, r, true)
	}
}

// answered ends the wait of the i-th that waits.
func (h *handset) answered(i int, r *attendance.Receipt, promised bool) {
	h.fleet.answer(h.waiting[i].place, r, promised)
	if promised {
		h.kept++
	}
	if i == 0 { // nearly always, and it moves nothing
		h.waiting = h.waiting[1:]
		return
	}
	h.waiting = slices.Delete(h.waiting, i, i+1)
}
