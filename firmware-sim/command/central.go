package command

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/punchd/punchd/firmware-sim/central"
)

func newCentral() *cobra.Command {
	var (
		f                             common
		listen, secret, out           string
		fail, reject                  []string
		delay, jitter, retry, parkFor time.Duration
		lose, html                    float64
		maxHeld                       int
	)
	c := &cobra.Command{
		Use:   "central",
		Short: "Be the central service",
		Long: `central takes batches of punches by POST on any path, checks their signature,
holds what came first, and fails on demand. A GET tells what it has counted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := central.Config{Seed: f.seed, Out: out, MaxHeld: maxHeld, Faults: central.Faults{
				Lose: lose, HTML: html, Delay: delay, Jitter: jitter, RetryAfter: retry, ParkFor: parkFor,
			}}
			for _, text := range fail {
				if err := parseFail(text, &cfg.Faults); err != nil {
					return err
				}
			}
			for _, text := range reject {
				if err := parseReject(text, &cfg.Faults); err != nil {
					return err
				}
			}
			if secret != "" {
				text, err := os.ReadFile(secret)
				if err != nil {
					return fmt.Errorf("--secret: %w", err)
				}
				cfg.Secrets = strings.Fields(string(text))
			}
			svc, err := central.New(cfg)
			if err != nil {
				return usageError{err}
			}
			return serveCentral(c, &f, svc, listen)
		},
	}
	f.add(c, "its counts")
	fl := c.Flags()
	fl.StringVar(&listen, "listen", "127.0.0.1:8099", "address to listen on")
	fl.StringVar(&secret, "secret", "", "file with the secret of the signatures (whsec_...), or several; none checks none")
	fl.StringVar(&out, "out", "", "file to add every event to, one line of JSON each; what it holds is held from the start")
	fl.IntVar(&maxHeld, "max-held", 0, "events it holds at most (default 1000000)")
	fl.StringArrayVar(&fail, "fail", nil, "a share that fails (0.2), a status that all fail with (503), or both (0.2:503)")
	fl.DurationVar(&delay, "delay", 0, "time before each answer")
	fl.DurationVar(&jitter, "jitter", 0, "and up to so much more, by chance")
	fl.Float64Var(&lose, "lose-answer", 0, "share of batches that are taken and whose answer is lost")
	fl.Float64Var(&html, "html", 0, "share answered with a portal's page and status 200")
	fl.StringArrayVar(&reject, "reject", nil, "park=, dead= or poison= an employee or a share: park=E1001, dead=0.01; may be repeated")
	fl.DurationVar(&retry, "retry-after", 0, "time told with failures, in whole seconds")
	fl.DurationVar(&parkFor, "park-for", 0, "time told with what is parked")
	return c
}

// parseFail reads 0.2, 503 or 0.2:503.
func parseFail(text string, f *central.Faults) error {
	share, status, both := strings.Cut(text, ":")
	if !both && len(text) == 3 && !strings.Contains(text, ".") {
		share, status = "1", text
	}
	v, err := strconv.ParseFloat(share, 64)
	if err == nil && status != "" {
		f.FailStatus, err = strconv.Atoi(status)
	}
	if err != nil {
		return usagef("--fail %q is neither a share (0.2), a status (503) nor both (0.2:503)", text)
	}
	f.Fail = v
	return nil
}

// parseReject reads park=E1001 or park=0.1.
func parseReject(text string, f *central.Faults) error {
	kind, value, _ := strings.Cut(text, "=")
	lists := map[string]*[]string{"park": &f.Park, "dead": &f.Dead, "poison": &f.Poison}
	shares := map[string]*float64{"park": &f.ParkShare, "dead": &f.DeadShare, "poison": &f.PoisonShare}
	list, known := lists[kind]
	if !known || value == "" {
		return usagef("--reject %q does not begin with park=, dead= or poison=", text)
	}
	if share, err := strconv.ParseFloat(value, 64); err == nil && share <= 1 {
		*shares[kind] = share
		return nil
	}
	*list = append(*list, value)
	return nil
}

func serveCentral(c *cobra.Command, f *common, svc *central.Central, listen string) (err error) {
	ctx, cancel := f.context(c.Context())
	defer cancel()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if err := f.say(c, "central on http://%s/, seed %d", l.Addr(), f.seed); err != nil {
		return err
	}
	serveErr := svc.Serve(ctx, l)
	stats := svc.Stats()
	if err := svc.Close(); err != nil {
		return fmt.Errorf("%w (serving: %v)", err, serveErr)
	}
	if serveErr != nil {
		return serveErr
	}
	return f.end(c.OutOrStdout(), stats, "%d requests, %d events received, %d distinct", stats.Requests, stats.Received, stats.Distinct)
}
