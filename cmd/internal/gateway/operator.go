package gateway

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/journal"
)

// retryOrder asks for what a sink has parked to be sent again.
type retryOrder struct {
	Sink string `json:"sink"`
}

// Replay asks for punches that are dead for a sink to be sent again: those
// named, or all of them from a sequence on.
type Replay struct {
	Sink  string   `json:"sink"`
	Which []string `json:"which,omitempty"` // sequences and keys
	All   bool     `json:"all,omitempty"`
	From  uint64   `json:"from,omitempty"` // of All
}

// Sent is what an order has set going.
type Sent struct {
	Sink    string   `json:"sink"`
	Punches uint64   `json:"punches"`            // that will be sent again
	NotDead []string `json:"not_dead,omitempty"` // those of Which that are not dead for this sink
	Next    uint64   `json:"next,omitempty"`     // where to go on with All; 0: that was all
}

// retry makes everything due that a sink has parked, and cuts its wait short.
// When there is neither, nothing is done, and nothing stands in the ledger.
func (g *Gateway) retry(ctx context.Context, who, sink string) (*Sent, error) {
	f, err := g.forwarder(sink)
	if err != nil {
		return nil, err
	}
	if !g.waits(ctx, f) {
		return &Sent{Sink: sink}, nil
	}
	// Who asked is durable before anything follows from it.
	if _, err := g.journal.Append(ctx, []attendance.Record{operator(who, "sinks retry", sink)}); err != nil {
		return nil, err
	}
	n, err := g.journal.Retry(ctx, sink)
	if err != nil {
		return nil, err
	}
	g.log.Info("an operator has parked punches sent again", "who", who, "sink", sink, "punches", n)
	f.Release()
	return &Sent{Sink: sink, Punches: uint64(n)}, nil
}

// waits reports whether a retry can change anything for a sink.
func (g *Gateway) waits(ctx context.Context, f *forward.Forwarder) bool {
	s := f.State()
	if s.LastError != "" || s.Alarm != "" || s.Braked {
		return true
	}
	parked, err := g.journal.ListParked(ctx, s.Sink, 0, 1)
	// That a reason can't be read, as from a damaged ledger, must not keep the
	// punch from being sent; if more is wrong, the retry itself says so.
	return err != nil || len(parked) > 0
}

// replay makes dead punches of a sink parked and due: as many as one record of
// the operator's is written for.
func (g *Gateway) replay(ctx context.Context, who string, q *Replay) (*Sent, error) {
	f, err := g.forwarder(q.Sink)
	if err != nil {
		return nil, err
	}
	sent := &Sent{Sink: q.Sink}
	var seqs []uint64
	if q.All {
		seqs, sent.Next, err = g.dead(ctx, q.Sink, q.From)
	} else {
		seqs, sent.NotDead, err = g.deadAmong(ctx, q.Sink, q.Which)
	}
	if err != nil || len(seqs) == 0 {
		return sent, err
	}
	detail := fmt.Sprintf("%s: %s, records %d to %d", q.Sink, punches(uint64(len(seqs))), seqs[0], seqs[len(seqs)-1])
	if len(seqs) == 1 {
		detail = fmt.Sprintf("%s: record %d", q.Sink, seqs[0])
	}
	if err := g.journal.Revive(ctx, q.Sink, operator(who, "dead replay", detail), seqs); err != nil {
		return nil, err
	}
	sent.Punches = uint64(len(seqs))
	g.log.Info("an operator has dead punches sent again", "who", who, "sink", q.Sink, "punches", len(seqs))
	f.Release()
	return sent, nil
}

func operator(who, action, detail string) *attendance.Operator {
	return &attendance.Operator{At: time.Now().UTC().Round(0), Who: who, Action: action, Detail: detail}
}

// forwarder finds a sink. One that is no longer configured has none: what is
// dead for it can't be sent anywhere.
func (g *Gateway) forwarder(sink string) (*forward.Forwarder, error) {
	names := make([]string, 0, len(g.forwarders))
	for _, f := range g.forwarders {
		name := f.State().Sink
		if name == sink {
			return f, nil
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no sink %q: none is configured", sink)
	}
	return nil, fmt.Errorf("there is no sink %q; those that the daemon runs with: %s", sink, strings.Join(names, ", "))
}

// dead gives the dead punches of a sink, as many as can be revived at once, and
// where to go on.
func (g *Gateway) dead(ctx context.Context, sink string, from uint64) (seqs []uint64, next uint64, err error) {
	all, err := g.journal.ListDead(ctx, sink, from, journal.MaxRevived)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range all {
		seqs = append(seqs, d.Seq)
	}
	if len(all) == journal.MaxRevived {
		next = seqs[len(seqs)-1] + 1
	}
	return seqs, next, nil
}

// deadAmong sorts out which of some sequences and keys are dead for a sink.
func (g *Gateway) deadAmong(ctx context.Context, sink string, which []string) (seqs []uint64, others []string, err error) {
	if len(which) == 0 || len(which) > journal.MaxRevived {
		return nil, nil, fmt.Errorf("%d punches are named, 1 to %d can be", len(which), journal.MaxRevived)
	}
	for _, text := range which {
		seq, found, err := g.sequence(text)
		if err != nil {
			return nil, nil, err
		}
		if found {
			d, err := g.journal.ListDead(ctx, sink, seq, 1)
			if err != nil {
				return nil, nil, err
			}
			found = len(d) == 1 && d[0].Seq == seq
		}
		if found {
			seqs = append(seqs, seq)
		} else {
			others = append(others, text)
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs), others, nil
}

// sequence reads a sequence, or finds that of a key.
func (g *Gateway) sequence(text string) (seq uint64, found bool, err error) {
	if key, err := attendance.ParseKey(text); err == nil {
		seq, _, found, err := g.journal.Lookup(key)
		return seq, found, err
	}
	seq, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("%q is neither a sequence nor a key of 32 hex digits; both are told by: punchd dead list", text)
	}
	return seq, true, nil
}

// peerName keys the name of whoever gives an order.
type peerName struct{}

// peer is the user who speaks through a connection to the control socket.
func peer(ctx context.Context) string {
	name, _ := ctx.Value(peerName{}).(string)
	return name
}

// userName is a user's name, or the number if nobody knows a name for it.
func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || u.Username == "" {
		return "uid " + strconv.Itoa(uid)
	}
	return u.Username
}

var errNoPeer = errors.New("the system does not tell who is at the other end")
