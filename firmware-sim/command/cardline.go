package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/reader"
	"github.com/punchd/punchd/protocol/cardline"
)

func newCardline() *cobra.Command {
	var (
		f              common
		cfg            reader.Config
		serial         string
		pace           reader.Pace
		form           string
		pattern, ends  string
		prefix, suffix string
	)
	c := &cobra.Command{
		Use:   "cardline",
		Short: "Be a card reader that only talks: RDM6300, ID-12 or lines of text",
		Long: `cardline shows cards at a reader that talks into a serial port: one that is named
with --serial, or a pty whose path it prints, for the link of a gateway:
serial:///dev/pts/N`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Seed, cfg.Form = f.seed, cardline.Form(form)
			if cfg.Format == reader.FormatLine {
				cfg.Line = cardline.Line{Prefix: prefix, Suffix: suffix, Pattern: pattern, Terminator: cardline.Terminator(ends), Form: cfg.Form}
				cfg.Form = ""
			}
			ctx, cancel := f.context(c.Context())
			defer cancel()
			if pace.Count == 0 && pace.For == 0 {
				pace.For = forever
			}
			return showCards(ctx, c, &f, cfg, serial, pace)
		},
	}
	f.add(c, "the cards shown")
	fl := c.Flags()
	fl.StringVar(&serial, "serial", "", "port to write to; without it a pty is made")
	fl.StringVar(&cfg.Format, "format", reader.FormatRDM6300, "rdm6300, id12 or line")
	fl.StringVar(&form, "form", "", "how the gateway writes the badge: hex, dec10 or fc,cn")
	fl.StringSliceVar(&cfg.Cards, "card", nil, "card to show, ten hex digits or a line's text; may be repeated; without any eight are made up")
	fl.IntVar(&pace.Count, "punches", 0, "end after so many; 0 is never")
	fl.DurationVar(&pace.Every, "pace", 2*time.Second, "time between two cards")
	fl.StringVar(&prefix, "prefix", "", "before every line")
	fl.StringVar(&suffix, "suffix", "", "behind every line")
	fl.StringVar(&pattern, "pattern", "", "of a line, as in the gateway's configuration")
	fl.StringVar(&ends, "terminator", "", "of a line: cr, lf, crlf, tab, etx or idle")
	fl.Float64Var(&cfg.Faults.BadChecksum, "bad-checksum", 0, "chance that a presentation has a frame with a wrong checksum")
	fl.Float64Var(&cfg.Faults.Ghost, "ghost", 0, "chance of a frame of a card that is not there")
	fl.Float64Var(&cfg.Faults.Noise, "noise", 0, "chance of bytes that are no frame")
	fl.Float64Var(&cfg.Faults.Cut, "cut", 0, "chance of a frame that breaks off")
	fl.BoolVar(&cfg.Faults.Bytewise, "bytewise", false, "write every byte alone")
	return c
}

// forever is longer than any run.
const forever = 100_000 * time.Hour

func showCards(ctx context.Context, c *cobra.Command, f *common, cfg reader.Config, serial string, pace reader.Pace) (err error) {
	var port io.WriteCloser
	if serial == "" {
		tty, err := reader.OpenPTY()
		if err != nil {
			return err
		}
		port, serial = tty, tty.Path
	} else if port, err = os.OpenFile(serial, os.O_WRONLY, 0); err != nil {
		return fmt.Errorf("--serial: %w", err)
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	r, err := reader.New(cfg, port)
	if err != nil {
		return usageError{err}
	}
	if err := f.say(c, "%s reader at serial://%s, %d cards, seed %d", cfg.Format, serial, len(r.Cards()), f.seed); err != nil {
		return err
	}
	if err := r.Run(ctx, pace); err != nil {
		return err
	}
	made := r.Made()
	return f.end(c.OutOrStdout(), made, "%d cards shown", len(made))
}
