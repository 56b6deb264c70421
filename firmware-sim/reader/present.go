package reader

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/punchd/punchd/protocol/cardline"
)

// piece is bytes of a presentation, and the silence behind them.
type piece struct {
	bytes []byte
	pause time.Duration
	rest  []byte // comes behind the pause, and is no frame either
	good  bool   // a frame that the driver must take
}

// Present shows a card once: all its frames, with the faults that the seed has
// for this presentation. The card need not be one of the Config's. It returns
// when the last frame is out, or with the context's or the writer's error.
func (r *Reader) Present(ctx context.Context, card string) error {
	badge, frame, err := r.encode(card)
	if err != nil {
		return fmt.Errorf("reader: card %q: %w", card, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("reader: %w", err)
	}
	stop, err := r.endWritesWith(ctx)
	if err != nil {
		return fmt.Errorf("reader: %w", err)
	}
	defer stop()
	pieces := r.plan(frame)
	at, rested := r.begin(badge)
	good := 0
	for i, p := range pieces {
		if err := r.write(p.bytes); err != nil {
			return fmt.Errorf("reader: %w", err)
		}
		if p.good {
			good++
			r.wrote(badge, at, good == r.cfg.Confirm)
		}
		if (i < len(pieces)-1 || r.ended()) && !sleep(ctx, p.pause) {
			return fmt.Errorf("reader: %w", ctx.Err())
		}
	}
	if rested && good >= r.cfg.Confirm {
		r.promise(at)
	}
	return nil
}

// endWritesWith makes a Write that blocks end with ctx, if the writer can, until
// stop is called.
func (r *Reader) endWritesWith(ctx context.Context) (stop func(), err error) {
	w, ok := r.w.(interface{ SetWriteDeadline(time.Time) error })
	if !ok {
		return func() {}, nil
	}
	if err := w.SetWriteDeadline(time.Time{}); errors.Is(err, os.ErrNoDeadline) {
		return func() {}, nil // a plain file: it does not block
	} else if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = w.SetWriteDeadline(time.Unix(1, 0)) // fails if w is closed, which ends a Write too
	})
	return func() {
		if !cancel() {
			<-done // or it would end a Write of the next presentation
		}
	}, nil
}

// ended reports whether the silence behind the last frame is a part of it.
func (r *Reader) ended() bool { return r.cfg.Line.Terminator == cardline.EndIdle }

// begin notes that a card is being shown, and says where in made, and whether
// it had been away for long enough.
func (r *Reader) begin(badge string) (at int, rested bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	away, shown := r.away[badge]
	rested = !shown || time.Since(away) >= r.cfg.Rest
	r.away[badge] = time.Now()
	r.made = append(r.made, Made{Badge: badge, At: time.Now()})
	return len(r.made) - 1, rested
}

// wrote notes that a frame of the card went out, and whether it was the one
// that makes it a fact.
func (r *Reader) wrote(badge string, at int, fact bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.away[badge] = now
	if fact {
		r.made[at].At = now
	}
}

func (r *Reader) promise(at int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made[at].Promised = true
}

func (r *Reader) write(b []byte) error {
	step := max(1, len(b))
	if r.cfg.Faults.Bytewise {
		step = 1
	}
	for len(b) > 0 {
		n, err := r.w.Write(b[:step])
		if err != nil {
			return err
		}
		b = b[n:]
		step = min(step, len(b))
	}
	return nil
}

// plan decides all of a presentation, by the seed and its number alone.
func (r *Reader) plan(frame []byte) []piece {
	r.shown++
	random := rand.New(rand.NewPCG(r.cfg.Seed, r.shown))
	f := r.cfg.Faults
	// Every chance is drawn every time, so that one fault more or less leaves
	// the others where they are.
	before := make(map[int][]piece)
	for _, fault := range []struct {
		chance float64
		make   func([]byte, *rand.Rand) piece
	}{{f.BadChecksum, r.badChecksum}, {f.Ghost, r.ghost}, {f.Noise, r.noise}, {f.Cut, r.cut}} {
		drawn, place, seed := random.Float64(), random.IntN(r.cfg.Repeat), random.Uint64()
		if r.lines != nil {
			place = 0 // what has to be waited out must not part frames that confirm each other
		}
		if drawn >= fault.chance {
			continue
		}
		p := fault.make(frame, rand.New(rand.NewPCG(seed, r.shown)))
		before[place] = append(before[place], p)
		if p.rest != nil {
			before[place] = append(before[place], piece{bytes: p.rest})
		}
	}
	pause := r.cfg.Interval
	if r.ended() {
		pause = idle
	}
	var all []piece
	for i := range r.cfg.Repeat {
		all = append(all, before[i]...)
		all = append(all, piece{bytes: frame, pause: pause, good: true})
	}
	return all
}

// encode reads a card: what the driver makes of it, and what the reader sends.
func (r *Reader) encode(card string) (badge string, frame []byte, err error) {
	if r.lines != nil {
		badge, err = r.lines.Parse([]byte(r.cfg.Line.Prefix + card + r.cfg.Line.Suffix))
		return badge, r.lines.Append(nil, card), err
	}
	var number [5]byte
	if len(card) != hex.EncodedLen(len(number)) {
		return "", nil, fmt.Errorf("%d characters are not ten hex digits", len(card))
	}
	if _, err := hex.Decode(number[:], []byte(card)); err != nil {
		return "", nil, err
	}
	em := cardline.EM(number)
	frame = r.emFrame(em)
	if _, err := cardline.ParseFrame(frame); err != nil {
		return "", nil, err
	}
	return em.Text(r.cfg.Form), frame, nil
}

func (r *Reader) emFrame(em cardline.Card) []byte {
	if r.cfg.Format == FormatID12 {
		return cardline.AppendID12(nil, em)
	}
	return cardline.AppendRDM6300(nil, em)
}

func (r *Reader) badChecksum(frame []byte, random *rand.Rand) piece {
	b := bytes.Clone(frame)
	digit := &b[1+10+random.IntN(2)]
	for old := *digit; *digit == old; {
		*digit = "0123456789ABCDEF"[random.IntN(16)]
	}
	return piece{bytes: b}
}

func (r *Reader) ghost(_ []byte, random *rand.Rand) piece {
	var number [5]byte
	if r.cfg.Format == FormatRDM6300 { // its driver asks for a second frame
		for i := range number {
			number[i] = byte(random.Uint32())
		}
	}
	return piece{bytes: r.emFrame(cardline.EM(number))}
}

// noise is bytes that no frame holds, for lines as a line of their own: it
// would be a part of the card's otherwise.
func (r *Reader) noise(_ []byte, random *rand.Rand) piece {
	b := make([]byte, 1+random.IntN(8))
	for i := range b {
		b[i] = byte(random.Uint32())
		if r.lines != nil {
			b[i] = 0xff // no text, and with seven bits no character
		}
	}
	if r.lines == nil {
		return piece{bytes: b}
	}
	p := piece{bytes: r.lines.Append(nil, string(b))}
	if r.ended() {
		p.pause = idle
	}
	return p
}

// cut is the first part of a frame. The next one begins with STX. Of a line the
// rest comes too, so late that neither part may be a card.
func (r *Reader) cut(frame []byte, random *rand.Rand) piece {
	p := piece{bytes: frame[:1+random.IntN(max(1, len(frame)-2))]}
	if r.lines != nil {
		p.pause, p.rest = stale, frame[len(p.bytes):]
	}
	return p
}
