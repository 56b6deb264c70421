package owntracks

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// Dialect is the way in which one of the apps writes.
type Dialect uint8

// The dialects, as the apps of 2026 write them.
const (
	Android Dialect = iota // _id and created_at always, BSSID in capitals, full precision
	IOS                    // no _id, created_at only if it differs, bssid, six decimals
)

// Append writes a location in the dialect. What the apps send beside it and
// nobody here reads is that of a phone at rest.
func (d Dialect) Append(b []byte, l *Location) []byte {
	if d == IOS {
		return l.appendIOS(b)
	}
	b = append(b, `{"_type":"location"`...)
	b = appendText(b, "BSSID", l.BSSID)
	b = appendText(b, "SSID", l.SSID)
	b = appendText(b, "_id", l.ID)
	b = appendNumber(b, "acc", l.Acc, -1)
	b = append(b, `,"alt":5,"batt":100,"bs":0,"cog":0`...)
	b = appendText(b, "conn", l.Conn)
	if l.CreatedAt != 0 {
		b = appendInt(b, "created_at", l.CreatedAt)
	}
	b = l.appendImage(b)
	b = appendNumber(b, "lat", l.Lat, -1)
	b = appendNumber(b, "lon", l.Lon, -1)
	b = append(b, `,"m":2`...)
	b = appendText(b, "poi", l.POI)
	b = appendText(b, "t", l.T)
	b = appendText(b, "tag", l.Tag)
	b = appendText(b, "tid", l.TID)
	b = appendInt(b, "tst", l.Fix)
	return append(b, `,"vac":0,"vel":0}`...)
}

func (l *Location) appendIOS(b []byte) []byte {
	b = append(b, `{"_type":"location"`...)
	b = appendText(b, "t", l.T)
	b = appendNumber(b, "lat", l.Lat, 6)
	b = appendNumber(b, "lon", l.Lon, 6)
	b = appendNumber(b, "acc", l.Acc, 0)
	b = appendInt(b, "tst", l.Fix)
	if l.CreatedAt != 0 && (l.CreatedAt-l.Fix > 1 || l.Fix-l.CreatedAt > 1) {
		b = appendInt(b, "created_at", l.CreatedAt)
	}
	b = appendText(b, "tid", l.TID)
	b = append(b, `,"batt":100,"bs":2`...)
	b = appendText(b, "conn", l.Conn)
	b = appendText(b, "ssid", l.SSID)
	b = appendText(b, "bssid", l.BSSID)
	b = appendText(b, "poi", l.POI)
	b = appendText(b, "tag", l.Tag)
	b = l.appendImage(b)
	return append(b, '}')
}

// AppendLWT writes the will that an app leaves with the broker.
func AppendLWT(b []byte, m *LWT) []byte {
	return append(appendInt(append(b, `{"_type":"lwt"`...), "tst", m.Connected), '}')
}

// AppendStatus writes what the Android app sends behind every manual publish.
func AppendStatus(b []byte, m *Status) []byte {
	b = append(b, `{"_type":"status","android":{"wifi":1,"ps":0`...)
	b = appendInt(b, "bo", m.Optimised)
	b = appendInt(b, "loc", m.Location)
	return append(b, "}}"...)
}

func (l *Location) appendImage(b []byte) []byte {
	if len(l.Image) == 0 {
		return b
	}
	return appendText(b, "image", base64.StdEncoding.EncodeToString(l.Image))
}

func appendName(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

// appendText writes a field, or nothing if it is empty.
func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		return b // a string always marshals
	}
	return append(appendName(b, name), quoted...)
}

func appendInt(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendName(b, name), n, 10)
}

// appendNumber writes a number with so many decimals, -1 for as many as it has.
func appendNumber(b []byte, name string, f float64, decimals int) []byte {
	return strconv.AppendFloat(appendName(b, name), f, 'f', decimals, 64)
}
