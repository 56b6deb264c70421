package zk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
)

// vector is one entry of testdata/frames.txt.
type vector struct {
	name   string
	host   bool // the host sends it
	udp    bool
	wire   []byte
	packet Packet
	kind   string // how the data is read
	says   string // what it then says
	inept  bool   // reading and writing does not give the same bytes
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "frames.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []vector
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if !strings.HasPrefix(line, "  ") {
			all = append(all, vector{name: line})
			continue
		}
		v := &all[len(all)-1]
		key, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch key {
		case ">", "<":
			v.host = key == ">"
			rest, v.udp = strings.CutPrefix(rest, "udp:")
			v.wire = unhex(t, rest)
		case "is":
			words := strings.Fields(rest + " ")
			v.packet = Packet{Command(number(t, words[0], 10)), number(t, words[1], 16), number(t, words[2], 16), nil}
			if len(words) > 3 {
				v.packet.Data = unhex(t, words[3])
			}
		case "as":
			v.kind, v.says, _ = strings.Cut(rest, ":")
			v.says = strings.TrimSpace(v.says)
		case "but":
			v.inept = true
		default:
			t.Fatalf("frames.txt: %q", line)
		}
	}
	if len(all) < 45 {
		t.Fatalf("only %d vectors were read", len(all))
	}
	return all
}

func number(t testing.TB, s string, base int) uint16 {
	t.Helper()
	n, err := strconv.ParseUint(s, base, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

func (v vector) parse(b []byte) (p Packet, n int, err error) {
	if v.udp {
		p, err = ParsePacket(b)
		return p, len(b), err
	}
	return ParseFrame(b)
}

func (v vector) append(p Packet) []byte {
	if v.udp {
		return AppendPacket(nil, p)
	}
	return AppendFrame(nil, p)
}

func samePacket(a, b Packet) bool {
	return a.Command == b.Command && a.Session == b.Session && a.Reply == b.Reply && bytes.Equal(a.Data, b.Data)
}

func record(r Record) string {
	return fmt.Sprintf("slot %d, PIN %s, verify %d, state %d, %v, work code %d", r.UID, r.PIN, r.Verify, r.State, r.At, r.WorkCode)
}

// read says what a packet says when it is read as a kind, and gives the data
// that saying it again gives.
func read(t testing.TB, kind string, p Packet) (says string, again []byte, err error) {
	switch kind {
	case "ok":
		return "", nil, p.Err()
	case "refused":
		var refused *RefusedError
		if !errors.As(p.Err(), &refused) || !errors.Is(refused, protocol.ErrUnsupported) {
			t.Errorf("%v is no refusal: %v", p.Command, p.Err())
			return "", nil, nil
		}
		return strings.TrimPrefix(refused.Error(), "zk: "), nil, nil
	case "event ack":
		return fmt.Sprintf("session %04x", p.Session), EventAck(p.Session).Data, nil
	case "request":
		r, err := ParseRequest(p)
		if err != nil {
			return "", nil, err
		}
		q, err := RequestPacket(p.Session, p.Reply, r)
		says := strings.TrimPrefix(fmt.Sprintf("%T %+v", r, r), "zk.")
		if b, ok := r.(Bare); ok {
			says = "Bare " + Command(b).String()
		}
		return says, q.Data, err
	case "option":
		name, value, err := ParseOption(p.Data)
		if err != nil {
			return "", nil, err
		}
		again, err := AppendOption(nil, name, value)
		return name + " is " + value, again, err
	case "event":
		e, err := ParseEvent(p)
		if err != nil {
			return "", nil, err
		}
		q, err := EventPacket(e)
		if p2, ok := e.(Punched); ok && len(p2.Records) == 1 {
			return fmt.Sprintf("%v, form %d: %s", e.Code(), p2.Form, record(p2.Records[0])), q.Data, err
		}
		return fmt.Sprintf("%v: %+v", e.Code(), e), q.Data, err
	}
	return readAnswer(t, kind, p)
}

func readAnswer(t testing.TB, kind string, p Packet) (says string, again []byte, err error) {
	if err := p.Err(); err != nil {
		return "", nil, err
	}
	switch kind {
	case "time":
		at, err := ParseTime(p.Data)
		if err != nil {
			return "", nil, err
		}
		again, err := AppendTime(nil, at)
		return at.String(), again, err
	case "pin width":
		n, err := ParsePINWidth(p.Data)
		return strconv.Itoa(n), AppendPINWidth(nil, uint8(n)), err
	case "state":
		return State(p.Session).String(), nil, nil
	case "log 40":
		records, _, err := SplitDataset(p.Data)
		if err != nil {
			return "", nil, err
		}
		recs, bad, err := ParseRecords(records, Layout40)
		if err != nil || len(bad) > 0 || len(recs) != 1 {
			return "", nil, fmt.Errorf("%d records, %d bad: %w", len(recs), len(bad), protocol.ErrMalformed)
		}
		again, err := AppendRecord(nil, Layout40, recs[0])
		return record(recs[0]), AppendDataset(nil, again), err
	case "bulk":
		b, err := ParseBulk(p)
		switch {
		case err != nil:
			return "", nil, err
		case b.Kind == BulkStream:
			return fmt.Sprintf("stream, %d bytes, pieces of %d", b.Size, b.Part), AppendPrepare(nil, uint32(b.Size), uint32(b.Part)), nil
		}
		return fmt.Sprintf("ready, %d bytes", b.Size), AppendReady(nil, uint32(b.Size), binary.LittleEndian.Uint32(p.Data[9:])), nil
	case "sizes":
		s, err := ParseSizes(p.Data)
		if err != nil {
			return "", nil, err
		}
		says := fmt.Sprintf("users %d of %d (%d left), fingers %d of %d (%d left), records %d of %d (%d left), operations %d, admins %d, passwords %d",
			s.Users, s.UserRoom, s.UsersLeft, s.Fingers, s.FingerRoom, s.FingersLeft, s.Records, s.RecordRoom, s.RecordsLeft, s.Operations, s.Admins, s.Passwords)
		return says, AppendSizes(nil, s, len(p.Data)), nil
	}
	t.Fatalf("frames.txt: no data is read as %q", kind)
	return "", nil, nil
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			p, n, err := v.parse(v.wire)
			if err != nil || n != len(v.wire) || !samePacket(p, v.packet) {
				t.Fatalf("parsed %+v, %d, %v; want %+v", p, n, err, v.packet)
			}
			if b := v.append(v.packet); !bytes.Equal(b, v.wire) {
				t.Errorf("made     %x\nrecorded %x", b, v.wire)
			}
			says, again, err := read(t, v.kind, p)
			if err != nil || says != v.says {
				t.Errorf("says %q, %v\nwant %q", says, err, v.says)
			}
			if bytes.Equal(again, p.Data) == v.inept {
				t.Errorf("written again %x\nwas           %x", again, p.Data)
			}
		})
	}
}

// TestVectorsCut holds that no beginning of a message passes for a message.
func TestVectorsCut(t *testing.T) {
	for _, v := range vectors(t) {
		for n := range v.wire {
			p, need, err := v.parse(v.wire[:n:n])
			switch {
			case v.udp && err == nil && len(bytes.Trim(v.wire[n:], "\x00")) == 0:
				// Only the network's own length tells that zeros are gone.
			case err == nil:
				t.Errorf("%s, cut to %d bytes: %+v", v.name, n, p)
			case !v.udp && (!errors.Is(err, protocol.ErrIncomplete) || need <= n || need > len(v.wire)):
				t.Errorf("%s, cut to %d of %d bytes: needs %d, %v", v.name, n, len(v.wire), need, err)
			}
		}
		// The data alone, as if the length had lied: what reads all the same
		// must be of a kind that may be shorter.
		for n := range v.packet.Data {
			p := v.packet
			p.Data = p.Data[:n:n]
			says, _, err := read(t, v.kind, p)
			switch {
			case err != nil && !isKind(err):
				t.Errorf("%s, data cut to %d: an error of no kind: %v", v.name, n, err)
			case err != nil:
			case v.kind == "option", strings.HasPrefix(v.says, "Option"): // a NUL may be missing
			case v.kind == "bulk" && n == 4: // PREPARE_DATA may lack the part-size
			case strings.HasPrefix(says, "Other {"), strings.Contains(says, ": {Event:"): // kept as it is
			default:
				t.Errorf("%s, data cut to %d: says %q", v.name, n, says)
			}
		}
	}
}

func isKind(err error) bool {
	for _, kind := range []error{protocol.ErrIncomplete, protocol.ErrMalformed, protocol.ErrTooLarge, protocol.ErrChecksum, protocol.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
