package cloudevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/attendance"
)

// least is the shortest event there is.
const least = `{"specversion":"1.0","id":"a","source":"/s","type":"t"}`

// with is least with more members.
func with(members string) string { return least[:len(least)-1] + "," + members + "}" }

// The batch of the reference vectors comes from no gateway of ours: its
// envelope is read, its data is not ours to understand.
func TestParseForeignBatch(t *testing.T) {
	events, err := ParseBatch([]byte(vectorC.body))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC)
	want := []Event{{
		ID: "gw-xm01-000000000042", Source: "/sites/xm01/gateways/gw-01", Type: TypePunch, Subject: "E1001",
		Time: at, RecordedTime: at.Add(time.Second), Seq: 42, PartitionKey: "E1001",
		Data: []byte(`{"employee":"E1001","direction":"in","device":"zk-01"}`),
		Raw:  []byte(vectorC.body[1 : len(vectorC.body)-1]),
	}}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("got  %+v\nwant %+v", events, want)
	}
	if _, err := events[0].Punch(); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("its id is no key of ours: %v", err)
	}
}

func TestParseBatchTolerates(t *testing.T) {
	for _, b := range []string{
		`[]`, " [ ] ", "[" + least + "]", "[" + least + " ,\r\n\t" + least + "]",
		`[` + with(`"future":{"a":[1,-2.5e+3,true,false,null,"x\u00e9\ud83d\ude00"]},"future":2`) + `]`,
		`[` + with(`"subject":null,"time":null,"sequence":null,"datacontenttype":null`) + `]`,
		`[` + with(`"data":null`) + `]`,
		`[{"sp\u0065cversion":"1.0","id":"a","source":"/s","type":"t"}]`,
	} {
		if _, err := ParseBatch([]byte(b)); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	e, err := ParseEvent([]byte(with(`"time":"2026-11-04T08:58:12.5+05:45","recordedtime":"2026-11-04T08:58:12+08:00"`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, offset := e.Time.Zone(); offset != 5*3600+45*60 || e.Time.Nanosecond() != 5e8 {
		t.Errorf("time: %v", e.Time)
	}
	if e.RecordedTime != time.Date(2026, 11, 4, 0, 58, 12, 0, time.UTC) {
		t.Errorf("recordedtime: %v", e.RecordedTime)
	}
}

func TestParseBatchRefuses(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for _, c := range []struct {
		b    string
		want error
	}{
		{``, protocol.ErrIncomplete},
		{`{}`, protocol.ErrMalformed},
		{`null`, protocol.ErrMalformed},
		{`[1]`, protocol.ErrMalformed},
		{`[{}]`, protocol.ErrMalformed},
		{`[` + least + `,]`, protocol.ErrMalformed},
		{`[` + least + `] x`, protocol.ErrMalformed},
		{`<html>`, protocol.ErrMalformed},
		{`[{"specversion":"0.3","id":"a","source":"/s","type":"t"}]`, protocol.ErrUnsupported},
		{`[{"specversion":1.0,"id":"a","source":"/s","type":"t"}]`, protocol.ErrMalformed},
		{`[{"specversion":"1.0","id":"","source":"/s","type":"t"}]`, protocol.ErrMalformed},
		{`[{"specversion":"1.0","ID":"a","source":"/s","type":"t"}]`, protocol.ErrMalformed}, // another name than id
		{`[{"specversion":"1.0","id":null,"source":"/s","type":"t"}]`, protocol.ErrMalformed},
		{`[` + with(`"id":"b"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"data":1,"data":1`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"data":1,"data_base64":""`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"data_base64":"AA=="`) + `]`, protocol.ErrUnsupported},
		{`[` + with(`"datacontenttype":"text/xml"`) + `]`, protocol.ErrUnsupported},
		{`[` + with(`"time":"yesterday"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"time":"2026-11-04T08:58:12"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"time":"2026-11-04T8:58:12Z"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"time":"2026-11-04T08:58:12,5Z"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"time":"2026-11-04T08:58:12+24:00"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"time":"2026-02-29T08:58:12Z"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"time":"0000-12-31T23:59:59Z"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"recordedtime":"9999-01-01T00:00:00Z"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"sequence":"-1"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"sequence":"000000000000000000001"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"sequence":42`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":01`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":+1`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":1.`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":nul`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":"`+"\xff"+`"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":"`+"\n"+`"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":"\x41"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":"\u12g4"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"subject":"\ud800"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"subject":"\ud800\u0041"`) + `]`, protocol.ErrMalformed},
		{`[` + with(`"x":`+deep) + `]`, protocol.ErrTooLarge},
		{"[" + strings.Repeat(least+",", MaxEvents) + least + "]", protocol.ErrTooLarge},
		{strings.Repeat(" ", MaxBatch+1), protocol.ErrTooLarge},
	} {
		if _, err := ParseBatch([]byte(c.b)); !errors.Is(err, c.want) {
			t.Errorf("%.120s: %v, want %v", c.b, err, c.want)
		}
	}
}

// A batch cut anywhere is incomplete, and says so.
func TestParseBatchCut(t *testing.T) {
	whole := AppendBatch(nil, meta, sorted())
	for i := range whole {
		if _, err := ParseBatch(whole[:i]); !errors.Is(err, protocol.ErrIncomplete) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestPunchRefuses(t *testing.T) {
	id := attendance.PhoneKey("p", 1).String()
	for _, c := range []struct {
		id, typ, data string
		want          error
	}{
		{id, "attendance.checkpoint.v1", `{}`, protocol.ErrUnsupported},
		{"a", TypePunch, `{}`, protocol.ErrMalformed},
		{id, TypePunch, ``, protocol.ErrMalformed},
		{id, TypePunch, `[]`, protocol.ErrMalformed},
		{id, TypePunch, `{"device":"zk-01"}`, protocol.ErrMalformed},
		{id, TypePunch, `{"direction":"sideways"}`, protocol.ErrUnsupported},
		{id, TypePunch, `{"verdict":3}`, protocol.ErrMalformed},
		{id, TypePunch, `{"device_time":"08:58"}`, protocol.ErrMalformed},
		{id, TypePunch, `{"skew_ms":9223372036855}`, protocol.ErrMalformed},
		{id, TypePunch, `{"skew_ms":1.5}`, protocol.ErrMalformed},
		{id, TypePunch, `{"raw":{"state":2147483648}}`, protocol.ErrMalformed},
		{id, TypePunch, `{"phone":{"counter":-1}}`, protocol.ErrMalformed},
		{id, TypePunch, `{"late":"yes"}`, protocol.ErrMalformed},
		{id, TypePunch, `{"reasons":"late"}`, protocol.ErrMalformed},
	} {
		e := Event{ID: c.id, Type: c.typ}
		if c.data != "" {
			e.Data = []byte(c.data)
		}
		if _, err := e.Punch(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.data, err, c.want)
		}
	}
	e := Event{ID: id, Type: TypePunch, Data: []byte(`{"employee":null,"x":[1],"device":{"id":"d","y":{}},"raw":{"z":1},"phone":{"w":2},"late":true}`)}
	if p, err := e.Punch(); err != nil || !p.Late || p.Device.ID != "d" || p.State != -1 {
		t.Errorf("unknown members: %+v, %v", p, err)
	}
}

func seeds(f *testing.F) {
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) < 5 {
		f.Fatalf("%d golden files: %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add([]byte("[" + string(bytes.TrimSpace(b)) + "]"))
	}
}

// FuzzParseBatch holds that what parses is JSON for everybody else too, and
// that a punch that is read is written back to an event that reads the same.
func FuzzParseBatch(f *testing.F) {
	seeds(f)
	f.Add([]byte(vectorC.body))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := ParseBatch(b)
		if err != nil {
			if !isKind(err) {
				t.Fatalf("%v wraps no kind", err)
			}
			return
		}
		if !json.Valid(b) {
			t.Fatalf("parsed, and is no JSON: %q", b)
		}
		for _, e := range events {
			p, err := e.Punch()
			if err != nil {
				if !isKind(err) {
					t.Fatalf("%v wraps no kind", err)
				}
				continue
			}
			once := AppendEvent(nil, Meta{Source: e.Source}, e.Seq, p)
			if !json.Valid(once) {
				t.Fatalf("no JSON: %s", once)
			}
			again, err := ParseEvent(once)
			if err != nil {
				t.Fatalf("%v: %s", err, once)
			}
			q, err := again.Punch()
			if err != nil {
				t.Fatalf("%v: %s", err, once)
			}
			if !reflect.DeepEqual(p, q) || again.Seq != e.Seq || again.Source != e.Source {
				t.Fatalf("%+v\n%+v\n%s", p, q, once)
			}
		}
	})
}
