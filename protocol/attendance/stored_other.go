package attendance

import (
	"fmt"
	"slices"
	"time"

	"github.com/punchd/punchd/protocol"
)

func appendSettled(b []byte, s *Settled) []byte {
	b = appendText(b, 1, s.Sink)
	b = appendUint(b, 2, s.First)
	b = appendUint(b, 3, s.Last)
	for _, d := range s.Dead {
		b = appendNested(b, 4, func(b []byte) []byte {
			return appendText(appendUint(b, 1, d.Seq), 2, d.Reason)
		})
	}
	return b
}

func decodeSettled(b []byte) (*Settled, error) {
	s := &Settled{}
	err := eachField(b, func(f field) error {
		switch f.id {
		case 1:
			s.Sink = f.text()
		case 2:
			s.First = f.num
		case 3:
			s.Last = f.num
		case 4:
			d := Dead{}
			err := eachField(f.data, func(f field) error {
				switch f.id {
				case 1:
					d.Seq = f.num
				case 2:
					d.Reason = f.text()
				}
				return nil
			})
			s.Dead = append(s.Dead, d)
			return err
		}
		return nil
	})
	if err == nil && s.First > s.Last {
		err = fmt.Errorf("from %d to %d: %w", s.First, s.Last, protocol.ErrMalformed)
	}
	return s, err
}

func appendParked(b []byte, p *Parked) []byte {
	b = appendText(b, 1, p.Sink)
	b = appendUint(b, 2, p.Seq)
	b = appendText(b, 3, p.Reason)
	return appendInt(b, 4, int64(p.RetryAfter))
}

func decodeParked(b []byte) (*Parked, error) {
	p := &Parked{}
	return p, eachField(b, func(f field) error {
		switch f.id {
		case 1:
			p.Sink = f.text()
		case 2:
			p.Seq = f.num
		case 3:
			p.Reason = f.text()
		case 4:
			p.RetryAfter = time.Duration(f.int())
		}
		return nil
	})
}

func appendCheckpoint(b []byte, c *Checkpoint) []byte {
	b = appendText(b, 1, c.Note)
	var edge []byte
	for _, h := range c.Edge {
		edge = append(edge, h[:]...)
	}
	return appendBytes(b, 2, edge)
}

func decodeCheckpoint(b []byte) (*Checkpoint, error) {
	c := &Checkpoint{}
	return c, eachField(b, func(f field) error {
		switch f.id {
		case 1:
			c.Note = f.text()
		case 2:
			if len(f.data)%32 != 0 || len(f.data) > 64*32 {
				return fmt.Errorf("an edge of %d bytes: %w", len(f.data), protocol.ErrMalformed)
			}
			c.Edge = nil
			for h := range slices.Chunk(f.data, 32) {
				c.Edge = append(c.Edge, [32]byte(h))
			}
		}
		return nil
	})
}

func appendOperator(b []byte, o *Operator) []byte {
	b = appendTime(b, 1, o.At)
	b = appendText(b, 2, o.Who)
	b = appendText(b, 3, o.Action)
	return appendText(b, 4, o.Detail)
}

func decodeOperator(b []byte) (*Operator, error) {
	o := &Operator{}
	return o, eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			o.At, err = decodeTime(f.data)
		case 2:
			o.Who = f.text()
		case 3:
			o.Action = f.text()
		case 4:
			o.Detail = f.text()
		}
		return err
	})
}

func appendClock(b []byte, c *ClockReading) []byte {
	b = appendTime(b, 1, c.At)
	b = appendText(b, 2, c.Device)
	return appendInt(b, 3, int64(c.Skew))
}

func decodeClock(b []byte) (*ClockReading, error) {
	c := &ClockReading{}
	return c, eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			c.At, err = decodeTime(f.data)
		case 2:
			c.Device = f.text()
		case 3:
			c.Skew = time.Duration(f.int())
		}
		return err
	})
}

func appendDeviceEvent(b []byte, e *DeviceEvent) []byte {
	b = appendTime(b, 1, e.At)
	b = appendDevice(b, 2, e.Device)
	b = appendText(b, 3, e.Event)
	return appendText(b, 4, e.Detail)
}

func decodeDeviceEvent(b []byte) (*DeviceEvent, error) {
	e := &DeviceEvent{}
	return e, eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			e.At, err = decodeTime(f.data)
		case 2:
			e.Device, err = decodeDevice(f.data)
		case 3:
			e.Event = f.text()
		case 4:
			e.Detail = f.text()
		}
		return err
	})
}
