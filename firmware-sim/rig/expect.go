package rig

import (
	"slices"
	"time"

	"github.com/punchd/punchd/firmware-sim/phone"
	"github.com/punchd/punchd/firmware-sim/reader"
	"github.com/punchd/punchd/firmware-sim/terminal/zk"
	"github.com/punchd/punchd/protocol/attendance"
)

// What is expected of a daemon is written down here a second time, from its
// documents and not from its code: what both get from one table both get wrong.

// clockLimit is how far a terminal's clock may be off before its punches are
// flagged.
const clockLimit = 5 * time.Minute

// readerWithin is how far the time of a card may be off. The daemon dates it when it
// reads it; what is shown while there is no daemon waits in the port.
const readerWithin = time.Minute

// people finds whose a punch is, in the roster that the daemon was given.
type people struct {
	zone                         *time.Location
	byPIN, byCard, byKey, byUser map[string]*attendance.Employee
}

func (w *World) people() *people {
	p := &people{w.zone, map[string]*attendance.Employee{}, map[string]*attendance.Employee{}, map[string]*attendance.Employee{}, map[string]*attendance.Employee{}}
	r := w.roster()
	for i := range r.Employees {
		e := &r.Employees[i]
		for _, pin := range e.PINs {
			p.byPIN[pin] = e
		}
		for _, card := range e.Badges {
			p.byCard[card] = e
		}
		for _, ph := range e.Phones {
			p.byKey[ph.ID], p.byUser[ph.OwnTracksUser] = e, e
		}
	}
	return p
}

// atDevice is what must be told of whoever punched at a terminal or reader.
func (p *people) atDevice(e *attendance.Employee, at time.Time, wrongClock bool) *Says {
	s := &Says{At: at}
	if e == nil {
		return s
	}
	s.Employee = e.ID
	day := at.In(p.zone).Format(time.DateOnly)
	switch {
	case wrongClock:
		s.Verdict = attendance.Flagged
	case e.From != "" && day < e.From, e.Until != "" && day > e.Until:
		s.Verdict = attendance.Refused
	default:
		s.Verdict = attendance.Accepted
	}
	return s
}

func (p *people) atTerminal(e zk.Entry, skew time.Duration) *Says {
	s := p.atDevice(p.byPIN[e.PIN], e.At.In(p.zone), skew.Abs() > clockLimit)
	s.Direction = map[uint8]attendance.Direction{
		0: attendance.DirIn, 1: attendance.DirOut, 2: attendance.DirBreakOut, 3: attendance.DirBreakIn, 4: attendance.DirOvertimeIn, 5: attendance.DirOvertimeOut,
	}[e.State]
	s.Method = map[uint8]attendance.Method{
		0: attendance.MethodPassword, 1: attendance.MethodFingerprint, 2: attendance.MethodCard, 15: attendance.MethodFace, 25: attendance.MethodPalm,
	}[e.Verify]
	return s
}

func (p *people) atReader(m reader.Made) *Says {
	s := p.atDevice(p.byCard[m.Badge], m.At, false)
	s.Method, s.Within = attendance.MethodCard, readerWithin
	return s
}

// byPhone is what must be told of a check-in. The policy is that of
// [World.roster]: what is not both in the fence and at the access point is
// flagged.
func (p *people) byPhone(m phone.Made) *Says {
	s := &Says{At: m.At.Truncate(precision(m.Native)), Method: attendance.MethodPhone, Verdict: attendance.Flagged}
	if slices.Contains([]phone.Behaviour{phone.Honest, phone.Replayed, phone.Pipelined}, m.Behaviour) {
		s.Verdict = attendance.Accepted
	}
	e := p.byUser[m.Phone]
	if m.Native {
		e = p.byKey[m.Phone]
		s.Direction = attendance.DirIn
		if m.Counter%2 == 1 {
			s.Direction = attendance.DirOut
		}
		if m.Key != attendance.PhoneKey(m.Phone, m.Counter) { // it proves nothing, or says another thing under a counter that is used up
			s.Verdict = attendance.Refused
		}
	}
	if e != nil && m.Behaviour != phone.WrongKey {
		s.Employee = e.ID
	}
	return s
}

// told is what central was told.
func told(p *attendance.Punch) *Says {
	return &Says{Employee: p.Employee, At: p.At, Verdict: p.Verdict, Direction: p.Direction, Method: p.Method}
}
