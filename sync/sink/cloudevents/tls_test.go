package cloudevents

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificate makes a certificate for 127.0.0.1, signed by parent or by itself,
// and writes it and its key as PEM files.
func certificate(t *testing.T, name string, parent *tls.Certificate) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, IsCA: parent == nil,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	certPEM, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for path, content := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err = tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

func TestTLS(t *testing.T) {
	ca, caFile, _ := certificate(t, "ca", nil)
	server, _, _ := certificate(t, "server", &ca)
	client, clientFile, clientKey := certificate(t, "client", &ca)
	_, otherCA, otherKey := certificate(t, "other", nil)
	pin := func(c tls.Certificate) string {
		sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
		return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	for _, c := range []struct {
		name   string
		mutual bool
		change func(*Config)
		want   string
	}{
		{"unknown ca", false, func(*Config) {}, "misconfigured"},
		{"ca", false, func(c *Config) { c.CAFile = caFile }, "none"},
		{"another ca", false, func(c *Config) { c.CAFile = otherCA }, "misconfigured"},
		{"pin", false, func(c *Config) { c.Pin = pin(server) }, "none"},
		{"another pin", false, func(c *Config) { c.Pin = pin(client) }, "misconfigured"},
		{"ca and pin", false, func(c *Config) { c.CAFile, c.Pin = caFile, pin(server) }, "none"},
		{"another ca and pin", false, func(c *Config) { c.CAFile, c.Pin = otherCA, pin(server) }, "misconfigured"},
		{"ca and another pin", false, func(c *Config) { c.CAFile, c.Pin = caFile, pin(client) }, "misconfigured"},
		{"client certificate", true, func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = caFile, clientFile, clientKey }, "none"},
		{"another client certificate", true, func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = caFile, otherCA, otherKey }, "misconfigured"},
		{"no client certificate", true, func(c *Config) { c.CAFile = caFile }, "misconfigured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := &service{t: t, seen: map[string]bool{}}
			srv := httptest.NewUnstartedServer(service)
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{server}}
			if c.mutual {
				srv.TLS.ClientAuth, srv.TLS.ClientCAs = tls.RequireAndVerifyClientCert, pool
				// TLS 1.3 checks the client after the handshake, and its alert can
				// get lost with the connection; then it looks like an outage.
				srv.TLS.MaxVersion = tls.VersionTLS12
			}
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			defer srv.Close()
			s := newSink(t, srv.URL, c.change)
			for range 2 {
				if _, err := s.Send(t.Context(), items(0, 2)); kindOf(err) != c.want {
					t.Errorf("%v, want %s", err, c.want)
				}
			}
		})
	}
}

// https spoken to a server of plain http is no outage.
func TestTLSToPlainServer(t *testing.T) {
	_, srv := newService(t)
	if _, err := newSink(t, "https"+srv.URL[4:]).Send(t.Context(), items(0, 1)); kindOf(err) != "misconfigured" {
		t.Errorf("%v", err)
	}
}

// A client certificate that was renewed in place serves the next connection; one
// that is gone is told as what it is.
func TestClientCertificateIsReadAnew(t *testing.T) {
	ca, caFile, _ := certificate(t, "ca", nil)
	server, _, _ := certificate(t, "server", &ca)
	_, certFile, keyFile := certificate(t, "client", &ca)
	service := &service{t: t, seen: map[string]bool{}}
	srv := httptest.NewUnstartedServer(service)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	s := newSink(t, srv.URL, func(c *Config) { c.CAFile, c.CertFile, c.KeyFile = caFile, certFile, keyFile })
	if _, err := s.Send(t.Context(), items(0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), items(0, 1)); kindOf(err) != "misconfigured" {
		t.Errorf("%v", err)
	}
	_, newCert, newKey := certificate(t, "client", &ca)
	for from, to := range map[string]string{newCert: certFile, newKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Send(t.Context(), items(0, 1)); err != nil {
		t.Errorf("%v", err)
	}
}
