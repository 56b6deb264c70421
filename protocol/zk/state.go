package zk

import "fmt"

// State is what a terminal is doing; the answer to STATE_RRQ has it in place of
// the session.
type State uint16

// The states.
const (
	StateWait State = iota
	StateEnroll
	StateIdentify
	StateMenu
	StateBusy
	StateCard // writing a card
)

// String is the state in a word.
func (s State) String() string {
	words := [...]string{"waiting", "enrolling", "identifying", "in the menu", "busy", "writing a card"}
	if int(s) < len(words) {
		return words[s]
	}
	return fmt.Sprintf("state %d", uint16(s))
}

// ParsePINWidth reads the answer to GET_PINWIDTH: how many digits a PIN has.
func ParsePINWidth(data []byte) (int, error) {
	if len(data) != 1 {
		return 0, wrongLength("PIN width", len(data), 1)
	}
	return int(data[0]), nil
}

// AppendPINWidth appends the answer to GET_PINWIDTH. It is exactly one byte:
// hosts in use lose their place on more.
func AppendPINWidth(dst []byte, width uint8) []byte { return append(dst, width) }
