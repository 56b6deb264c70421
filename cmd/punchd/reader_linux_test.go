package main

import (
	"os"
	"testing"
	"time"
)

// A context ends with the reader of the output, and not before.
func TestWhileRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if abandoned(w) {
		t.Error("a pipe that is open at both ends counts as abandoned")
	}
	ctx, stop := whileRead(t.Context(), w, time.Millisecond)
	defer stop()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("nobody reads, and it goes on")
	}

	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if abandoned(f) {
		t.Error("a file counts as abandoned")
	}
}
