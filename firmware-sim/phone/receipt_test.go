package phone

import (
	"bufio"
	"crypto/sha256"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// line is a phone without a broker: a test reads what it sends and answers.
func line(t *testing.T, change func(*Config)) *handset {
	t.Helper()
	return newFleet(t, func(c *Config) {
		c.Native, c.OwnTracks = 1, 0
		change(c)
	}).phones[0]
}

// receiptOf is what the gateway says of a message, if change leaves it so.
func receiptOf(t *testing.T, m *message, change func(*attendance.Receipt)) []byte {
	t.Helper()
	r := &attendance.Receipt{Phone: "p-001", Counter: m.checkIn.Counter, Key: m.key, Verdict: attendance.Accepted, ReceivedAt: time.Now(), Message: m.digest[:]}
	change(r)
	payload, err := phone.SignReceipt(gatewayKey, "gw", r)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// TestReceipts: a receipt ends the wait of exactly the message that it names,
// and is a promise only if the gateway has it as what it is.
func TestReceipts(t *testing.T) {
	other := sha256.Sum256([]byte("by somebody else"))
	for name, c := range map[string]struct {
		change   func(*attendance.Receipt)
		ends     bool
		promised bool
	}{
		"its own":               {func(*attendance.Receipt) {}, true, true},
		"flagged":               {func(r *attendance.Receipt) { r.Verdict = attendance.Flagged }, true, true},
		"another message":       {func(r *attendance.Receipt) { r.Message = other[:] }, false, false},
		"no message":            {func(r *attendance.Receipt) { r.Message = nil }, false, false},
		"a thief's, as refused": {func(r *attendance.Receipt) { r.Message, r.Key[0], r.Verdict = other[:], 9, attendance.Refused }, false, false},
		"another phone":         {func(r *attendance.Receipt) { r.Phone = "p-002" }, false, false},
		"another counter":       {func(r *attendance.Receipt) { r.Counter = 9 }, false, false},
		"to be kept":            {func(r *attendance.Receipt) { r.Keep, r.Key[0], r.Verdict = true, 9, attendance.Refused }, false, false},
		"as a replay": {func(r *attendance.Receipt) {
			r.Key[0], r.Verdict, r.Reasons = 9, attendance.Refused, []attendance.Reason{attendance.ReasonReplayed}
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := line(t, func(*Config) {})
			if err := h.press(time.Now()); err != nil {
				t.Fatal(err)
			}
			h.receipt(receiptOf(t, h.waiting[0], c.change))
			made := h.fleet.Made()[0]
			if ended := len(h.waiting) == 0; ended != c.ends || made.Promised != c.promised || (made.Receipt != nil) != c.ends {
				t.Errorf("ended %v, made %+v", ended, made)
			}
			if h.quiet.IsZero() == (name == "to be kept") {
				t.Errorf("sends nothing until %v", h.quiet)
			}
		})
	}
}

// TestPipelined: three leave at once, the newest before the one in the middle,
// and each receipt ends the wait of its own, in any order.
func TestPipelined(t *testing.T) {
	h := line(t, func(c *Config) { c.Behaviours, c.Each = []Behaviour{Pipelined}, 6 })
	if _, err := h.due(); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	sent := make(chan error, 1)
	go func() { sent <- h.send(&wire{nc: near, r: bufio.NewReader(near)}) }()
	w := &wire{nc: far, r: bufio.NewReader(far)}
	var counters []uint64
	for range pipeline { // all of them before any answer
		_, body, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		c, err := phone.ReadCheckIn(body[2+len(phone.CheckInTopic(site, "p-001"))+2:])
		if err != nil {
			t.Fatal(err)
		}
		counters = append(counters, c.Counter)
	}
	if !slices.Equal(counters, []uint64{1, 3, 2}) {
		t.Errorf("sent %v", counters)
	}
	for _, m := range []*message{h.waiting[1], h.waiting[2], h.waiting[0]} {
		answer := receiptOf(t, m, func(*attendance.Receipt) {})
		if err := w.publish(phone.ReceiptTopic(site, "p-001"), 1, false, answer); err != nil {
			t.Fatal(err)
		}
		if first, _, err := w.read(); err != nil || first>>4 != packetPuback {
			t.Fatalf("%#x, %v", first, err)
		}
	}
	if err := <-sent; err != nil || len(h.waiting) != 0 || h.kept != pipeline {
		t.Errorf("%v; %d wait", err, len(h.waiting))
	}
	if _, err := h.due(); err != nil || len(h.waiting) != pipeline || h.waiting[2].checkIn.Counter != 5 {
		t.Errorf("the next: %v, %d wait", err, len(h.waiting))
	}
	made := h.fleet.Made()
	for i := range made[1:] {
		if !made[i+1].At.Truncate(time.Millisecond).After(made[i].At.Truncate(time.Millisecond)) && i != pipeline-1 {
			t.Errorf("%d and %d are of one moment", i, i+1)
		}
	}
}

// TestUnknown: a phone that the gateway does not know keeps what it made, and
// sends it again once in a while, in its order.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // a fix from before the year 2000 is none
		start := time.Now()
		var came []time.Duration
		var counters []uint64
		f := script(t, func(c *Config) { c.Each, c.Pace = 2, time.Millisecond }, nil)
		f.cfg.Dial = pipeDial(func(far net.Conn) {
			w := &wire{nc: far, r: bufio.NewReader(far)}
			for {
				first, body, err := w.read()
				if err != nil {
					return
				}
				switch first >> 4 {
				case packetConnect:
					err = w.send(packetConnack<<4, []byte{0, 0})
				case packetSubscribe:
					err = w.send(packetSuback<<4, append(body[:2:2], 1))
				case packetPingreq:
					err = w.send(packetPingresp<<4, nil)
				case packetPublish:
					payload := body[2+len(phone.CheckInTopic(site, "p-001"))+2:]
					came = append(came, time.Since(start).Round(time.Minute))
					c, readErr := phone.ReadCheckIn(payload)
					if readErr != nil {
						t.Error(readErr)
						return
					}
					counters = append(counters, c.Counter)
					m := &message{checkIn: c, digest: sha256.Sum256(payload), key: attendance.PhoneKey("p-001", c.Counter)}
					err = w.publish(phone.ReceiptTopic(site, "p-001"), 1, false, receiptOf(t, m, func(r *attendance.Receipt) {
						if len(came) <= 2 { // it is enrolled after the second try
							r.Keep, r.Verdict, r.Key = true, attendance.Refused, attendance.Key{1}
						}
					}))
				}
				if err != nil {
					return
				}
			}
		})
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, 2 * time.Minute, 4 * time.Minute, 4 * time.Minute}; !slices.Equal(came, want) || !slices.Equal(counters, []uint64{1, 1, 1, 2}) {
			t.Errorf("sent %v after %v, want %v", counters, came, want)
		}
		for _, m := range f.Made() {
			if !m.Promised || m.Receipt.Keep {
				t.Errorf("made %+v", m)
			}
		}
	})
}
