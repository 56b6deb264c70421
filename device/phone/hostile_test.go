package phone

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// TestUnreadWrites: a phone that does not read loses its connection in time.
func TestUnreadWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		start := time.Now()
		_, err := (&conn{Conn: near}).Write([]byte("x"))
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != writeTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestSlowConnect: the CONNECT packet has its time, however it trickles.
func TestSlowConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		var wg sync.WaitGroup
		defer wg.Wait()
		defer near.Close()
		wg.Go(func() {
			defer far.Close()
			for _, b := range connectPacket(4, "ada", "pw-ada", "id") {
				if _, err := far.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second) // of the bubble
			}
		})
		start := time.Now()
		_, err := readConnect(near)
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != connectTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// FuzzBroker plays any bytes to the broker, with a login before them or
// without: nothing panics, and whatever is taken was sent by ada on a topic of
// hers.
func FuzzBroker(f *testing.F) {
	s := newStore()
	b, err := NewBroker(BrokerConfig{Users: users, Site: site, Verify: s.verify, Keys: roster(), Sign: sign})
	if err != nil {
		f.Fatal(err)
	}
	b.ctx = f.Context()
	v5 := &rawClient{ver: 5}
	f.Add(byte(5), v5.publishPacket("owntracks/ada/pixel", 1, 7, manual("1")))
	f.Add(byte(4), (&rawClient{ver: 4}).publishPacket("punchd/xm-hq/checkin/ada", 1, 7, []byte("x")))
	f.Add(byte(4), packet(0x82, []byte{0, 9}, text("owntracks/ada/+/cmd"), []byte{1}))
	f.Add(byte(5), packet(0x32, text(""), []byte{0, 1, 3, 0x23, 0, 1}, []byte("x")))
	f.Add(byte(5), packet(0xe0, []byte{4, 5, 0x11, 0, 0, 0, 1}))
	f.Add(byte(5), packet(0xf0, []byte{0x18, 3, 0x15, 0, 0}))
	f.Add(byte(0), packet(0x10, text("MQTT"), []byte{5, 0xc4, 0, 60, 0}, text("id"), []byte{5, 0x18, 0, 0, 0, 1}, text("x"), text("y"), text("ada"), text("pw-ada")))
	f.Fuzz(func(t *testing.T, version byte, stream []byte) {
		if version != 0 {
			stream = append(connectPacket(3+version%3, "ada", "pw-ada", "id"), stream...)
		}
		near, far := net.Pipe()
		drained := make(chan bool)
		go func() {
			defer close(drained)
			b := make([]byte, 4096)
			for {
				if _, err := near.Read(b); err != nil {
					return
				}
			}
		}()
		go func() {
			near.Write(stream) // may be cut off
			near.Close()
		}()
		c := &conn{Conn: far, prefix: bytes.NewReader(nil)}
		b.brake.forget()                        // what was found before must not slow this down
		b.server.EstablishConnection("fuzz", c) // any error is as good as none
		far.Close()
		b.left(c)
		<-drained
		for {
			select {
			case got := <-s.came:
				own := got.Topic == "punchd/xm-hq/checkin/ada" || strings.HasPrefix(got.Topic, "owntracks/ada/")
				if got.User != "ada" || !own || got.Auth > attendance.AuthSigned || len(got.Evidence.Raw) == 0 {
					t.Fatalf("taken: %+v", got)
				}
				continue
			default:
			}
			return
		}
	})
}
