package link

import (
	"fmt"
	"net/url"
	"strconv"

	"go.bug.st/serial"
)

// Bounds of the speed in baud: those of the hardware there is.
const (
	minBaud     = 50
	maxBaud     = 4_000_000
	defaultBaud = 9600
	defaultData = 8
)

var (
	parities = map[string]serial.Parity{"none": serial.NoParity, "even": serial.EvenParity, "odd": serial.OddParity}
	stops    = map[string]serial.StopBits{"1": serial.OneStopBit, "2": serial.TwoStopBits}
)

// serialDialer opens a serial port. Its String is the address with the
// parameters that differ from 9600 8N1.
type serialDialer struct {
	path    string
	mode    serial.Mode // InitialStatusBits stays nil: a pty has no modem lines and answers with an error
	address string
}

func parseSerial(u *url.URL) (Dialer, error) {
	given, err := parameters(u, "baud", "data", "parity", "stop")
	if err != nil {
		return nil, err
	}
	if u.Host != "" {
		return nil, fmt.Errorf("link: serial:// needs a third slash before the path: serial:///%s%s", u.Host, u.Path)
	}
	if len(u.Path) < 2 || u.Path[0] != '/' {
		return nil, fmt.Errorf("link: serial:// needs the absolute path of a port, as in serial:///dev/ttyUSB0")
	}
	d := serialDialer{path: u.Path, mode: serial.Mode{BaudRate: defaultBaud, DataBits: defaultData}}
	differing := url.Values{}
	for key, text := range given {
		ordinary, err := setMode(&d.mode, key, text)
		if err != nil {
			return nil, err
		}
		if !ordinary {
			differing.Set(key, text)
		}
	}
	d.address = (&url.URL{Scheme: "serial", Path: d.path, RawQuery: differing.Encode()}).String()
	return d, nil
}

// setMode sets one parameter of the line and reports whether it is what the
// line has anyway.
func setMode(m *serial.Mode, key, text string) (ordinary bool, err error) {
	known := true
	switch key {
	case "baud":
		m.BaudRate, err = strconv.Atoi(text)
		if err != nil || m.BaudRate < minBaud || m.BaudRate > maxBaud {
			return false, fmt.Errorf("link: baud %q is not between %d and %d", text, minBaud, maxBaud)
		}
		return m.BaudRate == defaultBaud, nil
	case "data":
		m.DataBits, err = strconv.Atoi(text)
		if err != nil || m.DataBits < 5 || m.DataBits > 8 {
			return false, fmt.Errorf("link: data %q is not between 5 and 8 bits", text)
		}
		return m.DataBits == defaultData, nil
	case "parity":
		if m.Parity, known = parities[text]; !known {
			return false, fmt.Errorf("link: unknown parity %q (known: none, even, odd)", text)
		}
		return m.Parity == serial.NoParity, nil
	default: // stop
		if m.StopBits, known = stops[text]; !known {
			return false, fmt.Errorf("link: %q is no number of stop bits (known: 1, 2)", text)
		}
		return m.StopBits == serial.OneStopBit, nil
	}
}

func (d serialDialer) String() string { return d.address }
