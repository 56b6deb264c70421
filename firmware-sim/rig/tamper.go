package rig

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/punchd/punchd/protocol/cloudevents"
)

// TamperConfig says which gateway's past to change.
type TamperConfig struct {
	Seed   uint64
	Second []string // command of a second verifier; its arguments come behind. Empty: none
	Blind  bool     // change nothing: the rig must then fail
	Daemon string   // the program
	Dir    string   // where to work
	Out    io.Writer
}

// tamperRun is one run of the rig.
type tamperRun struct {
	cfg    TamperConfig
	world  *World
	daemon *Daemon
	path   string // of the segment
	book   *book
}

// Tamper changes the past of a ledger in every way that it knows, as somebody
// can who has the machine and not the gateway's key, and asks the verifiers. A
// round passes if each finds it; before and after, the ledger as it was must
// pass them.
func Tamper(ctx context.Context, cfg TamperConfig) (err error) {
	r := &tamperRun{cfg: cfg}
	if r.world, err = NewWorld(Scene{
		Seed: cfg.Seed, Terminals: 2, Users: 60, Logs: 300, TerminalPace: 20 * time.Millisecond,
		Native: 4, OwnTracks: 4, PhonePace: 20 * time.Millisecond,
	}); err != nil {
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
	if err := r.fill(ctx); err != nil {
		return err
	}
	return r.rounds(ctx)
}

// fill has the gateway run some times, each of which ends with a signed head
// that central gets in the next.
func (r *tamperRun) fill(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- r.world.Serve(serving) }()
	var err error
	for range 5 {
		if err = r.world.serveOnce(ctx, r.daemon); err != nil {
			break
		}
		punching, done := context.WithTimeout(ctx, 300*time.Millisecond)
		err = r.world.Punch(punching) // at terminals, which keep it
		done()
		if err != nil {
			break
		}
	}
	stop()
	if err := errors.Join(err, <-served); err != nil {
		return err
	}
	if err := r.writeWitness(); err != nil {
		return err
	}
	return r.read()
}

// read reads the ledger.
func (r *tamperRun) read() error {
	segments, err := filepath.Glob(filepath.Join(r.cfg.Dir, dataDir, "ledger", "*.seg"))
	if err != nil || len(segments) != 1 {
		return fmt.Errorf("rig: the ledger has %d segments, one is wanted (%w)", len(segments), err)
	}
	r.path = segments[0]
	b, err := os.ReadFile(r.path)
	if err != nil {
		return err
	}
	if r.book, err = readBook(b); err != nil {
		return err
	}
	if heads := len(r.book.of(ledgerCheckpoint)); heads < 4 {
		return fmt.Errorf("rig: the ledger has %d signed heads, at least 4 are needed", heads)
	}
	return nil
}

// The files that a verifier is given.
const (
	witnessFile = "witness.jsonl"
	publicFile  = "gateway.pem"
)

// writeWitness writes the heads that central got, and the gateway's public key.
func (r *tamperRun) writeWitness() error {
	events, err := r.world.central.Held()
	if err != nil {
		return err
	}
	var lines []byte
	for i := range events {
		if events[i].Type == cloudevents.TypeCheckpoint {
			lines = append(append(lines, events[i].Raw...), '\n')
		}
	}
	der, err := x509.MarshalPKIXPublicKey(r.world.key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return errors.Join(
		os.WriteFile(filepath.Join(r.cfg.Dir, witnessFile), lines, 0o600),
		os.WriteFile(filepath.Join(r.cfg.Dir, publicFile), public, 0o600))
}

// rounds tries every tampering.
func (r *tamperRun) rounds(ctx context.Context) error {
	fails := map[int]string{}
	all := tamperings()
	if err := r.untouched(ctx); err != nil {
		return err
	}
	for i, t := range all {
		changed := r.book.clone()
		if !r.cfg.Blind {
			t.change(changed)
		}
		if err := os.WriteFile(r.path, changed.bytes(), 0o600); err != nil {
			return err
		}
		for _, verifier := range r.verifiers() {
			found, told, err := r.verify(ctx, verifier, t.witness)
			if err != nil {
				return err
			}
			if !found {
				fails[i] += fmt.Sprintf("%s: %s does not find it: %s; ", t.name, filepath.Base(verifier[len(verifier)-1]), told)
			}
		}
	}
	if err := os.WriteFile(r.path, r.book.bytes(), 0o600); err != nil {
		return err
	}
	if err := r.untouched(ctx); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(r.cfg.Out, "%d records with %d signed heads, changed in %d ways, %d verifiers\n",
		len(r.book.records), len(r.book.of(ledgerCheckpoint)), len(all), len(r.verifiers())); err != nil {
		return err
	}
	return report(r.cfg.Out, r.cfg.Seed, len(all), fails)
}

// untouched has the ledger verified as it is.
func (r *tamperRun) untouched(ctx context.Context) error {
	for _, verifier := range r.verifiers() {
		found, told, err := r.verify(ctx, verifier, true)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("rig: %s finds something in a ledger that nobody changed: %s", verifier[0], told)
		}
	}
	return nil
}

func (r *tamperRun) verifiers() [][]string {
	all := [][]string{{r.cfg.Daemon, "verify"}}
	if len(r.cfg.Second) > 0 {
		all = append(all, r.cfg.Second)
	}
	return all
}

// verify asks a verifier. Its exit status says whether it found something.
func (r *tamperRun) verify(ctx context.Context, verifier []string, witness bool) (found bool, told string, err error) {
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	args := append(verifier[1:len(verifier):len(verifier)], "--ledger", filepath.Dir(r.path), "--key", filepath.Join(r.cfg.Dir, publicFile), "--json")
	if witness {
		args = append(args, "--witness", filepath.Join(r.cfg.Dir, witnessFile))
	}
	cmd := exec.CommandContext(within, verifier[0], args...)
	cmd.Stderr = r.daemon.Log
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return false, "", ctx.Err()
	}
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && (!failed || exit.ExitCode() != 1) {
		return false, "", fmt.Errorf("rig: %s: %w", verifier[0], err)
	}
	if !json.Valid(out) && err == nil {
		return false, "", fmt.Errorf("rig: %s does not answer in JSON: %.200s", verifier[0], out)
	}
	return failed, fmt.Sprintf("%.300s", out), nil
}
