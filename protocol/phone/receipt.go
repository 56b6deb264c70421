package phone

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// maxReasons bounds the reasons of a receipt, and each of them in bytes.
const maxReasons = 64

type receiptClaims struct {
	V          int                 `json:"v"`
	Phone      string              `json:"phone"`
	Counter    uint64              `json:"ctr"`
	Key        attendance.Key      `json:"key"`
	Seq        uint64              `json:"seq"`
	Verdict    string              `json:"verdict"`
	Reasons    []attendance.Reason `json:"reasons"`
	ReceivedAt time.Time           `json:"received_at"`
	Duplicate  bool                `json:"duplicate"`
	Message    string              `json:"msg,omitempty"`
	Keep       bool                `json:"keep,omitempty"`
}

// SignReceipt signs the gateway's answer to a check-in. kid names the
// gateway's key for phones that know several; empty leaves it out. It refuses
// what [OpenReceipt] would.
func SignReceipt(priv crypto.Signer, kid string, r *attendance.Receipt) ([]byte, error) {
	reasons := r.Reasons
	if reasons == nil {
		reasons = []attendance.Reason{} // a list without entries, not null
	}
	payload, err := sign(priv, typeReceipt, kid, receiptClaims{
		V: version, Phone: r.Phone, Counter: r.Counter, Key: r.Key, Seq: r.Seq, Verdict: r.Verdict.String(),
		Reasons: reasons, ReceivedAt: r.ReceivedAt.UTC(), Duplicate: r.Duplicate,
		Message: encode64(r.Message), Keep: r.Keep,
	})
	if err != nil {
		return nil, err
	}
	t, err := parse(payload, typeReceipt)
	if err == nil {
		_, err = t.receipt()
	}
	if err != nil {
		return nil, err
	}
	return payload, nil
}

// OpenReceipt verifies a receipt with the gateway's key and decodes it. The
// errors are those of [OpenCheckIn].
func OpenReceipt(payload []byte, key Key) (*attendance.Receipt, error) {
	t, err := parse(payload, typeReceipt)
	if err != nil {
		return nil, err
	}
	if err := key.verify(t.header.Algorithm, t.input, t.sig); err != nil {
		return nil, err
	}
	return t.receipt()
}

var receiptMembers = []string{"v", "phone", "ctr", "key", "seq", "verdict", "reasons", "received_at", "duplicate", "msg", "keep"}

func (t *token) receipt() (*attendance.Receipt, error) {
	var v int64
	var verdict string
	r := &attendance.Receipt{}
	err := document(t.claims, receiptMembers, func(name string, value []byte) (err error) {
		switch name {
		case "v":
			v, err = integer(value, 0, math.MaxInt64)
		case "verdict":
			if verdict, err = oneLine(value, maxName); err == nil {
				r.Verdict, err = attendance.ParseVerdict(verdict)
			}
		default:
			err = setReceipt(r, name, value)
		}
		return err
	})
	switch {
	case v > version:
		return nil, fmt.Errorf("phone: receipt of version %d, %d is read here: %w", v, version, protocol.ErrUnsupported)
	case err != nil:
		return nil, malformed("receipt: %w", err)
	case v != version, r.Phone == "", r.Counter == 0, r.Key == attendance.Key{}, verdict == "", r.ReceivedAt.IsZero():
		return nil, malformed("receipt: one of v, phone, ctr, key, verdict, received_at is missing")
	}
	return r, nil
}

func setReceipt(r *attendance.Receipt, name string, value []byte) (err error) {
	switch name {
	case "phone":
		r.Phone, err = levelName(value)
	case "ctr":
		var n int64
		n, err = integer(value, 1, math.MaxInt64)
		r.Counter = uint64(n)
	case "key":
		var s string
		if s, err = oneLine(value, maxName); err == nil {
			r.Key, err = attendance.ParseKey(s)
		}
	case "seq":
		r.Seq, err = strconv.ParseUint(string(value), 10, 64)
	case "reasons":
		err = elements(value, maxReasons, func(value []byte) error {
			s, err := oneLine(value, maxReasons)
			r.Reasons = append(r.Reasons, attendance.Reason(s))
			return err
		})
	case "received_at":
		r.ReceivedAt, err = instantFrom(value, minGatewayYear)
	case "duplicate":
		r.Duplicate, err = boolean(value)
	case "msg":
		var s string
		if s, err = oneLine(value, maxName); err == nil {
			if r.Message, err = decode64([]byte(s)); err != nil || len(r.Message) != sha256.Size {
				err = errors.New("is not base64url of a SHA-256")
			}
		}
	case "keep":
		r.Keep, err = boolean(value)
	}
	return err
}
