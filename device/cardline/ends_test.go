package cardline

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchd/punchd/protocol/cardline"
)

// TestBytesBehindTheEnd holds that what a reader sends around its lines costs no
// card: minutes apart, one person behind the other, and out of the buffer of a
// serial server.
func TestBytesBehindTheEnd(t *testing.T) {
	for _, c := range []struct {
		end           cardline.Terminator
		front, behind string
	}{
		{cardline.EndETX, "\x02", "\x03\r\n"},
		{cardline.EndETX, "\x02", "\r\n\x03"},
		{cardline.EndCR, "", "\r\n"},
		{cardline.EndLF, "", "\r\n"},
		{cardline.EndLF, "", "\n\r"},
		{cardline.EndTab, "", "\t\r"},
		{cardline.EndAny, "", "\r\x00"},
		{cardline.EndAny, "\x02", "\r\n\x03"},
		{cardline.EndCRLF, "", "\r\n\x00"},
		{cardline.EndIdle, "", "\x00"},
		{cardline.EndIdle, "", "\r\x00"},
	} {
		for _, every := range []time.Duration{0, 300 * ms, 20 * time.Second, time.Minute} {
			if every == 0 && c.behind == "\x00" {
				continue // without a pause there is no end
			}
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{Format: FormatLine, Line: cardline.Line{Terminator: c.end, Prefix: c.front}})
				for i := range 6 {
					r.at(time.Duration(i)*every, c.front+line(i)+c.behind)
				}
				<-time.After(time.Second)
				if got := r.facts(); len(got) != 6 || r.driver.State().BadFrames != 0 {
					t.Errorf("%q ended by %q, every %v: %q, %q", c.end, c.behind, every, got, r.driver.State().Notes)
				}
			})
		}
	}
}

// unplug ends the connection and waits for the next one.
func (r *rig) unplug() {
	r.far.Close()
	r.far = <-r.ends
	synctest.Wait()
}

// TestReconnectDropsHalfALine holds that neither half of a line is a badge when
// its connection ends, that this costs one line, and none long after it.
func TestReconnectDropsHalfALine(t *testing.T) {
	for _, end := range []cardline.Terminator{cardline.EndAny, cardline.EndIdle} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{Format: FormatLine, Line: cardline.Line{Terminator: end}})
			r.send("00093")
			r.far.Close()
			synctest.Wait()
			s := r.driver.State()
			if s.Online || s.LastError != "cardline: read: EOF" || s.BadFrames != 1 {
				t.Errorf("unplugged: %+v", s)
			}
			r.far = <-r.ends
			synctest.Wait()
			back := time.Since(r.start)
			if back < time.Second || back > 2*time.Second {
				t.Errorf("connected again after %v", back)
			}
			if s := r.driver.State(); !s.Online || s.LastError != "" || !s.Since.Equal(time.Now()) {
				t.Errorf("plugged in again: %+v", s)
			}
			r.send("51929\r\n") // a serial server kept it
			r.want()
			if s := r.driver.State(); s.BadFrames != 2 || !r.note("5 bytes behind a line that broke off") {
				t.Errorf("the rest: %+v", s)
			}
			r.send("0009466639\r\n")
			r.want("0009466639@" + back.String())

			r.unplug() // between lines
			back = time.Since(r.start)
			r.send("0009466640\r\n")
			want := []string{r.facts()[0], "0009466640@" + back.String()}
			r.want(want...)
			r.send("00093")
			r.unplug()
			r.unplug() // and nothing came between
			r.at(time.Since(r.start)+30*time.Second+ms, "42\r\n")
			r.want(append(want, fmt.Sprintf("42@%v", time.Since(r.start)))...)
			r.send("00093")
			r.unplug() // the pause between connections is none in which the rest could have come
			r.at(time.Since(r.start)+29900*ms, "51929\r\n")
			if s := r.driver.State(); s.BadFrames != 5 || len(r.facts()) != 3 {
				t.Errorf("%q, %+v", r.facts(), s)
			}
		})
	}
}

// Where silence ends a line, it ends the rest of one too.
func TestReconnectWithoutTerminator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Format: FormatLine, Line: cardline.Line{Terminator: cardline.EndIdle}})
		r.send("00093")
		r.unplug()
		<-time.After(time.Second) // longer than the silence, but nothing came yet
		r.send("51929")
		<-time.After(51 * ms)
		r.send("42")
		<-time.After(51 * ms)
		if got := r.facts(); len(got) != 1 || got[0][:3] != "42@" || r.driver.State().BadFrames != 2 {
			t.Errorf("%q, %+v", got, r.driver.State())
		}
	})
}
