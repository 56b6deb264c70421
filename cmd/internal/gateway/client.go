package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// maxStatus bounds a daemon's answer, in bytes.
const maxStatus = 16 << 20

// answerLimit is how long a daemon may take to answer. One that takes longer
// hangs: even what an order changes is on the disk far sooner.
const answerLimit = 10 * time.Second

// lockName is the data directory's lock; package journal writes it.
const lockName = "punchd.lock"

// FetchStatus asks the daemon that owns a data directory for its state.
func FetchStatus(ctx context.Context, dataDir string) (*Status, error) {
	s := &Status{}
	return s, call(ctx, dataDir, http.MethodGet, "/status", nil, s)
}

// OrderRetry has the daemon send again what a sink has parked.
func OrderRetry(ctx context.Context, dataDir, sink string) (*Sent, error) {
	s := &Sent{}
	return s, call(ctx, dataDir, http.MethodPost, "/sinks/retry", retryOrder{sink}, s)
}

// OrderReplay has the daemon send dead punches again.
func OrderReplay(ctx context.Context, dataDir string, q Replay) (*Sent, error) {
	s := &Sent{}
	return s, call(ctx, dataDir, http.MethodPost, "/sinks/replay", q, s)
}

// call asks the daemon something, and reads its answer.
func call(ctx context.Context, dataDir, method, path string, question, answer any) error {
	return ask(ctx, answerLimit, dataDir, method, path, question, answer)
}

// ask is call with a limit.
func ask(ctx context.Context, limit time.Duration, dataDir, method, path string, question, answer any) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := exchange(limited, dataDir, method, path, question, answer)
	if err == nil || limited.Err() == nil || ctx.Err() != nil {
		return err
	}
	which := ""
	if pid, found := owner(dataDir); found {
		which = fmt.Sprintf(", process %d,", pid)
	}
	done := ""
	if method != http.MethodGet {
		done = "; what was ordered may be done all the same"
	}
	return fmt.Errorf("the daemon on %s%s has not answered within %v%s; it hangs or is stopped: see its log, and start it again if this stays so", dataDir, which, limit, done)
}

func exchange(ctx context.Context, dataDir, method, path string, question, answer any) error {
	socket, release, err := socketPath(dataDir)
	if err != nil {
		return fmt.Errorf("%w on %s (%w)", ErrNotRunning, dataDir, err)
	}
	defer release()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	var body bytes.Buffer
	if question != nil {
		if err := json.NewEncoder(&body).Encode(question); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://punchd"+path, &body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return unreached(err, dataDir)
	}
	defer resp.Body.Close()
	return decodeAnswer(resp, answer)
}

// unreached says why the daemon can't be asked.
func unreached(err error, dataDir string) error {
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok || op.Op != "dial":
		return err
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the daemon's socket in %s belongs to another user: %w", dataDir, os.ErrPermission)
	}
	pid, found := owner(dataDir)
	switch {
	case !found:
		return fmt.Errorf("%w on %s", ErrNotRunning, dataDir)
	case deaf(pid, dataDir):
		return fmt.Errorf("the daemon on %s runs, process %d, but its control socket %s was deleted, so it can't be asked; stop it (kill %d) and start it again", dataDir, pid, SocketName, pid)
	}
	return fmt.Errorf("the daemon on %s is starting, process %d: it answers when it has read what it keeps; ask again in a moment", dataDir, pid)
}

func decodeAnswer(resp *http.Response, answer any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxStatus))
	if resp.StatusCode != http.StatusOK {
		var why refusal
		if err := dec.Decode(&why); err != nil || why.Error == "" {
			return fmt.Errorf("the daemon answered %s; is it another version than this program?", resp.Status)
		}
		return errors.New(why.Error)
	}
	if err := dec.Decode(answer); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	return nil
}
