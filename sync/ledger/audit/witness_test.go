package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/punchd/punchd/protocol"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/ledger/audit/audittest"
)

func heads(t testing.TB, n uint64) (notes [][]byte) {
	t.Helper()
	for i := range n {
		h := checkpoint.Head{Ledger: "000102030405060708090a0b0c0d0e0f", Size: i + 1}
		if i == 1 {
			h.Lost = []checkpoint.Span{{First: 1, Last: 1}}
		}
		notes = append(notes, forge(t, h, seed))
	}
	return notes
}

// eventOf is a head as central gets it.
func eventOf(t testing.TB, note []byte) string {
	t.Helper()
	text, err := json.Marshal(string(note))
	if err != nil {
		t.Fatal(err)
	}
	return `{"specversion":"1.0","id":"checkpoint-x-7","source":"/sites/S/gateways/G","type":"attendance.checkpoint.v1","time":"2026-11-04T00:58:12Z",` +
		`"sequence":"00000000000000000007","datacontenttype":"application/json","data":{"ledger":"x","size":7,"root":"x","note":` + string(text) + `}}`
}

func TestReadWitness(t *testing.T) {
	notes := heads(t, 3)
	var events []string
	for _, n := range notes {
		events = append(events, eventOf(t, n))
	}
	punch := `{"type":"attendance.punch.v1","data":{"note":7}}`
	odd := `{"type":7,"data":[]}`
	for name, text := range map[string]string{
		"one behind the other":  string(bytes.Join(notes, nil)),
		"empty lines between":   "\n\n" + string(bytes.Join(notes, []byte("\n\n\n"))) + "\n\n",
		"the last line cut":     strings.TrimSuffix(string(bytes.Join(notes, nil)), "\n"),
		"lines":                 strings.Join(events, "\n") + "\n",
		"lines with others":     punch + "\n" + strings.Join(events, "\n"+odd+"\n") + "\n" + punch,
		"an array":              "\n [" + strings.Join(events, ",") + "]",
		"an array with others":  "[" + punch + "," + strings.Join(events, ",\n") + "]\n",
		"arrays and lines":      "[" + events[0] + "," + punch + "]\n[]\n" + events[1] + "\n[" + events[2] + "]\n",
		"written over lines":    strings.ReplaceAll(strings.Join(events, "\n"), `,"`, ",\n  \""),
		"heads with co-signers": string(bytes.Join(notes, []byte("— witness AAAAAAAA\n"))),
	} {
		got, err := ReadWitness(strings.NewReader(text))
		want := fmt.Sprintf("%q", notes)
		if name == "heads with co-signers" {
			want = fmt.Sprintf("%q", [][]byte{append(bytes.Clone(notes[0]), "— witness AAAAAAAA\n"...), append(bytes.Clone(notes[1]), "— witness AAAAAAAA\n"...), notes[2]})
		}
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("%s: %d heads, %v", name, len(got), err)
		}
	}
}

func TestReadWitnessRefuses(t *testing.T) {
	event := eventOf(t, heads(t, 1)[0])
	for text, want := range map[string]error{
		"":                                    protocol.ErrMalformed,
		" \n":                                 protocol.ErrMalformed,
		"{}":                                  protocol.ErrMalformed,
		`{"type":"attendance.punch.v1"}`:      protocol.ErrMalformed,
		`{"type":"attendance.checkpoint.v1"}`: protocol.ErrMalformed,
		`{"type":"attendance.checkpoint.v1","data":{"note":7}}`: protocol.ErrMalformed,
		"[[" + event + "]]":        protocol.ErrMalformed,
		"[" + event:                protocol.ErrIncomplete,
		event[:40]:                 protocol.ErrIncomplete,
		event + "\nx":              protocol.ErrMalformed,
		event + "]":                protocol.ErrMalformed,
		`[7]`:                      protocol.ErrMalformed,
		strings.Repeat("x", 1e5):   protocol.ErrMalformed,
		strings.Repeat("x\n", 1e5): protocol.ErrTooLarge,
	} {
		if got, err := ReadWitness(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%.40q: %d heads, %v, want %v", text, len(got), err, want)
		}
	}
}

// FuzzReadWitness: what is read can be opened or is refused, and is within its
// bounds.
func FuzzReadWitness(f *testing.F) {
	notes := heads(f, 2)
	f.Add(bytes.Join(notes, nil))
	f.Add([]byte(eventOf(f, notes[0]) + "\n[" + eventOf(f, notes[1]) + "]"))
	f.Add([]byte(`[{"type":7},{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadWitness(bytes.NewReader(b))
		if err == nil && len(got) == 0 {
			t.Errorf("%q is no head and no error", b)
		}
		for _, note := range got {
			if h, err := checkpoint.Open(note, audittest.Public(seed)); err == nil && h.Size == 0 {
				t.Errorf("%q", note)
			}
		}
	})
}
