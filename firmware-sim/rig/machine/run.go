package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// State is how far a machine is.
type State string

// The states, in their order; a machine that fails tells why.
const (
	Booted  State = "booted"  // the kernel runs, the disk is untouched
	Mounted State = "mounted" // the file system was opened
	Ready   State = "ready"   // the daemon serves
	Stopped State = "stopped" // it has ended cleanly because it was asked to
	Failed  State = "failed"
)

// Word is what a machine says of itself.
type Word struct {
	State State
	What  string
}

// Run is one start of a machine, up to the cut of its power.
type Run struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	listener net.Listener // of the disk
	serving  sync.WaitGroup
	words    chan Word
	said     bytes.Buffer // by QEMU itself; whole once done is closed
	diskErr  atomic.Pointer[error]
	done     chan struct{}
	err      error // of QEMU, valid once done is closed
}

// Await waits until the machine is in a state, passing over those before it.
func (r *Run) Await(ctx context.Context, want State) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case w := <-r.words:
			if w.State == want {
				return nil
			}
			if w.State == Failed {
				return fmt.Errorf("machine: it should be %s: %s", want, w.What)
			}
		case <-r.done:
			return errors.Join(fmt.Errorf("machine: QEMU ended before it was %s; see its console's log", want), r.trouble())
		case <-timer.C:
			return errors.Join(fmt.Errorf("machine: it is not %s after %s; see its console's log", want, patience), r.trouble())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Words is what the machine says.
func (r *Run) Words() <-chan Word { return r.words }

// Ended is closed when QEMU has ended.
func (r *Run) Ended() <-chan struct{} { return r.done }

// Stop asks the daemon to end and waits until it has, and the file system is
// closed.
func (r *Run) Stop(ctx context.Context) error {
	if err := r.order("stop"); err != nil {
		return errors.Join(err, r.trouble())
	}
	return r.Await(ctx, Stopped)
}

func (r *Run) order(text string) error {
	if _, err := io.WriteString(r.in, text+"\n"); err != nil {
		return fmt.Errorf("machine: the line to it: %w", err)
	}
	return nil
}

// trouble is what QEMU and the disk say of a run that went wrong.
func (r *Run) trouble() error {
	var errs []error
	if err := r.diskErr.Load(); err != nil {
		errs = append(errs, *err)
	}
	select {
	case <-r.done:
		errs = append(errs, r.err)
		if text := bytes.TrimSpace(r.said.Bytes()); len(text) > 0 {
			errs = append(errs, fmt.Errorf("QEMU said: %s", text))
		}
	default:
	}
	return errors.Join(errs...)
}

// Cut cuts the power: QEMU is killed, and with it everything that is not in the
// disk or its cache. What becomes of the cache is for the disk's own Cut.
func (r *Run) Cut() error {
	err := r.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-r.done
	err = errors.Join(err, ignoreClosed(r.listener.Close()))
	r.serving.Wait()
	return err
}
