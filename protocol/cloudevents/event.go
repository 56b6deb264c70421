// Package cloudevents is the language spoken with a central service: batches of
// CloudEvents 1.0 in JSON, Standard Webhooks signatures, and an answer for each
// event. FORMAT.md beside this file describes it for whoever writes the
// receiving end.
package cloudevents

import (
	"encoding/hex"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// The event types.
const (
	TypePunch      = "attendance.punch.v1"
	TypeCheckpoint = "attendance.checkpoint.v1" // a signed head of the gateway's ledger
)

// ContentType is the media type of a batch (CloudEvents HTTP binding, batched
// content mode).
const ContentType = "application/cloudevents-batch+json"

// Bounds of a batch, which hold for the receiving end. A sender stays far
// below: an event takes some 500 to 700 bytes.
const (
	MaxBatch  = 8 << 20 // bytes
	MaxEvents = 10_000
)

// Meta is what all events of one gateway have in common.
type Meta struct {
	// Source is a URI reference that names the gateway, never empty; see
	// [GatewaySource]. Source and id together identify an event for ever.
	Source string
}

// GatewaySource is the source of a gateway's events: /sites/SITE/gateways/GATEWAY.
func GatewaySource(site, gateway string) string {
	return "/sites/" + url.PathEscape(site) + "/gateways/" + url.PathEscape(gateway)
}

// Event is one CloudEvent of a batch.
type Event struct {
	ID           string
	Source       string
	Type         string
	Subject      string    // employee, empty if nobody matches
	Time         time.Time // with the offset it was written with; zero if absent
	RecordedTime time.Time // UTC; zero if absent
	Seq          uint64    // the gateway's ledger sequence, 0 if absent
	PartitionKey string
	Data         []byte // the JSON value as it was written; nil if absent
	Raw          []byte // the whole event as it was written
}

// AppendBatch appends a batch of punches and checkpoints, each with its ledger
// sequence. Other records have no event and are passed over.
func AppendBatch(dst []byte, m Meta, records iter.Seq2[uint64, attendance.Record]) []byte {
	dst = append(dst, '[')
	first := true
	for seq, r := range records {
		if k := r.RecordKind(); k != attendance.RecordPunch && k != attendance.RecordCheckpoint {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		switch r := r.(type) {
		case *attendance.Punch:
			dst = AppendEvent(dst, m, seq, r)
		case *attendance.Checkpoint:
			dst = AppendCheckpoint(dst, m, seq, r)
		}
	}
	return append(dst, ']')
}

// AppendEvent appends the event of one punch. The same punch always gives the
// same bytes. Of the evidence (coordinates, access points, notes, photo, the
// message itself) nothing is in it: central gets the verdict that was founded
// on it, and what would let it follow a person stays on the gateway.
func AppendEvent(dst []byte, m Meta, seq uint64, p *attendance.Punch) []byte {
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = hex.AppendEncode(dst, p.Key[:])
	dst = appendText(append(dst, `","source":`...), m.Source)
	dst = append(dst, `,"type":"`+TypePunch+`"`...)
	dst = appendMember(dst, "subject", p.Employee)
	if ms, ok := writable(p.At); ok {
		offset := zoneOffset(p)
		face := attendance.LocalTime(ms + offset.Milliseconds())
		dst = appendFace(append(appendName(dst, "time"), '"'), face, face%1000 != 0)
		dst = append(appendOffset(dst, offset), '"')
	}
	if ms, ok := writable(p.ReceivedAt); ok {
		dst = appendFace(append(appendName(dst, "recordedtime"), '"'), attendance.LocalTime(ms), true)
		dst = append(dst, `Z"`...)
	}
	dst = append(appendPadded(append(appendName(dst, "sequence"), '"'), seq, 20), '"')
	dst = appendMember(dst, "partitionkey", p.Employee)
	dst = append(dst, `,"datacontenttype":"application/json","data":{`...)
	dst = appendWho(dst, p)
	dst = appendWhen(dst, p)
	return append(dst, `}}`...)
}

// appendWho writes the members of data up to the place. What is not known is
// left out, so that no receiver takes an empty text for a value.
func appendWho(dst []byte, p *attendance.Punch) []byte {
	dst = appendMember(dst, "employee", p.Employee)
	dst = appendMember(dst, "badge", p.Badge)
	dst = appendMember(dst, "kind", p.Kind.String()) // empty if not set
	dst = appendMember(dst, "direction", p.Direction.String())
	dst = appendMember(dst, "method", p.Method.String())
	dst = append(appendName(dst, "device"), '{')
	dst = appendMember(dst, "id", p.Device.ID)
	dst = appendMember(dst, "driver", p.Device.Driver)
	dst = appendMember(dst, "serial", p.Device.Serial)
	dst = append(dst, '}')
	dst = appendMember(dst, "site", p.Site)
	return appendMember(dst, "place", p.Place)
}

// appendWhen writes the members of data from the device's clock on.
func appendWhen(dst []byte, p *attendance.Punch) []byte {
	if writableFace(p.DeviceTime) {
		dst = appendFace(append(appendName(dst, "device_time"), '"'), p.DeviceTime, p.DeviceTime%1000 != 0)
		dst = append(dst, '"')
	}
	if p.Skew != nil {
		dst = strconv.AppendInt(appendName(dst, "skew_ms"), p.Skew.Milliseconds(), 10)
	}
	dst = appendMember(dst, "verdict", p.Verdict.String())
	dst = append(appendName(dst, "reasons"), '[')
	for i, r := range p.Reasons {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, string(r))
	}
	dst = append(dst, ']')
	dst = strconv.AppendBool(appendName(dst, "late"), p.Late)
	if p.State != -1 || p.Verify != -1 {
		dst = append(appendName(dst, "raw"), '{')
		if p.State != -1 {
			dst = strconv.AppendInt(appendName(dst, "state"), int64(p.State), 10)
		}
		if p.Verify != -1 {
			dst = strconv.AppendInt(appendName(dst, "verify"), int64(p.Verify), 10)
		}
		dst = append(dst, '}')
	}
	if p.Counter != 0 || p.Gap != 0 {
		dst = append(appendName(dst, "phone"), '{')
		dst = strconv.AppendUint(appendName(dst, "counter"), p.Counter, 10)
		dst = strconv.AppendUint(appendName(dst, "gap"), p.Gap, 10)
		dst = append(dst, '}')
	}
	return dst
}

// zoneOffset is the offset at which the device's clock face was read. It is
// computed from the face and the instant, not looked up by the zone's name: so
// it is right for the odd hours of a DST change, and needs no zone database.
// It is 0 when the two do not belong to any offset that can be written.
func zoneOffset(p *attendance.Punch) time.Duration {
	const day = int64(24 * time.Hour / time.Millisecond)
	ms := int64(p.DeviceTime) - p.At.UnixMilli()
	if ms%int64(time.Minute/time.Millisecond) != 0 || ms <= -day || ms >= day {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
