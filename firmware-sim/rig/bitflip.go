package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// BitflipConfig says which bits of a gateway's storage to flip.
type BitflipConfig struct {
	Records int  // punches in the ledger
	All     bool // every bit of it
	Random  int  // else so many rounds, each with one bit of every record
	Buffer  int  // rounds with a bit of the buffer, chosen by chance
	Blind   bool // don't look for what was flipped: the rig must then fail
	Seed    uint64
	Daemon  string // the program
	Dir     string // where to work
	Out     io.Writer
}

// bitflipRun is one run of the rig.
type bitflipRun struct {
	cfg     BitflipConfig
	world   *World
	daemon  *Daemon
	random  *rand.Rand
	base    string // the data directory as it was
	frames  []stretch
	headers []stretch
	files   []string // of the buffer, below the data directory
	rounds  int
	fails   map[int]string
	flips   int
}

// stretch is a part of a file of the ledger.
type stretch struct {
	file     string
	off, len int64
}

// Bitflip flips bits of what a gateway keeps while it is stopped, and has it
// repaired. A round passes if the ledger then is what it was, byte for byte, and
// the gateway neither loses nor doubles anything for it.
//
// In one round a bit of every record of the ledger is flipped at once, since a
// round for each of some five million bits would take days: what is not noticed
// in one record is no less unnoticed for those beside it.
func Bitflip(ctx context.Context, cfg BitflipConfig) (err error) {
	r := &bitflipRun{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 2)), fails: map[int]string{}}
	if r.world, err = NewWorld(Scene{Seed: cfg.Seed, Terminals: 2, Users: 60, Logs: (cfg.Records + 1) / 2, Native: 1}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.world.Close()) }()
	if err := r.world.WriteFiles(cfg.Dir); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(cfg.Dir, "punchd.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	r.daemon = &Daemon{Path: cfg.Daemon, Dir: cfg.Dir, Log: log}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- r.world.Serve(serving) }()
	err = r.run(ctx)
	stop()
	if err = errors.Join(err, <-served); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(cfg.Out, "%d bits flipped in %d records, %d copies of headers and %d files of the buffer\n", r.flips, len(r.frames), len(r.headers), len(r.files)); err != nil {
		return err
	}
	return report(cfg.Out, cfg.Seed, r.rounds, r.fails)
}

func (r *bitflipRun) run(ctx context.Context) error {
	if err := r.fill(ctx); err != nil {
		return err
	}
	bits := r.bits()
	if !r.cfg.All {
		bits = r.some(bits)
	}
	told := time.Now()
	total := len(bits) + r.cfg.Buffer
	for i := range total {
		var err error
		if i < len(bits) {
			err = r.ledgerRound(ctx, bits[i])
		} else {
			err = r.bufferRound(ctx)
		}
		if err != nil {
			return err
		}
		r.rounds++
		if i+1 == total || time.Since(told) > 5*time.Second {
			told = time.Now()
			if _, err := fmt.Fprintf(r.cfg.Out, "%d of %d rounds, %d failed\n", i+1, total, len(r.fails)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill has the gateway take in all logs, stops it, and keeps what it has then.
func (r *bitflipRun) fill(ctx context.Context) error {
	if err := r.world.serveOnce(ctx, r.daemon); err != nil {
		return err
	}
	r.base = filepath.Join(r.cfg.Dir, "base")
	data := filepath.Join(r.cfg.Dir, dataDir)
	if err := os.CopyFS(r.base, os.DirFS(data)); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	segments, err := filepath.Glob(filepath.Join(r.base, "ledger", "*.seg"))
	if err != nil {
		return err
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Join("ledger", filepath.Base(path))
		r.headers = append(r.headers, stretch{name, 0, ledgerHeader}, stretch{name, ledgerSecond, ledgerHeader})
		for _, f := range ledgerFrames(b) {
			r.frames = append(r.frames, stretch{name, f.off, f.len})
		}
	}
	if len(r.frames) < r.cfg.Records {
		return fmt.Errorf("rig: the ledger has %d records, and should have %d", len(r.frames), r.cfg.Records)
	}
	return r.listBuffer()
}

func (r *bitflipRun) listBuffer() error {
	entries, err := os.ReadDir(filepath.Join(r.base, "buffer"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			r.files = append(r.files, filepath.Join("buffer", e.Name()))
		}
	}
	if len(r.files) == 0 {
		return errors.New("rig: the buffer has no files")
	}
	return nil
}

// bits are the numbers of the bits that a record or a header has.
func (r *bitflipRun) bits() (bits []int64) {
	longest := int64(0)
	for _, p := range slices.Concat(r.frames, r.headers) {
		longest = max(longest, p.len)
	}
	for n := range longest * 8 {
		bits = append(bits, n)
	}
	return bits
}

// some are bits chosen by chance: most of those that every second record has,
// since only signed heads are so long that they have the others.
func (r *bitflipRun) some(bits []int64) []int64 {
	lengths := make([]int64, len(r.frames))
	for i, p := range r.frames {
		lengths[i] = p.len * 8
	}
	slices.Sort(lengths)
	common := slices.Clone(bits[:lengths[len(lengths)/2]])
	rare := bits[len(common):]
	for _, b := range [][]int64{common, rare} {
		r.random.Shuffle(len(b), func(i, k int) { b[i], b[k] = b[k], b[i] })
	}
	few := min(r.cfg.Random/4, len(rare))
	return append(common[:min(r.cfg.Random-few, len(common))], rare[:few]...)
}

// ledgerRound flips one bit of every record, and of one copy of each header.
func (r *bitflipRun) ledgerRound(ctx context.Context, bit int64) error {
	if err := r.reset(); err != nil {
		return err
	}
	flipped := map[string][]byte{}
	for _, p := range r.headers {
		b, err := os.ReadFile(filepath.Join(r.base, p.file))
		if err != nil {
			return err
		}
		flipped[p.file] = b
	}
	flip := func(p stretch, bit int64) {
		if bit >= p.len*8 {
			return
		}
		flipped[p.file][p.off+bit/8] ^= 1 << (bit % 8)
		r.flips++
	}
	for _, p := range r.frames {
		flip(p, bit)
	}
	for i, p := range r.headers { // one copy in this round, the other in another
		if half := int64(ledgerHeader * 8); int64(i%2) == bit/half {
			flip(p, bit%half)
		}
	}
	for file, b := range flipped {
		if err := os.WriteFile(filepath.Join(r.cfg.Dir, dataDir, file), b, 0o600); err != nil {
			return err
		}
	}
	if err := r.doctor(ctx, fmt.Sprintf("bit %d of every record", bit)); err != nil {
		return err
	}
	return r.compare(fmt.Sprintf("bit %d of every record", bit))
}

// bufferRound flips one bit of the buffer.
func (r *bitflipRun) bufferRound(ctx context.Context) error {
	if err := r.reset(); err != nil {
		return err
	}
	file := r.files[r.random.IntN(len(r.files))]
	path := filepath.Join(r.cfg.Dir, dataDir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	used := len(bytes.TrimRight(b, "\x00")) // Badger's files are made larger than what is in them
	at := r.random.IntN(max(used, 1))
	bit := r.random.IntN(8)
	b[at] ^= 1 << bit
	r.flips++
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	what := fmt.Sprintf("bit %d of byte %d of %s", bit, at, file)
	if err := r.doctor(ctx, what); err != nil {
		return err
	}
	if err := r.compare(what); err != nil {
		return err
	}
	// The gateway reads the terminals' logs again: a buffer that is wrong about
	// what it has would have them doubled.
	if err := r.world.serveOnce(ctx, r.daemon); err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.fail("%s: %v", what, err)
		return nil
	}
	return r.recount(what)
}

// recount counts what the ledger and central have after the gateway ran again.
func (r *bitflipRun) recount(what string) error {
	seen, _, err := r.world.Held()
	if err != nil {
		return err
	}
	if t := Check(r.world.Made(false), seen); !t.Clean() {
		r.fail("%s: %s", what, t)
	}
	punches := 0
	segments, err := filepath.Glob(filepath.Join(r.cfg.Dir, dataDir, "ledger", "*.seg"))
	for _, path := range segments {
		var b []byte
		if b, err = os.ReadFile(path); err != nil {
			break
		}
		for _, f := range ledgerFrames(b) {
			if f.kind == ledgerPunch {
				punches++
			}
		}
	}
	if made := len(r.world.Made(false)); err == nil && punches != made {
		r.fail("%s: the ledger has %d punches, %d were made", what, punches, made)
	}
	return err
}

// reset brings back the data directory as it was.
func (r *bitflipRun) reset() error {
	data := filepath.Join(r.cfg.Dir, dataDir)
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	return os.CopyFS(data, os.DirFS(r.base))
}

// doctor has everything read and repaired. It must find the storage whole then;
// a buffer that was moved aside, which stays for a person to look at, is told.
func (r *bitflipRun) doctor(ctx context.Context, what string) error {
	if r.cfg.Blind {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	cmd := exec.CommandContext(within, r.cfg.Daemon, "doctor", "--storage", "--json", "-c", "punchd.yaml")
	cmd.Dir, cmd.Stderr = r.cfg.Dir, r.daemon.Log
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var found struct{ Lost, Left, Differ uint64 }
	if jerr := json.Unmarshal(out, &found); jerr != nil {
		r.fail("%s: doctor: %v", what, errors.Join(err, jerr))
	} else if found.Lost+found.Left+found.Differ > 0 {
		r.fail("%s: doctor says %s", what, bytes.TrimSpace(out))
	}
	return nil
}

// compare holds the records and headers of the ledger to what they were.
func (r *bitflipRun) compare(what string) error {
	for _, p := range slices.Concat(r.frames, r.headers) {
		was, err := readStretch(r.base, p)
		if err != nil {
			return err
		}
		is, err := readStretch(filepath.Join(r.cfg.Dir, dataDir), p)
		if err != nil {
			return err
		}
		if !bytes.Equal(was, is) {
			r.fail("%s: %s is not what it was at byte %d", what, p.file, p.off)
			return nil
		}
	}
	return nil
}

func readStretch(dir string, p stretch) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, p.file))
	if err != nil {
		return nil, err
	}
	b := make([]byte, p.len)
	_, err = f.ReadAt(b, p.off)
	return b, errors.Join(err, f.Close())
}

// fail notes what went wrong first in this round.
func (r *bitflipRun) fail(format string, args ...any) {
	if _, failed := r.fails[r.rounds]; !failed {
		r.fails[r.rounds] = fmt.Sprintf(format, args...)
	}
}
