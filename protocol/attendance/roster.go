package attendance

import "time"

// Roster is one version of what central says: who works here, which phones
// are theirs, where the offices are and what is asked of a check-in. The tags
// are the keys of the roster file (YAML or JSON); keys not listed are errors.
type Roster struct {
	Version   string     `yaml:"version,omitempty" json:"version,omitempty"`
	Employees []Employee `yaml:"employees" json:"employees"`
	Places    []Place    `yaml:"places,omitempty" json:"places,omitempty"`
	Policies  []Policy   `yaml:"policies,omitempty" json:"policies,omitempty"`
	Excuses   []Excuse   `yaml:"excuses,omitempty" json:"excuses,omitempty"`
}

// Employee is a person who may punch.
type Employee struct {
	ID     string   `yaml:"id" json:"id"`
	Name   string   `yaml:"name,omitempty" json:"name,omitempty"`
	Badges []string `yaml:"badges,omitempty" json:"badges,omitempty"` // card numbers in the reader's canonical form
	PINs   []string `yaml:"pins,omitempty" json:"pins,omitempty"`     // user ids on terminals; text, 0012 is not 12
	Phones []Phone  `yaml:"phones,omitempty" json:"phones,omitempty"`
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty"`
	// From and Until bound the employment, both inclusive, as dates
	// (2026-11-04) in the site's zone; empty is open.
	From  string `yaml:"from,omitempty" json:"from,omitempty"`
	Until string `yaml:"until,omitempty" json:"until,omitempty"`
}

// Phone is a registered telephone: a native one has a key, an OwnTracks one
// the MQTT user it logs in as.
type Phone struct {
	ID string `yaml:"id,omitempty" json:"id,omitempty"` // native: its MQTT user and the kid of its check-ins
	// Key is the public key: a JWK as JSON text, or PEM (SubjectPublicKeyInfo).
	// P-256 for ES256, Ed25519 for EdDSA.
	Key           string `yaml:"key,omitempty" json:"key,omitempty"`
	OwnTracksUser string `yaml:"owntracks_user,omitempty" json:"owntracks_user,omitempty"`
}

// Place is an area with a meaning.
type Place struct {
	ID   string `yaml:"id" json:"id"`
	Site string `yaml:"site,omitempty" json:"site,omitempty"` // empty: the gateway's own
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Datum of Circle and Polygon: wgs84 (default), gcj02 or bd09.
	Datum   string        `yaml:"datum,omitempty" json:"datum,omitempty"`
	Circle  *Circle       `yaml:"circle,omitempty" json:"circle,omitempty"`
	Polygon []Point       `yaml:"polygon,omitempty" json:"polygon,omitempty"` // at least three corners; closed by itself
	WiFi    []AccessPoint `yaml:"wifi,omitempty" json:"wifi,omitempty"`
	Kind    string        `yaml:"kind,omitempty" json:"kind,omitempty"` // office (default), customer or no-go
}

// Circle is a fence around a point.
type Circle struct {
	Lat    float64 `yaml:"lat" json:"lat"`
	Lon    float64 `yaml:"lon" json:"lon"`
	Radius float64 `yaml:"radius" json:"radius"` // metres
}

// Point is a corner of a polygon in degrees.
type Point struct {
	Lat float64 `yaml:"lat" json:"lat"`
	Lon float64 `yaml:"lon" json:"lon"`
}

// AccessPoint is an allowed BSSID, or with a mask a family of them.
type AccessPoint struct {
	BSSID string `yaml:"bssid" json:"bssid"`
	Mask  string `yaml:"mask,omitempty" json:"mask,omitempty"` // ff:ff:ff:ff:ff:ff if empty
	SSID  string `yaml:"ssid,omitempty" json:"ssid,omitempty"` // checked too if given
}

// Policy says what a check-in must show. The most exact one that matches
// counts: group and place, then group, then place, then neither.
type Policy struct {
	Group    string `yaml:"group,omitempty" json:"group,omitempty"`
	Place    string `yaml:"place,omitempty" json:"place,omitempty"`
	Presence string `yaml:"presence,omitempty" json:"presence,omitempty"` // any (default), all, wifi-first
	Outside  string `yaml:"outside,omitempty" json:"outside,omitempty"`   // flag (default), allow, refuse
	Photo    string `yaml:"photo,omitempty" json:"photo,omitempty"`       // none (default), required
}

// Excuse says that an employee was excused for a time: leave or an outing.
type Excuse struct {
	Employee string    `yaml:"employee" json:"employee"`
	From     time.Time `yaml:"from" json:"from"`
	Until    time.Time `yaml:"until" json:"until"`
	Kind     string    `yaml:"kind,omitempty" json:"kind,omitempty"`
}

// EmployedOn reports whether the day (2026-11-04, in the site's zone) lies in
// the employment.
func (e *Employee) EmployedOn(day string) bool {
	return (e.From == "" || e.From <= day) && (e.Until == "" || day <= e.Until)
}
