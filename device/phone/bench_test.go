package phone

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// cpuTime is what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// free is a Verify that costs nothing: what is left is the broker.
func free(context.Context, *attendance.CheckIn) (*attendance.Receipt, error) { return nil, nil }

const (
	benchConns  = 64
	benchWindow = 32 // check-ins of one phone on their way
)

// BenchmarkEmbedded64Unsigned is OwnTracks check-ins on 64 connections, each
// with its acknowledgement. The clients are in the figure.
func BenchmarkEmbedded64Unsigned(b *testing.B) {
	embedded(b, func(id string) (string, []byte) { return "owntracks/" + id + "/pixel", manual("0badcafe") })
}

// BenchmarkEmbedded64Signed is native check-ins, whose Ed25519 signatures are
// verified.
func BenchmarkEmbedded64Signed(b *testing.B) {
	embedded(b, func(id string) (string, []byte) { return phone.CheckInTopic(site, id), signed(b, id, 1, "") })
}

func embedded(b *testing.B, message func(id string) (topic string, payload []byte)) {
	_, address := startBroker(b, newStore(), func(c *BrokerConfig) { c.Verify = free })
	flows := make([]func(n int), benchConns)
	for i := range flows {
		id := ident(i)
		c := login(b, address, id, id)
		topic, payload := message(id)
		flows[i] = func(n int) { c.flow(topic, payload, n) }
	}
	b.ResetTimer()
	before := cpuTime(b)
	var wg sync.WaitGroup
	for i, flow := range flows {
		wg.Go(func() { flow(b.N/benchConns + btoi(i < b.N%benchConns)) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checkins/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// flow publishes n times with a window of messages on their way.
func (c *rawClient) flow(topic string, payload []byte, n int) {
	batch := bytes.Repeat(c.publishPacket(topic, 1, 1, payload), benchWindow)
	acks := make([]byte, 4*benchWindow)
	for n > 0 {
		w := min(n, benchWindow)
		if err := errors.Join(c.tryWrite(batch[:len(batch)/benchWindow*w]), c.nc.SetReadDeadline(time.Now().Add(patience))); err != nil {
			c.t.Error(err)
			return
		}
		if _, err := io.ReadFull(c.r, acks[:4*w]); err != nil {
			c.t.Error(err)
			return
		}
		for i := range w {
			if acks[4*i] != 0x40 || binary.BigEndian.Uint16(acks[4*i+2:]) != 1 {
				c.t.Errorf("% x instead of PUBACKs", acks[:4*w])
				return
			}
		}
		n -= w
	}
}

// BenchmarkPubackLatency is one phone that waits for each acknowledgement.
func BenchmarkPubackLatency(b *testing.B) {
	broker, address := startBroker(b, newStore(), func(c *BrokerConfig) { c.Verify = free })
	c := login(b, address, "ada", "")
	p := c.publishPacket("owntracks/ada/pixel", 1, 1, manual("0badcafe"))
	ack := make([]byte, 4)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := c.nc.SetReadDeadline(start.Add(patience)); err != nil {
			b.Fatal(err)
		}
		c.write(p)
		if _, err := io.ReadFull(c.r, ack); err != nil {
			b.Fatal(err)
		}
		if took = append(took, time.Since(start)); len(took)%10_000 == 0 {
			broker.brake.forget() // or one user would send too much
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkIntake is the part behind the broker: from a payload to a verified
// check-in at Verify, and for a native one the signed receipt.
func BenchmarkIntake(b *testing.B) {
	answer := func(_ context.Context, c *attendance.CheckIn) (*attendance.Receipt, error) {
		if !c.Native {
			return nil, nil
		}
		return &attendance.Receipt{Phone: c.Phone, Counter: c.Counter, Key: attendance.PhoneKey(c.Phone, c.Counter), ReceivedAt: c.ReceivedAt}, nil
	}
	var calls atomic.Uint64
	s, err := newSettings(site, nil, answer, roster(), sign, nil)
	if err != nil {
		b.Fatal(err)
	}
	in := &intake{settings: s}
	for name, m := range map[string]struct {
		topic   string
		payload []byte
	}{
		"owntracks": {"owntracks/ada/pixel", manual("0badcafe")},
		"native":    {phone.CheckInTopic(site, "ada"), signed(b, "ada", 1, strings.Repeat("x", 100))},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := in.take(b.Context(), "ada", m.topic, m.payload); err != nil {
					b.Fatal(err)
				}
				calls.Add(1)
			}
		})
	}
}
