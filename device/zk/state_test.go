package zk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/zk"
)

// TestLastHeard holds that any word of the terminal counts as one, while its
// log is read seldom.
func TestLastHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.add(someRecords(zk.Layout40, 3, yesterday, 1)...)
		r := newRig(t, f, func(c *Config) { c.Poll = time.Hour })
		read := r.driver.State().LastRead
		heard := func(what string) {
			t.Helper()
			synctest.Wait()
			if s := r.driver.State(); !s.LastHeard.Equal(time.Now()) || s.LastHeard.Location() != time.UTC {
				t.Errorf("%s: last heard %v, it is %v", what, s.LastHeard, time.Now())
			}
		}
		heard("at the login")
		r.pass(3 * time.Second)
		before := r.driver.State().LastHeard
		r.pass(20 * time.Second)
		if s := r.driver.State(); !s.LastHeard.Equal(before) {
			t.Errorf("heard %v from a terminal that said nothing", s.LastHeard)
		}
		f.send(zk.Packet{Command: zk.AckOK, Session: f.session, Reply: 4711}) // it answers nothing
		heard("a stray packet")
		if s := r.driver.State(); !s.LastRead.Equal(read) {
			t.Errorf("the log was read at %v", s.LastRead)
		}
		r.pass(time.Second)
		rec, _ := f.punch("301")
		f.send(f.event(32, rec))
		heard("an event")
	})
}

// TestUnreachable: what stands in the log and on the status page says once what
// to look at.
func TestUnreachable(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("link: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err}) }
	for _, c := range []struct {
		err  error
		want string
	}{
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "connect: connection refused; is it the terminal's address and port"},
		{dial(os.ErrDeadlineExceeded), "i/o timeout; is the terminal on and its cable in"},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "no route to host; is the terminal on and its cable in"},
		{dial(&net.DNSError{Err: "no such host", Name: "lobby.example", IsNotFound: true}), "lookup lobby.example: no such host; is the name right?"},
		{link.Hopeless(errors.New("link: no such port")), "link: no such port: trying again is pointless"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			r := newRig(t, f, func(cfg *Config) {
				cfg.Link = link.PipeDialer("gone", func(context.Context, link.Conn) error { return c.err })
			})
			if r.stop != nil && errors.Is(c.err, link.ErrHopeless) {
				if err := <-r.done; !errors.Is(err, link.ErrHopeless) {
					t.Errorf("run: %v", err)
				}
				r.done <- nil
			}
			r.pass(time.Minute)
			s := r.driver.State()
			if !strings.Contains(s.LastError, c.want) || strings.Count(s.LastError, ";") > 1 {
				t.Errorf("%q, want %q", s.LastError, c.want)
			}
			if n := strings.Count(r.log.text(), c.want); n != 1 {
				t.Errorf("told %d times:\n%s", n, r.log.text())
			}
			if !s.LastHeard.IsZero() {
				t.Errorf("heard %v", s.LastHeard)
			}
		})
	}
	if err := unreachable(nil); err != nil {
		t.Error(err)
	}
	if err := unreachable(context.Canceled); err != context.Canceled {
		t.Error(err)
	}
}
