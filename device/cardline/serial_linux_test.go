package cardline

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cardline"
)

// wall is a driver on a real port, in real time.
type wall struct {
	driver *Driver
	facts  chan attendance.Punch
	online chan bool // its changes
	done   chan error
	ctx    context.Context
	cancel context.CancelFunc
}

func hang(t *testing.T, address string, cfg Config) *wall {
	t.Helper()
	d, err := link.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wall{facts: make(chan attendance.Punch, 100), online: make(chan bool, 100), done: make(chan error, 1)}
	cfg.ID, cfg.Link = "gate", d
	cfg.Emit = func(_ context.Context, punches []attendance.Punch) error {
		for _, p := range punches {
			w.facts <- p
		}
		return nil
	}
	if w.driver, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.driver.keeper.OnState = func(online bool, err error) { w.driver.connected(online, err); w.online <- online }
	w.driver.keeper.Min, w.driver.keeper.Max = time.Millisecond, 10*time.Millisecond
	w.ctx, w.cancel = context.WithTimeout(t.Context(), 20*time.Second)
	go func() { w.done <- w.driver.Run(w.ctx) }()
	t.Cleanup(func() {
		w.cancel()
		if err := <-w.done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *wall) next(t *testing.T) attendance.Punch {
	t.Helper()
	select {
	case p := <-w.facts:
		return p
	case <-w.ctx.Done():
		t.Fatalf("no punch came; state %+v", w.driver.State())
		return attendance.Punch{}
	}
}

func send(t *testing.T, path string, frames ...string) {
	t.Helper()
	port, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	for _, f := range frames {
		if _, err := port.WriteString(f); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPort(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	w := hang(t, "serial://"+slave.Name(), Config{Format: FormatLine, Line: cardline.Line{Terminator: cardline.EndIdle, Pattern: `^(?P<card>\d{10})$`}})
	before := time.Now()
	if _, err := master.WriteString("00093"); err != nil {
		t.Fatal(err)
	}
	if _, err := master.WriteString("51929"); err != nil { // silence ends it
		t.Fatal(err)
	}
	p := w.next(t)
	if p.Badge != "0009351929" || p.At.Before(before) || p.At.After(time.Now()) {
		t.Errorf("%+v", p)
	}
}

// TestUnplugAndReplug pulls the reader out in the middle of a frame and puts it
// back.
func TestUnplugAndReplug(t *testing.T) {
	if _, err := exec.LookPath("socat"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("socat is missing")
		}
		t.Skip("socat is not installed")
	}
	dir := t.TempDir()
	near, far := filepath.Join(dir, "gateway"), filepath.Join(dir, "reader")
	unplug := plug(t, near, far)
	w := hang(t, "serial://"+near, Config{Format: FormatRDM6300})
	send(t, far, frameA, frameA)
	if p := w.next(t); p.Badge != cardA || string(p.Evidence.Raw) != frameA {
		t.Errorf("%+v", p)
	}

	send(t, far, frameB[:6])
	unplug()
	for online := true; online; {
		select {
		case online = <-w.online:
		case <-w.ctx.Done():
			t.Fatal("still online without a port")
		}
	}
	if s := w.driver.State(); !strings.Contains(s.LastError, "gateway") {
		t.Errorf("without a port: %+v", s)
	}

	t.Cleanup(plug(t, near, far))
	send(t, far, frameB, frameB)
	if p := w.next(t); p.Badge != cardB {
		t.Errorf("%+v", p)
	}
	if s := w.driver.State(); !s.Online || s.LastError != "" || s.Emitted > 2 {
		t.Errorf("plugged in again: %+v", s)
	}
}

// plug joins two ports with a socat of our own. Killing it takes both away, as
// a pulled cable does.
func plug(t *testing.T, near, far string) (unplug func()) {
	t.Helper()
	socat := exec.Command("socat", "-d", "-d", "pty,raw,echo=0,link="+near, "pty,raw,echo=0,link="+far)
	socat.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := socat.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := socat.Start(); err != nil {
		t.Fatal(err)
	}
	unplug = func() {
		_ = socat.Process.Kill()
		_ = socat.Wait() // says that it was killed
		_ = os.Remove(near)
		_ = os.Remove(far)
	}
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), "starting data transfer loop") {
			return unplug
		}
	}
	unplug()
	t.Fatal("socat ended")
	return nil
}
