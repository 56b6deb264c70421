package zk

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/punchd/punchd/protocol"
)

// MaxOption bounds an option, the name, '=' and the value together, in bytes.
const MaxOption = 4096

// The options that tell what a terminal is. Terminals know some hundred more.
const (
	OptSerial      = "~SerialNumber"
	OptPlatform    = "~Platform" // ZEM600_TFT, ZMM220_TFT, ...: the generation
	OptDeviceName  = "~DeviceName"
	OptVendor      = "~OEMVendor"
	OptProductTime = "~ProductTime"
	OptFinger      = "~ZKFPVersion"
	OptFace        = "ZKFaceVersion"
	OptPINWidth    = "~PIN2Width"
	OptMAC         = "MAC"
	// OptSDKBuild is written by the vendor's own host with the value 1 right
	// after connecting; some terminals format answers otherwise without it.
	OptSDKBuild = "SDKBuild"
)

// ParseOption reads an option and its value: the answer to OPTIONS_RRQ, and the
// data of OPTIONS_WRQ. It takes what terminals get wrong: no NUL at the end,
// bytes behind it, an empty value, '=' twice. The value keeps its bytes,
// whatever their charset. The error wraps [protocol.ErrMalformed] if there is
// no name or no '=', and [protocol.ErrTooLarge].
func ParseOption(data []byte) (name, value string, err error) {
	text, err := asciiz("option", data)
	if err != nil {
		return "", "", err
	}
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return "", "", fmt.Errorf("zk: option %.64q has no name and value: %w", text, protocol.ErrMalformed)
	}
	return name, strings.TrimLeft(value, "="), nil
}

// AppendOption appends an option and its value. It fails on what would be read
// as something else.
func AppendOption(dst []byte, name, value string) ([]byte, error) {
	dst, err := appendOptionName(dst, name)
	if err != nil {
		return dst, err
	}
	if strings.IndexByte(value, 0) >= 0 || strings.HasPrefix(value, "=") || len(name)+1+len(value) > MaxOption {
		return dst, fmt.Errorf("zk: %.64q can't be the value of option %.64q", value, name)
	}
	return append(append(append(dst, '='), value...), 0), nil
}

func appendOptionName(dst []byte, name string) ([]byte, error) {
	if name == "" || strings.ContainsAny(name, "\x00=") || len(name) > MaxOption {
		return dst, fmt.Errorf("zk: %.64q can't be the name of an option", name)
	}
	return append(dst, name...), nil
}

func (r OptionRead) appendData(dst []byte) ([]byte, error) {
	dst, err := appendOptionName(dst, r.Name)
	return append(dst, 0), err
}

func parseOptionRead(data []byte) (Request, error) {
	name, err := asciiz("option", data)
	if err != nil {
		return nil, err
	}
	if name == "" || strings.Contains(name, "=") {
		return nil, fmt.Errorf("zk: %.64q is no name of an option: %w", name, protocol.ErrMalformed)
	}
	return OptionRead{name}, nil
}

// ParseVersion reads the answer to GET_VERSION: the firmware, as in
// "Ver 6.60 Apr 26 2016".
func ParseVersion(data []byte) (string, error) { return asciiz("version", data) }

// AppendVersion appends the answer to GET_VERSION.
func AppendVersion(dst []byte, version string) []byte { return append(append(dst, version...), 0) }

// asciiz is the text up to the first NUL, or all of data if there is none.
func asciiz(what string, data []byte) (string, error) {
	text, _, _ := bytes.Cut(data, []byte{0})
	if len(text) > MaxOption {
		return "", fmt.Errorf("zk: %s of %d bytes, at most %d: %w", what, len(text), MaxOption, protocol.ErrTooLarge)
	}
	return string(text), nil
}
