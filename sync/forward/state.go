package forward

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// State is what a forwarder knows of its sink, for status pages. The counts
// are those of this process; what waits is known to the [Source].
type State struct {
	Sink   string
	Online bool      // the last request was answered
	Since  time.Time // of Online's last change; zero before the first request
	// Alarm says what a person must see to; empty if nothing is amiss or if it
	// will mend by itself, as an outage does.
	Alarm     string
	LastError string    // why the last request failed, kept until one is answered
	Answered  bool      // a request was answered, in this process
	LastSent  time.Time // when the last answer settled something
	NextTry   time.Time // while waiting after a failure, else zero
	// Braked says that the sink rejected so many punches in a row that no more
	// are given up, until it takes one or [Forwarder.Release] is called.
	Braked bool

	// NoWitness says why the sink has refused the last signed head of the ledger;
	// empty if it took it.
	NoWitness string

	Requests uint64 // batches sent, repetitions included
	Failures uint64 // those that failed

	// What the sink said of each punch it answered for. A punch that is parked
	// three times counts three times.
	Sent, Duplicates, Parked, Dead uint64
}

// status guards the state. The parts of the forwarder report to it; it decides
// what a person is told.
type status struct {
	mu     sync.Mutex
	state  State
	source map[string]string // what the source fails to do, and why; while it does
}

func (s *status) get() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	if st.Alarm != "" {
		return st
	}
	for _, what := range slices.Sorted(maps.Keys(s.source)) {
		st.Alarm = fmt.Sprintf("the ledger fails to %s: %s", what, s.source[what])
		break
	}
	return st
}

// everAnswered says whether the far end has answered in this process.
func (s *status) everAnswered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Answered
}

// request counts a request and reports nothing else.
func (s *status) request() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Requests++
	s.state.NextTry = time.Time{}
}

// rejected counts a request that was refused for what is in it.
func (s *status) rejected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Failures++
}

// brake keeps whether the sink is believed no more when it rejects a punch.
func (s *status) brake(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Braked = on
}

// failed keeps a failure, and reports whether this is news.
func (s *status) failed(err error, alarm string, next time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state
	news = st.Online || st.LastError == "" || (st.Alarm == "") != (alarm == "")
	if st.Online || st.Since.IsZero() {
		st.Online, st.Since = false, time.Now()
	}
	st.LastError, st.Alarm, st.NextTry = err.Error(), alarm, next
	st.Failures++
	return news
}

// answered keeps that the far end has answered, and how long it had not.
func (s *status) answered() (outage time.Duration, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state
	if news = !st.Online; news {
		if !st.Since.IsZero() {
			outage = time.Since(st.Since)
		}
		st.Online, st.Since = true, time.Now()
	}
	st.LastError, st.Alarm, st.Answered = "", "", true
	return outage, news
}

// heads keeps why a head was refused, empty if it was taken. It reports whether
// a refusal is news.
func (s *status) heads(refused string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = refused != "" && s.state.NoWitness == ""
	s.state.NoWitness = refused
	return news
}

// settled counts results that have become durable.
func (s *status) settled(results []Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.LastSent = time.Now()
	for _, r := range results {
		switch r.Outcome {
		case Accepted:
			s.state.Sent++
		case Duplicate:
			s.state.Duplicates++
		case Park:
			s.state.Parked++
		case Dead:
			s.state.Dead++
		}
	}
}

// sourceIs keeps whether the source fails to do something; nil if it works. It
// reports whether this is news.
func (s *status) sourceIs(what string, err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, failed := s.source[what]
	if err == nil {
		delete(s.source, what)
		return failed
	}
	if s.source == nil {
		s.source = map[string]string{}
	}
	s.source[what] = err.Error()
	return !failed
}
