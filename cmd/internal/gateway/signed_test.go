package gateway

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/punchd/punchd/firmware-sim/rig"
)

// The ledger is signed when the gateway stops, and central gets that with the
// next start. Without a key all works as well, and nothing is signed.
func TestSigned(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 5, Native: 3, PhonePace: 50 * time.Millisecond})
	s.start()
	s.punch(time.Second)
	made := s.clean(20 * time.Second).Made
	s.stop()
	s.start()
	heads := 0
	s.until(10*time.Second, func() (there bool) {
		var err error
		if heads, err = s.world.Witness(); err != nil {
			t.Fatal(err)
		}
		return heads > 0
	})
	if l := s.gateway.Status().Ledger; l.SignedAt == nil || l.Signed < uint64(made) || l.Signed > l.Records {
		t.Errorf("%d punches, signed %d of %d records at %v", made, l.Signed, l.Records, l.SignedAt)
	}
	s.stop()
}

// A gateway without a key signs nothing, and all else works.
func TestNoKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, rig.Scene{Seed: 5, Terminals: 1, Users: 5, Logs: 40})
	if err := os.Remove(filepath.Join(s.dir, "keys", "gateway")); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.clean(20 * time.Second)
	if l := s.gateway.Status().Ledger; l.SignedAt != nil || l.Signed != 0 {
		t.Errorf("%+v", l)
	}
	s.stop()
	s.start()
	if heads, err := s.world.Witness(); err != nil || heads != 0 {
		t.Errorf("%d heads, %v", heads, err)
	}
	s.stop()
}
