package zk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"sync/atomic"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/zk"
)

const (
	// maxStrays bounds the packets that are passed over while an answer is
	// awaited; late ones are few.
	maxStrays = 1000
	// maxGarbage bounds the bytes outside any frame on one connection.
	maxGarbage = 64 << 10
	// tryWithin bounds the wait for an answer that may never come.
	tryWithin = 3 * time.Second
	// partWithin bounds the goodbye.
	partWithin = time.Second
)

// errSilent says that the terminal did not answer in time. The connection may
// live all the same: some do not answer what they do not know.
var errSilent = errors.New("no answer")

// session is the conversation over one connection: requests and their answers,
// with events between and within them. One goroutine uses it; only wake may be
// called by another.
type session struct {
	conn     link.Conn
	timeouts Timeouts
	bad      func(error)   // told of each frame that is wrong
	heard    *atomic.Int64 // when the last packet came, ns since 1970

	split   zk.Splitter
	skipped uint64 // bytes outside any frame, before split
	in      []byte // room for a read
	out     []byte // room for a frame

	id        uint16 // the terminal's name for the session
	reply     uint16 // of the newest request
	connected bool   // the terminal has opened a session: it is owed an EXIT
	ready     bool   // and has let us in
	broken    bool   // nothing can be sent or read any more
	classic   bool   // it refuses DATA_WRRQ
	news      news
}

func newSession(c link.Conn, t Timeouts, seed maphash.Seed, bad func(error)) *session {
	return &session{
		conn: c, timeouts: t, bad: bad, heard: new(atomic.Int64), in: make([]byte, 64<<10),
		reply: 65534, // the next is 0, that of CONNECT
		news:  news{seed: seed},
	}
}

// wake ends a Read or Write that waits. It is called once the context that
// they were given has ended.
func (s *session) wake() {
	past := time.Unix(1, 0)
	// If they can't be woken, their own deadlines end them.
	_ = s.conn.SetReadDeadline(past)
	_ = s.conn.SetWriteDeadline(past)
}

// ask sends a request and gives the answer, which may be a refusal.
func (s *session) ask(ctx context.Context, r zk.Request) (zk.Packet, error) {
	return s.askWithin(ctx, r, s.timeouts.Answer)
}

func (s *session) askWithin(ctx context.Context, r zk.Request, within time.Duration) (zk.Packet, error) {
	if err := s.send(ctx, r, within); err != nil {
		return zk.Packet{}, fmt.Errorf("zk: %w", err)
	}
	p, err := s.answer(ctx, time.Now().Add(within), within)
	if err != nil {
		return zk.Packet{}, fmt.Errorf("zk: %v: %w", r.Command(), err)
	}
	return p, nil
}

// try asks for what a terminal may refuse, or not answer, without harm. The
// error of a refusal or silence comes apart from that of the connection.
func (s *session) try(ctx context.Context, r zk.Request) (p zk.Packet, refused, err error) {
	p, err = s.askWithin(ctx, r, min(s.timeouts.Answer, tryWithin))
	if errors.Is(err, errSilent) {
		return zk.Packet{}, err, nil
	}
	if err != nil {
		return zk.Packet{}, nil, err
	}
	return p, p.Err(), nil
}

// send sends a request under the next reply id.
func (s *session) send(ctx context.Context, r zk.Request, within time.Duration) error {
	s.reply = zk.NextReply(s.reply)
	p, err := zk.RequestPacket(s.id, s.reply, r)
	if err != nil {
		return err
	}
	return s.write(ctx, p, within)
}

func (s *session) write(ctx context.Context, p zk.Packet, within time.Duration) error {
	err := s.conn.SetWriteDeadline(time.Now().Add(within))
	// Asked only now: if ctx ends later than this, wake is called later too.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		s.out = zk.AppendFrame(s.out[:0], p)
		_, err = s.conn.Write(s.out)
	}
	if err != nil {
		s.broken = true // perhaps within the frame
		return fmt.Errorf("send %v: %w", p.Command, err)
	}
	return nil
}

// answer gives the next packet that answers the newest request. It waits until
// limit at most, and as long as quiet for each byte of it: a terminal that tells
// events all the time is not answering.
func (s *session) answer(ctx context.Context, limit time.Time, quiet time.Duration) (zk.Packet, error) {
	start := time.Now()
	patience := earlier(limit, start.Add(quiet))
	for strays := range maxStrays {
		p, err := s.packet(ctx, limit, quiet, &patience)
		switch {
		case errors.Is(err, errSilent):
			err = fmt.Errorf("%w for %v", err, time.Since(start).Round(100*time.Millisecond))
			if strays > 0 {
				err = fmt.Errorf("%w, but %d packets with another reply id", err, strays)
			}
			return zk.Packet{}, err
		case err != nil:
			return zk.Packet{}, err
		case p.Reply != s.reply:
			// The late answer to a request that was given up, or the end of a
			// bulk answer that was whole without it.
			continue
		case p.Command == zk.AckUnauth && s.ready:
			return zk.Packet{}, errors.New("the terminal has forgotten the session")
		}
		return p, nil
	}
	return zk.Packet{}, tooManyStrays()
}

func tooManyStrays() error {
	return fmt.Errorf("%d packets in a row that answer nothing that was asked: %w", maxStrays, protocol.ErrMalformed)
}

// packet gives the next packet that is no event. Events are put aside. It waits
// until patience, which bytes of the answer move on by quiet, to limit at most.
func (s *session) packet(ctx context.Context, limit time.Time, quiet time.Duration, patience *time.Time) (zk.Packet, error) {
	for {
		p, err := s.take()
		switch {
		case errors.Is(err, protocol.ErrIncomplete):
			if begun, ok := s.split.Begins(); ok && begun.Command != zk.CmdRegEvent && begun.Reply == s.reply {
				*patience = earlier(limit, time.Now().Add(quiet))
			}
			err = s.fill(ctx, *patience)
		case err == nil && p.Command != zk.CmdRegEvent:
			return p, nil
		case err == nil:
			err = s.hear(ctx, p)
		}
		if err != nil {
			return zk.Packet{}, err
		}
	}
}

// idle hears what comes unasked, until limit or until news have come: it takes
// all that is here already, so that several events are served as one.
func (s *session) idle(ctx context.Context, limit time.Time) error {
	before := s.news.came
	for strays := 0; strays < maxStrays; {
		p, err := s.take()
		switch {
		case errors.Is(err, protocol.ErrIncomplete) && s.news.came != before:
			return nil
		case errors.Is(err, protocol.ErrIncomplete):
			if err = s.fill(ctx, limit); errors.Is(err, errSilent) {
				return nil
			}
		case err == nil && p.Command == zk.CmdRegEvent:
			err = s.hear(ctx, p)
		case err == nil:
			strays++
		}
		if err != nil {
			return fmt.Errorf("zk: %w", err)
		}
	}
	return fmt.Errorf("zk: %w", tooManyStrays())
}

// take gives the next packet of what has been read. The error wraps
// [protocol.ErrIncomplete] if there is none. Frames that are wrong are counted;
// one with a wrong checksum counts all the same, since terminals are in use
// that count wrong in every frame and TCP has a checksum of its own.
func (s *session) take() (zk.Packet, error) {
	for {
		p, err := s.split.Next()
		switch {
		case err == nil:
			s.heard.Store(time.Now().UnixNano())
			return p, nil
		case errors.Is(err, protocol.ErrIncomplete), errors.Is(err, protocol.ErrUnsupported):
			return p, err
		case errors.Is(err, protocol.ErrChecksum):
			s.heard.Store(time.Now().UnixNano())
			s.bad(err)
			return p, nil
		}
		s.bad(err)
		if s.skipped+s.split.Skipped() > maxGarbage {
			return zk.Packet{}, fmt.Errorf("over %d bytes outside any frame, this may be no terminal: %w", maxGarbage, err)
		}
	}
}

// fill reads more. Its error is [errSilent] if nothing comes in time.
func (s *session) fill(ctx context.Context, limit time.Time) error {
	err := s.conn.SetReadDeadline(limit)
	// Asked only now: if ctx ends later than this, wake is called later too.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n := 0
	if err == nil {
		n, err = s.conn.Read(s.in)
	}
	switch {
	case n > 0:
		return s.split.Feed(s.in[:n]) // an error comes again with the next Read
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	case err != nil:
		s.broken = true
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

// shrink lets go of the memory into which a big answer was read: between reads
// there may be hours.
func (s *session) shrink() {
	if s.split.Waiting() == 0 {
		s.skipped += s.split.Skipped()
		s.split = zk.Splitter{}
	}
}

// part takes leave, so that the terminal is free for the next host at once.
func (s *session) part(ctx context.Context) {
	if s.connected && !s.broken {
		// Whatever comes of it, the connection is closed next.
		_, _ = s.askWithin(context.WithoutCancel(ctx), zk.Bare(zk.CmdExit), partWithin)
	}
}
