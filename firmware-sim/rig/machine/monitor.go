package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// monitor speaks QMP, QEMU's control language, as far as a machine's state is
// saved with it.
type monitor struct {
	conn net.Conn
	dec  *json.Decoder
}

// meet waits for QEMU to call.
func meet(l net.Listener) (*monitor, error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, fmt.Errorf("machine: QEMU's monitor: %w", err)
	}
	m := &monitor{conn, json.NewDecoder(conn)}
	if err := errors.Join(conn.SetDeadline(time.Now().Add(patience)), m.do("qmp_capabilities", nil, nil)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return m, nil
}

// do gives one command and takes its result; what QEMU tells by itself is
// passed over.
func (m *monitor) do(command string, arguments, result any) error {
	text := map[string]any{"execute": command}
	if arguments != nil {
		text["arguments"] = arguments
	}
	if err := json.NewEncoder(m.conn).Encode(text); err != nil {
		return fmt.Errorf("machine: QEMU's monitor: %s: %w", command, err)
	}
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.dec.Decode(&answer); err != nil {
			return fmt.Errorf("machine: QEMU's monitor: %s: %w", command, err)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("machine: QEMU's monitor: %s: %s", command, answer.Error.Desc)
		case answer.Return != nil && result != nil:
			return json.Unmarshal(answer.Return, result)
		case answer.Return != nil:
			return nil
		}
	}
}

// save writes the machine's state into a file of QEMU's working directory.
func (m *monitor) save(ctx context.Context, name string) error {
	// At full speed: the machine is not to do anything meanwhile.
	if err := m.do("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 34}, nil); err != nil {
		return err
	}
	if err := m.do("migrate", map[string]any{"uri": "exec:cat >" + name}, nil); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var is struct {
			Status string
			Desc   string `json:"error-desc"`
		}
		if err := m.do("query-migrate", nil, &is); err != nil {
			return err
		}
		switch is.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("machine: its state can't be saved: %s %s; is the disk full?", is.Status, is.Desc)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
