package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/punchd/punchd/sync/buffer"
	"github.com/punchd/punchd/sync/ledger"
)

// checkModes looks who may write to the directories of a journal. What others
// may write to they can replace. It is told and not refused: a gateway that does
// not start over it costs more punches than it saves.
func (f *findings) checkModes(log *slog.Logger, dir string) {
	if runtime.GOOS == "windows" { // its modes say nothing
		return
	}
	for _, d := range []string{dir, filepath.Join(dir, LedgerDir), filepath.Join(dir, bufferDir)} {
		fi, err := os.Stat(d)
		if err != nil || fi.Mode().Perm()&0o022 == 0 { // what is not there yet is made with 0700
			continue
		}
		log.Warn("others may write to the data directory and replace what is in it: chmod 700", "dir", d, "mode", fi.Mode().Perm())
		f.open = append(f.open, fmt.Sprintf("others may write to %s (mode %04o): chmod 700", d, fi.Mode().Perm()))
	}
}

// cantDecode takes in a record that is whole and can't be decoded.
func (f *findings) cantDecode(seq uint64) {
	f.mu.Lock()
	for i := range f.undecodable {
		u := &f.undecodable[i]
		switch {
		case u.First <= seq && seq <= u.Last:
			f.mu.Unlock()
			return
		case seq == u.Last+1 && f.keep == nil: // read in order, at the opening
			u.Last++
			f.mu.Unlock()
			return
		}
	}
	u := buffer.Finding{Kind: buffer.FoundUndecodable, First: seq, Last: seq}
	full := len(f.undecodable) >= maxFindings
	if full {
		f.dropped = true
	} else {
		f.undecodable = append(f.undecodable, u)
	}
	f.mu.Unlock()
	if !full {
		f.note(u)
	}
}

// note keeps a finding for the next start.
func (f *findings) note(b buffer.Finding) {
	f.mu.Lock()
	keep := f.keep
	f.mu.Unlock()
	if keep != nil {
		keep(b)
	}
}

// cured takes in that records can be read in the ledger again.
func (f *findings) cured(first, last uint64) {
	f.mu.Lock()
	before := f.kinds()
	f.said.Damage, f.said.Lost = without(f.said.Damage, first, last), without(f.said.Lost, first, last)
	after := f.kinds()
	keep, forget := f.keep, f.forget
	f.mu.Unlock()
	if keep == nil {
		return
	}
	var gone []buffer.Finding
	for b := range before {
		if !after[b] {
			gone = append(gone, b)
		}
	}
	for b := range after {
		if !before[b] {
			keep(b)
		}
	}
	forget(gone)
}

// kinds are the findings of damage and loss, as a set.
func (f *findings) kinds() map[buffer.Finding]bool {
	set := map[buffer.Finding]bool{}
	for _, d := range f.said.Damage {
		set[buffer.Finding{Kind: buffer.FoundDamage, First: d.First, Last: d.Last}] = true
	}
	for _, d := range f.said.Lost {
		set[buffer.Finding{Kind: buffer.FoundLost, First: d.First, Last: d.Last}] = true
	}
	return set
}

// without cuts a stretch out of others.
func without(all []ledger.Damage, first, last uint64) (rest []ledger.Damage) {
	for _, d := range all {
		if d.Last < first || d.First > last {
			rest = append(rest, d)
			continue
		}
		if d.First < first {
			before := d
			before.Last = first - 1
			rest = append(rest, before)
		}
		if d.Last > last {
			behind := d
			behind.First = last + 1
			rest = append(rest, behind)
		}
	}
	return rest
}

// repaired takes in that segments have whole headers again.
func (f *findings) repaired(names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said.Headers = slices.DeleteFunc(slices.Clone(f.said.Headers), func(h string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(h, name+": ") })
	})
}

// scrubbed takes in that everything was read.
func (f *findings) scrubbed(s Scrubbed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said.Scrub = &s
}

// all are the findings that are kept.
func (f *findings) all() (all []buffer.Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.said.Damage {
		all = append(all, buffer.Finding{Kind: buffer.FoundDamage, First: d.First, Last: d.Last})
	}
	for _, d := range f.said.Lost {
		all = append(all, buffer.Finding{Kind: buffer.FoundLost, First: d.First, Last: d.Last})
	}
	return append(all, f.undecodable...)
}

// whole says that every record can be read in the ledger, as far as is known.
func (f *findings) whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.said.Damage)+len(f.said.Lost) == 0
}

// recall looks at what earlier starts found, so that it is told until it is
// cured, and keeps what this one found.
func (j *Journal) recall() error {
	old, err := j.buffer.Findings()
	if err != nil {
		return err
	}
	for _, b := range old {
		if err := j.lookAgain(b); err != nil {
			return fmt.Errorf("journal: look again at records %d to %d: %w", b.First, b.Last, err)
		}
	}
	now, kept := j.found.all(), map[buffer.Finding]bool{}
	for _, b := range old {
		kept[b] = true
	}
	for _, b := range now {
		if !kept[b] {
			if err := j.buffer.Note(b); err != nil {
				return err
			}
		}
	}
	have := map[buffer.Finding]bool{}
	for _, b := range now {
		have[b] = true
	}
	old = slices.DeleteFunc(old, func(b buffer.Finding) bool { return have[b] })
	// If some did not fit into memory, what is not there is not cured for that.
	if len(old) > 0 && !j.found.dropped {
		if err := j.buffer.Forget(old...); err != nil {
			return err
		}
	}
	j.found.mu.Lock()
	defer j.found.mu.Unlock()
	j.found.forget = func(gone []buffer.Finding) {
		if err := j.buffer.Forget(gone...); err != nil {
			j.log.Warn("what is repaired will be looked for at the next start again", "err", err)
		}
	}
	j.found.keep = func(b buffer.Finding) {
		err := j.gate.room(0)
		if err == nil {
			err = j.buffer.Note(b)
		}
		if err != nil { // it is found again when it is read again
			j.log.Warn("what was found will be forgotten at the next start", "first", b.First, "last", b.Last, "err", err)
		}
	}
	return nil
}

// lookAgain reads what was found before. What is still wrong is found again by
// that, and what is cured is not.
func (j *Journal) lookAgain(b buffer.Finding) error {
	if b.Kind == buffer.FoundUndecodable { // a program that reads the first reads them all
		f, err := j.frame(b.First)
		if err == nil {
			_, err = record(&f)
		}
		if err != nil {
			j.found.mu.Lock()
			defer j.found.mu.Unlock()
			switch {
			case slices.Contains(j.found.undecodable, b):
			case len(j.found.undecodable) < maxFindings:
				j.found.undecodable = append(j.found.undecodable, b)
			default:
				j.found.dropped = true
			}
		}
		return nil
	}
	f := j.feed(b.First)
	defer f.r.Close()
	pos, next := f.pos, f.next
	if b.Kind == buffer.FoundDamage { // that there are copies is no news
		pos, next = f.r.Seq, f.r.Next
	}
	for pos() <= b.Last {
		_, err := next()
		if d, damaged := errors.AsType[*ledger.Damage](err); damaged {
			j.found.damaged(j.log, d)
			continue
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addProblems completes Stats by what is wrong now, and puts all of it in words.
func (j *Journal) addProblems(s *Stats) (err error) {
	if full := j.gate.intake(0); full != nil {
		s.Refusing = full.Error()
	}
	if s.Suspects, err = j.buffer.Suspects(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.found.mu.Lock()
	defer j.found.mu.Unlock()
	for _, u := range j.found.undecodable {
		s.Undecodable += u.Last - u.First + 1
	}
	say := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	more := func(what string, n int) {
		if n > maxShown {
			say("%s: %d more stretches of records, which the log names", what, n-maxShown)
		}
	}
	if s.Failure != nil {
		say("nothing is accepted any more: %v", s.Failure)
	}
	if s.Refusing != "" {
		say("new records are refused until there is room: %s", s.Refusing)
	}
	for i := range s.Lost {
		say("lost: %v, and there is no second copy", &s.Lost[i])
	}
	more("lost", len(j.found.said.Lost))
	for i := range s.Damage {
		say("damaged: %v", &s.Damage[i])
	}
	more("damaged", len(j.found.said.Damage))
	for _, u := range j.found.undecodable[:min(len(j.found.undecodable), maxShown)] {
		say("records %d to %d can't be decoded by this program; sinks stop before them, a newer program may read them", u.First, u.Last)
	}
	more("not to be decoded", len(j.found.undecodable))
	for _, h := range s.Headers {
		say("ledger segment %s", h)
	}
	if k := s.Scrub; k != nil && k.Differ > 0 {
		say("%d records say different things in the ledger and in their second copy; the log names them", k.Differ)
	}
	if k := s.Scrub; k != nil && k.Left > 0 {
		say("%d records have one readable copy alone, and could not be written to the other; the log says why", k.Left)
	}
	for _, x := range s.Suspects {
		say("%s", suspectProblem(&x, s))
	}
	s.Problems = append(s.Problems, j.found.open...)
	if err := j.notary.tell(s); err != nil {
		say("the ledger can't be signed: %v", err)
	}
	return nil
}

// suspectProblem says what to do with a buffer that was moved aside.
func suspectProblem(x *buffer.Suspect, s *Stats) string {
	why := ""
	if x.Reason != "" {
		why = " (" + x.Reason + ")"
	}
	what := "the ledger has all its records: it may be removed"
	switch {
	case x.Ledger == "":
		what = "which ledger it belongs to can't be told, so it is kept; remove it if no records are lost and there never was another ledger here"
	case x.Ledger != s.Ledger:
		what = fmt.Sprintf("it belongs to ledger %s, not to this one (%s), and may hold the only copy of its records; keep it until that ledger is safe elsewhere", x.Ledger, s.Ledger)
	case x.Needed != "":
		what = fmt.Sprintf("keep it, it may be the only copy of records: %s", x.Needed)
	case len(s.Damage)+len(s.Lost) > 0:
		what = "keep it until the ledger is whole again"
	}
	return fmt.Sprintf("a buffer could not be used and was moved to %s%s; %s", x.Path, why, what)
}
