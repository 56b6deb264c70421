package zk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/zk"
)

// maxOption bounds what is kept of an option's value, in bytes.
const maxOption = 64

// personError marks an error that lasts until a person changes something.
type personError struct{ error }

func (e personError) Unwrap() error { return e.error }

// login opens a session.
func (d *Driver) login(ctx context.Context, s *session) error {
	p, err := s.ask(ctx, zk.Bare(zk.CmdConnect))
	switch {
	case errors.Is(err, errSilent):
		return fmt.Errorf("%w; it may serve another host, most serve one at a time", err)
	case errors.Is(err, protocol.ErrUnsupported): // an access panel
		return personError{err}
	case hungUp(err):
		return fmt.Errorf("%w; it hung up: another program may be connected, most terminals serve one at a time, or this is no ZKTeco terminal", err)
	case err != nil:
		return err
	}
	s.id = p.Session
	switch p.Command {
	case zk.AckOK:
		s.connected = true
	case zk.AckUnauth:
		s.connected = true
		if err := d.authenticate(ctx, s); err != nil {
			return err
		}
	case zk.AckPushOnly:
		return personError{fmt.Errorf("zk: push-only firmware: %w", p.Err())}
	default:
		return fmt.Errorf("zk: %v: unexpected answer %v", zk.CmdConnect, p.Command)
	}
	s.ready = true
	// What the vendor's own host does first; some terminals format answers
	// otherwise without it, and others don't know it.
	_, refused, err := s.try(ctx, zk.OptionWrite{Name: zk.OptSDKBuild, Value: "1"})
	if refused != nil {
		d.log.Debug("option not set", "option", zk.OptSDKBuild, "error", refused)
	}
	return err
}

// authenticate gives the comm key. A terminal that has one says so even if none
// is configured; 0 is tried then, which some take.
func (d *Driver) authenticate(ctx context.Context, s *session) error {
	key := zk.Scramble(d.cfg.CommKey, s.id, zk.Ticks)
	p, err := s.askWithin(ctx, zk.Auth{Key: key}, d.cfg.Timeouts.Auth)
	switch {
	case err != nil && s.broken && ctx.Err() == nil:
		// Once, it may be the network's fault, and five minutes are long.
		if d.cutsAtKey++; d.cutsAtKey == 1 {
			return fmt.Errorf("%w: the connection was lost with the comm key on its way", err)
		}
		return personError{fmt.Errorf("%w: the terminal hung up on the comm key, as some do if it is wrong", err)}
	case err != nil:
		return err
	}
	d.cutsAtKey = 0
	switch {
	case p.Command == zk.AckOK:
		return nil
	case p.Command == zk.AckUnauth && d.cfg.CommKey == 0:
		return personError{errors.New("zk: the terminal has a comm key and none is configured")}
	case p.Command == zk.AckUnauth:
		return personError{errors.New("zk: the terminal refuses the comm key; compare it with the one on its menu")}
	}
	return fmt.Errorf("zk: %v: unexpected answer %v", zk.CmdAuth, p.Command)
}

// name asks for an option that goes into the key of each punch; it is empty if
// the terminal has none. Silence is no answer, and a refusal is asked again: a
// terminal that is busy must not pass for one without a number.
func (d *Driver) name(ctx context.Context, s *session, option string) (string, error) {
	for range 2 {
		p, err := s.ask(ctx, zk.OptionRead{Name: option})
		if err != nil {
			return "", err
		}
		if p.Err() != nil {
			continue
		}
		name, value, err := zk.ParseOption(p.Data)
		if err != nil {
			return "", err
		}
		if !strings.EqualFold(strings.TrimPrefix(name, "~"), strings.TrimPrefix(option, "~")) {
			return "", fmt.Errorf("zk: asked for %s the terminal tells %.64q: %w", option, name, protocol.ErrMalformed)
		}
		value = tidy(value)
		if len(value) > maxOption {
			return "", fmt.Errorf("zk: option %s of %d bytes, at most %d: %w", option, len(value), maxOption, protocol.ErrTooLarge)
		}
		// Zeros are what a board has whose number was never written.
		if strings.Trim(value, "0:") != "" {
			return value, nil
		}
	}
	return "", nil
}

// describe learns what people want to know of the terminal.
func (d *Driver) describe(ctx context.Context, s *session, serial string) error {
	name, err := d.optional(ctx, s, zk.OptDeviceName)
	if err != nil {
		return err
	}
	platform, err := d.optional(ctx, s, zk.OptPlatform)
	if err != nil {
		return err
	}
	p, refused, err := s.try(ctx, zk.Bare(zk.CmdGetVersion))
	if err != nil {
		return err
	}
	firmware := ""
	if refused == nil {
		// A version that can't be read is none: nothing hangs on it.
		firmware, _ = zk.ParseVersion(p.Data)
		firmware = cut(tidy(firmware))
	}
	if name != "" && platform != "" {
		platform = " (" + platform + ")"
	}
	d.log.Info("logged in", "serial", serial, "model", name+platform, "firmware", firmware)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Serial, d.state.Model, d.state.Firmware = serial, name+platform, firmware
	return nil
}

// optional reads an option; without an answer that can be read its value is
// empty.
func (d *Driver) optional(ctx context.Context, s *session, name string) (string, error) {
	p, refused, err := s.try(ctx, zk.OptionRead{Name: name})
	if err != nil {
		return "", err
	}
	value := ""
	if refused == nil {
		_, value, refused = zk.ParseOption(p.Data)
	}
	if refused != nil {
		d.log.Debug("option not told", "option", name, "error", refused)
	}
	return cut(tidy(value)), nil
}

func tidy(s string) string { return strings.TrimSpace(zk.Charset{}.Text(s)) }

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxOption)], "") }
