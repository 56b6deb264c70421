package owntracks

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

// IsCheckIn reports whether the user pressed publish. A location that a phone
// sends by itself is nobody's word and is not judged.
func (l *Location) IsCheckIn() bool { return l.T == "u" }

// CheckIn is the claim that a location makes for the MQTT user who sent it.
// OwnTracks signs nothing, so the user is who the broker let in. Its times are
// in UTC, since the app tells no offset, and it names no direction.
//
// A location is made by [Parse] from payload, which becomes Evidence.Raw without
// a copy.
func (l *Location) CheckIn(user string, payload []byte) *attendance.CheckIn {
	c := &attendance.CheckIn{
		Phone: user, Kind: attendance.KindPunch, Auth: attendance.AuthUser,
		At:      time.Unix(l.Fix, 0).UTC(),
		Message: attendance.MessageID{ID: l.ID, T: l.T, Fix: l.Fix, CreatedAt: l.CreatedAt},
		Evidence: attendance.Evidence{
			Fix:  &attendance.Fix{Lat: l.Lat, Lon: l.Lon, Acc: l.Acc, At: time.Unix(l.Fix, 0).UTC()},
			Note: l.note(), Raw: payload,
		},
	}
	if l.CreatedAt != 0 { // tst is when the position was measured, which can be long before
		c.At = time.Unix(l.CreatedAt, 0).UTC()
	}
	// The app may go on telling the last access point after it left the WiFi.
	if (l.BSSID != "" || l.SSID != "") && (l.Conn == "w" || l.Conn == "") {
		c.Evidence.WiFi = &attendance.WiFi{BSSID: l.BSSID, SSID: l.SSID}
	}
	if len(l.Image) > 0 {
		sum := sha256.Sum256(l.Image)
		c.Evidence.Photo = &attendance.Photo{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(l.Image))}
	}
	return c
}

func (l *Location) note() string {
	switch {
	case l.POI == "":
		return l.Tag
	case l.Tag == "":
		return l.POI
	}
	return clean(text(l.POI+"\n"+l.Tag), maxNote)
}
