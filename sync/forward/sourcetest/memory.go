package sourcetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/forward"
)

// Memory is a [forward.Source] that forgets everything with the process: the
// other half of a forwarder's tests. Like a ledger it keeps every answer as a
// record of its own, so that sequences have gaps.
type Memory struct {
	mu      sync.Mutex
	failing func(method string) error
	records []forward.Item // with neither: a record of another kind
	grown   chan struct{}  // closed when records grows
	sinks   map[string]*sink
}

type sink struct {
	cursor uint64
	parked map[uint64]parked
	dead   map[uint64]string
}

type parked struct {
	reason string
	due    time.Time // zero: not until Retry
}

var _ forward.Source = (*Memory)(nil)

// NewMemory makes an empty source.
func NewMemory() *Memory {
	return &Memory{grown: make(chan struct{}), sinks: map[string]*sink{}}
}

// Fail sets a function that is asked before every call, by the method's name;
// what it returns is what the call fails with. nil: nothing fails any more.
func (m *Memory) Fail(failing func(method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = failing
}

// Append adds punches; nil stands for a record of another kind.
func (m *Memory) Append(punches ...*attendance.Punch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.append(punches...)
}

// AppendHead adds a signed head.
func (m *Memory) AppendHead(c *attendance.Checkpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.append(nil)
	m.records[len(m.records)-1].Head = c
}

func (m *Memory) append(punches ...*attendance.Punch) {
	for _, p := range punches {
		m.records = append(m.records, forward.Item{Seq: uint64(len(m.records)), Punch: p})
	}
	close(m.grown)
	m.grown = make(chan struct{})
}

// Dead is what the sink will never take, by sequence, with the reasons.
func (m *Memory) Dead(name string) map[uint64]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	dead := map[uint64]string{}
	for seq, why := range m.sink(name).dead {
		dead[seq] = why
	}
	return dead
}

// Parked are the sequences that the sink will not take yet, rising.
func (m *Memory) Parked(name string) []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var seqs []uint64
	for seq := range m.sink(name).parked {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return seqs
}

// Len is how many records there are.
func (m *Memory) Len() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.records))
}

func (m *Memory) sink(name string) *sink {
	s := m.sinks[name]
	if s == nil {
		s = &sink{parked: map[uint64]parked{}, dead: map[uint64]string{}}
		m.sinks[name] = s
	}
	return s
}

// fail is what a call of a method fails with.
func (m *Memory) fail(ctx context.Context, method string) error {
	m.mu.Lock()
	failing := m.failing
	m.mu.Unlock()
	if failing != nil {
		if err := failing(method); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Cursor implements [forward.Source].
func (m *Memory) Cursor(name string) (uint64, error) {
	if err := m.fail(context.Background(), "Cursor"); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sink(name).cursor, nil
}

// Pending implements [forward.Source].
func (m *Memory) Pending(ctx context.Context, from uint64, max int) (items []forward.Item, next uint64, err error) {
	if err := m.fail(ctx, "Pending"); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for next = from; next < uint64(len(m.records)) && len(items) < max; next++ {
		if it := m.records[next]; it.Punch != nil || it.Head != nil {
			items = append(items, it)
		}
	}
	return items, next, nil
}

// Wait implements [forward.Source].
func (m *Memory) Wait(ctx context.Context, from uint64) error {
	for {
		if err := m.fail(ctx, "Wait"); err != nil {
			return err
		}
		m.mu.Lock()
		there, grown := from < uint64(len(m.records)), m.grown
		m.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Settle implements [forward.Source].
func (m *Memory) Settle(ctx context.Context, name string, answers ...forward.Answer) error {
	if err := m.fail(ctx, "Settle"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sink(name)
	cursor := s.cursor
	for _, a := range answers {
		if err := m.check(s, cursor, a); err != nil {
			return err
		}
		if a.First >= cursor {
			cursor = a.Last + 1
		}
	}
	s.cursor = cursor
	for _, a := range answers {
		delete(s.parked, a.First)
		for _, p := range a.Parked {
			s.parked[p.Seq] = parked{p.Reason, p.Until}
		}
		for _, d := range a.Dead {
			s.dead[d.Seq] = d.Reason
		}
	}
	m.append(nil)
	return nil
}

// check refuses an answer that would lose or invent something.
func (m *Memory) check(s *sink, cursor uint64, a forward.Answer) error {
	_, waiting := s.parked[a.First]
	switch {
	case a.First > a.Last || a.Last >= uint64(len(m.records)):
		return fmt.Errorf("sourcetest: answer from %d to %d, there are %d records", a.First, a.Last, len(m.records))
	case a.First > cursor:
		return fmt.Errorf("sourcetest: answer from %d leaves out what begins at %d", a.First, cursor)
	case a.First < cursor && (a.First != a.Last || !waiting):
		return fmt.Errorf("sourcetest: answer from %d to %d before the cursor %d is for no parked punch", a.First, a.Last, cursor)
	}
	named := make([]uint64, 0, len(a.Dead)+len(a.Parked))
	for _, d := range a.Dead {
		named = append(named, d.Seq)
	}
	for _, p := range a.Parked {
		named = append(named, p.Seq)
	}
	for _, seq := range named {
		if seq < a.First || seq > a.Last || m.records[seq].Punch == nil {
			return fmt.Errorf("sourcetest: answer from %d to %d names %d, which is no punch in it", a.First, a.Last, seq)
		}
	}
	return nil
}

// Due implements [forward.Source].
func (m *Memory) Due(ctx context.Context, name string, now time.Time, max int) ([]forward.Item, error) {
	if err := m.fail(ctx, "Due"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sink(name)
	var items []forward.Item
	for seq, p := range s.parked {
		if !p.due.IsZero() && !p.due.After(now) {
			items = append(items, m.records[seq])
		}
	}
	slices.SortFunc(items, func(a, b forward.Item) int {
		return cmp.Or(s.parked[a.Seq].due.Compare(s.parked[b.Seq].due), cmp.Compare(a.Seq, b.Seq))
	})
	return items[:min(max, len(items))], nil
}

// Retry implements [forward.Source].
func (m *Memory) Retry(ctx context.Context, name string) (int, error) {
	if err := m.fail(ctx, "Retry"); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sink(name)
	now := time.Now()
	for seq, p := range s.parked {
		p.due = now
		s.parked[seq] = p
	}
	return len(s.parked), nil
}
