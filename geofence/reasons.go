package geofence

import (
	"math/bits"

	"github.com/punchd/punchd/protocol/attendance"
)

// code stands for a reason while a check-in is judged. The order of the codes
// is the order in which a finding tells its reasons.
type code uint8

const (
	malformed code = iota
	unknownPhone
	badSignature
	staleFix
	noFix
	lowAccuracy
	outsideFence
	uncertainFence
	wifiMatch
	wifiUnknown
	wifiAbsent
	mockLocation
	impossibleTravel
	frozen
	noGoZone
	notEmployed
	excused
	photoMissing
	clockSkew
	late
	codes // how many there are
)

// told gives each code the reason that is stored.
var told = [codes]attendance.Reason{
	malformed:        attendance.ReasonMalformed,
	unknownPhone:     attendance.ReasonUnknownPhone,
	badSignature:     attendance.ReasonBadSignature,
	staleFix:         attendance.ReasonStaleFix,
	noFix:            attendance.ReasonNoFix,
	lowAccuracy:      attendance.ReasonLowAccuracy,
	outsideFence:     attendance.ReasonOutsideFence,
	uncertainFence:   attendance.ReasonUncertainFence,
	wifiMatch:        attendance.ReasonWiFiMatch,
	wifiUnknown:      attendance.ReasonWiFiUnknown,
	wifiAbsent:       attendance.ReasonWiFiAbsent,
	mockLocation:     attendance.ReasonMockLocation,
	impossibleTravel: attendance.ReasonImpossibleTravel,
	frozen:           attendance.ReasonFrozen,
	noGoZone:         attendance.ReasonNoGoZone,
	notEmployed:      attendance.ReasonNotEmployed,
	excused:          attendance.ReasonExcused,
	photoMissing:     attendance.ReasonPhotoMissing,
	clockSkew:        attendance.ReasonClockSkew,
	late:             attendance.ReasonLate,
}

// reasons is a set of codes.
type reasons uint32

func (r *reasons) add(c code)     { *r |= 1 << c }
func (r reasons) has(c code) bool { return r&(1<<c) != 0 }

// list is the set as a finding tells it, nil if it is empty.
func (r reasons) list() []attendance.Reason {
	if r == 0 {
		return nil
	}
	out := make([]attendance.Reason, 0, bits.OnesCount32(uint32(r)))
	for c := range codes {
		if r.has(c) {
			out = append(out, told[c])
		}
	}
	return out
}

// opinion is a verdict in the making: the worst that any check has said, and
// why.
type opinion struct {
	verdict attendance.Verdict // the words of package attendance stand from best to worst
	why     reasons
}

func (o *opinion) add(v attendance.Verdict, c code) {
	o.worsen(v)
	o.why.add(c)
}

func (o *opinion) worsen(v attendance.Verdict) { o.verdict = max(o.verdict, v) }
