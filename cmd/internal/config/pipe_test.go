//go:build unix

package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe is told and not waited for, whatever key names it.
func TestPipes(t *testing.T) {
	dir := home(t)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(pipe); err == nil || err.Error() != "config: "+pipe+" is no regular file; put its content into one and name that" {
		t.Errorf("the configuration: %v", err)
	}
	for text, want := range map[string]string{
		`url: "https://h/", ca: pipe`:                              "sinks[0].ca: pipe is no regular file; put its content into one and name that",
		`url: "https://h/", ca: /dev/zero`:                         "sinks[0].ca: /dev/zero is no regular file; put its content into one and name that",
		`url: "https://h/", secret: {file: pipe}`:                  "sinks[0].secret: pipe is no regular file",
		`url: "https://h/", cert: pipe, key: {file: keys/tls.key}`: "sinks[0].cert: pipe is no regular file; put its content into one and name that",
	} {
		if _, got := load(t, dir, begin+rest+"sinks:\n  - {name: a, kind: cloudevents, "+text+"}\n"); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
