package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	srv := &http.Server{
		Handler:           g.controlMux(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    8 << 10,
	}
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

func (g *Gateway) controlMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		g.reply(w, g.Status())
	})
	return mux
}

func (g *Gateway) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		g.log.Debug("control client went away", "err", err)
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

// maxStatus bounds a daemon's answer, in bytes.
const maxStatus = 16 << 20

// FetchStatus asks the daemon that owns a data directory for its state.
func FetchStatus(ctx context.Context, dataDir string) (*Status, error) {
	path, release, err := socketPath(dataDir)
	if err != nil {
		return nil, fmt.Errorf("%w on %s (%w)", ErrNotRunning, dataDir, err)
	}
	defer release()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://punchd/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			if errors.Is(err, os.ErrPermission) {
				return nil, fmt.Errorf("the daemon's socket in %s belongs to another user: %w", dataDir, os.ErrPermission)
			}
			return nil, fmt.Errorf("%w on %s", ErrNotRunning, dataDir)
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the daemon answered %s", resp.Status)
	}
	var s Status
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxStatus)).Decode(&s); err != nil {
		return nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	return &s, nil
}
