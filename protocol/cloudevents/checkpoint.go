package cloudevents

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
)

// AppendCheckpoint appends the event of a signed head of the ledger. The note is
// what counts; what else is in the event is read from it, for whoever only looks.
func AppendCheckpoint(dst []byte, m Meta, seq uint64, c *attendance.Checkpoint) []byte {
	key := attendance.CheckpointKey(c.Note)
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = hex.AppendEncode(dst, key[:])
	dst = appendText(append(dst, `","source":`...), m.Source)
	dst = append(dst, `,"type":"`+TypeCheckpoint+`"`...)
	h, _ := checkpoint.Open([]byte(c.Note)) // by no key: whether it is true is the receiver's to find out
	ms, dated := writable(h.At)
	dated = dated && h.Ledger != ""
	if dated {
		dst = appendFace(append(appendName(dst, "time"), '"'), attendance.LocalTime(ms), true)
		dst = append(dst, `Z"`...)
	}
	dst = append(appendPadded(append(appendName(dst, "sequence"), '"'), seq, 20), '"')
	dst = append(dst, `,"datacontenttype":"application/json","data":{`...)
	if dated {
		dst = appendMember(dst, "ledger", h.Ledger)
		dst = strconv.AppendUint(appendName(dst, "size"), h.Size, 10)
		dst = appendMember(dst, "root", h.Root.String())
	}
	return append(appendMember(dst, "note", c.Note), `}}`...)
}

// Checkpoint reads the signed note out of an event of [TypeCheckpoint]. Nothing
// of it is verified. Errors are those of [Event.Punch].
func (e *Event) Checkpoint() (note string, err error) {
	if e.Type != TypeCheckpoint {
		return "", fmt.Errorf("cloudevents: event %.40q is of type %.40q, not %s: %w", e.ID, e.Type, TypeCheckpoint, protocol.ErrUnsupported)
	}
	s := scanner{b: e.Data}
	err = s.object(func(name []byte) (err error) {
		if string(name) == "note" {
			note, err = s.text("")
			return err
		}
		_, err = s.skip()
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && note == "" {
		err = fmt.Errorf("there is no note: %w", protocol.ErrMalformed)
	}
	if err != nil {
		return "", fmt.Errorf("cloudevents: data of event %.40q: %w", e.ID, err)
	}
	return note, nil
}
