package disk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The parts of NBD, the network block device protocol, that a virtual machine
// uses: the fixed newstyle handshake, simple replies, and no structured ones.
const (
	magicServer  = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454f5054 // "IHAVEOPT"
	magicAnswer  = 0x0003e889045565a9
	magicRequest = 0x25609513
	magicReply   = 0x67446698

	handshakeFixed    = 1 << 0
	handshakeNoZeroes = 1 << 1

	optionExport = 1
	optionAbort  = 2
	optionInfo   = 6
	optionGo     = 7

	answerAck         = 1
	answerInfo        = 3
	answerUnsupported = 1<<31 + 1

	infoExport    = 0
	infoBlockSize = 3

	canFlags = 1 << 0
	canFlush = 1 << 2
	canForce = 1 << 3

	cmdRead  = 0
	cmdWrite = 1
	cmdEnd   = 2
	cmdFlush = 3

	flagForce = 1 << 0

	errInvalid = 22 // EINVAL, which the protocol has numbered once and for all
)

// The bounds of what a client may ask.
const (
	maxOptions = 64       // before it has chosen
	maxOption  = 16 << 10 // bytes of one
	maxRequest = 8 << 20  // bytes of one; the client is told
)

// session is one client's use of a disk.
type session struct {
	d *Disk
	r *bufio.Reader
	w *bufio.Writer
}

// Serve lets one client use the disk by NBD until it ends. It returns nil if
// the client took leave, if it was gone between two requests, or if the disk
// fell silent.
func Serve(d *Disk, conn io.ReadWriter) error {
	s := &session{d, bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)}
	more, err := s.handshake()
	for err == nil && more {
		more, err = s.request()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("disk: NBD client: %w", err)
	}
	return s.w.Flush()
}

// send writes numbers as they stand, and has them leave if no request waits.
func (s *session) send(values ...any) error {
	for _, v := range values {
		if err := binary.Write(s.w, binary.BigEndian, v); err != nil {
			return err
		}
	}
	if s.r.Buffered() > 0 {
		return nil
	}
	return s.w.Flush()
}

// handshake ends with true if the client has chosen the disk.
func (s *session) handshake() (chosen bool, err error) {
	if err := s.send(uint64(magicServer), uint64(magicOption), uint16(handshakeFixed|handshakeNoZeroes)); err != nil {
		return false, err
	}
	var flags uint32
	if err := binary.Read(s.r, binary.BigEndian, &flags); err != nil {
		return false, err
	}
	if flags&^(handshakeFixed|handshakeNoZeroes) != 0 || flags&handshakeFixed == 0 {
		return false, fmt.Errorf("the flags %#x are not those of a fixed newstyle client", flags)
	}
	for range maxOptions {
		var head struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := binary.Read(s.r, binary.BigEndian, &head); err != nil {
			return false, err
		}
		if head.Magic != magicOption || head.Length > maxOption {
			return false, fmt.Errorf("an option begins with %#x and has %d bytes, more than %d or none at all", head.Magic, head.Length, maxOption)
		}
		if _, err := io.CopyN(io.Discard, s.r, int64(head.Length)); err != nil {
			return false, err
		}
		if done, err := s.option(head.Option, flags); done || err != nil {
			return head.Option != optionAbort, err
		}
	}
	return false, fmt.Errorf("it has chosen nothing with %d options", maxOptions)
}

// option answers one option; done says that it was the last.
func (s *session) option(option, flags uint32) (done bool, err error) {
	const can = canFlags | canFlush | canForce
	answer := func(kind uint32, length int, more ...any) error {
		return s.send(append([]any{uint64(magicAnswer), option, kind, uint32(length)}, more...)...)
	}
	switch option {
	case optionExport: // every name is that of the one disk
		err := s.send(uint64(s.d.Size()), uint16(can))
		if err == nil && flags&handshakeNoZeroes == 0 {
			err = s.send(make([]byte, 124))
		}
		return true, err
	case optionAbort:
		return true, answer(answerAck, 0)
	case optionInfo, optionGo:
		return option == optionGo, errors.Join(
			answer(answerInfo, 12, uint16(infoExport), uint64(s.d.Size()), uint16(can)),
			answer(answerInfo, 14, uint16(infoBlockSize), uint32(SectorSize), uint32(4096), uint32(maxRequest)),
			answer(answerAck, 0))
	}
	return false, answer(answerUnsupported, 0)
}

// request answers one request; more says that another may follow.
func (s *session) request() (more bool, err error) {
	var head struct {
		Magic         uint32
		Flags, Type   uint16
		Cookie, Start uint64
		Length        uint32
	}
	if err := binary.Read(s.r, binary.BigEndian, &head); err != nil {
		return false, err
	}
	if head.Magic != magicRequest {
		return false, fmt.Errorf("a request begins with %#x, not with %#x", head.Magic, magicRequest)
	}
	reply := func(code uint32, data []byte) (bool, error) {
		if s.d.gone() {
			return false, nil
		}
		return true, s.send(uint32(magicReply), code, head.Cookie, data)
	}
	switch head.Type {
	case cmdEnd:
		return false, nil
	case cmdFlush:
		s.d.Flush()
		return reply(0, nil)
	case cmdRead, cmdWrite:
	default:
		return reply(errInvalid, nil)
	}
	if head.Length > maxRequest {
		return false, fmt.Errorf("a request for %d bytes, the limit is %d", head.Length, maxRequest)
	}
	b := make([]byte, head.Length)
	if head.Type == cmdRead {
		if s.d.Read(b, int64(head.Start)) != nil {
			return reply(errInvalid, nil)
		}
		return reply(0, b)
	}
	if _, err := io.ReadFull(s.r, b); err != nil {
		return false, err
	}
	if s.d.Write(b, int64(head.Start), head.Flags&flagForce != 0) != nil {
		return reply(errInvalid, nil)
	}
	return reply(0, nil)
}
