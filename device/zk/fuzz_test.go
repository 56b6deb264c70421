package zk

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/zk"
)

// hostile is a terminal whose answers are drawn from bytes: some as they should
// be, the others wrong in every way.
type hostile struct {
	fake   *fake
	draw   []byte
	split  zk.Splitter
	out    []byte
	silent int
}

func (h *hostile) take(n int) []byte {
	n = min(n, len(h.draw))
	b := h.draw[:n:n]
	h.draw = h.draw[n:]
	return b
}

func (h *hostile) Write(b []byte) (int, error) {
	if err := h.split.Feed(b); err != nil {
		return 0, err
	}
	for {
		p, err := h.split.Next()
		if errors.Is(err, protocol.ErrIncomplete) {
			return len(b), nil
		}
		if err != nil {
			return 0, err
		}
		h.answer(p)
	}
}

func (h *hostile) answer(p zk.Packet) {
	head := h.take(2)
	if len(head) < 2 {
		return
	}
	a := zk.Packet{Session: h.fake.session, Reply: p.Reply}
	switch n := int(head[1]); head[0] % 16 {
	case 0:
		a.Command, a.Data = zk.AckOK, h.take(n)
	case 1:
		a.Command, a.Data = zk.CmdData, h.take(n)
	case 2:
		a.Command, a.Data = zk.CmdPrepareData, h.take(n)
	case 3:
		a.Command, a.Data = zk.CmdData, zk.AppendDataset(nil, h.take(n))
	case 4:
		a.Command = zk.Command(n) << 8
	case 5:
		h.out = append(h.out, h.take(n)...)
		return
	case 6:
		a.Reply += uint16(n)
	case 7:
		return
	default:
		for _, a := range h.fake.answer(p) {
			h.out = zk.AppendFrame(h.out, a)
		}
		if head[0]&0x80 != 0 { // and an event
			h.out = zk.AppendFrame(h.out, zk.Packet{Command: zk.CmdRegEvent, Session: uint16(head[0]>>5&1 + 1), Data: h.take(n)})
		}
		return
	}
	h.out = zk.AppendFrame(h.out, a)
}

func (h *hostile) Read(b []byte) (int, error) {
	if len(h.out) == 0 {
		if h.silent++; h.silent > 20 {
			return 0, io.EOF
		}
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, h.out)
	h.out = h.out[n:]
	return n, nil
}

func (h *hostile) Close() error                     { return nil }
func (h *hostile) SetReadDeadline(time.Time) error  { return nil }
func (h *hostile) SetWriteDeadline(time.Time) error { return nil }

// FuzzTerminal holds that whatever a terminal answers, the driver ends, and
// hands over only what can be a punch.
func FuzzTerminal(f *testing.F) {
	good := make([]byte, 100)
	for i := range good {
		good[i] = 8 + byte(i%2)
	}
	f.Add(good)
	f.Add(append(append([]byte{}, good[:40]...), []byte("\xa8\x2099911133300000000000000000000\x01\x00\x12\x06\x19\x11\x29\x05")...))
	for i := range byte(8) {
		f.Add(append(append([]byte{}, good[:2*(i+8)]...), i, 40, 36, 0, 0, 0, 13, 0, '9', '9', '9'))
	}
	f.Fuzz(func(t *testing.T, draw []byte) {
		fake := newFake(t)
		fake.shape = shape(len(draw) % 6)
		fake.log = appendRecords(t, nil, zk.Layout40, someRecords(zk.Layout40, 30, yesterday, 1)...)
		fake.users = someUsers(t, zk.User72)
		d, err := New(Config{ID: "lobby", Live: true, Link: fake.dialer(), Emit: func(_ context.Context, punches []attendance.Punch) error {
			if len(punches) == 0 || len(punches) > 1000 {
				t.Errorf("%d punches at once", len(punches))
			}
			for _, p := range punches {
				year := p.At.Year()
				if p.Key == (attendance.Key{}) || year < 2000 || year > 2099 || p.State < 0 || p.Verify < 0 || len(p.Badge) > 24 || len(p.Evidence.Raw) == 0 || p.Device.ID != "lobby" {
					t.Errorf("punch %+v", p)
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := d.use(t.Context(), &hostile{fake: fake, draw: draw}); err == nil {
				t.Error("the connection ended and no error says so")
			}
		}
		d.State()
	})
}
