package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/punchd/punchd/device/link"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cardline"
	protozk "github.com/punchd/punchd/protocol/zk"
)

const (
	defaultPoll = 30 * time.Second
	minPoll     = time.Second
	maxPoll     = 24 * time.Hour
	// maxWait bounds the times of a reader: beyond it nobody waits at a door.
	maxWait = 10 * time.Minute
)

func (c *checker) terminals(list []rawTerminal, cfg *Config) {
	ids, links := map[string]int{}, map[string]int{}
	for i := range list {
		raw := &list[i]
		path := fmt.Sprintf("terminals[%d]", i)
		t := Terminal{ID: raw.ID, Driver: raw.Driver, Zone: cfg.Site.Zone}
		if c.id(path+".id", raw.ID) {
			if first, twice := ids[raw.ID]; twice {
				c.fail(path+".id", "%q is the id of terminals[%d] already", raw.ID, first)
			} else {
				ids[raw.ID] = i
			}
		}
		if raw.Timezone != "" {
			t.Zone = c.zone(path+".timezone", raw.Timezone)
		}
		if t.Link = c.link(path+".link", raw.Link); t.Link != nil {
			address := t.Link.String()
			if first, twice := links[address]; twice {
				c.fail(path+".link", "is the link of terminals[%d] already, and takes one driver", first)
			} else {
				links[address] = i
			}
		}
		if c.choice(path+".driver", "driver", raw.Driver, DriverCardline, DriverZK) {
			c.foreign(path, "driver", raw.Driver, *raw)
			if raw.Driver == DriverZK {
				if strings.HasPrefix(raw.Link, "serial:") {
					c.fail(path+".link", "can't be a serial port with the driver zk, whose framing there nobody has published; use the terminal's network, tcp://")
				}
				t.ZK = c.zk(path, raw)
			} else {
				t.Cardline = c.cardline(path, raw)
			}
		}
		cfg.Terminals = append(cfg.Terminals, t)
	}
}

func (c *checker) link(path, address string) link.Dialer {
	if address == "" {
		c.fail(path, "is missing; it is like tcp://192.168.1.201:4370 or serial:///dev/ttyUSB0?baud=9600")
		return nil
	}
	d, err := link.Parse(address)
	if err != nil {
		c.fail(path, "%s", strings.TrimPrefix(err.Error(), "link: "))
		return nil
	}
	return d
}

func (c *checker) zk(path string, raw *rawTerminal) *ZK {
	z := &ZK{Poll: or(raw.Poll, defaultPoll), Live: or(raw.Live, true)}
	if z.Poll < minPoll || z.Poll > maxPoll {
		c.fail(path+".poll", "%v is not between %v and %v", z.Poll, minPoll, maxPoll)
	}
	if raw.Layout != nil {
		l, err := protozk.ParseLayout(*raw.Layout)
		if err != nil {
			c.fail(path+".layout", "%s", strings.TrimPrefix(err.Error(), "zk: "))
		}
		z.Layout = l
	}
	s, ok := c.secretAt(path+".comm_key", raw.CommKey)
	if ok && s.IsSet() {
		if _, err := s.Number(); err != nil {
			c.fail(path+".comm_key", "%v", err)
		}
	}
	z.CommKey = s
	return z
}

func (c *checker) cardline(path string, raw *rawTerminal) *Cardline {
	r := &Cardline{
		Format: or(raw.Format, ""), Form: cardline.Form(or(raw.Form, "")), Confirm: or(raw.Confirm, 0),
		ConfirmWithin: or(raw.ConfirmWithin, 0), Absent: or(raw.Absent, 0), Lockout: or(raw.Lockout, 0), IdleGap: or(raw.IdleGap, 0),
		Line: cardline.Line{
			Prefix: or(raw.Prefix, ""), Suffix: or(raw.Suffix, ""), Terminator: cardline.Terminator(or(raw.Terminator, "")),
			SevenBit: or(raw.SevenBit, false), Pattern: or(raw.Pattern, ""), Base: or(raw.Base, ""), Bits: or(raw.Bits, 0),
			Layout: cardline.Layout(or(raw.Layout, "")), Reverse: or(raw.Reverse, false), StripZeros: or(raw.StripZeros, false),
		},
	}
	c.cardlineFormat(path, r)
	if raw.Confirm != nil && (r.Confirm < 1 || r.Confirm > 10) {
		c.fail(path+".confirm", "%d is not between 1 and 10", r.Confirm)
	}
	for key, d := range map[string]*time.Duration{"confirm_within": raw.ConfirmWithin, "absent": raw.Absent, "idle_gap": raw.IdleGap} {
		if d != nil && (*d <= 0 || *d > maxWait) {
			c.fail(path+"."+key, "%v is not between 1ms and %v", *d, maxWait)
		}
	}
	if raw.Lockout != nil {
		switch {
		case r.Lockout < 0 || r.Lockout > maxWait:
			c.fail(path+".lockout", "%v is not between 0s and %v", r.Lockout, maxWait)
		case r.Lockout == 0:
			r.Lockout = -1 // to the driver zero is its default
		}
	}
	if raw.Method != nil {
		m, err := attendance.ParseMethod(*raw.Method)
		if err != nil {
			c.fail(path+".method", "%s", strings.TrimPrefix(err.Error(), "attendance: "))
		}
		r.Method = m
	}
	if raw.Direction != nil {
		d, err := attendance.ParseDirection(*raw.Direction)
		if err != nil {
			c.fail(path+".direction", "%s", strings.TrimPrefix(err.Error(), "attendance: "))
		}
		r.Direction = d
	}
	return r
}

// cardlineFormat checks what a reader sends against how it is to be read.
func (c *checker) cardlineFormat(path string, r *Cardline) {
	if !c.choice(path+".format", "format", r.Format, "rdm6300", "id12", "line") {
		return
	}
	if r.Format != "line" {
		if r.Line != (cardline.Line{}) {
			c.fail(path+".format", "%s takes no keys of lines (prefix, suffix, terminator, seven_bit, pattern, base, bits, layout, reverse, strip_zeros)", r.Format)
		}
		if err := r.Form.Check(); err != nil {
			c.fail(path+".form", "%s", strings.TrimPrefix(err.Error(), "cardline: "))
		}
		return
	}
	r.Line.Form = r.Form
	if _, err := r.Line.Compile(); err != nil {
		text := strings.TrimPrefix(err.Error(), "cardline: ")
		at := path
		if rest, found := strings.CutPrefix(text, "pattern: "); found {
			at, text = path+".pattern", rest
		}
		c.fail(at, "%s", text)
	}
}

// or is what p points to, or a default if the key is absent.
func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
