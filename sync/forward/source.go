// Package forward carries punches from the journal to one central service: in
// ledger order, through any outage, until each is taken, parked or dead.
package forward

import (
	"context"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// Item is a punch on its way to a sink, or a signed head of the ledger: one of
// the two is nil.
type Item struct {
	Seq   uint64 // ledger sequence
	Punch *attendance.Punch
	// Head goes to the sink as to a witness. It is never parked and never dead:
	// the next says all that it does.
	Head *attendance.Checkpoint
}

// Record is the one of the two that the item is.
func (it *Item) Record() attendance.Record {
	if it.Head != nil {
		return it.Head
	}
	return it.Punch
}

// Key identifies the item for ever.
func (it *Item) Key() attendance.Key {
	if it.Head != nil {
		return attendance.CheckpointKey(it.Head.Note)
	}
	return it.Punch.Key
}

// Source is where the punches are kept until a sink has answered for them. Its
// methods may be called from several goroutines.
type Source interface {
	// Cursor is the first sequence the sink has not answered for; 0 for a sink
	// that is new.
	Cursor(sink string) (uint64, error)
	// Pending gives up to max punches and heads with sequences from from on, in
	// ledger order, and the sequence at which to go on. It passes over records of other
	// kinds, so that items may be empty while next has moved.
	Pending(ctx context.Context, from uint64, max int) (items []Item, next uint64, err error)
	// Wait returns nil when a record with a sequence of at least from is
	// durable, and the context's error if that ends first.
	Wait(ctx context.Context, from uint64) error
	// Settle keeps what a sink has answered; nil means that it is durable. All
	// answers of one call are kept together or not at all.
	Settle(ctx context.Context, sink string, answers ...Answer) error
	// Due gives up to max parked punches of the sink whose time to be sent again
	// has come, those that have waited longest first.
	Due(ctx context.Context, sink string, now time.Time, max int) ([]Item, error)
	// Retry makes every parked punch of the sink due now, because what they
	// wait for may have changed. It returns how many there are.
	Retry(ctx context.Context, sink string) (int, error)
}

// Answer is what became of the punches from First to Last, both inclusive.
// Every punch among them that is named neither in Dead nor in Parked was taken,
// now or before. A First at or behind the sink's cursor moves the cursor to
// Last+1; one before it is the answer to a punch that was parked, and First and
// Last are then the same.
type Answer struct {
	First, Last uint64
	Dead        []attendance.Dead
	Parked      []Parked
}

// Parked is a punch that the sink will not take yet.
type Parked struct {
	Seq    uint64
	Reason string
	Until  time.Time // when to send it again; zero: only when the cause changes
}
