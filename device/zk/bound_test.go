package zk

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/zk"
)

// TestCutAtKey holds that a connection that is lost once while the comm key is
// looked at is the network's fault.
func TestCutAtKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.key = 123456
		cuts := 1
		f.wire = func(b []byte) [][]byte {
			if f.requests[len(f.requests)-1].Command == zk.CmdAuth && cuts > 0 {
				cuts--
				return [][]byte{nil}
			}
			return [][]byte{b}
		}
		r := newRig(t, f, func(c *Config) { c.CommKey = 123456 })
		if s := r.driver.State(); !strings.Contains(s.LastError, "the connection was lost with the comm key on its way") {
			t.Errorf("state %+v", s)
		}
		r.pass(5 * time.Second)
		if s := r.driver.State(); !s.Online || s.LastError != "" {
			t.Errorf("state %+v", s)
		}
	})
}

// TestChunkTooLong holds that a chunk which is announced longer than it was asked
// for is refused at once, and not when all of it has been collected.
func TestChunkTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.shape = streamed
		f.add(someRecords(zk.Layout40, 300, yesterday, 1)...)
		f.instead = func(p zk.Packet) ([]zk.Packet, bool) {
			if p.Command != zk.CmdDataReady {
				return nil, false
			}
			return []zk.Packet{{Command: zk.CmdPrepareData, Session: p.Session, Reply: p.Reply, Data: zk.AppendPrepare(nil, zk.MaxDataset, 1008)}}, true
		}
		r := newRig(t, f, still)
		if s := r.driver.State(); !strings.Contains(s.LastError, "chunk of 12004 bytes announced with 67108864") {
			t.Errorf("state %+v", s)
		}
	})
}

// TestEventsAreNoAnswer has a terminal that tells events all the time and nothing
// of its log: it is given up as one that is silent.
func TestEventsAreNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.add(someRecords(zk.Layout40, 300, yesterday, 1)...)
		f.instead = func(p zk.Packet) ([]zk.Packet, bool) { return nil, p.Command == zk.CmdDataRequest }
		r := newRig(t, f, nil)
		for i := range 40 {
			_, e := f.punch(fmt.Sprint(301 + i))
			f.send(e)
			r.pass(time.Second)
		}
		if s := r.driver.State(); !strings.Contains(s.LastError, "no answer for 30s") {
			t.Errorf("state %+v", s)
		}
	})
}

// TestHalfEvents is the same with events of which a part is always missing.
func TestHalfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		today(t)
		f := newFake(t)
		f.add(someRecords(zk.Layout40, 300, yesterday, 1)...)
		f.instead = func(p zk.Packet) ([]zk.Packet, bool) { return nil, p.Command == zk.CmdDataRequest }
		r := newRig(t, f, nil)
		_, e := f.punch("301")
		frame := zk.AppendFrame(nil, e)
		f.wire = func([]byte) [][]byte { return [][]byte{append(slices.Clone(frame[20:]), frame[:20]...)} }
		f.send(e)
		for range 40 {
			f.send(e)
			r.pass(time.Second)
		}
		if s := r.driver.State(); s.Online && s.LastError == "" {
			t.Errorf("state %+v", s)
		}
		if f.dialed() < 2 {
			t.Error("not given up")
		}
	})
}
