package main

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit"
)

// proven is a proof that holds, and what it says.
type proven struct {
	*checkpoint.Proof
	head  checkpoint.Head
	frame ledger.Frame
	punch *attendance.Punch // nil if it is of none, or can't be read
	why   string            // it can't
}

// opens checks a proof, and reads what it proves.
func opens(p *checkpoint.Proof, keys ...ed25519.PublicKey) (*proven, error) {
	x := &proven{Proof: p}
	var err error
	if x.head, err = p.Check(keys...); err != nil {
		return nil, err
	}
	if x.frame, err = ledger.ParseLeaf(p.Leaf); err == nil && x.frame.Seq != p.Index {
		err = fmt.Errorf("it is of record %d, and says to be of record %d", x.frame.Seq, p.Index)
	}
	if err != nil {
		return nil, err
	}
	switch sealed := x.frame.Flags&ledger.FlagSealed != 0; {
	case sealed:
		x.why = fmt.Sprintf("sealed with the key %d", x.frame.KeyID)
	case x.frame.Kind != attendance.RecordPunch:
		x.why = "not shown here"
	default:
		if x.punch, err = decode(&x.frame); err != nil {
			x.why = fmt.Sprintf("and can't be read by this version: %v", err)
		}
	}
	return x, nil
}

// writeProof writes the proof of one record.
func (f *verifyFlags) writeProof(c *cobra.Command, o audit.Options, prove func() (*checkpoint.Proof, error)) error {
	p, err := prove()
	if err != nil {
		return noLedger(err, o.Dir)
	}
	x, err := opens(p, o.Keys...)
	if err != nil {
		return err
	}
	if f.to == "" {
		_, err := c.OutOrStdout().Write(p.Append(nil))
		return err
	}
	out, err := openOutput(c.Context(), f.to)
	if err != nil {
		return err
	}
	_, err = out.Write(p.Append(nil))
	if err := out.finish(err); err != nil {
		return err
	}
	if f.json {
		return x.encode(c.OutOrStdout())
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "the proof of record %d is in %s: it is under the head of %d records that the gateway signed at %s\n", p.Index, f.to, x.head.Size, headTime(x.head.At))
	return err
}

// checkProof checks a proof and prints what it proves.
func (f *verifyFlags) checkProof(c *cobra.Command, keys []ed25519.PublicKey) error {
	text, err := readBounded(f.proof, checkpoint.MaxProof)
	if err != nil {
		return badFile("--proof", f.proof, err)
	}
	p, err := checkpoint.ParseProof(text)
	if err != nil {
		return fmt.Errorf("%s is no proof: %w", f.proof, err)
	}
	x, err := opens(p, keys...)
	if errors.Is(err, checkpoint.ErrSignature) {
		return fmt.Errorf("%s proves nothing: %w; if the gateway's key was replaced, give the old one too: --key", f.proof, err)
	}
	if err != nil {
		return fmt.Errorf("%s proves nothing: %w", f.proof, err)
	}
	if f.json {
		return x.encode(c.OutOrStdout())
	}
	return x.print(c.OutOrStdout())
}

func (x *proven) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "the proof holds: this is record %d of ledger %s, under the head of %d records that the gateway signed at %s\n\n",
		x.Index, x.head.Ledger, x.head.Size, headTime(x.head.At))
	if err != nil {
		return err
	}
	if x.punch != nil {
		return show(w, zoneOf(x.punch), numbered{x.Index, x.punch}, false)
	}
	_, err = fmt.Fprintf(w, "it is a record of the kind %v, %d bytes, %s\n", x.frame.Kind, len(x.frame.Payload), x.why)
	return err
}

// proofJSON is what a proof proves, for programs.
type proofJSON struct {
	Ledger   string      `json:"ledger"`
	Seq      uint64      `json:"seq"`
	Size     uint64      `json:"size"` // of the head
	SignedAt time.Time   `json:"signed_at"`
	Kind     string      `json:"kind"`
	Sealed   bool        `json:"sealed"`
	Punch    *detailJSON `json:"punch,omitempty"`
}

func (x *proven) encode(w io.Writer) error {
	j := proofJSON{Ledger: x.head.Ledger, Seq: x.Index, Size: x.head.Size, SignedAt: x.head.At, Kind: x.frame.Kind.String(), Sealed: x.frame.Flags&ledger.FlagSealed != 0}
	if x.punch != nil {
		d := detailOf(numbered{x.Index, x.punch}, zoneOf(x.punch))
		j.Punch = &d
	}
	return json.NewEncoder(w).Encode(j)
}

// zoneOf is the zone in which a punch's device shows its time: no configuration
// tells it here. It is UTC where the two clocks belong to no zone.
func zoneOf(p *attendance.Punch) *time.Location {
	off := time.Duration(int64(p.DeviceTime)-p.At.UnixMilli()) * time.Millisecond
	if off%time.Minute != 0 || off.Abs() >= 24*time.Hour {
		return time.UTC
	}
	return time.FixedZone(p.Zone, int(off.Seconds()))
}
