// Package protocol names the kinds of error that every decoder below it wraps.
//
// The packages under protocol are languages: pure functions from bytes to
// values and back. They do no input or output, read no clock and start no
// goroutine, so that the daemon and the simulator can share them and a fuzzer
// can hold them.
package protocol

import "errors"

// A decoder's error wraps exactly one of these, so that a caller can decide
// with [errors.Is] and never by reading the text.
var (
	// ErrIncomplete says the bytes so far are a correct beginning: read more.
	ErrIncomplete = errors.New("incomplete")
	// ErrMalformed says no further byte can make a message of this.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge says a length is over the bound of this dialect.
	ErrTooLarge = errors.New("too large")
	// ErrChecksum says the frame is whole and its check sum is wrong.
	ErrChecksum = errors.New("wrong checksum")
	// ErrUnsupported says the bytes are correct and mean something that is not spoken here.
	ErrUnsupported = errors.New("unsupported")
)
