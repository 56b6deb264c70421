package cloudevents

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// newTransport makes the HTTP transport for a configuration. Proxies are taken
// from the environment (HTTPS_PROXY, NO_PROXY), as every program does.
func newTransport(cfg Config, u *url.URL) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1, // one request is under way at a time
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if u.Scheme != "https" {
		if cfg.CAFile+cfg.CertFile+cfg.KeyFile+cfg.Pin != "" {
			return nil, errors.New("certificates and pins are for https; the url begins with http://")
		}
		return t, nil
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	for _, set := range []func(Config, *tls.Config) error{setCA, setClient, setPin} {
		if err := set(cfg, t.TLSClientConfig); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func setCA(cfg Config, c *tls.Config) error {
	if cfg.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("ca: %s holds no certificate in PEM", cfg.CAFile)
	}
	return nil
}

func setClient(cfg Config, c *tls.Config) error {
	if cfg.CertFile == "" && cfg.KeyFile == "" {
		return nil
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, clientCert(err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil { // tell now what would fail later
		return err
	}
	// Short-lived certificates are renewed in place.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return nil
}

func setPin(cfg Config, c *tls.Config) error {
	if cfg.Pin == "" {
		return nil
	}
	encoded, ok := strings.CutPrefix(cfg.Pin, "sha256/")
	want, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(want) != sha256.Size {
		return errors.New("pin: it is sha256/ and the base64 of 32 bytes")
	}
	// The pinned key is the server's identity; a private service need have no
	// certificate that anybody signed. With a CA both must hold.
	c.InsecureSkipVerify = cfg.CAFile == ""
	c.VerifyConnection = func(state tls.ConnectionState) error {
		got := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
		if string(got[:]) != string(want) {
			return fmt.Errorf("%w: it is sha256/%s", errPin, base64.StdEncoding.EncodeToString(got[:]))
		}
		return nil
	}
	return nil
}
