// Package phone takes check-ins from phones over MQTT: as the broker they
// connect to, or as a client of one that is there already.
//
// Either way a message is acknowledged only after [Verify] has made it durable,
// and a phone that signs is answered with a signed receipt. DESIGN.md has the
// reasons.
package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchd/punchd/device"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// Verify judges a check-in and makes it durable. A nil error means that it is
// durable, and only then is the phone's message acknowledged; the receipt is nil
// for what is not answered. After an error nothing is known and the phone sends
// the same message again.
//
// Verify is called from many goroutines, for one phone in the order of its
// messages. It blocks as long as it must, which holds that phone back, and
// returns when the context ends. The check-in and its Raw are its own to keep.
type Verify func(ctx context.Context, c *attendance.CheckIn) (*attendance.Receipt, error)

// Keys finds the enrolled public key of a native phone by the phone's id.
type Keys func(phone string) (phone.Key, bool)

// Sign makes the message of a receipt.
type Sign func(*attendance.Receipt) ([]byte, error)

// The formats of check-ins.
const (
	FormatNative    = "native"    // signed, see package protocol/phone
	FormatOwnTracks = "owntracks" // the OwnTracks apps
)

// Stats counts what happened since the start.
type Stats struct {
	CheckIns     uint64 // handed to Verify and durable, repetitions included
	Malformed    uint64 // of those: payloads that are no check-in
	BadSignature uint64 // of those: signed by another key, or for another phone
	UnknownPhone uint64 // of those: no key is enrolled
	Ignored      uint64 // acknowledged and dropped: wills, automatic locations, ...
	Retained     uint64 // dropped: stored copies that an external broker gave out
	TooLarge     uint64 // refused with the connection
	NotAllowed   uint64 // publications and subscriptions to topics of others
	Failed       uint64 // Verify returned an error
	Receipts     uint64 // handed to a connection
	Unanswered   uint64 // receipts that no connection took; the phone asks again
	Logins       uint64
	LoginsFailed uint64
	LoginsHeld   uint64 // turned away unheard, because they failed too often
	Slowed       uint64 // messages that had to wait, because their user sends too much that proves too little
	Rejected     uint64 // connections that spoke no MQTT, too slowly, or one too many
	Connected    int64  // now
}

// counters are the Stats while they are counted.
type counters struct {
	checkIns, malformed, badSignature, unknownPhone, ignored, retained, tooLarge, notAllowed, failed,
	receipts, unanswered, logins, loginsFailed, loginsHeld, slowed, rejected atomic.Uint64
	connected atomic.Int64
}

func (c *counters) snapshot() Stats {
	return Stats{
		CheckIns: c.checkIns.Load(), Malformed: c.malformed.Load(), BadSignature: c.badSignature.Load(), UnknownPhone: c.unknownPhone.Load(),
		Ignored: c.ignored.Load(), Retained: c.retained.Load(), TooLarge: c.tooLarge.Load(), NotAllowed: c.notAllowed.Load(), Failed: c.failed.Load(),
		Receipts: c.receipts.Load(), Unanswered: c.unanswered.Load(), Logins: c.logins.Load(), LoginsFailed: c.loginsFailed.Load(),
		LoginsHeld: c.loginsHeld.Load(), Slowed: c.slowed.Load(), Rejected: c.rejected.Load(), Connected: c.connected.Load(),
	}
}

// status is what State tells of either transport.
type status struct {
	mu       sync.Mutex
	id       string
	address  string
	online   bool
	since    time.Time
	lastErr  string
	troubled atomic.Bool  // lastErr is of a check-in, and ends with the next one stored
	lastRead atomic.Int64 // unix nanoseconds
}

func (s *status) at(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = address
}

func (s *status) set(online bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if online != s.online || s.since.IsZero() {
		s.online, s.since = online, time.Now()
	}
	s.lastErr = ""
	if err != nil {
		s.lastErr = err.Error()
	}
}

// trouble keeps an error until a check-in is stored again.
func (s *status) trouble(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err.Error()
	s.troubled.Store(true)
}

// fine ends the trouble, if there is any.
func (s *status) fine() {
	if !s.troubled.CompareAndSwap(true, false) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = ""
}

func (s *status) state(c *counters) device.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := device.State{
		ID: s.id, Driver: "phone", Address: s.address, Online: s.online, Since: s.since, LastError: s.lastErr,
		Emitted: c.checkIns.Load(), BadFrames: c.malformed.Load(),
	}
	if ns := s.lastRead.Load(); ns != 0 {
		st.LastRead = time.Unix(0, ns)
	}
	for _, n := range []struct {
		count uint64
		note  string
	}{
		{c.loginsFailed.Load(), "%d logins failed"},
		{c.notAllowed.Load(), "%d uses of topics that belong to others were refused"},
		{c.unanswered.Load(), "%d receipts found no connection; phones without one send again"},
		{c.retained.Load(), "%d retained copies were dropped; turn retain off in the app"},
	} {
		if n.count > 0 {
			st.Notes = append(st.Notes, fmt.Sprintf(n.note, n.count))
		}
	}
	return st
}

// inClear is a note for status pages, nil if nobody can listen in on the way.
func inClear(address string, secure bool) []string {
	host, _, err := net.SplitHostPort(address)
	ip, _ := netip.ParseAddr(host) // invalid for a name, which is no loopback
	if secure || err == nil && (ip.IsLoopback() || host == "localhost") {
		return nil
	}
	return []string{"without TLS: passwords and positions can be read on the way"}
}

// settings are the fields that both configurations share, checked.
type settings struct {
	site              string
	native, owntracks bool
	verify            Verify
	keys              Keys
	sign              Sign
	log               *slog.Logger
}

func newSettings(site string, formats []string, verify Verify, keys Keys, sign Sign, log *slog.Logger) (settings, error) {
	s := settings{site: site, verify: verify, keys: keys, sign: sign, log: log}
	known := []string{FormatNative, FormatOwnTracks}
	if len(formats) == 0 {
		formats = known
	}
	for _, f := range formats {
		if !slices.Contains(known, f) {
			return s, fmt.Errorf("phone: format %q is not known (known: %s)", f, strings.Join(known, ", "))
		}
	}
	s.native, s.owntracks = slices.Contains(formats, FormatNative), slices.Contains(formats, FormatOwnTracks)
	switch {
	case !phone.ValidName(site):
		return s, fmt.Errorf("phone: site %q can't be a level of an MQTT topic", site)
	case verify == nil:
		return s, errors.New("phone: Verify is missing")
	case s.native && (keys == nil || sign == nil):
		return s, errors.New("phone: native check-ins need Keys and Sign")
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}
