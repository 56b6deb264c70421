// Package cloudevents is the sink that posts punches to a central service as
// batches of CloudEvents. What goes over the wire is described in
// protocol/cloudevents/FORMAT.md.
package cloudevents

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/cloudevents"
	"github.com/punchd/punchd/sync/forward"
)

// defaultTimeout bounds one request from dialling to the end of the answer.
// Standard Webhooks recommends 15 to 30 s.
const defaultTimeout = 30 * time.Second

// Config says where to, and how.
type Config struct {
	Name string // of the sink
	URL  string // http or https; user and password in it are sent as basic authentication
	// Source is the source attribute of the events; see
	// [cloudevents.GatewaySource].
	Source string
	// Secret gives the key that requests are signed with, as
	// [cloudevents.ParseKey] reads it. It is called before the first request and
	// whenever the service does not let us in, so that a rotated secret is
	// picked up. nil: requests are not signed.
	Secret  func() (string, error)
	Timeout time.Duration // of one request; default 30 s
	Gzip    bool          // compress requests
	Version string        // of punchd, for User-Agent

	// For https. CAFile holds the certificates (PEM) that are trusted instead
	// of the system's. CertFile and KeyFile are the client's own certificate
	// and key (PEM), read anew for each connection. Pin is sha256/ and the
	// base64 of the SHA-256 of the server's public key (SubjectPublicKeyInfo);
	// without CAFile nothing else of the server's certificate is checked then.
	CAFile, CertFile, KeyFile string
	Pin                       string
}

// Sink posts to one service over connections that it keeps open.
type Sink struct {
	name    string
	url     *url.URL
	meta    cloudevents.Meta
	secret  func() (string, error)
	timeout time.Duration
	gzip    bool
	agent   string
	client  *http.Client

	// What follows belongs to Send.
	signing *signing
	body    []byte
	packed  bytes.Buffer
}

// signing is the secret in use. Its text is kept to see whether another has
// come.
type signing struct {
	text string
	key  cloudevents.Key
}

// New makes the sink. It reads the certificates and connects to nothing.
func New(cfg Config) (*Sink, error) {
	if cfg.Name == "" || cfg.Source == "" {
		return nil, errors.New("cloudevents sink: a name and a source are needed")
	}
	u, err := url.Parse(cfg.URL)
	if err != nil { // the text of this error would tell the whole URL
		return nil, fmt.Errorf("cloudevents sink %s: the url can't be read", cfg.Name)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("cloudevents sink %s: the url must begin with https:// (or http://) and a host", cfg.Name)
	}
	transport, err := newTransport(cfg, u)
	if err != nil {
		return nil, fmt.Errorf("cloudevents sink %s: %w", cfg.Name, err)
	}
	s := &Sink{
		name: cfg.Name, url: u, meta: cloudevents.Meta{Source: cfg.Source}, secret: cfg.Secret,
		timeout: cfg.Timeout, gzip: cfg.Gzip, agent: "punchd",
		client: &http.Client{
			Transport: transport,
			// A redirect would turn the POST into a GET, or send punches elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if s.timeout <= 0 {
		s.timeout = defaultTimeout
	}
	if cfg.Version != "" {
		s.agent += "/" + cfg.Version
	}
	return s, nil
}

// Name implements [forward.Sink].
func (s *Sink) Name() string { return s.name }

// Close closes the connections that are idle. It may be called at any time, and
// returns nil.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Send implements [forward.Sink].
func (s *Sink) Send(ctx context.Context, items []forward.Item) (forward.Receipt, error) {
	if len(items) == 0 {
		return forward.Receipt{}, nil
	}
	if s.secret != nil && s.signing == nil {
		if _, err := s.readSecret(); err != nil {
			return nil, forward.Misconfigured{Err: s.errorf("the secret: %w", err)}
		}
	}
	s.body = cloudevents.AppendBatch(s.body[:0], s.meta, func(yield func(uint64, attendance.Record) bool) {
		for _, it := range items {
			if !yield(it.Seq, it.Record()) {
				return
			}
		}
	})
	// The same batch has the same id however often it is sent.
	sum := sha256.Sum256(s.body)
	id := fmt.Sprintf("punchd-%d-%d-%x", items[0].Seq, items[len(items)-1].Seq, sum[:8])

	receipt, err := s.post(ctx, id, items)
	if _, denied := errors.AsType[forward.Denied](err); !denied || s.secret == nil {
		return receipt, err
	}
	// The one reason for being denied that we can see to: the secret was
	// changed here after it was changed there.
	changed, readErr := s.readSecret()
	if readErr != nil {
		return nil, forward.Denied{Err: fmt.Errorf("%w; the secret can't be read again: %w", err, readErr)}
	}
	if !changed {
		return nil, err
	}
	return s.post(ctx, id, items)
}

// readSecret reads the secret, and reports whether it is another than before.
func (s *Sink) readSecret() (changed bool, err error) {
	text, err := s.secret()
	if err != nil {
		return false, err
	}
	if s.signing != nil && s.signing.text == text {
		return false, nil
	}
	key, err := cloudevents.ParseKey(text)
	if err != nil {
		return false, err
	}
	s.signing = &signing{text, key}
	return true, nil
}

// post makes one request with the body and judges its answer.
func (s *Sink) post(ctx context.Context, id string, items []forward.Item) (forward.Receipt, error) {
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := s.request(within, id)
	if err != nil {
		return nil, forward.Misconfigured{Err: s.errorf("%w", err)}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, s.refused(resp)
	}
	return s.answered(ctx, resp, items)
}

func (s *Sink) request(ctx context.Context, id string) (*http.Request, error) {
	body := s.body
	if s.gzip {
		s.packed.Reset()
		w := gzip.NewWriter(&s.packed)
		if _, err := w.Write(s.body); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		body = s.packed.Bytes()
	}
	// A copy: the transport may still read it after the answer has come.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(bytes.Clone(body)))
	if err != nil {
		return nil, err
	}
	h := req.Header
	h.Set("Content-Type", cloudevents.ContentType)
	h.Set("Accept", "application/json")
	// The transport would ask for gzip, and hide by what the answer ended.
	h.Set("Accept-Encoding", "identity")
	h.Set("User-Agent", s.agent)
	if s.gzip {
		h.Set("Content-Encoding", "gzip")
	}
	if s.signing == nil {
		h.Set(cloudevents.HeaderID, id)
		return req, nil
	}
	signed, err := s.signing.key.Sign(id, time.Now(), s.body)
	if err != nil {
		return nil, err
	}
	h.Set(cloudevents.HeaderID, signed.ID)
	h.Set(cloudevents.HeaderTimestamp, signed.Timestamp)
	h.Set(cloudevents.HeaderSignature, signed.Signature)
	return req, nil
}

// errorf makes an error that names the service by its host alone: paths and
// queries of webhook URLs are often secret.
func (s *Sink) errorf(format string, args ...any) error {
	return fmt.Errorf("post to %s: "+format, append([]any{s.url.Host}, args...)...)
}
