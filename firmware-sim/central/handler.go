package central

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/punchd/punchd/protocol/cloudevents"
)

// ServeHTTP takes a batch by POST, and tells its [Stats] by GET.
func (c *Central) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.Stats()) // a client that went away has no use for an error
		return
	}
	f, down := c.arrive()
	if down || f.abort {
		panic(http.ErrAbortHandler) // closes the connection
	}
	a := c.handle(f, r)
	if !wait(r.Context(), f.delay) || c.cut(a.taken && f.lose) {
		panic(http.ErrAbortHandler)
	}
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.Header().Set("Content-Type", a.contentType)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // if it does not arrive, the gateway will ask again
}

// arrive counts a request and draws its fate.
func (c *Central) arrive() (f fate, down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Requests++
	f = c.draw()
	switch {
	case c.isDown():
		c.stats.Down++
		down = true
	case f.abort || f.status != 0:
		c.stats.Failed++
	}
	return f, down
}

// cut reports whether an answer gets lost: by chance, or because an outage has
// begun meanwhile.
func (c *Central) cut(byChance bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if byChance {
		c.stats.Lost++
	}
	return byChance || c.isDown()
}

// wait waits for d and reports false if the client went away first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answer is what is sent back.
type answer struct {
	status      int
	contentType string
	retryAfter  string
	body        []byte
	taken       bool // the batch was
}

func refuse(status int, format string, args ...any) answer {
	return answer{status: status, contentType: "text/plain; charset=utf-8", body: fmt.Appendf(nil, format+"\n", args...)}
}

const portal = `<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in to use this network.</body></html>`

// handle answers one request.
func (c *Central) handle(f fate, r *http.Request) answer {
	if f.status != 0 {
		a := refuse(f.status, "failed on purpose")
		if f.retryAfter > 0 {
			a.retryAfter = strconv.Itoa(int(f.retryAfter / time.Second))
		}
		return a
	}
	if f.html {
		return answer{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: []byte(portal)}
	}
	body, problem := read(r)
	if problem != nil {
		c.increment(&c.stats.Unreadable)
		return *problem
	}
	if len(c.keys) > 0 {
		h := cloudevents.Headers{
			ID: r.Header.Get(cloudevents.HeaderID), Timestamp: r.Header.Get(cloudevents.HeaderTimestamp), Signature: r.Header.Get(cloudevents.HeaderSignature),
		}
		if err := cloudevents.Verify(h, body, c.clock(), c.keys...); err != nil {
			c.increment(&c.stats.Denied)
			return refuse(http.StatusUnauthorized, "%v", err)
		}
	}
	events, err := cloudevents.ParseBatch(body)
	if err != nil {
		c.increment(&c.stats.Unreadable)
		return refuse(http.StatusBadRequest, "%v", err)
	}
	return c.take(events)
}

// read reads a request's body, or says what is wrong with the request.
func read(r *http.Request) ([]byte, *answer) {
	fail := func(status int, format string, args ...any) ([]byte, *answer) {
		a := refuse(status, format, args...)
		return nil, &a
	}
	if r.Method != http.MethodPost {
		return fail(http.StatusMethodNotAllowed, "batches are sent by POST")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != cloudevents.ContentType {
		return fail(http.StatusUnsupportedMediaType, "the content type must be %s", cloudevents.ContentType)
	}
	from := io.Reader(r.Body)
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			return fail(http.StatusBadRequest, "gzip: %v", err)
		}
		from = unpacked
	default:
		return fail(http.StatusUnsupportedMediaType, "content encoding %q is not understood, gzip is", coding)
	}
	var body bytes.Buffer
	body.Grow(int(min(max(0, r.ContentLength), cloudevents.MaxBatch)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(from, cloudevents.MaxBatch+1)); err != nil {
		return fail(http.StatusBadRequest, "the body can't be read: %v", err)
	}
	if body.Len() > cloudevents.MaxBatch {
		return fail(http.StatusRequestEntityTooLarge, "at most %d bytes", cloudevents.MaxBatch)
	}
	return body.Bytes(), nil
}

// take holds what is new in a batch and answers for each event. It takes all
// that it answers "accepted" for, or nothing.
func (c *Central) take(events []cloudevents.Event) answer {
	ids := make([]identity, len(events))
	for i := range events {
		ids[i] = identityOf(&events[i])
	}
	results := make([]cloudevents.Result, len(events))
	now := time.Now().UnixNano()

	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range events {
		if events[i].Type != cloudevents.TypeCheckpoint {
			c.stats.Received++
		}
	}
	for i := range events {
		if c.poisoned(&events[i], ids[i]) {
			c.stats.Poisoned++
			return refuse(http.StatusBadRequest, "something in this batch is not acceptable")
		}
	}
	var lines []byte
	var fresh []int
	inBatch := map[identity]struct{}{}
	for i := range events {
		e := &events[i]
		_, held := c.store.seen[ids[i]]
		_, twice := inBatch[ids[i]]
		if held || twice {
			results[i] = cloudevents.Result{ID: e.ID, Status: cloudevents.Duplicate}
			continue
		}
		if results[i] = c.judge(e, ids[i]); results[i].Status == cloudevents.Accepted {
			fresh = append(fresh, i)
			inBatch[ids[i]] = struct{}{}
			if c.store.out != nil {
				lines = appendLine(lines, e.Raw)
			}
		}
	}
	if len(c.store.events)+len(fresh) > c.maxHeld {
		c.stats.Full++
		return refuse(http.StatusInsufficientStorage, "%v (at most %d)", errFull, c.maxHeld)
	}
	if err := c.store.write(lines); err != nil {
		c.stats.FileErrors++
		return refuse(http.StatusInternalServerError, "%v", err)
	}
	for _, i := range fresh {
		c.store.hold(ids[i], &events[i], now)
	}
	c.count(results)
	return answer{status: http.StatusOK, contentType: "application/json", body: cloudevents.AppendResults(nil, results), taken: true}
}

func (c *Central) increment(n *uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

// count counts the answers of a batch that was taken.
func (c *Central) count(results []cloudevents.Result) {
	for _, r := range results {
		switch r.Status {
		case cloudevents.Duplicate:
			c.stats.Duplicates++
		case cloudevents.Park:
			c.stats.Parked++
		case cloudevents.Dead:
			c.stats.Dead++
		}
	}
	c.store.tell(&c.stats)
}

// Serve answers on a listener until ctx ends, and closes it.
func (c *Central) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("central: %w", err)
	case <-ctx.Done():
	}
	err := srv.Close()
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
