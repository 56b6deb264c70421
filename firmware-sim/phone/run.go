package phone

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
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

// run has the phone check in until ctx ends or its number is made and promised.
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

// done reports whether the phone's number is made and promised.
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
		if h.enough() || len(h.waiting) >= maxWaiting || h.fleet.cfg.Pace == 0 && len(h.waiting) > 0 {
			return keepAlive / 2, nil
		}
		now := time.Now()
		if left := h.next.Sub(now); left > 0 {
			return min(left, keepAlive/2), nil
		}
		if err := h.press(now); err != nil {
			return 0, err
		}
		h.next = now.Add(h.pause())
	}
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
		if len(h.waiting) == 0 {
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

// send publishes the oldest check-in that waits, and waits until it is promised.
func (h *handset) send(w *wire) error {
	if err := w.within(h.fleet.cfg.Patience); err != nil {
		return err
	}
	m, waiting := h.waiting[0], len(h.waiting)
	id := h.nextID()
	// The apps retain by default.
	if err := w.publish(m.topic, id, !h.native, m.payload); err != nil {
		return err
	}
	acked := false
	for len(h.waiting) == waiting {
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
				h.promised(nil)
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
	// It is for the oldest that waits, or for one that was sent twice.
	if len(h.waiting) == 0 || r.Phone != h.user {
		return
	}
	// A gateway that does not know the phone keeps what it sends as anybody's.
	m := h.waiting[0]
	if r.Key != m.key && r.Key != attendance.RefusedKey(h.user, m.topic, m.payload) {
		return
	}
	h.promised(r)
}

// promised ends the wait of the oldest.
func (h *handset) promised(r *attendance.Receipt) {
	h.fleet.promise(h.waiting[0].place, r)
	h.waiting = h.waiting[1:]
	h.kept++
}
