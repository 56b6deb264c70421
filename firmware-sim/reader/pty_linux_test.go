package reader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/cardline"
)

func TestPTY(t *testing.T) {
	p, err := OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for round := range 2 { // the port is there again after its reader closed it
		port, err := os.OpenFile(p.Path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(all))
		if _, err := io.ReadFull(port, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("round %d: got % x, %v", round, got, err)
		}
		if err := port.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPTYThatNobodyReads holds that what was said is there for who opens the
// port, and that a Write into a full port ends with its context.
func TestPTYThatNobodyReads(t *testing.T) {
	p, err := OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := newReader(t, Config{Format: FormatID12}, p).Present(t.Context(), card); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	long := newReader(t, Config{Format: FormatLine, Cards: []string{strings.Repeat("9", cardline.MaxBadge)}, Rest: 1}, p)
	if err := long.Run(ctx, Pace{Count: 1 << 20, Every: 1}); err != nil {
		t.Error(err)
	}
	if made := long.Made(); len(made) < 10 || len(made) > 10_000 || made[len(made)-1].Promised {
		t.Errorf("a port that nobody drains took %d lines, and promised the last: %v", len(made), made[len(made)-1].Promised)
	}
	port, err := os.OpenFile(p.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	const want = "\x02000414CD7EA3\r\n\x03"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(port, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}

	if err := p.Close(); err != nil {
		t.Error(err)
	}
	// What is left of the lines may come first; then the port is gone.
	if err := port.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, port); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the port outlives its reader")
	}
	if _, err := p.Write([]byte("x")); err == nil {
		t.Error("Write to a closed port succeeded")
	}
}
