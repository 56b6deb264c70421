package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/checkpoint"
	"github.com/punchd/punchd/sync/journal"
	"github.com/punchd/punchd/sync/ledger/audit"
)

// defaultLedger is where a ledger is if nobody says otherwise.
var defaultLedger = filepath.Join("punchd-data", journal.LedgerDir)

// verifyFlags are what verify is asked for.
type verifyFlags struct {
	ledger        string
	keys, witness []string
	punch         string
	seq           uint64
	to, proof     string
	json          bool
}

func newVerify() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check offline that no record was changed since the gateway signed it",
		Long: `verify reads a ledger, or a copy of one, and holds every record to the heads that
the gateway has signed. It needs the gateway's public key and nothing else: no
configuration and no daemon, though one may be running. Take the key from where
you know it is right, not from beside the ledger.

What was cut off at the end, only a head that was kept elsewhere can show: give
central's events of type attendance.checkpoint.v1, or heads as they are, with
--witness.

With --punch or --seq it writes a proof for one record: somebody who has neither
the ledger nor anything else of it can check that with --proof.

Its exit status is 1 if anything is not as it should be.`,
		Example: `  punchd verify --key keys/gateway.pub
  punchd verify --ledger /media/backup/punchd-data --key gateway.pub --witness central.jsonl
  punchd verify --key keys/gateway.pub --punch 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --to proof.txt
  punchd verify --key gateway.pub --proof proof.txt`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	c.Flags().StringVar(&f.ledger, "ledger", defaultLedger, "the ledger's directory, or the data directory that it is in")
	c.Flags().StringArrayVar(&f.keys, "key", nil, "file with the gateway's public key, as init writes it or in PEM; once more for each key that was replaced")
	c.Flags().StringArrayVar(&f.witness, "witness", nil, "file with signed heads that were kept elsewhere; may be given several times")
	c.Flags().StringVar(&f.punch, "punch", "", "write a proof for the punch with this key of 32 hex digits")
	c.Flags().Uint64Var(&f.seq, "seq", 0, "write a proof for the record with this sequence")
	c.Flags().StringVar(&f.to, "to", "", "file for the proof; standard output if there is none")
	c.Flags().StringVar(&f.proof, "proof", "", "check the proof in this file; needs no ledger")
	jsonFlag(c, &f.json, "print one JSON object")
	must(c.MarkFlagDirname("ledger"))
	for _, name := range []string{"key", "witness", "to", "proof"} {
		must(c.MarkFlagFilename(name))
	}
	for _, name := range []string{"punch", "seq"} {
		must(c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	return c
}

// sensible says what of the command line can't be meant together.
func (f *verifyFlags) sensible(c *cobra.Command) error {
	given := c.Flags().Changed
	proving := given("punch") || given("seq")
	wrong := ""
	switch {
	case len(f.keys) == 0:
		wrong = "give the gateway's public key: --key keys/gateway.pub, a file that punchd init wrote"
	case given("proof") && (given("ledger") || given("witness") || proving || given("to")):
		wrong = "--proof checks a proof by itself: of the other flags it takes --key and --json"
	case given("punch") && given("seq"):
		wrong = "name the record by --punch or by --seq, not by both"
	case given("to") && !proving:
		wrong = "--to is where a proof goes: of which record, say --punch or --seq"
	case proving && given("witness"):
		wrong = "a proof needs no --witness; check the ledger first, then write the proof"
	case proving && f.json && !given("to"):
		wrong = "with --json the proof must go to a file: --to"
	default:
		return nil
	}
	return &exitError{exitUsage, errors.New(wrong)}
}

func (f *verifyFlags) run(c *cobra.Command) error {
	if err := f.sensible(c); err != nil {
		return err
	}
	keys, err := readKeys(f.keys)
	if err != nil {
		return err
	}
	if f.proof != "" {
		return f.checkProof(c, keys)
	}
	o := audit.Options{Dir: ledgerIn(f.ledger), Keys: keys}
	switch {
	case c.Flags().Changed("punch"):
		key, err := attendance.ParseKey(f.punch)
		if err != nil {
			return &exitError{exitUsage, errors.New("--punch takes a key of 32 hex digits, as punchd punches list --json tells it; a sequence goes to --seq")}
		}
		return f.writeProof(c, o, func() (*checkpoint.Proof, error) { return audit.ProveKey(c.Context(), o, key) })
	case c.Flags().Changed("seq"):
		return f.writeProof(c, o, func() (*checkpoint.Proof, error) { return audit.Prove(c.Context(), o, f.seq) })
	}
	if o.Witness, err = readWitnesses(f.witness); err != nil {
		return err
	}
	return f.check(c, o)
}

// ledgerIn is the ledger's directory, which may be named by the one it is in.
func ledgerIn(dir string) string {
	if in := filepath.Join(dir, journal.LedgerDir); isDir(in) {
		return in
	}
	return dir
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// check checks the whole ledger.
func (f *verifyFlags) check(c *cobra.Command, o audit.Options) error {
	p := newProgress(c.ErrOrStderr())
	o.Progress = p.tell
	r, err := audit.Run(c.Context(), o)
	p.end()
	if err != nil {
		return noLedger(err, o.Dir)
	}
	if f.json {
		err = encodeReport(c.OutOrStdout(), r)
	} else {
		err = printReport(c.OutOrStdout(), r)
	}
	if err == nil && len(r.Findings) > 0 {
		err = errSilent
	}
	return err
}
