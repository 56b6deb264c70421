package zk

import (
	"context"
	"fmt"
	"time"

	wire "github.com/punchd/punchd/protocol/zk"
)

// reply answers p with a code and data.
func (c *conn) reply(ctx context.Context, p wire.Packet, code wire.Command, data []byte) error {
	return c.line.frame(ctx, wire.Packet{Command: code, Session: c.id(), Reply: p.Reply, Data: data})
}

// ack answers p with ACK_OK and data, or with ACK_ERROR if err says that the
// terminal won't.
func (c *conn) ack(ctx context.Context, p wire.Packet, data []byte, err error) error {
	if err != nil {
		c.t.cfg.Log.Debug("request refused", "command", p.Command, "error", err)
		return c.reply(ctx, p, wire.AckError, nil)
	}
	return c.reply(ctx, p, wire.AckOK, data)
}

// id is the session, which the owner alone changes.
func (c *conn) id() uint16 {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.session
}

// handle does what a host asks. An error ends the connection.
func (c *conn) handle(ctx context.Context, p wire.Packet) error {
	if p.Command == wire.AckOK {
		c.acked(p.Session)
		return nil
	}
	c.t.mu.Lock()
	c.t.counts.Requests++
	c.t.mu.Unlock()
	c.t.cfg.Log.Debug("request", "command", p.Command, "session", p.Session, "reply", p.Reply, "bytes", len(p.Data))
	switch id := c.id(); {
	case p.Command == wire.CmdConnect:
		return c.connect(ctx, p)
	case id == 0 || p.Session != id:
		return c.reply(ctx, p, wire.AckUnauth, nil)
	case p.Command == wire.CmdAuth:
		return c.auth(ctx, p)
	case !c.authed:
		return c.reply(ctx, p, wire.AckUnauth, nil)
	}
	return c.answer(ctx, p)
}

func (c *conn) connect(ctx context.Context, p wire.Packet) error {
	if err := c.sit(ctx); err != nil {
		return err
	}
	if code := c.t.cfg.Quirks.Connect; code != 0 {
		return c.reply(ctx, p, code, nil)
	}
	c.t.mu.Lock()
	if c.session == 0 { // saying it again keeps the session
		c.session = c.t.newSession()
	}
	c.deafen()
	c.t.mu.Unlock()
	c.dataset, c.unacked, c.again = nil, nil, time.Time{}
	if c.authed = c.t.cfg.CommKey == 0; !c.authed {
		return c.reply(ctx, p, wire.AckUnauth, nil)
	}
	return c.reply(ctx, p, wire.AckOK, nil)
}

// sit takes the only seat that a terminal with the quirk single_client has.
func (c *conn) sit(ctx context.Context) error {
	mode := c.t.cfg.Quirks.SingleClient
	if mode == "" || c.seated {
		return nil
	}
	if mode == "refuse" {
		select {
		case c.t.seat <- struct{}{}:
			c.seated = true
			return nil
		default:
			return errHangUp
		}
	}
	select {
	case c.t.seat <- struct{}{}:
		c.seated = true
		return nil
	case <-c.gone:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stand gives the seat free.
func (c *conn) stand() {
	if c.seated {
		<-c.t.seat
		c.seated = false
	}
}

func (c *conn) auth(ctx context.Context, p wire.Packet) error {
	r, err := wire.ParseRequest(p)
	if a, ok := r.(wire.Auth); err == nil && ok && (c.authed || wire.CheckKey(c.t.cfg.CommKey, p.Session, a.Key)) {
		c.authed = true
		return c.reply(ctx, p, wire.AckOK, nil)
	}
	if c.t.cfg.Quirks.KeyClose {
		return errHangUp
	}
	return c.reply(ctx, p, wire.AckUnauth, nil)
}

// answer does what a host asks within a session. For commands whose data means
// nothing it may be anything: hosts in use send odd zeros.
func (c *conn) answer(ctx context.Context, p wire.Packet) error {
	switch p.Command {
	case wire.CmdEnableClock, wire.CmdStartVerify, wire.CmdCancelCapture, wire.CmdWriteLCD, wire.CmdClearLCD, wire.CmdTestVoice,
		wire.CmdRefreshData, wire.CmdRefreshOption, wire.CmdUnlock, wire.CmdSleep, wire.CmdResume, wire.CmdClearOpLog, wire.CmdClearAccess:
		return c.reply(ctx, p, wire.AckOK, nil)
	case wire.CmdExit:
		err := c.reply(ctx, p, wire.AckOK, nil)
		c.t.mu.Lock()
		c.t.release(c)
		c.t.mu.Unlock()
		c.authed, c.dataset, c.unacked, c.again = false, nil, nil, time.Time{}
		c.stand()
		return err
	case wire.CmdRestart, wire.CmdPowerOff:
		return c.restart(ctx, p)
	case wire.CmdFreeData:
		c.dataset = nil
		return c.reply(ctx, p, wire.AckOK, nil)
	case wire.CmdGetVersion:
		return c.reply(ctx, p, wire.AckOK, wire.AppendVersion(nil, c.t.cfg.Firmware))
	case wire.CmdGetPINWidth:
		return c.reply(ctx, p, wire.AckOK, wire.AppendPINWidth(nil, c.t.cfg.Quirks.pinWidth()))
	case wire.CmdDoorStateRead:
		return c.reply(ctx, p, wire.AckOK, []byte{0})
	case wire.CmdGetTime:
		c.t.mu.Lock()
		now := c.t.face()
		c.t.mu.Unlock()
		data, err := wire.AppendTime(nil, now)
		return c.ack(ctx, p, data, err)
	case wire.CmdGetFreeSizes:
		return c.reply(ctx, p, wire.AckOK, c.t.sizes())
	case wire.CmdStateRead:
		return c.line.frame(ctx, wire.Packet{Command: wire.AckOK, Session: uint16(c.t.state()), Reply: p.Reply})
	case wire.CmdEnableDevice:
		c.t.setLock(lock{})
		return c.reply(ctx, p, wire.AckOK, nil)
	}
	return c.answerData(ctx, p)
}

// answerData does what is asked by commands whose data counts.
func (c *conn) answerData(ctx context.Context, p wire.Packet) error {
	asked, err := wire.ParseRequest(p)
	switch r := asked.(type) {
	case wire.OptionRead:
		return c.readOption(ctx, p, r.Name)
	case wire.OptionWrite:
		err = c.writeOption(r.Name, r.Value)
	case wire.SetTime:
		c.t.mu.Lock()
		c.t.offset += r.At - c.t.fine()
		c.t.mu.Unlock()
	case wire.RegisterEvents:
		c.register(r.Mask)
	case wire.DisableDevice:
		c.disable(r.Timeout)
	case wire.BulkRead:
		return c.bulkRead(ctx, p, r)
	case wire.Chunk:
		return c.chunk(ctx, p, r)
	case wire.UsersRead:
		return c.classic(ctx, p, wire.CmdUserTempRead)
	case wire.UserWrite:
		c.t.mu.Lock()
		err = c.t.people.write(r, p.Data, &c.t.cfg.Quirks)
		c.t.mu.Unlock()
	case wire.UserDelete:
		c.t.mu.Lock()
		if !c.t.people.remove(r.UID) {
			err = fmt.Errorf("nobody is in slot %d", r.UID)
		}
		c.t.mu.Unlock()
	case wire.Clear:
		err = c.t.clear(r.What)
	case wire.Bare:
		return c.answerBare(ctx, p)
	case nil:
		if p.Command == wire.CmdDisableDevice { // with two zeros from some hosts
			c.disable(0)
			err = nil
		}
	default:
		return c.unknown(ctx, p)
	}
	return c.ack(ctx, p, nil, err)
}

// answerBare does what is asked without data, and by nothing else.
func (c *conn) answerBare(ctx context.Context, p wire.Packet) error {
	switch p.Command {
	case wire.CmdAttLogRead, wire.CmdOpLogRead:
		return c.classic(ctx, p, p.Command)
	case wire.CmdClearAttLog:
		return c.ack(ctx, p, nil, c.t.clear(wire.TableAttendance))
	case wire.CmdClearAdmin:
		c.t.mu.Lock()
		c.t.people.demote()
		c.t.mu.Unlock()
		return c.reply(ctx, p, wire.AckOK, nil)
	}
	return c.unknown(ctx, p)
}

// unknown answers what the terminal can't do.
func (c *conn) unknown(ctx context.Context, p wire.Packet) error {
	if c.t.cfg.Quirks.CmdUnknown == "unknown" {
		return c.reply(ctx, p, wire.AckUnknown, nil)
	}
	return c.reply(ctx, p, wire.AckError, nil)
}

func (c *conn) restart(ctx context.Context, p wire.Packet) error {
	if !c.t.cfg.Quirks.RestartNoReply {
		if err := c.reply(ctx, p, wire.AckOK, nil); err != nil {
			return err
		}
		if err := c.line.flush(ctx); err != nil {
			return err
		}
	}
	c.t.Restart()
	return errHangUp
}

// disable locks the terminal until this host enables it or is gone, or for so
// many seconds if they are not 0.
func (c *conn) disable(seconds uint32) {
	l := lock{closed: true, by: c}
	if seconds != 0 {
		l.until = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	c.t.setLock(l)
}

func (t *Terminal) setLock(l lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lock = l
}

// state is what the terminal says that it is doing.
func (t *Terminal) state() wire.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.disabled() {
		return wire.StateBusy
	}
	return wire.StateIdentify
}

// clear wipes a table.
func (t *Terminal) clear(what wire.Table) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch what {
	case wire.TableAttendance:
		t.ledger.clear()
	case wire.TableUsers:
		t.people.clear()
	case wire.TableEverything:
		t.ledger.clear()
		t.people.clear()
	case wire.TableTemplates, wire.TableOperations: // it has none
	default:
		return fmt.Errorf("there is no table %d", what)
	}
	return nil
}

// sizes is the answer to GET_FREE_SIZES.
func (t *Terminal) sizes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := &t.cfg.Quirks
	held := len(t.ledger.held())
	s := wire.Sizes{
		Users: uint32(len(t.people.slots)), FingerRoom: 3000, UserRoom: maxUsers, RecordRoom: uint32(t.logRoom),
		FingersLeft: 3000, UsersLeft: uint32(maxUsers - len(t.people.slots)), RecordsLeft: uint32(t.logRoom - held), FaceRoom: 3000,
	}
	for _, p := range t.people.people {
		if p.Privilege != wire.PrivilegeUser {
			s.Admins++
		}
		if p.Password != "" {
			s.Passwords++
		}
	}
	switch q.CountLies {
	case "zero":
	case "huge":
		s.Records = 2_000_000_000
	case "off":
		if s.Records = uint32(max(0, held+t.lie)); int(s.Records) == held {
			s.Records = uint32(held - t.lie)
		}
	default:
		s.Records = uint32(held)
	}
	length := q.Sizes
	if length == 0 {
		length = wire.SizesFacesLen
	}
	return wire.AppendSizes(nil, s, length)
}
