package gateway

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchd/punchd/firmware-sim/rig"
	"github.com/punchd/punchd/sync/journal"
)

// A daemon that is stopped takes connections, by the kernel's hand, and answers
// nothing.
func TestDaemonThatHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for method, want := range map[string]string{
		http.MethodGet:  "has not answered within 30ms; it hangs or is stopped: see its log",
		http.MethodPost: "has not answered within 30ms; what was ordered may be done all the same; it hangs",
	} {
		err := ask(t.Context(), 30*time.Millisecond, dir, method, "/status", nil, &Status{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", method, err, want)
		}
	}
}

// While a daemon reads its ledger it has the lock and no socket; one whose
// socket was deleted has neither, but listens.
func TestDaemonWithoutSocket(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("who holds a lock is told by Linux alone")
	}
	s := newSite(t, rig.Scene{Seed: 1, Native: 1})
	dir := s.config().Gateway.DataDir
	want := func(text string) {
		t.Helper()
		if _, err := FetchStatus(t.Context(), dir); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	want("no daemon is running on " + dir)
	j, err := journal.Open(t.Context(), journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want("is starting, process ")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	want("no daemon is running on " + dir)
	s.start()
	if err := os.Remove(filepath.Join(dir, SocketName)); err != nil {
		t.Fatal(err)
	}
	want("its control socket punchd.sock was deleted, so it can't be asked; stop it (kill ")
}

// failing is a listener that has no descriptors left for a moment, and then is
// closed.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func (f *failing) Close() error { return nil }

// What the HTTP server has to say of the control socket goes to our log.
func TestControlErrorsAreLogged(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	g := &Gateway{log: slog.New(slog.NewTextHandler(&log, nil))}
	l := &failing{errs: []error{&net.OpError{Op: "accept", Err: syscall.EMFILE}, net.ErrClosed}}
	if err := g.controlServer().Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "Accept error") || !strings.Contains(text, "part=control") {
		t.Errorf("%q", text)
	}
}
