package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/mattn/go-isatty"

	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/protocol/attendance"
)

// frame is what the demo shows at one moment.
type frame struct {
	elapsed, length time.Duration
	down            bool // central is away
	made            map[string]int
	phones          int
	status          *gateway.Status
	held            uint64
	requests        uint64
	newest          []*attendance.Punch
	zone            *time.Location // of the site
}

// frame looks at everything once.
func (d *demo) frame() frame {
	f := frame{elapsed: time.Since(d.started), length: d.length, made: map[string]int{}, phones: d.world.Phones(), status: d.gateway.Status(), zone: d.cfg.Site.Zone}
	for _, m := range d.world.Made(true) {
		f.made[m.Line]++
	}
	stats := d.world.Central().Stats()
	f.held, f.requests = stats.Distinct, stats.Requests
	outages := d.world.Central().Outages()
	f.down = len(outages) > 0 && outages[len(outages)-1].To.IsZero()
	if _, punches, err := d.world.Held(); err == nil {
		f.newest = punches[max(0, len(punches)-6):]
	}
	return f
}

// central is how central is doing.
func (f *frame) central() string {
	if f.down {
		return "AWAY"
	}
	return "up"
}

// waiting is how many punches wait for central, as the daemon says.
func (f *frame) waiting() uint64 {
	var n uint64
	for _, s := range f.status.Sinks {
		n += s.Pending
	}
	return n
}

// devices counts what was made, by sort.
func (f *frame) devices() (terminals, reader, phones int) {
	sorts := map[string]*int{}
	for _, d := range f.status.Devices {
		if d.Driver == "zk" {
			sorts[d.ID] = &terminals
		} else {
			sorts[d.ID] = &reader
		}
	}
	for line, n := range f.made {
		if sum := sorts[line]; sum != nil {
			*sum += n
		} else {
			phones += n
		}
	}
	return terminals, reader, phones
}

// line is the frame for a place where lines are read one after the other.
func (f *frame) line() string {
	terminals, reader, phones := f.devices()
	return fmt.Sprintf("%5.1fs  terminals %d, reader %d, phones %d made | ledger %d records, %d wait | central %s, holds %d",
		f.elapsed.Seconds(), terminals, reader, phones, f.status.Ledger.Records, f.waiting(), f.central(), f.held)
}

var (
	bold = lipgloss.NewStyle().Bold(true)
	dim  = lipgloss.NewStyle().Faint(true)
	good = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	bad  = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
)

// wide is how many columns a terminal must have for all that is told of a punch.
const wide = 72

// punchLine is a punch as the screen shows it, in the zone of the site: device
// clocks have different ones. Where there is little room the verdict counts
// more than the direction.
func punchLine(p *attendance.Punch, zone *time.Location, width int) string {
	line := fmt.Sprintf("%s  %-12s %-7s ", p.At.In(zone).Format(time.TimeOnly), who(p), p.Device.ID)
	if width >= wide {
		line += fmt.Sprintf("%-9s %-10s %s", p.Direction, p.Verdict, reasons(p))
	} else {
		line += fmt.Sprintf("%s %s", p.Verdict, reasons(p))
	}
	return printable(strings.TrimRight(line, " "))
}

// screen is the frame for a terminal. What does not fit is cut off by whoever
// draws it, so only the lines of punches may be longer than 50 columns.
func (f *frame) screen(width int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s  %s\n", bold.Render("punchd demo"), dim.Render(fmt.Sprintf("%.0f of %.0f s; Ctrl-C ends it early", f.elapsed.Seconds(), f.length.Seconds())))
	line("%s", dim.Render("device      driver    state     made   durable"))
	for _, d := range f.status.Devices {
		state := bad.Render("offline")
		if d.Online {
			state = good.Render("online ")
		}
		line("%-11s %-9s %s %6d %9d", d.ID, d.Driver, state, f.made[d.ID], d.Punches)
	}
	_, _, made := f.devices()
	if p := f.status.Phones; p != nil {
		line("%-11s %-9s %s %6d %9d", fmt.Sprintf("%d phones", f.phones), "mqtt", good.Render(fmt.Sprintf("%-7d", p.Stats.Connected)), made, p.Stats.CheckIns)
	}
	v := f.status.Ledger.Verdicts
	line("\nledger   %d records, on disk before the answer", f.status.Ledger.Records)
	line("verdicts %5d accepted  %5d flagged", v["accepted"], v["flagged"])
	line("         %5d refused   %5d unverified", v["refused"], v["unverified"])
	state := good.Render("up")
	if f.down {
		state = bad.Render("AWAY")
	}
	line("central  %s, holds %d, %d requests, %d wait\n", state, f.held, f.requests, f.waiting())
	line("%s", dim.Render("newest at central"))
	for _, p := range f.newest {
		line("  %s", punchLine(p, f.zone, width))
	}
	return b.String()
}

// view shows frames, live on a terminal and as lines elsewhere.
type view struct {
	out  io.Writer
	live bool

	mu   sync.Mutex
	news []string
}

// say tells of something that happened.
func (v *view) say(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.news = append(v.news, what)
}

func (v *view) take() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	news := v.news
	v.news = nil
	return news
}

// show looks again and again until ctx ends.
func (v *view) show(ctx context.Context, look func() frame) error {
	if v.live {
		return v.showLive(ctx, look)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	next := time.Now().Add(time.Second)
	for {
		for _, n := range v.take() {
			f := look()
			if _, err := fmt.Fprintf(v.out, "%5.1fs  -- %s\n", f.elapsed.Seconds(), n); err != nil {
				return err
			}
		}
		if now := time.Now(); !now.Before(next) {
			next = now.Add(time.Second)
			f := look()
			if _, err := fmt.Fprintln(v.out, f.line()); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// showLive draws on a terminal. Keys are not read, so Ctrl-C stays a signal.
func (v *view) showLive(ctx context.Context, look func() frame) error {
	p := tea.NewProgram(screen{frame: look()}, tea.WithInput(nil), tea.WithOutput(v.out), tea.WithoutSignalHandler())
	var drawing sync.WaitGroup
	drawing.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.Send(look())
			case <-ctx.Done():
				p.Send(look())
				p.Quit()
				return
			}
		}
	})
	_, err := p.Run()
	drawing.Wait()
	return err
}

// screen is the model that bubbletea draws.
type screen struct {
	frame frame
	width int // in columns; 0 before the terminal has told it
}

// Init implements [tea.Model].
func (s screen) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (s screen) Update(m tea.Msg) (tea.Model, tea.Cmd) {
	switch m := m.(type) {
	case frame:
		s.frame = m
	case tea.WindowSizeMsg:
		s.width = m.Width
	}
	return s, nil
}

// View implements [tea.Model].
func (s screen) View() string { return s.frame.screen(s.width) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
