// Package reader simulates readers that only talk: RDM6300 and ID-12 modules
// and readers of lines, with the noise that real ones make.
//
// A reader promises only what a driver must make a fact of. Whoever compares
// must know that a promise holds while somebody reads: what a reader says to a
// gateway that is not there is lost, as with a real one.
package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/cardline"
)

// The formats of a reader.
const (
	FormatRDM6300 = "rdm6300"
	FormatID12    = "id12"
	FormatLine    = "line"
)

const (
	defaultInterval = 65 * time.Millisecond // of an RDM6300
	// maxInterval is how far apart a driver takes two frames for one reading.
	maxInterval = 300 * time.Millisecond
	// defaultRest is over the 0.5 s after which a driver thinks a card gone and
	// the 3 s for which it then does not take it again.
	defaultRest = 4 * time.Second
	// stale is longer than a driver waits for the rest of a line, and idle
	// longer than the silence that ends one.
	stale = 1200 * time.Millisecond
	idle  = 150 * time.Millisecond

	generated = 8 // cards, if none are given
)

// Faults says what goes wrong. Each is the chance, from 0 to 1, that it happens
// in a presentation; none of them keeps the card from being read.
type Faults struct {
	BadChecksum float64 // a frame of the card with a wrong checksum; not for lines
	Ghost       float64 // a frame of a card that is not there, once; an ID-12's is all zeros; not for lines
	Noise       float64 // bytes that are no frame
	Cut         float64 // a frame that breaks off in the middle, a line with its rest much later; not for lines ended by silence
	Bytewise    bool    // every byte is written alone, always
}

// Config says which reader to be.
type Config struct {
	Format string // rdm6300, id12 or line
	// Form is how the driver writes the badge of an EM card: hex if empty. For
	// lines see Line.Form.
	Form cardline.Form
	Line cardline.Line // as the driver is told, for the format line

	Seed uint64
	// Cards are what can be shown: ten hex digits each, or for lines the text
	// that the reader says. Without any there are eight of the seed's making.
	Cards []string
	// Repeat is how many frames a presentation has (0: 5 for an RDM6300, else
	// 1), Interval the time between them (0: 65 ms; at most 300 ms).
	Repeat   int
	Interval time.Duration
	// Confirm is how many frames the driver asks for (0: 2 for an RDM6300,
	// else 1). A presentation with fewer promises nothing.
	Confirm int
	// Rest is how long a card stays away between two presentations that both
	// are facts (0: 4 s, for a driver with its defaults).
	Rest   time.Duration
	Faults Faults
}

// Made is a presentation of a card.
type Made struct {
	Badge string    // as the driver must write it
	At    time.Time // when the frame that made it a fact went out, by this machine's clock
	// Promised says that the driver must make it a fact. Without that it may:
	// the card had not been away for long enough, or the presentation broke off.
	Promised bool
}

// Reader is a simulated reader. Its presentations happen one after the other;
// Made may be called at any time.
type Reader struct {
	cfg    Config
	w      io.Writer
	lines  *cardline.Lines // nil for EM cards
	badges map[string]string
	deck   []string // the cards in the order in which Run shows them
	shown  uint64   // presentations so far

	mu   sync.Mutex
	made []Made
	away map[string]time.Time // when a card was taken away last, by badge
}

// New makes a reader that writes to w. If w has a SetWriteDeadline method, a
// Write that blocks ends with the context of its presentation.
func New(cfg Config, w io.Writer) (*Reader, error) {
	r := &Reader{cfg: cfg, w: w, badges: map[string]string{}, away: map[string]time.Time{}}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("reader: %w", err)
	}
	random := rand.New(rand.NewPCG(cfg.Seed, 0))
	r.deck = slices.Clone(cfg.Cards)
	if len(r.deck) == 0 {
		for range generated {
			r.deck = append(r.deck, r.generate(random))
		}
	}
	for _, card := range r.deck {
		badge, _, err := r.encode(card)
		if err != nil {
			return nil, fmt.Errorf("reader: card %q: %w", card, err)
		}
		r.badges[card] = badge
	}
	random.Shuffle(len(r.deck), func(i, j int) { r.deck[i], r.deck[j] = r.deck[j], r.deck[i] })
	return r, nil
}

// check validates the Config and fills its defaults in.
func (r *Reader) check() (err error) {
	c, f := &r.cfg, &r.cfg.Faults
	repeat, confirm := 1, 1
	switch c.Format {
	case FormatRDM6300:
		repeat, confirm = 5, 2
	case FormatID12:
	case FormatLine:
		if r.lines, err = c.Line.Compile(); err != nil {
			return err
		}
		if f.BadChecksum > 0 || f.Ghost > 0 {
			return errors.New("a line has no checksum, so it can have no wrong one, and every line is a card")
		}
		if f.Cut > 0 && c.Line.Terminator == cardline.EndIdle {
			return errors.New("half a line that silence ends is a line")
		}
	default:
		return fmt.Errorf("unknown format %q (known: %s, %s, %s)", c.Format, FormatRDM6300, FormatID12, FormatLine)
	}
	if err := c.Form.Check(); err != nil {
		return err
	}
	for name, chance := range map[string]float64{"bad checksum": f.BadChecksum, "ghost": f.Ghost, "noise": f.Noise, "cut": f.Cut} {
		if !(chance >= 0 && chance <= 1) {
			return fmt.Errorf("chance of %s, %v, is not between 0 and 1", name, chance)
		}
	}
	if c.Repeat < 0 || c.Confirm < 0 || c.Interval < 0 || c.Interval > maxInterval || c.Rest < 0 {
		return fmt.Errorf("repeat, confirm, interval and rest must not be negative, and interval not over %v", maxInterval)
	}
	if c.Repeat == 0 {
		c.Repeat = repeat
	}
	if c.Confirm == 0 {
		c.Confirm = confirm
	}
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.Rest == 0 {
		c.Rest = defaultRest
	}
	return nil
}

// generate makes a card: ten digits, of an EM card hexadecimal.
func (r *Reader) generate(random *rand.Rand) string {
	if r.lines != nil {
		return fmt.Sprintf("%010d", random.Uint32())
	}
	return fmt.Sprintf("%010X", 1+random.Uint64N(1<<40-2)) // neither of the two ghosts
}

// Cards are the cards in the order in which Run shows them.
func (r *Reader) Cards() []string { return slices.Clone(r.deck) }

// Made is what was shown so far, in order.
func (r *Reader) Made() []Made {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.made)
}

// Pace says how Run shows cards.
type Pace struct {
	Count int           // how many presentations, 0: no matter
	For   time.Duration // how long, 0: no matter; one of the two must be given
	Every time.Duration // from the beginning of one to that of the next (0: 1 s)
}

// Run shows the cards in turn, in an order that the seed alone decides, until
// the pace's bound or the end of ctx; both give nil. A card that was shown less
// than Rest ago is waited for, so that every presentation is a promise.
func (r *Reader) Run(ctx context.Context, pace Pace) error {
	if pace.Count <= 0 && pace.For <= 0 {
		return errors.New("reader: the pace needs a count or a time")
	}
	every := pace.Every
	if every <= 0 {
		every = time.Second
	}
	if pace.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, pace.For)
		defer cancel()
	}
	next := time.Now()
	for n := 0; pace.Count <= 0 || n < pace.Count; n++ {
		card := r.deck[n%len(r.deck)]
		if free := r.free(card); free.After(next) {
			next = free
		}
		if !sleep(ctx, time.Until(next)) {
			return nil
		}
		next = time.Now().Add(every)
		if err := r.Present(ctx, card); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// free is when a card makes a new fact again.
func (r *Reader) free(card string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	away, shown := r.away[r.badges[card]]
	if !shown {
		return time.Time{}
	}
	return away.Add(r.cfg.Rest)
}

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
