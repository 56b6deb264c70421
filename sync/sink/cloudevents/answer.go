package cloudevents

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/sync/forward"
)

// maxExcuse bounds in bytes what is read of a refusal's body, and maxShown what
// is shown of it.
const (
	maxExcuse = 64 << 10
	maxShown  = 300
)

// maxRetryAfter bounds what a service may ask for.
const maxRetryAfter = time.Hour

// answered reads the body of a 2xx answer.
func (s *Sink) answered(ctx context.Context, resp *http.Response, items []forward.Item) (forward.Receipt, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, cloudevents.MaxResults+1))
	if err != nil {
		return nil, s.unanswered(ctx, err)
	}
	results, all, err := cloudevents.ParseResults(body)
	if err != nil {
		return nil, forward.Misconfigured{Err: s.errorf(`%s, but this is no answer of an attendance service (%w). When it has stored the events it must answer {"results":[...]}, {} or an empty body, and else a status that says so; it says: %s`, resp.Status, err, excerpt(body))}
	}
	if all && len(bytes.TrimSpace(body)) == 0 && endedByClose(resp) {
		return nil, forward.Unclear{Err: s.errorf("%s, and then the connection was closed: nothing tells an empty answer from a cut one. When it has stored the events the service must answer {}, or send Content-Length: 0", resp.Status)}
	}
	if all {
		return forward.All(len(items), forward.Accepted), nil
	}
	return s.match(results, items)
}

// endedByClose reports whether only the end of the connection ended the body,
// which looks the same when a service or a proxy dies behind the header. HTTP/2
// ends each body by a word of its own.
func endedByClose(resp *http.Response) bool {
	if resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusResetContent {
		return false // these have no body
	}
	return resp.ContentLength < 0 && resp.ProtoMajor < 2 && !slices.Contains(resp.TransferEncoding, "chunked")
}

var outcomes = map[cloudevents.Status]forward.Outcome{
	cloudevents.Accepted: forward.Accepted, cloudevents.Duplicate: forward.Duplicate, cloudevents.Park: forward.Park, cloudevents.Dead: forward.Dead,
}

// match finds the item of each result. Results for other events are passed
// over; two that contradict each other are no answer.
func (s *Sink) match(results []cloudevents.Result, items []forward.Item) (forward.Receipt, error) {
	index := make(map[attendance.Key]int, len(items))
	for i, it := range items {
		index[it.Key()] = i
	}
	receipt := make(forward.Receipt, len(items))
	for _, r := range results {
		key, err := attendance.ParseKey(r.ID)
		if err != nil {
			continue
		}
		i, ours := index[key]
		if !ours {
			continue
		}
		if was := receipt[i].Outcome; was != forward.Unanswered && was != outcomes[r.Status] {
			return nil, forward.Misconfigured{Err: s.errorf("the answer contradicts itself about event %s", r.ID)}
		}
		receipt[i] = forward.Result{Outcome: outcomes[r.Status], Reason: r.Reason, RetryAfter: r.RetryAfter}
	}
	return receipt, nil
}

// unanswered is the error for a request that got no whole answer. What was
// wrong with a certificate needs a person; everything else is an outage.
func (s *Sink) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // its text would tell the whole URL
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return forward.Later{Err: s.errorf("no answer within %v", s.timeout)}
	}
	if aboutTLS(err) {
		return forward.Misconfigured{Err: s.errorf("%w", err)}
	}
	return forward.Later{Err: s.errorf("%w", err)}
}

// aboutTLS reports whether one side does not accept the other's certificate or
// way of speaking. With TLS 1.3 a server's alert about ours can get lost with
// the connection; then this try looks like an outage, and a later one does not.
func aboutTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // an alert: theirs about our certificate
		return true
	}
	return errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, errPin) || errors.Is(err, errClientCert)
}

// refused sorts an answer without success by what its status can be about. Only
// a few can be about the punches; the table stands in FORMAT.md and is argued
// in sync/forward/DESIGN.md.
func (s *Sink) refused(resp *http.Response) error {
	// Read to the end if that is near, so that the connection can be used again.
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxExcuse))
	err := s.errorf("%s", resp.Status)
	if shown := excerpt(body); shown != "" && readErr == nil {
		err = s.errorf("%s: %s", resp.Status, shown)
	}
	switch code := resp.StatusCode; code {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		return forward.Rejected{Err: err}
	case http.StatusRequestEntityTooLarge:
		return forward.Rejected{Err: err, TooLarge: true}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return forward.Denied{Err: err}
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusFailedDependency, http.StatusTooEarly, http.StatusTooManyRequests:
		return forward.Later{Err: err, After: retryAfter(resp)}
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return forward.Misconfigured{Err: err}
	default:
		if code >= 500 {
			return forward.Later{Err: err, After: retryAfter(resp)}
		}
		if to, err := resp.Location(); err == nil && code < 400 {
			return forward.Misconfigured{Err: s.errorf("%s to %s://%s: redirects are not followed; configure the final url", resp.Status, to.Scheme, to.Host)}
		}
		return forward.Misconfigured{Err: err}
	}
}

// retryAfter reads Retry-After, as seconds or as a date. A date counts against
// the server's own clock if it tells that, for ours may be wrong. 0 if there is
// none, and an hour at most, as FORMAT.md promises.
func retryAfter(resp *http.Response) time.Duration {
	text := strings.TrimSpace(resp.Header.Get("Retry-After"))
	// More seconds than fit into the number are as many as do.
	if sec, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(sec, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}

// excerpt is the beginning of a body on one line.
func excerpt(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), 4*maxShown)]), "\uFFFD")), " ")
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	// Control characters must not reach a terminal.
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return -1
		}
		return r
	}, text)
}

var (
	errPin        = errors.New("the server's public key is not the pinned one")
	errClientCert = errors.New("the client certificate can't be read")
)

// clientCert wraps an error so that it is seen as one of ours.
func clientCert(err error) error { return fmt.Errorf("%w: %w", errClientCert, err) }
