package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Daemon is how to start the punchd under test.
type Daemon struct {
	Path string    // the program
	Dir  string    // working directory, with punchd.yaml in it
	Log  io.Writer // what it writes to standard error; nil: nowhere
	Env  []string  // added to that of this process
	// OwnClock gives each process a wall clock that shows Ahead more than the true
	// one when it starts, see [Process.SetClock].
	OwnClock bool
	Ahead    time.Duration
}

// dataDir is where the configuration that this package writes keeps its data.
const dataDir = "data"

// Process is one run of a daemon.
type Process struct {
	cmd   *exec.Cmd
	dir   string
	clock *wallClock // nil: the machine's
	done  chan struct{}
	err   error // of Wait, valid once done is closed
}

// Start starts the daemon and does not wait for it to be ready.
func (d *Daemon) Start() (*Process, error) {
	cmd := exec.Command(d.Path, "run", "-c", "punchd.yaml")
	cmd.Dir, cmd.Stderr = d.Dir, d.Log
	cmd.Env = append(os.Environ(), d.Env...)
	p := &Process{cmd: cmd, dir: d.Dir, done: make(chan struct{})}
	var err error
	if d.OwnClock {
		p.clock, err = startWithClock(cmd, d.Ahead)
	} else {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("rig: start the daemon: %w", err)
	}
	go func() {
		p.err = cmd.Wait()
		if p.clock != nil {
			_ = p.clock.close() // there is nobody left to set it for
		}
		close(p.done)
	}()
	return p, nil
}

// SetClock sets the wall clock of a daemon that has its own, ahead of the true
// one in whole seconds.
func (p *Process) SetClock(ahead time.Duration) error { return p.clock.set(ahead) }

// PID is the daemon's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the daemon as a power cut would end it for the program, though not
// for the disk: SIGKILL, without a word.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("rig: kill the daemon: %w", err)
	}
	return nil
}

// Stop asks the daemon to end and waits for it; one that takes longer than the
// limit is killed. The error says if it did not end cleanly.
func (p *Process) Stop(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("rig: stop the daemon: %w", err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return errors.Join(fmt.Errorf("rig: the daemon did not end within %s of SIGTERM", limit), p.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("rig: the daemon ended with %w", p.err)
	}
	return nil
}

// Exited is closed when the daemon has ended, by itself or not.
func (p *Process) Exited() <-chan struct{} { return p.done }

// Ready waits until the daemon answers on its control socket, and phones can
// connect. It returns an error if the daemon ends instead, or when ctx does.
func (p *Process) Ready(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(p.dir, dataDir, "punchd.sock"))
		},
	}}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://punchd/status", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			var status struct {
				Phones struct{ Online bool }
			}
			err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&status)
			err = errors.Join(err, resp.Body.Close())
			if err == nil && resp.StatusCode == http.StatusOK && status.Phones.Online {
				return nil
			}
		}
		select {
		case <-p.done:
			return fmt.Errorf("rig: the daemon ended instead of getting ready: %w", errors.Join(p.err, errors.New("see its log")))
		case <-ctx.Done():
			return fmt.Errorf("rig: the daemon is not ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Build compiles the daemon of the source tree around the working directory
// into dir, for a rig that was given none. Flags are those of `go build`.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	out, err := build(ctx, dir, "punchd", "cmd/punchd", flags)
	if err != nil {
		err = fmt.Errorf("rig: build the daemon (or name one with --punchd): %w", err)
	}
	return out, err
}

// BuildStatic is [Build] for a machine on which nothing else is installed.
func BuildStatic(ctx context.Context, dir string, flags ...string) (string, error) {
	out, err := build(ctx, dir, "punchd", "cmd/punchd", flags, forGuest...)
	if err != nil {
		err = fmt.Errorf("rig: build the daemon (or name one with --punchd, built with %s): %w", strings.Join(forGuest, " "), err)
	}
	return out, err
}

// forGuest is the environment that builds a program for the power cuts' virtual
// machine.
var forGuest = []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"}

// build compiles a program of the source tree into dir.
func build(ctx context.Context, dir, name, from string, flags []string, env ...string) (string, error) {
	out := filepath.Join(dir, name)
	args := append([]string{"build", "-o", out}, flags...)
	if len(env) > 0 {
		args = append(args, "-ldflags=-s -w") // the machine must hold it in memory
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/punchd/punchd/"+from)...)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return out, nil
}
