package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// fullKind is how a disk comes to be full, and what happens then.
type fullKind struct {
	name   string
	slowly bool // in seconds, not as fast as it goes
	kill   bool // SIGKILL while it is full, and a start
	before bool // full before the daemon is started
}

var fullKinds = []fullKind{
	{name: "filled at once"},
	{name: "filled slowly", slowly: true},
	{name: "killed while full", kill: true},
	{name: "full at start", before: true},
}

// The bounds of what happens in a cycle.
const (
	slowestFill = 3 * time.Second
	busy        = 700 * time.Millisecond // of work before the disk is filled, at least
	// A terminal whose punches could not be kept is read again after 5 s, and what it
	// tells goes on to a central that fails now and then.
	terminalsWithin = 10 * time.Second
	gateGrace       = time.Second // until the daemon must have noticed
	refusePatience  = 10 * time.Second
)

// cycle fills the disk, looks at what is done then, frees it and counts. Its
// error says that the rig itself can't go on.
func (r *fullRun) cycle(ctx context.Context, number int, kind fullKind) (err error) {
	if r.said, err = r.log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if !wait(ctx, busy+time.Duration(r.random.Int64N(int64(busy)))) {
		return ctx.Err()
	}
	if kind.before || kind.kill {
		if err := r.noCards(); err != nil {
			return err
		}
	}
	if kind.before {
		if err := r.process.Stop(stopPatience); err != nil {
			r.fail(number, "before the disk was filled: %v", err)
		}
	}
	b, err := newBallast(r.data)
	if err != nil {
		return err
	}
	if err := r.fill(ctx, b, kind); err != nil {
		return errors.Join(err, b.free())
	}
	keptBack, err := r.whileFull(ctx, number, kind)
	if kind.kill {
		if how := r.ended(); how != "" {
			r.fail(number, "%s", how)
		}
		err = errors.Join(err, r.process.Kill())
	}
	if err == nil && (kind.kill || kind.before) {
		err = r.refuses(ctx, number)
	}
	before := r.progress()
	freed := time.Now()
	if err = errors.Join(err, b.free()); err != nil {
		return err
	}
	if err := r.again(ctx, number, kind.kill || kind.before); err != nil {
		return err
	}
	phones, terminals, err := r.resumes(ctx, number, before, freed)
	if err != nil {
		return err
	}
	if err := r.count(ctx, number); err != nil {
		return err
	}
	r.figures.KeptBack += keptBack
	r.figures.LongestPhoneSeconds = max(r.figures.LongestPhoneSeconds, phones.Seconds())
	r.figures.LongestTerminalSeconds = max(r.figures.LongestTerminalSeconds, terminals.Seconds())
	r.say("cycle %d of %d: %s; %d facts kept by their devices; phones went on after %.1f s, terminals after %.1f s; %d at central",
		number+1, r.cfg.Cycles, kind.name, keptBack, phones.Seconds(), terminals.Seconds(), len(r.seen))
	return nil
}

// fill fills the disk and keeps it full.
func (r *fullRun) fill(ctx context.Context, b *ballast, kind fullKind) error {
	during := time.Duration(0)
	if kind.slowly {
		during = slowestFill/3 + time.Duration(r.random.Int64N(int64(slowestFill)*2/3))
	}
	if err := b.fill(ctx, during); err != nil {
		return err
	}
	b.hold(ctx)
	return nil
}

// whileFull lets the disk be full for a while, and counts the facts that are
// made then and that nobody is promised.
func (r *fullRun) whileFull(ctx context.Context, number int, kind fullKind) (keptBack int, err error) {
	if !wait(ctx, gateGrace) {
		return 0, ctx.Err()
	}
	begun := len(r.world.fleet.Made())
	full := shortestFull + time.Duration(r.random.Int64N(int64(longestFull-shortestFull))) - gateGrace
	gone := r.process.Exited()
	if kind.before {
		gone = nil // it is
	}
	select {
	case <-time.After(full):
	case <-gone:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if free, err := freeOn(r.data); err != nil || free > 64<<10 {
		return 0, errors.Join(err, fmt.Errorf("rig: %d bytes of the disk were free when it was to be full", free))
	}
	for _, m := range r.world.fleet.Made()[begun:] {
		if m.Promised {
			r.fail(number, "%s was promised its check-in of %s while the disk was full", m.Phone, m.At.Format(time.RFC3339Nano))
		} else {
			keptBack++
		}
	}
	if keptBack == 0 {
		r.fail(number, "no check-in was made and kept by its phone while the disk was full, so this says nothing")
	}
	return keptBack, nil
}

// ended is closed or not: whether the daemon ended by itself. It tells how.
func (r *fullRun) ended() string {
	select {
	case <-r.process.Exited():
		return fmt.Sprintf("the daemon ended by itself: %v%s", r.process.err, r.lastWords("fatal error", "SIGBUS", "panic: "))
	default:
		return ""
	}
}

// lastWords are the lines in the daemon's log, of this cycle, that have one of
// the words.
func (r *fullRun) lastWords(words ...string) string {
	var text bytes.Buffer
	if _, err := io.Copy(&text, io.NewSectionReader(r.log, r.said, 1<<24)); err != nil {
		return ""
	}
	found := ""
	for line := range strings.Lines(text.String()) {
		for _, w := range words {
			if strings.Contains(line, w) {
				found += "\n    " + strings.TrimSpace(line)
				break
			}
		}
	}
	return found
}

// refusals is how often a start on a full disk is tried: as a service manager
// does, it must not get worse by it.
const refusals = 2

// refuses holds a daemon to saying clearly that it can't start on a full disk.
func (r *fullRun) refuses(ctx context.Context, number int) error {
	for range refusals {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p, err := r.daemon.Start()
		if err != nil {
			return err
		}
		select {
		case <-p.Exited():
		case <-time.After(refusePatience):
			r.fail(number, "started on a full disk, the daemon neither serves nor ends with an error")
			return p.Kill()
		}
		exit, ok := errors.AsType[*exec.ExitError](p.err)
		switch {
		case !ok || exit.ExitCode() != 1:
			r.fail(number, "started on a full disk, the daemon ended with %v%s", p.err, r.lastWords("fatal error", "SIGBUS", "panic: "))
		case r.lastWords("make room") == "":
			r.fail(number, "started on a full disk, the daemon did not say that room must be made")
		default:
			r.figures.Refused++
		}
	}
	return nil
}

// again starts the daemon if it is to be started, or has ended by itself, which
// fails the cycle.
func (r *fullRun) again(ctx context.Context, number int, start bool) (err error) {
	if !start {
		how := r.ended()
		if how == "" {
			return nil
		}
		r.fail(number, "%s", how)
		if err := r.noCards(); err != nil {
			return err
		}
	}
	if r.process, err = r.start(ctx); err != nil {
		r.fail(number, "started when there was room: %v%s", err, r.lastWords("punchd: "))
		return err
	}
	r.cards(ctx)
	return nil
}

// progress is how far things have come: check-ins that are promised, and how many
// events central holds.
type progress struct{ promised, held int }

func (r *fullRun) progress() (p progress) {
	for _, m := range r.world.fleet.Made() {
		if m.Promised {
			p.promised++
		}
	}
	p.held = int(r.world.Central().Stats().Distinct)
	return p
}

// resumes waits until check-ins are promised again, and until central has got a
// punch of a terminal that was made after the disk was freed, or is new to it.
func (r *fullRun) resumes(ctx context.Context, number int, before progress, freed time.Time) (phones, terminals time.Duration, err error) {
	for phones == 0 || terminals == 0 {
		if time.Since(freed) > drainPatience {
			r.fail(number, "after %s of room on the disk, phones or terminals did not go on", drainPatience)
			return max(phones, drainPatience), max(terminals, drainPatience), nil
		}
		if !wait(ctx, 25*time.Millisecond) {
			return 0, 0, ctx.Err()
		}
		if phones == 0 && r.progress().promised > before.promised {
			phones = time.Since(freed)
		}
		if terminals > 0 {
			continue
		}
		seen, err := r.held()
		if err != nil {
			return 0, 0, err
		}
		for _, s := range seen[min(before.held, len(seen)):] {
			if s.Line != ReaderID && s.Says != nil && s.Says.Method != attendance.MethodPhone {
				terminals = time.Since(freed)
				break
			}
		}
	}
	if phones > resumeWithin {
		r.fail(number, "check-ins were taken again %s after there was room, %s are allowed", phones.Round(time.Millisecond), resumeWithin)
	}
	if terminals > terminalsWithin {
		r.fail(number, "a terminal's punch was at central %s after there was room, %s are allowed", terminals.Round(time.Millisecond), terminalsWithin)
	}
	return phones, terminals, nil
}

// count looks whether central has got all that was promised until now, once and
// as it was.
func (r *fullRun) count(ctx context.Context, number int) error {
	lost, err := r.drain(ctx, r.process)
	if how := r.ended(); how != "" { // while it was to drain: the next cycle has another
		r.fail(number, "%s", how)
		if r.process, err = r.start(ctx); err != nil {
			return err
		}
		lost, err = r.drain(ctx, r.process)
	}
	if err != nil {
		return err
	}
	for _, f := range lost {
		r.fail(number, "%s", f)
	}
	t, err := r.tally()
	if err != nil {
		return err
	}
	if n := len(t.Faults); n > r.told {
		r.fail(number, "%s", t.Faults[r.told])
		r.told = n
	}
	if _, err := os.Stat(filepath.Join(r.data, "ballast")); err == nil {
		return errors.New("rig: the disk was not freed")
	}
	return nil
}
