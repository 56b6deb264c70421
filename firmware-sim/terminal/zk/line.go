package zk

import (
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"

	wire "github.com/punchd/punchd/protocol/zk"
)

const (
	// defaultGap is the time between the frames of a bulk answer. Terminals are
	// slow, and some hosts rely on it: they take what one read gives for one
	// frame.
	defaultGap = 4 * time.Millisecond
	// glueTime is how long an ACK_OK waits for the frame that it is glued to.
	glueTime = 200 * time.Millisecond
	// writeTime bounds a Write to a host that doesn't read.
	writeTime = 30 * time.Second
	// maxTogether is how many bytes are collected to be written together.
	maxTogether = 128 << 10
)

// line writes frames as the quirks of the line want it.
type line struct {
	t  *Terminal
	nc net.Conn
	q  *Quirks

	pending   []byte
	holdUntil time.Time // until then pending waits for the next frame; zero: no
	lastBulk  time.Time
	mute      bool  // nothing is written any more
	fault     fault // what happens in the middle of a bulk answer
}

// fault is an end after left bytes of a bulk answer. The zero value is none.
type fault struct {
	left  int
	once  *atomic.Bool // true if it has happened; nil: it may always
	hangs bool         // hangs up; otherwise it goes silent
}

// beginBulk begins to count the bytes that answer a bulk read.
func (l *line) beginBulk() {
	switch q := l.q; {
	case q.Cut > 0 && !l.t.cut.Load():
		l.fault = fault{q.Cut, &l.t.cut, true}
	case q.Silence > 0 && q.SilenceAlways:
		l.fault = fault{q.Silence, nil, false}
	case q.Silence > 0 && !l.t.silent.Load():
		l.fault = fault{q.Silence, &l.t.silent, false}
	default:
		l.fault = fault{}
	}
}

// frame writes one frame, or keeps it to be written with the next.
func (l *line) frame(ctx context.Context, p wire.Packet) error {
	l.add(p)
	return l.write(ctx)
}

// add appends a frame to what is pending, and gives its length.
func (l *line) add(p wire.Packet) int {
	if l.mute {
		return 0
	}
	start := len(l.pending)
	l.pending = wire.AppendFrame(l.pending, p)
	if l.q.BadChecksum {
		sum := l.pending[start+10:]
		binary.LittleEndian.PutUint16(sum, binary.LittleEndian.Uint16(sum)+1)
	}
	return len(l.pending) - start
}

func (l *line) write(ctx context.Context) error {
	l.holdUntil = time.Time{}
	if l.q.Coalesce && len(l.pending) < maxTogether {
		return nil
	}
	return l.flush(ctx)
}

// bulkFrame writes a frame of a bulk answer, some time after the one before,
// unless something goes wrong with this one.
func (l *line) bulkFrame(ctx context.Context, p wire.Packet) error {
	if l.mute {
		return nil
	}
	if gap := l.gap(); gap > 0 && !l.q.Coalesce && !sleep(ctx, time.Until(l.lastBulk.Add(gap))) {
		return ctx.Err()
	}
	return l.bulkEnd(ctx, p)
}

// bulkEnd writes a frame of a bulk answer at once.
func (l *line) bulkEnd(ctx context.Context, p wire.Packet) error {
	size := l.add(p)
	if f := &l.fault; f.left > size {
		f.left -= size
	} else if f.left > 0 && (f.once == nil || f.once.CompareAndSwap(false, true)) {
		return l.breakOff(ctx, size-f.left)
	}
	err := l.write(ctx)
	l.lastBulk = time.Now()
	return err
}

// breakOff writes what is pending but for the last bytes, and lets the fault
// happen.
func (l *line) breakOff(ctx context.Context, unsent int) error {
	l.pending = l.pending[:len(l.pending)-unsent]
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.t.cfg.Log.Info("fault in the middle of a bulk answer", "hangs_up", l.fault.hangs)
	l.mute = true
	if l.fault.hangs {
		return errHangUp
	}
	return nil
}

// glue keeps a frame for the next one to take along.
func (l *line) glue(p wire.Packet) {
	l.add(p)
	l.holdUntil = time.Now().Add(glueTime)
}

func (l *line) gap() time.Duration {
	if l.q.Gap == 0 {
		return defaultGap
	}
	return l.q.Gap
}

// flush writes what is pending, in segments and at the pace of the quirks.
func (l *line) flush(ctx context.Context) error {
	b := l.pending
	l.pending, l.holdUntil = l.pending[:0], time.Time{}
	step := len(b)
	if l.q.Split > 0 {
		step = min(step, l.q.Split)
	}
	if l.q.Slow > 0 {
		step = min(step, max(1, l.q.Slow/20))
	}
	for n := 0; n < len(b); n += step {
		segment := b[n:min(n+step, len(b))]
		if err := l.nc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if _, err := l.nc.Write(segment); err != nil {
			return err
		}
		if l.q.Slow > 0 && !sleep(ctx, time.Duration(len(segment))*time.Second/time.Duration(l.q.Slow)) {
			return ctx.Err()
		}
	}
	return nil
}
