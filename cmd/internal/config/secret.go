package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/punchd/punchd/protocol/cloudevents"
)

// maxSecret bounds a secret, in bytes. Keys in PEM are the longest.
const maxSecret = 64 << 10

// errNoSecret says that a secret's file is missing, and a new one may be needed.
var errNoSecret = errors.New("there is no file")

// Secret names a secret and does not hold it, so that printing a configuration
// tells none. The zero value names nothing.
type Secret struct {
	path       string
	credential string // of systemd, empty for a file
}

// IsSet reports whether the secret was configured.
func (s Secret) IsSet() bool { return s.path != "" }

// Path is the file that holds the secret, for those who read it themselves.
func (s Secret) Path() string { return s.path }

// Read gives the secret as it is now, without the line end behind it. A file
// that others than its owner may read is an error: who could read a key cannot
// be told any more.
func (s Secret) Read() (string, error) {
	if !s.IsSet() {
		return "", errors.New("no secret is configured")
	}
	text, err := s.bytes()
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", s.path)
	}
	return secret, nil
}

func (s Secret) bytes() ([]byte, error) {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist) && s.credential != "":
		return nil, fmt.Errorf("systemd has given no credential %q; add LoadCredential=%s:/path/to/it to the service", s.credential, s.credential)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w %s", errNoSecret, s.path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", s.path)
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", s.path, info.Size(), maxSecret)
	case s.credential == "" && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others (mode %04o); make it yours alone: chmod 600 %s", s.path, info.Mode().Perm(), s.path)
	}
	text, err := os.ReadFile(s.path)
	if err == nil && len(text) > maxSecret {
		return nil, fmt.Errorf("%s grew beyond %d bytes while it was read", s.path, maxSecret)
	}
	return text, err
}

// Number reads a secret that is a whole number, such as a comm key.
func (s Secret) Number() (uint32, error) {
	text, err := s.Read()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s holds no whole number from 0 to 4294967295", s.path) // and what it holds is a secret
	}
	return uint32(n), nil
}

// String names where the secret is.
func (s Secret) String() string {
	switch {
	case s.credential != "":
		return "credential:" + s.credential
	case s.path != "":
		return "file:" + s.path
	}
	return "none"
}

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// secret takes a raw secret and looks at it. A raw nil is none.
func (c *checker) secret(path string, raw *rawSecret) Secret {
	s, ok := c.secretAt(path, raw)
	if ok && s.IsSet() {
		if _, err := s.Read(); err != nil {
			c.fail(path, "%v", err)
		}
	}
	return s
}

// signingKey takes the secret that a sink's requests are signed with.
func (c *checker) signingKey(path string, raw *rawSecret) Secret {
	s := c.secret(path, raw)
	text, err := s.Read()
	if err != nil {
		return s // told already, or there is none
	}
	key, err := cloudevents.ParseKey(text)
	if err == nil {
		_, err = key.Sign("check", time.Time{}, nil)
	}
	if err != nil { // the error tells nothing of the secret
		c.hint(path, "a secret to sign with is like whsec_ and base64 of 24 to 64 bytes", "%s can't be used: %s", s.path, strings.TrimPrefix(err.Error(), "cloudevents: "))
	}
	return s
}

// secretAt says where a secret is, without looking at it.
func (c *checker) secretAt(path string, raw *rawSecret) (Secret, bool) {
	switch {
	case raw == nil:
		return Secret{}, true
	case raw.File != "" && raw.Credential != "":
		c.fail(path, "has both a file and a credential; give one")
	case raw.File != "":
		return Secret{path: c.path(raw.File)}, true
	case raw.Credential == "":
		c.fail(path, "names no secret: {file: keys/name} or {credential: name}")
	case !validName(raw.Credential):
		c.fail(path+".credential", "%.40q is no name of a credential", raw.Credential)
	case os.Getenv("CREDENTIALS_DIRECTORY") == "":
		c.fail(path+".credential", "is only there in a service of systemd, which sets CREDENTIALS_DIRECTORY; use {file: ...} elsewhere")
	default:
		return Secret{path: filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), raw.Credential), credential: raw.Credential}, true
	}
	return Secret{}, false
}
