package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/cmd/internal/gateway"
)

// logFlags say what a daemon tells, and how.
type logFlags struct{ level, format string }

func (f *logFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&f.format, "log-format", "text", "text or json")
	must(c.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--log-level %q is none of debug, info, warn, error", f.level)}
	}
	opt := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return nil, &exitError{exitUsage, fmt.Errorf("--log-format %q is neither text nor json", f.format)}
}

func newRun() *cobra.Command {
	var (
		file string
		logs logFlags
	)
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway until it is told to stop (Ctrl-C, SIGTERM or SIGHUP)",
		Long: `run runs the gateway until it is told to stop: by Ctrl-C, by SIGTERM, or by the
end of its terminal (SIGHUP), unless it was started with nohup. It tells what
happens on standard error, and goes on if nobody reads that any more.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logs.logger(c.ErrOrStderr())
			if err != nil {
				return err
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			ctx, stop := outlive(c.Context())
			defer stop()
			g, err := gateway.New(ctx, cfg, gateway.Options{Log: log, Version: readBuildInfo().Version})
			switch {
			case ctx.Err() != nil && errors.Is(err, context.Canceled): // as asked, if early
				log.Info("stopped before the start was through", "err", err)
				return nil
			case err != nil:
				return coded(err)
			}
			return coded(g.Run(ctx))
		},
	}
	configFlag(c, &file)
	logs.add(c)
	return c
}
