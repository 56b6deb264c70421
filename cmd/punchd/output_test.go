//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An export takes the place of regular files alone, behind links, with their
// permissions.
func TestExportTarget(t *testing.T) {
	o := newOffice(t, punchesOf(3)...)
	export := func(name string) (string, string) {
		t.Helper()
		out, errOut, err := o.run(t.Context(), "punches", "export", "-o", o.path(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return out, errOut
	}
	mode := func(name string, want os.FileMode) {
		t.Helper()
		if info, err := os.Lstat(o.path(name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info, err, want)
		}
	}
	export("new.csv")
	mode("new.csv", 0o600)

	o.write("shared.csv", "old")
	if err := os.Chmod(o.path("shared.csv"), 0o640); err != nil {
		t.Fatal(err)
	}
	export("shared.csv")
	mode("shared.csv", 0o640)

	// a chain of links from one directory to another, and one to nothing yet
	if err := errors.Join(os.Mkdir(o.path("share"), 0o700), os.Symlink("../shared.csv", o.path("share", "inner")), os.Symlink("share/inner", o.path("link.csv")),
		os.Symlink("later.csv", o.path("dangling.csv")), os.Symlink("circle", o.path("circle"))); err != nil {
		t.Fatal(err)
	}
	o.write("shared.csv", "old")
	export("link.csv")
	mode("link.csv", os.ModeSymlink|0o777)
	mode("shared.csv", 0o640)
	if strings.Count(o.read("shared.csv"), "\n") != 4 {
		t.Errorf("%q", o.read("shared.csv"))
	}
	export("dangling.csv")
	mode("later.csv", 0o600)
	if _, _, err := o.run(t.Context(), "punches", "export", "-o", o.path("circle")); err == nil || !strings.Contains(err.Error(), "round in a circle") {
		t.Error(err)
	}
	left, err := os.ReadDir(o.dir)
	for _, e := range left {
		if strings.HasPrefix(e.Name(), ".punches-") {
			t.Errorf("%s is left behind (%v)", e.Name(), err)
		}
	}
}

// A pipe is written to, and stays a pipe.
func TestExportIntoPipe(t *testing.T) {
	o := newOffice(t, punchesOf(3)...)
	for _, name := range []string{"pipe", "deserted"} {
		if err := syscall.Mkfifo(o.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody reads: an interruption ends the waiting.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openAsIs(ctx, o.path("deserted")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	got := make(chan string, 1)
	go func() {
		b, err := os.ReadFile(o.path("pipe"))
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}()
	out, errOut, err := o.run(t.Context(), "punches", "export", "-o", o.path("pipe"))
	if err != nil || out != "" || errOut != "3 punches in "+o.path("pipe")+"\n" {
		t.Errorf("%q %q %v", out, errOut, err)
	}
	if text := <-got; strings.Count(text, "\n") != 4 {
		t.Errorf("%q", text)
	}
	if info, err := os.Stat(o.path("pipe")); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("%v %v", info, err)
	}
}

// A full disk is told once.
func TestExportOnFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	o := newOffice(t, punchesOf(300)...)
	for _, format := range []string{"csv", "jsonl"} {
		_, _, err := o.run(t.Context(), "punches", "export", "--format", format, "-o", "/dev/full")
		if err == nil || err.Error() != "/dev/full can't be written: no space left on device" {
			t.Errorf("%s: %v", format, err)
		}
	}
	if info, err := os.Stat("/dev/full"); err != nil || info.Mode().IsRegular() {
		t.Errorf("%v %v", info, err)
	}
}
