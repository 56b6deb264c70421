package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"

	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
	"github.com/punchd/punchd/sync/ledger/disk/disktest"
)

// TestBesideWriter: beside a gateway that writes, nothing is taken for wrong.
func TestBesideWriter(t *testing.T) {
	medium := disktest.New(1)
	x := audittest.New(t, medium, "l", 0, audittest.Key(seed))
	defer x.Close()
	x.Punches(3, 0)
	x.Head()
	o := Options{Dir: "l", FS: medium, Keys: []ed25519.PublicKey{audittest.Public(seed)}}
	done, written := make(chan error, 1), make(chan struct{})
	go func() {
		for ended := false; !ended; {
			select {
			case <-written:
				ended = true // once more, and all is there
			default:
			}
			r, err := Run(t.Context(), o)
			if err == nil && (len(r.Findings) > 0 || r.Heads == 0) {
				err = fmt.Errorf("found %s in %+v", said(briefs(r)), r)
			}
			if err == nil {
				_, err = Prove(t.Context(), o, 2)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for x.Next() < 1000 {
		x.Punches(1+int(x.Next()%5), int(x.Next()%300))
		x.HeadOf(x.Next() - x.Next()%2)
	}
	close(written)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestReadingFails: what the disk can't give is no finding of the reader's own
// making, and what ends a check ends both its readers.
func TestReadingFails(t *testing.T) {
	c := sample(t, func(x *audittest.Ledger) {
		for range 60 {
			x.Punches(1, 60)
		}
		x.Head()
	})
	medium, o := c.onDisk()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("ended before it began: %v", err)
	}
	broken := errors.New("broken")
	medium.Fail(func(op disktest.Op) error {
		if op.Kind == disktest.Read && op.Off >= 4096 {
			return broken
		}
		return nil
	})
	if _, err := Run(t.Context(), o); !errors.Is(err, broken) {
		t.Errorf("nothing can be read: %v", err)
	}
	medium.Fail(func(op disktest.Op) error {
		if op.Kind == disktest.Read && op.Path == "l/"+c.names()[0] && op.Off < 8192 && op.Off+int64(op.Len) > 4096 {
			return broken
		}
		return nil
	})
	r, err := Run(t.Context(), o)
	if err != nil || said(briefs(r)) != "damaged 0-20, incomplete 0-59" {
		t.Errorf("a segment that can't be read: %+v, %v", r, err)
	}
	if _, err := Run(t.Context(), Options{Dir: "nowhere", FS: medium, Keys: c.keys}); !errors.Is(err, ledger.ErrEmpty) {
		t.Errorf("no such directory: %v", err)
	}
}
