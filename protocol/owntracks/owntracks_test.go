package owntracks

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// Messages as the apps send them.
const (
	// The Android app's own test message.
	androidSample = `{"_type":"location","BSSID":"00:13:10:85:fe:01","SSID":"AndroidWifi","_id":"0d871a61","acc":5,"alt":5,"batt":100,"bs":0,"cog":0,"conn":"w","created_at":1754215100,"lat":50.1182933,"lon":-5.5407733,"m":2,"tid":"xa","tst":1754215100,"vac":0,"vel":0}`
	// A manual publish with a BSSID that was entered by hand in the office.
	manualSample = `{"_type":"location","t":"u","lat":31.230416,"lon":121.473701,"acc":12,"tst":1762218000,"tid":"zs","BSSID":"a2:8b:7f:c0:27:4b","SSID":"Office"}`
	// iOS since 18.3.0 writes the two WiFi names in lower case.
	iosSample = `{"_type":"location","t":"u","lat":24.479834,"lon":118.089425,"acc":65,"tst":1793753892,"created_at":1793753899,"tid":"zs","batt":81,"bs":1,"conn":"w","ssid":"Office","bssid":"a2:8b:7f:c0:27:4b","m":1,"inregions":["HQ"],"inrids":["6da9cf"],"poi":"Customer 17","tag":"visit","image":"aGVsbG8=","imagename":"IMG_1.jpg","motionactivities":["stationary"],"p":101.2}`
	// A check-in in which everything that can be a text is one, as in iOS 7.3,
	// and integers have a fraction.
	oddSample = `{"_type":"location","t":"u","lat":"24.479834","lon":"118.089425","acc":"12.5","tst":"1793753892.9","created_at":1793753893.2,"tid":7}`
	// The same app without a position.
	ios73Sample = `{"_type":"location","t":"u","lat":"0","lon":"0","tst":"0"}`
	// iOS for a while told an unknown longitude so.
	zeroLonSample = `{"_type":"location","t":"u","lat":24.479834,"lon":0.000000,"acc":12,"tst":1793753892}`
	encrypted     = `{"_type":"encrypted","data":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXAS5/suTfaGylvPBkK5tbY7cvMXAJATSCHST4VutR1RVglXUoK+pMk2MoxX9FlaXp"}`
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    Message
	}{
		"android": {androidSample, &Location{ID: "0d871a61", TID: "xa", Lat: 50.1182933, Lon: -5.5407733, Acc: 5, Fix: 1754215100, CreatedAt: 1754215100, Conn: "w", BSSID: "00:13:10:85:fe:01", SSID: "AndroidWifi"}},
		"manual":  {manualSample, &Location{T: "u", TID: "zs", Lat: 31.230416, Lon: 121.473701, Acc: 12, Fix: 1762218000, BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office"}},
		"ios": {iosSample, &Location{T: "u", TID: "zs", Lat: 24.479834, Lon: 118.089425, Acc: 65, Fix: 1793753892, CreatedAt: 1793753899, Conn: "w",
			BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office", POI: "Customer 17", Tag: "visit", Image: []byte("hello")}},
		"odd":                     {oddSample, &Location{T: "u", TID: "7", Lat: 24.479834, Lon: 118.089425, Acc: 12.5, Fix: 1793753892, CreatedAt: 1793753893}},
		"accuracy unknown":        {`{"_type":"location","t":"u","lat":1,"lon":2,"tst":1793753892}`, &Location{T: "u", Lat: 1, Lon: 2, Fix: 1793753892}},
		"accuracy unreadable":     {`{"_type":"location","t":"u","lat":1,"lon":2,"tst":1793753892,"acc":"good"}`, &Location{T: "u", Lat: 1, Lon: 2, Fix: 1793753892}},
		"accuracy null":           {`{"_type":"location","t":"u","lat":1,"lon":2,"tst":1793753892,"acc":null,"created_at":0}`, &Location{T: "u", Lat: 1, Lon: 2, Fix: 1793753892}},
		"odd evidence":            {`{"_type":"location","t":"u","lat":1,"lon":2,"tst":1793753892,"BSSID":["a"],"SSID":{"b":1},"conn":true,"poi":"a\u0000b\u001bc\nd","image":"not base64!","_id":"x\u0007"}`, &Location{T: "u", Lat: 1, Lon: 2, Fix: 1793753892, Conn: "true", POI: "abc\nd"}},
		"short BSSID":             {`{"_type":"location","t":"u","lat":1,"lon":2,"tst":1793753892,"BSSID":"12:34:56:78"}`, &Location{T: "u", Lat: 1, Lon: 2, Fix: 1793753892, BSSID: "12:34:56:78"}},
		"automatic, no position":  {`{"_type":"location","lat":"0","lon":"x","tst":"0","acc":-1}`, &Location{Acc: -1}},
		"region event, zero lon":  {strings.Replace(zeroLonSample, `"u"`, `"c"`, 1), &Location{T: "c", Lat: 24.479834, Acc: 12, Fix: 1793753892}},
		"transition":              {`{"_type":"transition","event":"enter","desc":"HQ","wtst":1700000000,"tst":1793753892,"lat":1.5,"lon":2.5,"acc":20,"t":"c","rid":"6da9cf","tid":"zs"}`, &Transition{Event: "enter", Desc: "HQ", Lat: 1.5, Lon: 2.5, Acc: 20, Fix: 1793753892}},
		"lwt":                     {`{"_type":"lwt","tst":1762218000}`, &LWT{Connected: 1762218000}},
		"waypoint":                {`{"_type":"waypoint","desc":"HQ","lat":1.5,"lon":2.5,"rad":"50","tst":1700000000}`, &Waypoint{Desc: "HQ", Lat: 1.5, Lon: 2.5, Radius: 50, Made: 1700000000}},
		"waypoints":               {`{"_type":"waypoints","waypoints":[{"_type":"waypoint","desc":"A","lat":1,"lon":2,"rad":3,"tst":4},{"desc":"B"}]}`, &Waypoints{List: []Waypoint{{Desc: "A", Lat: 1, Lon: 2, Radius: 3, Made: 4}, {Desc: "B"}}}},
		"no waypoints":            {`{"_type":"waypoints"}`, &Waypoints{List: []Waypoint{}}},
		"card":                    {`{"_type":"card","name":"张三","face":"iVBORw0KGgo="}`, &Card{Name: "张三"}},
		"android status":          {`{"_type":"status","_id":"ab","android":{"wifi":1,"ps":0,"bo":1,"hib":0,"loc":-2,"version":"2.5.5","flavour":"gms"}}`, &Status{Location: -2, Optimised: 1}},
		"ios status":              {`{"_type":"status","iOS":{"version":"26.3.1"}}`, &Status{}},
		"odd status":              {`{"_type":"status","android":[1]}`, &Status{}},
		"configuration":           {`{"_type":"configuration","mode":0}`, &Unknown{Type: "configuration", Raw: []byte(`{"_type":"configuration","mode":0}`)}},
		"command":                 {`{"_type":"cmd","action":"reportLocation"}`, &Unknown{Type: "cmd", Raw: []byte(`{"_type":"cmd","action":"reportLocation"}`)}},
		"empty":                   {``, Cleared{}},
		"largest coordinates":     {`{"_type":"location","t":"u","lat":-90,"lon":180.0,"tst":946684800}`, &Location{T: "u", Lat: -90, Lon: 180, Fix: 946684800}},
		"a later name counts too": {`{"_type":"location","t":"u","lat":1,"lon":2,"tst":1793753892,"Bssid":"a"}`, &Location{T: "u", Lat: 1, Lon: 2, Fix: 1793753892, BSSID: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(c.payload))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	with := func(field string) string {
		return `{"_type":"location","t":"u","lat":1,"lon":2,"acc":3,"tst":1793753892,` + field + `}`
	}
	for name, c := range map[string]struct {
		payload string
		want    error
	}{
		"iOS 7.3 without a position": {ios73Sample, protocol.ErrMalformed},
		"zero longitude":             {zeroLonSample, protocol.ErrMalformed},
		"no lat":                     {`{"_type":"location","t":"u","lon":2,"tst":1793753892}`, protocol.ErrMalformed},
		"no tst":                     {`{"_type":"location","t":"u","lat":1,"lon":2}`, protocol.ErrMalformed},
		"lat 91":                     {with(`"lat":91`), protocol.ErrMalformed},
		"lon -181":                   {with(`"lon":-181`), protocol.ErrMalformed},
		"lat NaN":                    {with(`"lat":"NaN"`), protocol.ErrMalformed},
		"lat infinite":               {with(`"lat":1e999`), protocol.ErrMalformed},
		"lat hex":                    {with(`"lat":"0x1p4"`), protocol.ErrMalformed},
		"lat is a list":              {with(`"lat":[1]`), protocol.ErrMalformed},
		"acc -1":                     {with(`"acc":-1`), protocol.ErrMalformed},
		"tst in ms":                  {with(`"tst":1793753892000`), protocol.ErrMalformed},
		"created_at in 1970":         {with(`"created_at":1`), protocol.ErrMalformed},
		"created_at unreadable":      {with(`"created_at":"now"`), protocol.ErrMalformed},
		"no _type":                   {`{"t":"u","lat":1,"lon":2}`, protocol.ErrMalformed},
		"null":                       {`null`, protocol.ErrMalformed},
		"space":                      {" \n", protocol.ErrMalformed},
		"list":                       {`[` + manualSample + `]`, protocol.ErrMalformed},
		"trailing":                   {manualSample + "x", protocol.ErrMalformed},
		"text":                       {`hello`, protocol.ErrMalformed},
		"waypoints no list":          {`{"_type":"waypoints","waypoints":7}`, protocol.ErrMalformed},
		"waypoint no object":         {`{"_type":"waypoints","waypoints":[7]}`, protocol.ErrMalformed},
		"too many waypoints":         {`{"_type":"waypoints","waypoints":[{}` + strings.Repeat(",{}", maxWaypoints) + `]}`, protocol.ErrTooLarge},
		"too large":                  {strings.Repeat(" ", MaxPayload) + "x", protocol.ErrTooLarge},
		"encrypted":                  {encrypted, protocol.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Parse([]byte(c.payload))
			if !errors.Is(err, c.want) || m != nil {
				t.Errorf("got %+v, %v, want %v", m, err, c.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "owntracks: ") {
				t.Errorf("error %q does not say where it comes from", err)
			}
		})
	}
	for n := 1; n < len(iosSample); n++ {
		if _, err := Parse([]byte(iosSample[:n])); !errors.Is(err, protocol.ErrMalformed) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func location(t testing.TB, payload string) *Location {
	t.Helper()
	m, err := Parse([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	l, ok := m.(*Location)
	if !ok {
		t.Fatalf("%T is no location", m)
	}
	return l
}

func TestCheckIn(t *testing.T) {
	pressed, fixed := time.Unix(1793753899, 0).UTC(), time.Unix(1793753892, 0).UTC()
	want := &attendance.CheckIn{
		Phone: "ada", At: pressed, Kind: attendance.KindPunch, Auth: attendance.AuthUser,
		Message: attendance.MessageID{T: "u", Fix: 1793753892, CreatedAt: 1793753899},
		Evidence: attendance.Evidence{
			Fix:   &attendance.Fix{Lat: 24.479834, Lon: 118.089425, Acc: 65, At: fixed},
			WiFi:  &attendance.WiFi{BSSID: "a2:8b:7f:c0:27:4b", SSID: "Office"},
			Note:  "Customer 17\nvisit",
			Photo: &attendance.Photo{SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", Size: 5},
			Raw:   []byte(iosSample),
		},
	}
	l := location(t, iosSample)
	if !l.IsCheckIn() {
		t.Error("no check-in")
	}
	if got := l.CheckIn("ada", []byte(iosSample)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, trigger := range []string{"", "r", "c", "C", "b", "p", "t", "v", "U", "uu"} {
		if location(t, strings.Replace(manualSample, `"t":"u"`, `"t":"`+trigger+`"`, 1)).IsCheckIn() {
			t.Errorf("t=%q is a check-in", trigger)
		}
	}
}

func TestCheckInEvidence(t *testing.T) {
	for _, c := range []struct {
		payload string
		bssid   string // empty: no WiFi at all
		at      int64
		note    string
	}{
		{manualSample, "a2:8b:7f:c0:27:4b", 1762218000, ""},
		{strings.Replace(manualSample, `"tid"`, `"conn":"w","tid"`, 1), "a2:8b:7f:c0:27:4b", 1762218000, ""},
		{strings.Replace(manualSample, `"tid"`, `"conn":"m","tid"`, 1), "", 1762218000, ""},
		{strings.Replace(manualSample, `"tid"`, `"conn":"o","tid"`, 1), "", 1762218000, ""},
		{strings.Replace(manualSample, `"tid"`, `"tag":"only","tid"`, 1), "a2:8b:7f:c0:27:4b", 1762218000, "only"},
		{strings.Replace(manualSample, `"tid"`, `"poi":"only","created_at":1762218600,"tid"`, 1), "a2:8b:7f:c0:27:4b", 1762218600, "only"},
		{oddSample, "", 1793753893, ""},
	} {
		got := location(t, c.payload).CheckIn("ada", nil)
		bssid := ""
		if w := got.Evidence.WiFi; w != nil {
			bssid = w.BSSID
		}
		if bssid != c.bssid || got.At.Unix() != c.at || got.Evidence.Note != c.note || got.At.Location() != time.UTC {
			t.Errorf("%s\ngives BSSID %q, at %v, note %q", c.payload, bssid, got.At, got.Evidence.Note)
		}
	}
	long := location(t, strings.Replace(manualSample, `"tid"`, `"poi":"`+strings.Repeat("打", 2000)+`","tag":"卡","tid"`, 1))
	if note := long.CheckIn("ada", nil).Evidence.Note; len(note) > maxNote || !strings.HasPrefix(note, "打") || strings.ContainsRune(note, '\uFFFD') {
		t.Errorf("a long note has %d bytes: %.20q", len(note), note)
	}
}

func TestAppend(t *testing.T) {
	if got := Android.Append(nil, location(t, androidSample)); string(got) != androidSample {
		t.Errorf("the Android app writes\n%s\nnot\n%s", androidSample, got)
	}
	l := &Location{T: "u", TID: "zs", ID: "0badcafe", Lat: 24.4798341234, Lon: -118.08942567, Acc: 12, Fix: 1793753892, CreatedAt: 1793753899, Conn: "w", BSSID: "a2:8b:7f:c0:27:4b", SSID: "会议室\"1\"", POI: "a", Tag: "b", Image: []byte{1, 2, 3}}
	if got := location(t, string(Android.Append(nil, l))); !reflect.DeepEqual(got, l) {
		t.Errorf("Android: read back as %+v", got)
	}
	ios := *l
	ios.ID, ios.Lat, ios.Lon = "", 24.479834, -118.089426
	b := IOS.Append(nil, l)
	if got := location(t, string(b)); !reflect.DeepEqual(got, &ios) {
		t.Errorf("iOS: read back as %+v", got)
	}
	if !bytes.Contains(b, []byte(`"bssid":"a2`)) || bytes.Contains(b, []byte(`"_id"`)) {
		t.Errorf("iOS writes %s", b)
	}
	l.CreatedAt = l.Fix + 1
	if b := IOS.Append(nil, l); bytes.Contains(b, []byte("created_at")) {
		t.Errorf("iOS tells a difference of one second: %s", b)
	}
	for b, want := range map[string]Message{
		string(AppendLWT(nil, &LWT{Connected: 1762218000})):                 &LWT{Connected: 1762218000},
		string(AppendStatus([]byte{}, &Status{Location: -1, Optimised: 1})): &Status{Location: -1, Optimised: 1},
	} {
		if got, err := Parse([]byte(b)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads as %+v, %v", b, got, err)
		}
	}
}

func TestTopic(t *testing.T) {
	for topic, want := range map[string]Topic{
		"owntracks/ada/pixel":        {User: "ada", Device: "pixel"},
		"owntracks/张三/手机/event":      {User: "张三", Device: "手机", Part: "event"},
		"owntracks/ada/pixel/status": {User: "ada", Device: "pixel", Part: "status"},
	} {
		got, ok := ParseTopic(topic)
		if !ok || got != want || got.String() != topic {
			t.Errorf("%s: %+v %v", topic, got, ok)
		}
	}
	for _, topic := range []string{
		"", "owntracks", "owntracks/", "owntracks/ada", "owntracks/ada/", "owntracks//pixel", "owntracks/ada/pixel/", "owntracks/ada/pixel/event/x",
		"owntracks/+/pixel", "owntracks/ada/#", "OwnTracks/ada/pixel", "/owntracks/ada/pixel", "owntracks/a\x00/b", "owntracks/" + strings.Repeat("x", 200) + "/b",
	} {
		if got, ok := ParseTopic(topic); ok {
			t.Errorf("%q reads as %+v", topic, got)
		}
	}
}

// FuzzParse: nothing panics, and a check-in that parses is written so that it
// parses to the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{androidSample, manualSample, iosSample, oddSample, ios73Sample, zeroLonSample, encrypted,
		`{"_type":"waypoints","waypoints":[{"rad":"50"}]}`, `{"_type":"status","android":{"loc":1}}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := Parse(payload)
		if (m == nil) != (err != nil) {
			t.Fatalf("%v and %v", m, err)
		}
		l, ok := m.(*Location)
		if !ok || !l.IsCheckIn() {
			return
		}
		c := l.CheckIn("ada", payload)
		if c.At.IsZero() || c.Evidence.Fix == nil || len(c.Evidence.Note) > maxNote {
			t.Fatalf("%+v", c)
		}
		again, err := Parse(Android.Append(nil, l))
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", l) {
			t.Fatalf("written as\n%+v, %v\nread from\n%+v", again, err, l)
		}
		if _, err := Parse(IOS.Append(nil, l)); err != nil && l.Lat > 1e-6 && l.Lon > 1e-6 {
			t.Fatal(err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	payload := []byte(strings.Replace(androidSample, `"tid"`, `"t":"u","tid"`, 1))
	b.ReportAllocs()
	for b.Loop() {
		m, err := Parse(payload)
		if err != nil {
			b.Fatal(err)
		}
		m.(*Location).CheckIn("ada", payload)
	}
}

// The picture of an app is bounded by the message around it.
func TestImage(t *testing.T) {
	image := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 20<<10))
	l := location(t, strings.Replace(manualSample, `"tid"`, `"image":"`+image+`","tid"`, 1))
	if p := l.CheckIn("ada", nil).Evidence.Photo; p == nil || p.Size != 20<<10 {
		t.Errorf("photo %+v", p)
	}
}
