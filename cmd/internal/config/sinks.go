package config

import (
	"fmt"
	"time"
)

const (
	defaultBatch = 500
	maxBatch     = 10_000

	defaultRetryMax = 5 * time.Minute
	leastRetryMax   = time.Second
	mostRetryMax    = time.Hour
)

func (c *checker) sinks(list []rawSink, cfg *Config) {
	if len(list) == 0 {
		c.warn("sinks", "none: punches are kept and go nowhere")
	}
	names := map[string]int{}
	for i := range list {
		raw := &list[i]
		path := fmt.Sprintf("sinks[%d]", i)
		s := Sink{Name: raw.Name, Kind: raw.Kind, RetryMax: or(raw.RetryMax, defaultRetryMax)}
		if s.RetryMax < leastRetryMax || s.RetryMax > mostRetryMax {
			c.fail(path+".retry_max", "%v is not between %v and %v", s.RetryMax, leastRetryMax, mostRetryMax)
		}
		if c.id(path+".name", raw.Name) {
			if first, twice := names[raw.Name]; twice {
				c.fail(path+".name", "%q is the name of sinks[%d] already", raw.Name, first)
			} else {
				names[raw.Name] = i
			}
		}
		if c.choice(path+".kind", "kind of sink", raw.Kind, SinkCloudEvents, SinkFile) {
			c.foreign(path, "kind", raw.Kind, *raw)
			if raw.Kind == SinkCloudEvents {
				s.CloudEvents = c.cloudEvents(path, raw)
			} else if p := or(raw.Path, ""); p == "" {
				c.fail(path+".path", "is missing")
			} else {
				s.JSONLines = &JSONLines{Path: c.path(p)}
			}
		}
		cfg.Sinks = append(cfg.Sinks, s)
	}
}

func (c *checker) cloudEvents(path string, raw *rawSink) *CloudEvents {
	s := &CloudEvents{URL: or(raw.URL, ""), Gzip: or(raw.Gzip, false), Batch: or(raw.Batch, defaultBatch)}
	u := c.url(path+".url", s.URL, "https", "http")
	s.Secret = c.signingKey(path+".secret", raw.Secret)
	s.CA = c.certificates(path+".ca", or(raw.CA, ""))
	if raw.Cert != nil || raw.Key != nil {
		s.Client = c.tls(path, or(raw.Cert, ""), raw.Key, path+".cert", path+".key")
	}
	if s.Batch < 1 || s.Batch > maxBatch {
		c.fail(path+".batch", "%d is not between 1 and %d", s.Batch, maxBatch)
	}
	if u != nil && u.Scheme == "http" {
		if raw.CA != nil || raw.Cert != nil {
			c.fail(path+".url", "begins with http://, which ca, cert and key are of no use for")
		}
		if !loopback(u.Hostname()) {
			c.warn(path+".url", "is not encrypted: who was where and when can be read and changed on the way; use https://")
		}
	}
	if !s.Secret.IsSet() {
		c.warn(path, "has no secret: the receiver can't tell these punches from anybody's")
	}
	return s
}
