package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// SocketName is the control socket's name in the data directory. Who may open
// that directory may talk to the daemon; there is no other lock on it.
const SocketName = "punchd.sock"

// control serves the daemon's state to the commands beside it, on a Unix
// socket that only the daemon's own user can open. It closes listening once it
// does.
func (g *Gateway) control(ctx context.Context, listening chan<- struct{}) error {
	dir := g.cfg.Gateway.DataDir
	// The directory is locked by this process, so a socket in it is a leftover.
	if err := os.Remove(filepath.Join(dir, SocketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("gateway: remove the old control socket: %w", err)
	}
	path, release, err := socketPath(dir)
	if err != nil {
		return err
	}
	defer release()
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("gateway: control socket in %s: %w", dir, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("gateway: control socket: %w", err), l.Close())
	}
	srv := g.controlServer()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	close(listening)
	select {
	case err := <-done:
		return fmt.Errorf("gateway: control socket: %w", err)
	case <-ctx.Done():
		err := srv.Close()
		<-done
		return err
	}
}

func (g *Gateway) controlServer() *http.Server {
	return &http.Server{
		Handler:           g.controlMux(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(g.log.With("part", "control").Handler(), slog.LevelWarn),
	}
}

func (g *Gateway) controlMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		g.reply(w, http.StatusOK, g.Status())
	})
	mux.HandleFunc("POST /sinks/retry", ordered(g, func(ctx context.Context, q retryOrder) (*Sent, error) {
		return g.retry(ctx, peer(ctx), q.Sink)
	}))
	mux.HandleFunc("POST /sinks/replay", ordered(g, func(ctx context.Context, q Replay) (*Sent, error) {
		return g.replay(ctx, peer(ctx), &q)
	}))
	mux.HandleFunc("POST /doctor/storage", ordered(g, func(ctx context.Context, _ struct{}) (*Examined, error) {
		return examine(ctx, g.journal, besidePace)
	}))
	return mux
}

func (g *Gateway) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		g.log.Debug("control client went away", "err", err)
	}
}

// maxOrder bounds an order, in bytes.
const maxOrder = 1 << 20

// refusal is why an order was not carried out.
type refusal struct {
	Error string `json:"error"`
}

// ordered serves what an operator may order.
func ordered[Q, A any](g *Gateway, do func(context.Context, Q) (*A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&q)
		if err != nil {
			g.reply(w, http.StatusBadRequest, refusal{err.Error()})
			return
		}
		// Who gave the order waits as long as it takes, or goes away.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
			g.log.Debug("control", "err", err)
		}
		answer, err := do(r.Context(), q)
		if err != nil {
			g.reply(w, http.StatusConflict, refusal{err.Error()})
			return
		}
		g.reply(w, http.StatusOK, answer)
	}
}

// maxSocketPath is what fits into a sockaddr_un on every system served.
const maxSocketPath = 103

// socketPath is the way to the control socket in a data directory. Where the
// directory's own name is too long for a socket's address it leads through an
// open descriptor, which release closes.
func socketPath(dir string) (path string, release func(), err error) {
	path = filepath.Join(dir, SocketName)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("gateway: control socket: %w", err)
	}
	// Opened for reading alone, so closing it can't lose anything.
	return fmt.Sprintf("/dev/fd/%d/%s", f.Fd(), SocketName), func() { _ = f.Close() }, nil
}

// ErrNotRunning says that no daemon answers for a data directory.
var ErrNotRunning = errors.New("no daemon is running")
