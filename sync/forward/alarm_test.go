package forward_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/forward/sourcetest"
)

// A host that nobody knows needs a person, unless it was known before.
func TestUnknownHost(t *testing.T) {
	unknown := func(found bool) func([]forward.Item) (forward.Receipt, error) {
		return func([]forward.Item) (forward.Receipt, error) {
			return nil, forward.Later{Err: fmt.Errorf("post: %w", &net.DNSError{Err: "no such host", Name: "centrall.example", IsNotFound: !found})}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		source := sourcetest.NewMemory()
		source.Append(punches(0, 10)...)
		end := &far{script: unknown(false)}
		r := start(t, source, end)
		r.after(time.Minute)
		if s := r.State(); !strings.Contains(s.Alarm, "lookup centrall.example: no such host; is the host right in the sink's url") || s.Answered || s.LastError != s.Alarm {
			t.Errorf("a name that nobody knows: %+v", s)
		}
		end.script = unknown(true) // the name server is down
		r.after(10 * time.Minute)
		if s := r.State(); s.Alarm != "" || s.LastError == "" {
			t.Errorf("no name server: %+v", s)
		}
		end.script = nil
		r.after(forward.MaxDelay)
		r.wantAll(t, 10)
		end.script = unknown(false)
		source.Append(punches(10, 20)...)
		r.after(time.Minute)
		if s := r.State(); s.Alarm != "" || !s.Answered || s.LastError == "" || s.Online {
			t.Errorf("a name that was known: %+v", s)
		}
		r.stop(t)
	})
}
