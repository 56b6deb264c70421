package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/punchd/punchd/protocol/phone"
)

const (
	defaultListen     = "127.0.0.1:1883"
	defaultMaxClients = 2_000
	maxMaxClients     = 100_000
	maxUsers          = 200_000
)

func (c *checker) phones(raw *rawPhones, cfg *Config) {
	if raw == nil {
		return
	}
	p := &Phones{Formats: raw.Formats}
	if raw.Formats == nil {
		p.Formats = []string{FormatNative, FormatOwnTracks}
	} else if len(raw.Formats) == 0 {
		c.fail("phones.formats", "is empty; leave it out for all, or name some of: native, owntracks")
	}
	for i, f := range raw.Formats {
		path := fmt.Sprintf("phones.formats[%d]", i)
		if c.choice(path, "format", f, FormatNative, FormatOwnTracks) && slices.Contains(raw.Formats[:i], f) {
			c.fail(path, "%q stands here twice", f)
		}
	}
	cfg.Phones = p
	b := raw.Broker
	const help = "give embedded: {listen: 127.0.0.1:1883} for a broker of its own, or url: mqtts://host for another"
	switch {
	case b == nil:
		c.fail("phones.broker", "is missing; %s", help)
	case b.Embedded != nil && (b.URL != "" || b.ClientID != "" || b.Username != "" || b.Password != nil || b.CA != ""):
		c.fail("phones.broker.embedded", "stands beside url, client_id, username, password or ca, which are for another broker; give one of the two")
	case b.Embedded != nil:
		p.Embedded = c.embedded(b.Embedded)
	case b.URL != "":
		p.External = c.external(b, cfg.Gateway.ID)
	default:
		c.fail("phones.broker", "names no broker; %s", help)
	}
}

func (c *checker) embedded(raw *rawEmbedded) *Embedded {
	const path = "phones.broker.embedded"
	e := &Embedded{Listen: cmp.Or(raw.Listen, defaultListen), MaxClients: or(raw.MaxClients, defaultMaxClients), Users: map[string]Secret{}}
	c.listen(path+".listen", e.Listen)
	if e.MaxClients < 1 || e.MaxClients > maxMaxClients {
		c.fail(path+".max_clients", "%d is not between 1 and %d", e.MaxClients, maxMaxClients)
	}
	if raw.TLS != nil {
		e.TLS = c.tls(path+".tls", raw.TLS.Cert, raw.TLS.Key, path+".tls.cert", path+".tls.key")
	} else if host := hostOf(e.Listen); !loopback(host) {
		c.warn(path+".listen", "takes connections from other machines without TLS: passwords and positions can be read on the network")
	}
	if len(raw.Users) > maxUsers {
		c.fail(path+".users", "%d are too many, the limit is %d", len(raw.Users), maxUsers)
		return e
	}
	if len(raw.Users) == 0 {
		c.warn(path+".users", "names nobody: no phone can log in")
	}
	for _, user := range slices.Sorted(maps.Keys(raw.Users)) {
		at := path + ".users." + user
		switch {
		case !phone.ValidName(user) || strings.TrimSpace(user) != user: // the rule of the broker and that of the roster
			c.fail(at, "%.40q can't be a level of an MQTT topic: it is empty, longer than 128 bytes, begins or ends with a space, or holds a control character or one of / + #", user)
		case raw.Users[user] == nil:
			c.fail(at, "has no password: {file: keys/name}")
		default:
			e.Users[user] = c.secret(at, raw.Users[user])
		}
	}
	return e
}

func hostOf(address string) string {
	return strings.Trim(address[:max(strings.LastIndexByte(address, ':'), 0)], "[]")
}

func (c *checker) external(raw *rawBroker, gateway string) *External {
	const path = "phones.broker"
	x := &External{URL: raw.URL, ClientID: cmp.Or(raw.ClientID, gateway), Username: raw.Username}
	u := c.url(path+".url", raw.URL, "mqtts", "mqtt")
	if len(x.ClientID) > 128 {
		c.fail(path+".client_id", "has %d bytes, the limit is 128", len(x.ClientID))
	}
	if raw.Password != nil {
		if raw.Username == "" {
			c.fail(path+".password", "stands there without a username")
		}
		x.Password = c.secret(path+".password", raw.Password)
	}
	x.CA = c.certificates(path+".ca", raw.CA)
	if u != nil && u.Scheme == "mqtt" {
		if raw.CA != "" {
			c.fail(path+".ca", "is of no use with mqtt://, only with mqtts://")
		}
		if !loopback(u.Hostname()) {
			c.warn(path+".url", "is not encrypted: the password and positions can be read on the network; use mqtts://")
		}
	}
	return x
}

// tls takes a certificate and its key, and sees that they belong together.
func (c *checker) tls(path, cert string, key *rawSecret, certPath, keyPath string) *TLS {
	switch {
	case cert == "":
		c.fail(certPath, "is missing: the path of a certificate in PEM")
		return nil
	case key == nil:
		c.fail(keyPath, "is missing: {file: keys/name}, the certificate's key in PEM")
		return nil
	}
	t := &TLS{Cert: c.path(cert), Key: c.secret(keyPath, key)}
	if !t.Key.IsSet() {
		return t
	}
	keyPEM, err := t.Key.Read()
	if err != nil {
		return t // told already
	}
	certPEM, err := readBounded(t.Cert)
	if err != nil {
		c.fail(certPath, "%v", err)
		return t
	}
	if _, err := tls.X509KeyPair(certPEM, []byte(keyPEM)); err != nil {
		c.fail(path, "certificate and key are no pair: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	return t
}

// certificates checks a file of certificates, if one is named.
func (c *checker) certificates(path, file string) string {
	if file == "" {
		return ""
	}
	name := c.path(file)
	text, err := readBounded(name)
	if err != nil {
		c.fail(path, "%v", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
		c.fail(path, "%s holds no certificate in PEM", name)
	}
	return name
}
