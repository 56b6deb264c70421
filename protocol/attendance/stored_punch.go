package attendance

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/punchd/punchd/protocol"
)

func appendPunch(b []byte, p *Punch) []byte {
	b = appendBytes(b, 1, p.Key[:])
	b = appendUint(b, 2, uint64(p.Kind))
	b = appendText(b, 3, p.Employee)
	b = appendText(b, 4, p.Badge)
	b = appendUint(b, 5, uint64(p.Direction))
	b = appendUint(b, 6, uint64(p.Method))
	b = appendDevice(b, 7, p.Device)
	b = appendText(b, 8, p.Site)
	b = appendText(b, 9, p.Place)
	b = appendInt(b, 10, int64(p.DeviceTime))
	b = appendText(b, 11, p.Zone)
	b = appendTime(b, 12, p.At)
	b = appendTime(b, 13, p.ReceivedAt)
	if p.Skew != nil { // present even when it is zero
		b = protowire.AppendTag(b, 14, protowire.VarintType)
		b = protowire.AppendVarint(b, protowire.EncodeZigZag(int64(*p.Skew)))
	}
	b = appendUint(b, 15, uint64(p.Verdict))
	for _, r := range p.Reasons {
		b = appendText(b, 16, string(r))
	}
	b = appendBool(b, 17, p.Late)
	b = appendInt(b, 18, int64(p.State)+1) // so that "none", -1, is what is left out
	b = appendInt(b, 19, int64(p.Verify)+1)
	b = appendUint(b, 20, p.Counter)
	b = appendUint(b, 21, p.Gap)
	if !p.Evidence.empty() {
		b = appendNested(b, 30, func(b []byte) []byte { return appendEvidence(b, &p.Evidence) })
	}
	return b
}

func decodePunch(b []byte) (*Punch, error) {
	p := &Punch{State: -1, Verify: -1}
	seen := false
	err := eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			seen = len(f.data) == len(p.Key)
			copy(p.Key[:], f.data)
		case 2:
			err = decodeEnum(f, &p.Kind)
		case 3:
			p.Employee = f.text()
		case 4:
			p.Badge = f.text()
		case 5:
			err = decodeEnum(f, &p.Direction)
		case 6:
			err = decodeEnum(f, &p.Method)
		case 7:
			p.Device, err = decodeDevice(f.data)
		case 8:
			p.Site = f.text()
		case 9:
			p.Place = f.text()
		case 30:
			err = decodeEvidence(f.data, &p.Evidence)
		default:
			err = p.decodeRest(f)
		}
		return err
	})
	if err == nil && !seen {
		err = fmt.Errorf("no key: %w", protocol.ErrMalformed)
	}
	return p, err
}

// decodeRest takes the fields of time and judgement.
func (p *Punch) decodeRest(f field) (err error) {
	switch f.id {
	case 10:
		p.DeviceTime = LocalTime(f.int())
	case 11:
		p.Zone = f.text()
	case 12:
		p.At, err = decodeTime(f.data)
	case 13:
		p.ReceivedAt, err = decodeTime(f.data)
	case 14:
		skew := time.Duration(f.int())
		p.Skew = &skew
	case 15:
		err = decodeEnum(f, &p.Verdict)
	case 16:
		p.Reasons = append(p.Reasons, Reason(f.text()))
	case 17:
		p.Late = f.num != 0
	case 18:
		p.State, err = decodeCode(f)
	case 19:
		p.Verify, err = decodeCode(f)
	case 20:
		p.Counter = f.num
	case 21:
		p.Gap = f.num
	}
	return err
}

func decodeEnum[T ~uint8](f field, to *T) error {
	n, err := f.small()
	*to = T(n)
	return err
}

func decodeCode(f field) (int, error) {
	n := f.int() - 1
	if n < -1 || n > math.MaxInt32 {
		return -1, fmt.Errorf("field %d: code %d: %w", f.id, n, protocol.ErrMalformed)
	}
	return int(n), nil
}

func appendDevice(b []byte, id protowire.Number, d Device) []byte {
	return appendNested(b, id, func(b []byte) []byte {
		b = appendText(b, 1, d.ID)
		b = appendText(b, 2, d.Driver)
		return appendText(b, 3, d.Serial)
	})
}

func decodeDevice(b []byte) (d Device, err error) {
	err = eachField(b, func(f field) error {
		switch f.id {
		case 1:
			d.ID = f.text()
		case 2:
			d.Driver = f.text()
		case 3:
			d.Serial = f.text()
		}
		return nil
	})
	return d, err
}

func (e *Evidence) empty() bool {
	return e.Fix == nil && e.WiFi == nil && e.Note == "" && e.Photo == nil && e.Challenge == "" && len(e.Raw) == 0
}

func appendEvidence(b []byte, e *Evidence) []byte {
	if e.Fix != nil {
		b = appendNested(b, 1, func(b []byte) []byte { return appendFix(b, e.Fix) })
	}
	if e.WiFi != nil {
		b = appendNested(b, 2, func(b []byte) []byte { return appendWiFi(b, e.WiFi) })
	}
	b = appendText(b, 3, e.Note)
	if e.Photo != nil {
		b = appendNested(b, 4, func(b []byte) []byte {
			b = appendText(b, 1, e.Photo.SHA256)
			return appendInt(b, 2, e.Photo.Size)
		})
	}
	b = appendText(b, 5, e.Challenge)
	return appendBytes(b, 6, e.Raw)
}

func decodeEvidence(b []byte, e *Evidence) error {
	return eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			e.Fix, err = decodeFix(f.data)
		case 2:
			e.WiFi, err = decodeWiFi(f.data)
		case 3:
			e.Note = f.text()
		case 4:
			e.Photo, err = decodePhoto(f.data)
		case 5:
			e.Challenge = f.text()
		case 6:
			e.Raw = append([]byte(nil), f.data...)
		}
		return err
	})
}

func appendDouble(b []byte, id protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, id, protowire.Fixed64Type), math.Float64bits(v))
}

func appendFix(b []byte, x *Fix) []byte {
	b = appendDouble(b, 1, x.Lat)
	b = appendDouble(b, 2, x.Lon)
	b = appendDouble(b, 3, x.Acc)
	b = appendTime(b, 4, x.At)
	return appendBool(b, 5, x.Mock)
}

func decodeFix(b []byte) (*Fix, error) {
	x := &Fix{}
	return x, eachField(b, func(f field) (err error) {
		switch f.id {
		case 1:
			x.Lat = math.Float64frombits(f.num)
		case 2:
			x.Lon = math.Float64frombits(f.num)
		case 3:
			x.Acc = math.Float64frombits(f.num)
		case 4:
			x.At, err = decodeTime(f.data)
		case 5:
			x.Mock = f.num != 0
		}
		return err
	})
}

func appendWiFi(b []byte, w *WiFi) []byte {
	b = appendText(b, 1, w.BSSID)
	b = appendText(b, 2, w.SSID)
	for _, h := range w.Seen {
		b = appendNested(b, 3, func(b []byte) []byte {
			return appendInt(appendText(b, 1, h.BSSID), 2, int64(h.RSSI))
		})
	}
	return b
}

func decodeWiFi(b []byte) (*WiFi, error) {
	w := &WiFi{}
	return w, eachField(b, func(f field) error {
		switch f.id {
		case 1:
			w.BSSID = f.text()
		case 2:
			w.SSID = f.text()
		case 3:
			h := Heard{}
			err := eachField(f.data, func(f field) error {
				switch f.id {
				case 1:
					h.BSSID = f.text()
				case 2:
					h.RSSI = int(f.int())
				}
				return nil
			})
			w.Seen = append(w.Seen, h)
			return err
		}
		return nil
	})
}

func decodePhoto(b []byte) (*Photo, error) {
	p := &Photo{}
	return p, eachField(b, func(f field) error {
		switch f.id {
		case 1:
			p.SHA256 = f.text()
		case 2:
			p.Size = f.int()
		}
		return nil
	})
}
