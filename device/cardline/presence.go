package cardline

import "time"

// maxTracks bounds the cards remembered at once. More of them within a lockout
// than any reader can read: noise, or somebody who plays.
const maxTracks = 1024

// outcome is what a frame means.
type outcome uint8

const (
	isNothing outcome = iota // not sure yet, or the card still lies there
	isRepetition
	isFact
)

// presence tells which frames are facts. Its times come from one monotonic
// clock. DESIGN.md has the drawing.
type presence struct {
	confirm                 int
	within, absent, lockout time.Duration

	cards map[string]*track // by badge

	unconfirmed uint64 // readings without the frame that would have confirmed them
	repetitions uint64 // presentations within the lockout
}

// track is a card seen of late.
type track struct {
	last time.Time // its newest frame
	hits int       // frames that confirm each other, until it is a fact
	fact bool
}

// frame takes a frame of a card that came at now.
func (p *presence) frame(badge string, now time.Time) outcome {
	t := p.cards[badge]
	if t == nil || p.over(t, now) {
		p.forget(now)
		t = &track{last: now}
		p.cards[badge] = t
	}
	gap := now.Sub(t.last)
	t.last = now
	if t.fact {
		if gap < p.absent {
			return isNothing
		}
		p.repetitions++
		return isRepetition
	}
	if t.hits++; t.hits == 1 {
		p.unconfirmed++
	}
	if t.hits < p.confirm {
		return isNothing
	}
	p.unconfirmed--
	t.fact = true
	return isFact
}

// before remembers a fact of an earlier run, of some age at now. One from the
// future, by a clock that was set back, is as good as one of just now.
func (p *presence) before(badge string, now time.Time, age time.Duration) {
	t := &track{last: now.Add(-max(age, 0)), fact: true}
	if !p.over(t, now) && len(p.cards) < maxTracks {
		p.cards[badge] = t
	}
}

// over reports whether a card's next frame begins a new story.
func (p *presence) over(t *track, now time.Time) bool {
	if t.fact {
		return now.Sub(t.last) >= p.absent+p.lockout
	}
	return now.Sub(t.last) > p.within
}

// forget drops the cards whose story is over, and if that makes no room, the
// one seen longest ago: its return would then be a fact of its own.
func (p *presence) forget(now time.Time) {
	oldest := ""
	for badge, t := range p.cards {
		if p.over(t, now) {
			delete(p.cards, badge)
		} else if oldest == "" || t.last.Before(p.cards[oldest].last) {
			oldest = badge
		}
	}
	if len(p.cards) >= maxTracks {
		delete(p.cards, oldest)
	}
}
