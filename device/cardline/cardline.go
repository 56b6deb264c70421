// Package cardline runs readers that only talk: RDM6300 and ID-12 modules, and
// everything that sends a line of text for a card or a barcode.
package cardline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cardline"
)

// The formats of a reader.
const (
	FormatRDM6300 = "rdm6300" // frames of 14 bytes, again and again while a card lies there
	FormatID12    = "id12"    // frames of 16 bytes, one for each presentation
	FormatLine    = "line"    // lines of text, see [Config.Line]
)

// Defaults of [Config].
const (
	defaultConfirmWithin = 300 * time.Millisecond
	defaultAbsent        = 500 * time.Millisecond
	defaultLockout       = 3 * time.Second
	defaultIdleGap       = 50 * time.Millisecond
)

const (
	driverName = "cardline"
	// staleAfter is how long a begun frame may stand still. Bytes through a
	// serial server come in bursts, so this is far over their distance.
	staleAfter = time.Second
	// restAfter is how long the rest of a line that stood still may yet come:
	// as long as TCP holds a packet back before it gives the connection up.
	restAfter = 30 * time.Second
	// A port is cheap to try, and what is shown to a reader that is not
	// connected is lost: so it is tried more often than a terminal.
	redialMost = 5 * time.Second
	maxConfirm = 10
)

// Config says how a reader is read.
type Config struct {
	ID     string      // of the device, as in the config file
	Link   link.Dialer // the port; a reader needs no more of it than its bytes
	Format string      // rdm6300, id12 or line

	// Form is how the badge of an EM card is written: hex if it is empty. For
	// lines it stands for Line.Form.
	Form cardline.Form
	Line cardline.Line // for the format line, else zero

	// Confirm is how many equal frames make a card, each within ConfirmWithin
	// of the one before: 0 is 2 for an RDM6300, whose noise can look like a
	// card, and 1 for the others, which send a card once.
	Confirm       int
	ConfirmWithin time.Duration // 0: 300 ms
	// A card without a frame for Absent has been taken away (0: 500 ms). If it
	// comes back within Lockout after that (0: 3 s, negative: none), it is the
	// same fact.
	Absent, Lockout time.Duration
	// Before tells of each badge that was a fact shortly before this start, and
	// when, so that a restart makes no second fact of a card that lies there.
	Before map[string]time.Time
	// IdleGap is the silence that ends a line of [cardline.EndIdle] (0: 50 ms).
	IdleGap time.Duration

	Method    attendance.Method    // how people are recognised here; unknown: card
	Direction attendance.Direction // of a reader at an entrance or exit; unknown if both
	Zone      *time.Location       // of the reader's wall; nil: UTC
	Emit      device.Emit
	Log       *slog.Logger // nil: silent
}

// Driver is one reader. It implements [device.Driver] and [device.Reporter].
type Driver struct {
	cfg    Config
	log    *slog.Logger
	keeper link.Keeper
	parse  func([]byte) (string, error)
	gap    time.Duration
	queue  chan attendance.Punch

	// Of the reading goroutine, from one connection to the next.
	split  *cardline.Splitter
	seen   presence
	lastAt time.Time // of the newest fact

	mu    sync.Mutex
	state device.State // all but Notes
	count counters
	// The reasons for State.LastError and a note; nil while all is well.
	linkErr, emitErr, frameErr error
}

var (
	_ device.Driver   = (*Driver)(nil)
	_ device.Reporter = (*Driver)(nil)
)

// New makes a driver. Its error says what is wrong with cfg.
func New(cfg Config) (*Driver, error) {
	switch {
	case cfg.ID == "":
		return nil, errors.New("cardline: reader without an id")
	case cfg.Link == nil:
		return nil, fmt.Errorf("cardline: reader %s has no link", cfg.ID)
	case cfg.Emit == nil:
		return nil, fmt.Errorf("cardline: reader %s has nowhere to emit to", cfg.ID)
	}
	d := &Driver{cfg: cfg, log: cfg.Log, gap: staleAfter, queue: make(chan attendance.Punch, queueSize)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.log = d.log.With("reader", cfg.ID)
	if err := d.format(); err != nil {
		return nil, fmt.Errorf("cardline: reader %s: %w", cfg.ID, err)
	}
	if err := d.times(); err != nil {
		return nil, fmt.Errorf("cardline: reader %s: %w", cfg.ID, err)
	}
	if d.cfg.Method == attendance.MethodUnknown {
		d.cfg.Method = attendance.MethodCard
	}
	if d.cfg.Zone == nil {
		d.cfg.Zone = time.UTC
	}
	if d.cfg.Zone == time.Local {
		return nil, fmt.Errorf("cardline: reader %s: zone Local means another one on another machine; name it, as in Asia/Shanghai", cfg.ID)
	}
	d.keeper = link.Keeper{Dialer: cfg.Link, Max: redialMost, Log: d.log, OnState: d.connected}
	d.state = device.State{ID: cfg.ID, Driver: driverName, Address: cfg.Link.String()}
	return d, nil
}

// format sets up how the reader's bytes become badges.
func (d *Driver) format() error {
	c := &d.cfg
	switch c.Format {
	case FormatRDM6300, FormatID12:
		if c.Line != (cardline.Line{}) {
			return fmt.Errorf("settings of lines with format %s", c.Format)
		}
		if err := c.Form.Check(); err != nil {
			return err
		}
		d.split = cardline.NewFrames()
		d.parse = func(frame []byte) (string, error) {
			card, err := cardline.ParseFrame(frame)
			if err != nil {
				return "", err
			}
			return card.Text(c.Form), nil
		}
		return nil
	case FormatLine:
		l := c.Line
		if c.Form != cardline.FormText {
			if l.Form != cardline.FormText && l.Form != c.Form {
				return fmt.Errorf("form is both %s and %s", c.Form, l.Form)
			}
			l.Form = c.Form
		}
		lines, err := l.Compile()
		if err != nil {
			return err
		}
		d.split, d.parse = lines.Splitter(), lines.Parse
		if l.Terminator == cardline.EndIdle {
			d.gap = defaultIdleGap
			if c.IdleGap > 0 {
				d.gap = c.IdleGap
			}
		}
		return nil
	}
	return fmt.Errorf("unknown format %q (known: %s, %s, %s)", c.Format, FormatRDM6300, FormatID12, FormatLine)
}

// times sets up what counts as one presentation of a card.
func (d *Driver) times() error {
	c := &d.cfg
	if c.Confirm < 0 || c.Confirm > maxConfirm {
		return fmt.Errorf("confirm %d is not between 0 and %d", c.Confirm, maxConfirm)
	}
	for name, t := range map[string]time.Duration{"confirm_within": c.ConfirmWithin, "absent": c.Absent, "idle_gap": c.IdleGap} {
		if t < 0 {
			return fmt.Errorf("%s %v is negative", name, t)
		}
	}
	if c.Confirm == 0 {
		c.Confirm = 1
		if c.Format == FormatRDM6300 {
			c.Confirm = 2
		}
	}
	if c.ConfirmWithin == 0 {
		c.ConfirmWithin = defaultConfirmWithin
	}
	if c.Absent == 0 {
		c.Absent = defaultAbsent
	}
	if c.Lockout == 0 {
		c.Lockout = defaultLockout
	}
	c.Lockout = max(c.Lockout, 0)
	d.seen = presence{confirm: c.Confirm, within: c.ConfirmWithin, absent: c.Absent, lockout: c.Lockout, cards: map[string]*track{}}
	now := time.Now()
	for badge, at := range c.Before {
		d.seen.before(badge, now, now.Sub(at))
	}
	return nil
}

// Run reads until ctx ends, and then makes a last attempt to hand over what was
// read. It returns an error only if the link is hopeless.
func (d *Driver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var delivery sync.WaitGroup
	var rest []attendance.Punch
	delivery.Go(func() { rest = d.deliver(ctx) })
	err := d.keeper.Run(ctx, d.read)
	cancel()
	delivery.Wait()
	d.finish(ctx, rest)
	if err != nil {
		return fmt.Errorf("cardline: reader %s: %w", d.cfg.ID, err)
	}
	return nil
}
