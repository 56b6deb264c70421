package zk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/zk"
)

// maxBulk bounds a whole dataset in time. The slowest terminals known take 90 s
// for a hundred thousand records.
const maxBulk = 30 * time.Minute

// table is a dataset and the two ways to ask for it.
type table struct {
	name    string
	bulk    zk.BulkRead
	classic zk.Request
}

func attendanceLog() table {
	return table{"attendance log", zk.BulkAttendance(), zk.Bare(zk.CmdAttLogRead)}
}

func userTable() table { return table{"user table", zk.BulkUsers(), zk.UsersRead{}} }

// fetch reads a dataset whole. A terminal that refuses the newer way is asked
// in the classic one. The error is a [*zk.RefusedError] if it refuses both, and
// wraps [protocol.ErrIncomplete] if less came than was announced.
//
// The terminal is not disabled meanwhile. That would keep people from punching
// for as long as the read takes, for ever if this process dies within it, and
// gain nothing: the answer is a snapshot, and what comes after it is read next.
func (s *session) fetch(ctx context.Context, t table) ([]byte, error) {
	limit := time.Now().Add(maxBulk)
	// What another host, or a connection that broke, left in the terminal's
	// buffer would be taken for the answer.
	if err := s.free(ctx); err != nil {
		return nil, err
	}
	data, err := s.fetchEither(ctx, t, limit)
	if err != nil {
		return nil, fmt.Errorf("zk: read the %s: %w", t.name, err)
	}
	err = s.free(ctx)
	s.shrink()
	return data, err
}

func (s *session) fetchEither(ctx context.Context, t table, limit time.Time) ([]byte, error) {
	if s.classic {
		return s.bulk(ctx, t.classic, limit)
	}
	data, err := s.bulk(ctx, t.bulk, limit)
	if _, refused := errors.AsType[*zk.RefusedError](err); !refused {
		return data, err
	}
	data, err = s.bulk(ctx, t.classic, limit)
	// Empty tables are refused by some that are not refused when they are full.
	s.classic = err == nil && len(data) > lengthSize
	return data, err
}

// lengthSize is how many bytes a dataset has before its records.
const lengthSize = 4

// free makes the terminal release what it holds ready.
func (s *session) free(ctx context.Context) error {
	_, err := s.ask(ctx, zk.Bare(zk.CmdFreeData)) // a refusal: there was nothing
	return err
}

// bulk asks for a dataset and takes it in whatever way it comes.
func (s *session) bulk(ctx context.Context, r zk.Request, limit time.Time) ([]byte, error) {
	b, err := s.bulkAnswer(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	switch b.Kind {
	case zk.BulkWhole:
		return b.Data, nil
	case zk.BulkStream:
		return s.stream(ctx, b, limit)
	}
	var data []byte // grows with what comes, not with what is announced
	for chunk := range zk.Chunks(b.Size, zk.MaxChunk) {
		part, err := s.chunk(ctx, chunk, limit)
		if err != nil {
			return nil, fmt.Errorf("%d of %d bytes: %w", len(data), b.Size, err)
		}
		data = append(data, part...)
	}
	return data, nil
}

// bulkAnswer sends a request and reads the packet with which the answer begins.
func (s *session) bulkAnswer(ctx context.Context, r zk.Request, limit time.Time) (zk.Bulk, error) {
	if err := s.send(ctx, r, s.timeouts.Answer); err != nil {
		return zk.Bulk{}, err
	}
	p, err := s.answer(ctx, limit, s.timeouts.Quiet)
	if err != nil {
		return zk.Bulk{}, fmt.Errorf("%v: %w", r.Command(), err)
	}
	if p.Command == zk.AckOK && len(p.Data) == 0 {
		return zk.Bulk{Kind: zk.BulkWhole}, nil // done, and there was nothing
	}
	return zk.ParseBulk(p)
}

// chunk fetches a part of a dataset that is held ready.
func (s *session) chunk(ctx context.Context, c zk.Chunk, limit time.Time) ([]byte, error) {
	b, err := s.bulkAnswer(ctx, c, limit)
	if err != nil {
		return nil, err
	}
	data := b.Data
	switch {
	case b.Kind == zk.BulkReady:
		return nil, fmt.Errorf("chunk announced anew: %w", protocol.ErrMalformed)
	case b.Kind == zk.BulkStream && b.Size != int(c.Size):
		// Now, and not when all of it has been collected.
		return nil, fmt.Errorf("chunk of %d bytes announced with %d: %w", c.Size, b.Size, protocol.ErrMalformed)
	case b.Kind == zk.BulkStream:
		if data, err = s.stream(ctx, b, limit); err != nil {
			return nil, err
		}
	}
	if len(data) != int(c.Size) {
		return nil, fmt.Errorf("chunk of %d bytes came with %d: %w", c.Size, len(data), protocol.ErrIncomplete)
	}
	return data, nil
}

// stream takes the pieces that follow PREPARE_DATA. It does not wait for the
// ACK_OK behind them, which some terminals leave out: it has the reply id of
// this request and is passed over when the next answer is awaited.
func (s *session) stream(ctx context.Context, b zk.Bulk, limit time.Time) ([]byte, error) {
	pieces := zk.NewStream(b)
	for empty := 0; !pieces.Whole(); {
		p, err := s.answer(ctx, limit, s.timeouts.Quiet)
		if err != nil {
			return nil, fmt.Errorf("%d of %d bytes: %w", len(pieces.Data()), b.Size, err)
		}
		if _, err := pieces.Add(p); err != nil {
			return nil, err
		}
		if len(p.Data) == 0 {
			if empty++; empty == maxStrays {
				return nil, fmt.Errorf("%d pieces without data: %w", empty, protocol.ErrMalformed)
			}
		}
	}
	return pieces.Data(), nil
}
