package gateway

import (
	"os"
	"time"

	"github.com/punchd/punchd/device"
	phonedriver "github.com/punchd/punchd/device/phone"
	"github.com/punchd/punchd/sync/forward"
	"github.com/punchd/punchd/sync/journal"
)

// Status is the daemon's state as `punchd status` shows it. Its JSON names are
// part of that command's interface.
type Status struct {
	Site     string    `json:"site"`
	Gateway  string    `json:"gateway"`
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	At       time.Time `json:"at"`
	Problems []string  `json:"problems"` // what a person must see to; empty if all is well

	Ledger  LedgerStatus   `json:"ledger"`
	Counts  CountStatus    `json:"since_start"`
	Devices []DeviceStatus `json:"devices"`
	Phones  *PhoneStatus   `json:"phones,omitempty"`
	Sinks   []SinkStatus   `json:"sinks"`
	Roster  RosterStatus   `json:"roster"`
}

// LedgerStatus is what is on disk.
type LedgerStatus struct {
	ID          string            `json:"id"`
	Records     uint64            `json:"records"`
	Punches     uint64            `json:"punches"`
	Verdicts    map[string]uint64 `json:"verdicts"`
	LedgerBytes int64             `json:"ledger_bytes"`
	BufferBytes int64             `json:"buffer_bytes"`
	FreeBytes   uint64            `json:"free_bytes"`
	CommitP50MS float64           `json:"commit_p50_ms"` // of the newest commits, the disk's part
	CommitP99MS float64           `json:"commit_p99_ms"`
	Scrub       *journal.Scrubbed `json:"scrub,omitempty"`     // when all of it was read last, in both copies
	Signed      uint64            `json:"signed"`              // the first so many records are under a signed head
	SignedAt    *time.Time        `json:"signed_at,omitempty"` // when the newest head was signed; none yet by this key
	Damaged     []string          `json:"damaged,omitempty"`   // stretches that can't be read
	Lost        []string          `json:"lost,omitempty"`      // those without a second copy
}

// CountStatus counts what became durable since the start.
type CountStatus struct {
	Terminal   uint64            `json:"terminal_punches"`
	Reader     uint64            `json:"reader_punches"`
	CheckIns   uint64            `json:"checkins"`
	Duplicates uint64            `json:"duplicates"` // repetitions, which change nothing
	Verdicts   map[string]uint64 `json:"verdicts"`
}

// DeviceStatus is a terminal or reader.
type DeviceStatus struct {
	ID         string     `json:"id"`
	Driver     string     `json:"driver"`
	Address    string     `json:"address"`
	Online     bool       `json:"online"`
	Since      *time.Time `json:"since,omitempty"`
	Error      string     `json:"error,omitempty"`
	ErrorSince *time.Time `json:"error_since,omitempty"` // of a terminal or reader: since when it has had one
	Serial     string     `json:"serial,omitempty"`
	Model      string     `json:"model,omitempty"`
	Firmware   string     `json:"firmware,omitempty"`
	LastHeard  *time.Time `json:"last_heard,omitempty"` // any word of it
	LastRead   *time.Time `json:"last_read,omitempty"`  // a complete read of a terminal's log
	LogCount   int        `json:"log_count,omitempty"`
	Punches    uint64     `json:"punches"` // handed over since the start, repetitions included
	New        uint64     `json:"new"`     // those of them that the ledger did not have yet
	BadFrames  uint64     `json:"bad_frames,omitempty"`
	SkewMS     *int64     `json:"skew_ms,omitempty"`
	Notes      []string   `json:"notes,omitempty"`
}

// PhoneStatus is how phones reach the gateway.
type PhoneStatus struct {
	DeviceStatus
	Stats phonedriver.Stats `json:"stats"`
}

// SinkStatus is a sink.
type SinkStatus struct {
	Name      string     `json:"name"`
	Online    bool       `json:"online"`
	Since     *time.Time `json:"since,omitempty"`
	Alarm     string     `json:"alarm,omitempty"`
	Error     string     `json:"error,omitempty"`
	NextTry   *time.Time `json:"next_try,omitempty"`
	LastSent  *time.Time `json:"last_sent,omitempty"`
	Cursor    uint64     `json:"cursor"`  // first record of the ledger it has not answered for
	Pending   uint64     `json:"pending"` // punches that wait
	Parked    uint64     `json:"parked"`  // punches it will not take yet
	Dead      uint64     `json:"dead"`    // punches it never will take
	Settled   uint64     `json:"settled"` // punches it has
	Requests  uint64     `json:"requests"`
	Failures  uint64     `json:"failures"`
	NoWitness string     `json:"no_witness,omitempty"` // why it took no signed head of the ledger
	Duplicate uint64     `json:"duplicates"`           // answers that it had the punch already
}

// RosterStatus is the roster in force.
type RosterStatus struct {
	Version   string    `json:"version"`
	LoadedAt  time.Time `json:"loaded_at"`
	Source    string    `json:"source"`
	FromCache bool      `json:"from_cache,omitempty"`
	Error     string    `json:"error,omitempty"` // why the file can't be used; the last good roster is in force
	Employees int       `json:"employees"`
	Places    int       `json:"places"`
}

// Status tells the daemon's state. It may be called while Run does its work.
func (g *Gateway) Status() *Status {
	js, err := g.journal.Stats()
	now := g.judgement.Load().roster
	s := &Status{
		Site: g.cfg.Site.ID, Gateway: g.cfg.Gateway.ID, Version: g.opt.Version, PID: os.Getpid(),
		Started: g.started.UTC(), At: time.Now().UTC(), Problems: []string{}, Sinks: []SinkStatus{},
		Ledger: ledgerStatus(&js), Counts: g.counts.status(),
		Roster: RosterStatus{
			Version: now.Version, LoadedAt: now.LoadedAt.UTC(), Source: now.Source, FromCache: now.FromCache,
			Employees: len(now.Roster.Employees), Places: len(now.Roster.Places),
		},
	}
	if err := g.roster.Err(); err != nil {
		s.Roster.Error = err.Error()
	}
	if err != nil {
		s.problem("%v", err)
	}
	s.ledgerProblems(&js)
	s.Devices = g.deviceStates(s.At)
	if g.mqtt != nil {
		s.Phones = &PhoneStatus{deviceStatus(g.mqtt.State()), g.mqtt.Stats()}
		s.Phones.New = s.Counts.CheckIns
	}
	for _, f := range g.forwarders {
		s.Sinks = append(s.Sinks, sinkStatus(f.State(), js.Sinks, js.Punches))
	}
	s.otherProblems()
	return s
}

func ledgerStatus(js *journal.Stats) LedgerStatus {
	l := LedgerStatus{
		ID: js.Ledger, Records: js.Next, Punches: js.Punches, Verdicts: byVerdict(func(i int) uint64 { return js.Verdicts[i] }),
		LedgerBytes: js.LedgerBytes, BufferBytes: js.BufferBytes, FreeBytes: js.FreeBytes,
		CommitP50MS: milliseconds(js.Commit.P50), CommitP99MS: milliseconds(js.Commit.P99),
	}
	l.Scrub = js.Scrub
	if js.Signed != nil {
		l.Signed, l.SignedAt = js.Signed.Records, moment(js.Signed.At)
	}
	for i := range js.Damage {
		l.Damaged = append(l.Damaged, js.Damage[i].Error())
	}
	for i := range js.Lost {
		l.Lost = append(l.Lost, js.Lost[i].Error())
	}
	return l
}

func deviceStatus(d device.State) DeviceStatus {
	s := DeviceStatus{
		ID: d.ID, Driver: d.Driver, Address: d.Address, Online: d.Online, Since: moment(d.Since), Error: d.LastError, Serial: d.Serial,
		Model: d.Model, Firmware: d.Firmware, LastRead: moment(d.LastRead), LogCount: d.LogCount, Punches: d.Emitted, BadFrames: d.BadFrames, Notes: d.Notes,
	}
	s.LastHeard = s.LastRead
	if d.LastHeard.After(d.LastRead) {
		s.LastHeard = moment(d.LastHeard)
	}
	if d.Skew != nil {
		ms := d.Skew.Milliseconds()
		s.SkewMS = &ms
	}
	return s
}

func sinkStatus(f forward.State, known []journal.SinkStats, punches uint64) SinkStatus {
	s := SinkStatus{
		Name: f.Sink, Online: f.Online, Since: moment(f.Since), Alarm: f.Alarm, Error: f.LastError, NextTry: moment(f.NextTry),
		LastSent: moment(f.LastSent), NoWitness: f.NoWitness, Requests: f.Requests, Failures: f.Failures, Duplicate: f.Duplicates,
		Pending: punches, // of a sink that has not answered for anything yet
	}
	for _, k := range known {
		if k.Name == f.Sink {
			s.Cursor, s.Pending, s.Parked, s.Dead, s.Settled = k.Cursor, k.Pending, k.Parked, k.Dead, k.Settled
		}
	}
	return s
}

// moment is a time for JSON, nil if it is not set.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
