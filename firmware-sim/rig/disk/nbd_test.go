package disk

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// talk is a client that has said everything already, and what it was answered.
type talk struct {
	io.Reader
	answers bytes.Buffer
}

func (t *talk) Write(b []byte) (int, error) { return t.answers.Write(b) }

// says lays out numbers and bytes as the protocol has them.
func says(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func hello(options ...[]byte) []byte {
	return slices.Concat(append([][]byte{says(uint32(handshakeFixed | handshakeNoZeroes))}, options...)...)
}

func option(kind uint32, text string) []byte {
	return says(uint64(magicOption), kind, uint32(len(text)), []byte(text))
}

func request(flags, kind uint16, start uint64, length uint32, data []byte) []byte {
	return says(uint32(magicRequest), flags, kind, uint64(0xC00C1E), start, length, data)
}

// serve has a client talk, and gives what follows the handshake's answers of
// the length given.
func serve(t *testing.T, d *Disk, skip int, said ...[]byte) ([]byte, error) {
	t.Helper()
	c := &talk{Reader: iotest.OneByteReader(bytes.NewReader(slices.Concat(said...)))}
	err := Serve(d, c)
	answers := c.answers.Bytes()
	if len(answers) < skip {
		t.Fatalf("only %d bytes of answers: %v", len(answers), err)
	}
	return answers[skip:], err
}

const (
	greeting  = 18
	goAnswers = 20 + 12 + 20 + 14 + 20 // the disk, its block sizes, the end
)

var reply = says(uint32(magicReply), uint32(0), uint64(0xC00C1E))

func TestNBDReadsAndWrites(t *testing.T) {
	d := newDisk(t)
	got, err := serve(t, d, greeting+goAnswers, hello(option(optionGo, "any name")),
		request(0, cmdWrite, 512, 512, content(7)), request(flagForce, cmdWrite, 1024, 512, content(8)),
		request(0, cmdRead, 512, 1024, nil), request(0, cmdFlush, 0, 0, nil), request(0, cmdEnd, 0, 0, nil))
	if want := slices.Concat(reply, reply, reply, content(7), content(8), reply); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(want), err)
	}
	if s := d.Stats(); s != (Stats{Reads: 1, Writes: 2, Flushes: 1, Forced: 1}) {
		t.Errorf("%+v", s)
	}
	d.Cut(rand.New(rand.NewPCG(1, 1)), 0, BySector)
	if sector(t, d, 1) != 7 || sector(t, d, 2) != 8 {
		t.Error("what was flushed is lost")
	}
}

// The old way in, and the ways out before a disk was chosen.
func TestNBDHandshakes(t *testing.T) {
	if got, err := serve(t, newDisk(t), greeting, says(uint32(handshakeFixed)), option(optionExport, "x"), request(0, cmdFlush, 0, 0, nil)); err != nil ||
		!bytes.Equal(got, slices.Concat(says(uint64(testSectors*SectorSize), uint16(canFlags|canFlush|canForce)), make([]byte, 124), reply)) {
		t.Errorf("%x: %v", got, err)
	}
	unknown := says(uint64(magicAnswer), uint32(8), uint32(answerUnsupported), uint32(0))
	abort := says(uint64(magicAnswer), uint32(optionAbort), uint32(answerAck), uint32(0))
	if got, err := serve(t, newDisk(t), greeting, hello(option(8, "structured replies"), option(optionAbort, ""))); err != nil || !bytes.Equal(got, append(unknown, abort...)) {
		t.Errorf("%x: %v", got, err)
	}
	for name, said := range map[string][]byte{
		"flags":         says(uint32(0)),
		"other flags":   says(uint32(0x80 | handshakeFixed)),
		"no option":     hello(says(uint64(1), uint32(optionGo), uint32(0))),
		"a long option": hello(says(uint64(magicOption), uint32(optionGo), uint32(maxOption+1))),
		"no choice":     hello(bytes.Repeat(option(8, ""), maxOptions)),
		"half a word":   hello(option(optionGo, "")[:9]),
	} {
		if _, err := serve(t, newDisk(t), greeting, said); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What a client must not ask is refused one by one where that is possible.
func TestNBDRefuses(t *testing.T) {
	refused := says(uint32(magicReply), uint32(errInvalid), uint64(0xC00C1E))
	start := hello(option(optionGo, ""))
	got, err := serve(t, newDisk(t), greeting+goAnswers, start,
		request(0, cmdRead, 1<<63, 512, nil), request(0, cmdRead, 0, 100, nil), request(0, cmdWrite, testSectors*SectorSize, 512, content(1)),
		request(0, 4, 0, 512, nil), request(0, cmdFlush, 0, 0, nil))
	if want := slices.Concat(refused, refused, refused, refused, reply); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x: %v", got, err)
	}
	for name, said := range map[string][]byte{
		"too much to read":  request(0, cmdRead, 0, maxRequest+1, nil),
		"too much to write": request(0, cmdWrite, 0, 1<<32-1, nil),
		"nonsense":          bytes.Repeat([]byte{1}, 28),
		"a torn write":      request(0, cmdWrite, 0, 512, content(1)[:511]),
	} {
		if _, err := serve(t, newDisk(t), greeting+goAnswers, start, said); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A disk that has fallen silent answers nothing, and does not hang up by
// itself either: that is for its owner.
func TestNBDSilence(t *testing.T) {
	d := newDisk(t)
	d.SilentAfter(2)
	got, err := serve(t, d, greeting+goAnswers, hello(option(optionGo, "")),
		request(0, cmdWrite, 0, 512, content(1)), request(0, cmdWrite, 512, 512, content(2)), request(0, cmdFlush, 0, 0, nil))
	if err != nil || !bytes.Equal(got, reply) {
		t.Errorf("%x: %v", got, err)
	}
	if loss := d.Cut(rand.New(rand.NewPCG(1, 1)), 0, BySector); loss.Lost != 2 {
		t.Errorf("%+v", loss)
	}
}

// Whatever a client says, the disk stays what it is, and all that is remembered
// of it fits into what it said.
func FuzzServe(f *testing.F) {
	f.Add(hello(option(optionGo, "x"), request(0, cmdWrite, 512, 512, content(7)), request(0, cmdFlush, 0, 0, nil), request(0, cmdRead, 0, 1024, nil), request(0, cmdEnd, 0, 0, nil)))
	f.Add(hello(option(optionInfo, ""), option(optionExport, ""), request(flagForce, cmdWrite, 0, 512, content(1))))
	f.Add(hello(option(optionAbort, "")))
	f.Add(hello(option(optionGo, ""), request(0, cmdRead, 1<<63, 1<<31, nil)))
	f.Fuzz(func(t *testing.T, said []byte) {
		d := newDisk(t)
		c := &talk{Reader: bytes.NewReader(said)}
		_ = Serve(d, c) // most that is said is wrong
		cached := 0
		for s, versions := range d.cache {
			if s < 0 || s >= testSectors || len(versions) > maxVersions {
				t.Errorf("sector %d has %d versions", s, len(versions))
			}
			cached += len(versions) * SectorSize
		}
		if d.Size() != testSectors*SectorSize || cached > len(said) {
			t.Errorf("%d bytes on a disk of %d after %d that were said", cached, d.Size(), len(said))
		}
	})
}
