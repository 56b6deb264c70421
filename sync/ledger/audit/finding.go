package audit

import (
	"fmt"
	"time"
)

// Kind is what is wrong. The words are part of the interface of punchd verify.
type Kind string

// The kinds of finding, with what First and Last of them mean.
const (
	Damaged      Kind = "damaged"      // records that are missing or can't be read
	Header       Kind = "header"       // a copy of a segment's header is damaged; both are the number in its name
	Foreign      Kind = "foreign"      // a segment is passed over: it is not this ledger's, or a second one; the same
	BadHead      Kind = "head"         // this record should be a signed head and is none
	Signature    Kind = "signature"    // the head in this record is signed by none of the keys
	OtherLedger  Kind = "ledger"       // the head in this record is of another ledger
	Order        Kind = "order"        // the head in this record speaks of as many records as the one before or fewer, or of itself
	Edge         Kind = "edge"         // the tree's edge in this record does not belong to its head
	Changed      Kind = "changed"      // something in these records is not what was signed
	Incomplete   Kind = "incomplete"   // these can't be held to what was signed, since some of them are missing
	Lost         Kind = "lost"         // the gateway says itself that these were lost
	Unsigned     Kind = "unsigned"     // no head vouches for these, and one should
	RolledBack   Kind = "rolled-back"  // these were there once, says a head kept elsewhere
	Contradicted Kind = "contradicted" // something in these is not what a head kept elsewhere says
	BadWitness   Kind = "witness"      // a head kept elsewhere says nothing of this ledger; both are its number, from 0
)

// Finding is something that is wrong, and where.
type Finding struct {
	Kind        Kind
	First, Last uint64    // records, both inclusive
	Segment     string    // the file, if it is known
	Offset      int64     // in it, in bytes
	At          time.Time // when the head was signed that shows it; zero if none does
	Detail      string    // more about it; may be empty
}

// OfRecords says whether the finding puts a record in doubt, and not only
// something beside the records.
func (f *Finding) OfRecords() bool {
	switch f.Kind {
	case Damaged, Changed, Incomplete, Unsigned, RolledBack, Contradicted:
		return true
	}
	return false
}

// which names the records of a finding.
func (f *Finding) which() string {
	if f.First == f.Last {
		return fmt.Sprintf("record %d", f.First)
	}
	return fmt.Sprintf("records %d to %d", f.First, f.Last)
}

func (f *Finding) at() string { return f.At.UTC().Format(time.RFC3339) }

// String says what is wrong, in one sentence.
func (f *Finding) String() string {
	switch f.Kind {
	case Damaged:
		if f.Segment == "" {
			return fmt.Sprintf("%s can't be read: the file that held them is not there", f.which())
		}
		return fmt.Sprintf("%s can't be read: %s is damaged or cut from byte %d on, or a file behind it is gone", f.which(), f.Segment, f.Offset)
	case Header:
		return fmt.Sprintf("the header of %s is damaged: %s", f.Segment, f.Detail)
	case Foreign:
		return fmt.Sprintf("%s is not read: it %s", f.Segment, f.Detail)
	case BadHead:
		return fmt.Sprintf("%s should be a signed head and is none: %s", f.which(), f.Detail)
	case Signature:
		return fmt.Sprintf("the head in %s is signed by none of the keys given", f.which())
	case OtherLedger:
		return fmt.Sprintf("the head in %s is of another ledger: %s", f.which(), f.Detail)
	case Order:
		return fmt.Sprintf("the head in %s stands in the wrong place: %s", f.which(), f.Detail)
	case Edge:
		return fmt.Sprintf("the edge of the tree in %s does not belong to the head beside it", f.which())
	case Changed:
		return fmt.Sprintf("something in %s was changed: it is not what the gateway signed at %s", f.which(), f.at())
	case Incomplete:
		return fmt.Sprintf("%s can't be held to what was signed at %s, since some of them are missing", f.which(), f.at())
	case Lost:
		return fmt.Sprintf("%s had been lost when the gateway signed at %s, as it says itself", f.which(), f.at())
	case Unsigned:
		if f.First > 0 {
			return fmt.Sprintf("%s are under no head, and a gateway signs after %d at the latest", f.which(), SignedAfter)
		}
		return "nothing is signed: no head in the ledger vouches for any record"
	case RolledBack:
		return fmt.Sprintf("%s are gone from the end: a head kept elsewhere says that they were there at %s", f.which(), f.at())
	case Contradicted:
		return fmt.Sprintf("something in %s is not what the gateway signed at %s, as a head kept elsewhere says", f.which(), f.at())
	case BadWitness:
		return fmt.Sprintf("head no. %d kept elsewhere says nothing of this ledger: %s", f.First+1, f.Detail)
	}
	return fmt.Sprintf("%s: %s", f.Kind, f.which())
}

// Help says what a person can do.
func (f *Finding) Help() string {
	switch f.Kind {
	case Damaged, Header, Incomplete:
		return "make a copy of the ledger as it is, then have it repaired: punchd doctor --storage; what that can't repair an older backup may have whole"
	case Foreign:
		return "find out who put the file there, and move it elsewhere"
	case Signature:
		return "if the gateway's key was replaced, give the old one too with a further --key; if not, somebody else signed it"
	case OtherLedger, Order, BadHead, Edge:
		return "the gateway writes no such record: make a copy of the ledger as it is, and find out who could write to it"
	case Changed, Contradicted:
		return "make a copy of the ledger as it is, find out who could write to it, and compare these punches with central's and with a backup"
	case Lost:
		return "central may have them: compare its punches of that time; for what stands in their place now, nobody has vouched"
	case Unsigned:
		return "if no version of punchd wrote them that did not sign yet, the heads were taken out: hold the ledger to those that central has, with --witness"
	case RolledBack:
		return "an older copy was put in its place, or its end was cut off: ask who could do that, and take what is missing from central or a backup"
	case BadWitness:
		return "give the heads of this gateway and this ledger, and every key it has had"
	}
	return ""
}
