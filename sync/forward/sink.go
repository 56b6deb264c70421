package forward

import (
	"context"
	"time"
)

// Sink is one central service, or whatever stands for it. Send is called by
// one goroutine at a time.
type Sink interface {
	// Name names the sink in the ledger. It is the same for ever: under another
	// name everything would be sent again.
	Name() string
	// Send hands the items over, in order, and says what became of each. A nil
	// error means that the far end has answered and that everything it took is
	// durable there. An error means that nothing is known: the same items are
	// sent again, now or later by the error's type ([Later], [Denied],
	// [Misconfigured], [Unclear], [Rejected]; any other is like Later), maybe in
	// other company. So a sink must be able to tell a repetition, by the punch's key.
	//
	// Send tries once, within a time of its own, and returns soon after ctx
	// ends. It does not keep items. Its errors tell no secret.
	Send(ctx context.Context, items []Item) (Receipt, error)
}

// Receipt is what became of the items of one Send: the result at each index
// belongs to the item there. It is as long as the items were.
type Receipt []Result

// Result is what became of one item.
type Result struct {
	Outcome Outcome
	Reason  string // of Park and Dead
	// RetryAfter is how long a parked item waits at least; 0: until its cause
	// changes.
	RetryAfter time.Duration
}

// Outcome is the kind of a result.
type Outcome uint8

// The outcomes.
const (
	Unanswered Outcome = iota // the far end did not name it: it is sent again
	Accepted                  // taken
	Duplicate                 // the far end had it before, which is as good
	Park                      // not yet
	Dead                      // never
)

// All is a receipt with one outcome for n items.
func All(n int, o Outcome) Receipt {
	r := make(Receipt, n)
	for i := range r {
		r[i].Outcome = o
	}
	return r
}

// Later says that the far end can't take anything at present.
type Later struct {
	After time.Duration // not before; 0 if it did not say
	Err   error
}

func (e Later) Error() string { return e.Err.Error() }
func (e Later) Unwrap() error { return e.Err }

// Denied says that the far end does not let the gateway in. A person has to
// do something, here or there.
type Denied struct{ Err error }

func (e Denied) Error() string { return e.Err.Error() }
func (e Denied) Unwrap() error { return e.Err }

// Misconfigured says that what answered can't be the service, or is one that
// does not understand what is sent. It never counts against a punch.
type Misconfigured struct{ Err error }

func (e Misconfigured) Error() string { return e.Err.Error() }
func (e Misconfigured) Unwrap() error { return e.Err }

// Unclear says that the far end answered, but so that a yes can't be told from
// an answer that was cut. It counts like one that names nothing: a few may be a
// service that dies, many in a row need a person. Err tells what to answer.
type Unclear struct{ Err error }

func (e Unclear) Error() string { return e.Err.Error() }
func (e Unclear) Unwrap() error { return e.Err }

// Rejected says that the far end refuses these items as a whole for what is
// in them, without naming the culprit.
type Rejected struct {
	TooLarge bool // all of them together are too many bytes
	Err      error
}

func (e Rejected) Error() string { return e.Err.Error() }
func (e Rejected) Unwrap() error { return e.Err }
