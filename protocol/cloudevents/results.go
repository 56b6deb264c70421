package cloudevents

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/punchd/punchd/protocol"
)

// MaxResults bounds an answer in bytes.
const MaxResults = 8 << 20

// MaxRetryAfter bounds what a result may ask for; more counts as this much.
const MaxRetryAfter = 30 * 24 * time.Hour

// Status is what central says of one event.
type Status uint8

// The statuses.
const (
	Accepted  Status = iota + 1 // taken
	Duplicate                   // held already: the same as taken
	Park                        // not yet: its cause may change (an unknown employee, a closed period)
	Dead                        // never
)

var statusWords = []string{"", "accepted", "duplicate", "park", "dead"}

// String is the word for s in an answer.
func (s Status) String() string {
	if s > 0 && int(s) < len(statusWords) {
		return statusWords[s]
	}
	return "status-" + strconv.Itoa(int(s))
}

// Result is what central says of one event. Ids need no source beside them:
// all events of a batch have the same.
type Result struct {
	ID     string
	Status Status
	Reason string
	// RetryAfter is when a parked event may be sent again, in whole
	// milliseconds; 0: when its cause has changed.
	RetryAfter time.Duration
}

// ParseResults reads the body of an answer with a 2xx status. all is true for
// an empty body or {}, which takes every event. Anything else that is not
// {"results":[...]} is an error, and then nothing is known of any event: a
// portal's page, and also an object that says something else, since many
// services tell their errors with status 200. Errors wrap
// [protocol.ErrIncomplete], [protocol.ErrMalformed], [protocol.ErrTooLarge]
// or, for a status of the future, [protocol.ErrUnsupported].
func ParseResults(body []byte) (results []Result, all bool, err error) {
	if len(body) > MaxResults {
		return nil, false, fmt.Errorf("cloudevents: answer of %d bytes, at most %d: %w", len(body), MaxResults, protocol.ErrTooLarge)
	}
	s := scanner{b: body}
	if s.end() == nil {
		return nil, true, nil
	}
	named, other := false, ""
	err = s.object(func(name []byte) error {
		if string(name) != "results" {
			other = cmp.Or(other, fmt.Sprintf("%.40q", name))
			_, err := s.skip()
			return err
		}
		if named {
			return s.bad("a second results")
		}
		named = true
		return s.array(func() error {
			if len(results) == MaxEvents {
				return fmt.Errorf("more than %d results: %w", MaxEvents, protocol.ErrTooLarge)
			}
			r, err := s.result()
			if err != nil {
				return fmt.Errorf("result %d: %w", len(results), err)
			}
			results = append(results, r)
			return nil
		})
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && !named && other != "" {
		err = fmt.Errorf(`an object with %s and without "results": %w`, other, protocol.ErrMalformed)
	}
	if err != nil {
		return nil, false, fmt.Errorf("cloudevents: answer: %w", err)
	}
	return results, !named, nil
}

func (s *scanner) result() (r Result, err error) {
	err = s.object(func(name []byte) error {
		if null, err := s.null(); null || err != nil {
			return err
		}
		switch string(name) {
		case "id":
			r.ID, err = s.text("")
		case "status":
			r.Status, err = s.status()
		case "reason":
			r.Reason, err = s.text("")
		case "retry_after":
			r.RetryAfter, err = s.seconds()
		default:
			_, err = s.skip()
		}
		return err
	})
	if err == nil && (r.ID == "" || r.Status == 0) {
		err = s.bad("id and status are required")
	}
	return r, err
}

func (s *scanner) status() (Status, error) {
	raw, escaped, err := s.str("a status")
	if err != nil {
		return 0, err
	}
	if i := slices.Index(statusWords, string(raw)); i > 0 && !escaped {
		return Status(i), nil
	}
	return 0, fmt.Errorf("status %.40q (known: accepted, duplicate, park, dead): %w", raw, protocol.ErrUnsupported)
}

// seconds reads a duration in seconds, which may have a fraction.
func (s *scanner) seconds() (time.Duration, error) {
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	sec, err := strconv.ParseFloat(text, 64)
	if sec < 0 || err != nil && !math.IsInf(sec, 1) {
		return 0, s.bad("%.40s is no number of seconds", text)
	}
	ms := math.Round(min(sec, MaxRetryAfter.Seconds()) * 1000)
	return time.Duration(ms) * time.Millisecond, nil
}

// AppendResults appends the body of an answer that names its results.
func AppendResults(dst []byte, results []Result) []byte {
	dst = append(dst, `{"results":[`...)
	for i := range results {
		r := &results[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMember(append(dst, '{'), "id", r.ID)
		dst = appendMember(dst, "status", r.Status.String())
		dst = appendMember(dst, "reason", r.Reason)
		if r.RetryAfter > 0 {
			dst = strconv.AppendFloat(appendName(dst, "retry_after"), float64(r.RetryAfter.Milliseconds())/1000, 'f', -1, 64)
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}
