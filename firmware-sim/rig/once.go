package rig

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// serveOnce runs the gateway until central has all there is, and stops it.
func (w *World) serveOnce(ctx context.Context, d *Daemon) error {
	p, err := d.Start()
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	err = p.Ready(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		var seen []Seen
		if seen, _, err = w.Held(); err == nil && Check(w.Made(false), seen).Lost == 0 {
			return p.Stop(stopPatience)
		}
		select {
		case <-tick.C:
		case <-p.Exited():
			return fmt.Errorf("rig: the daemon ended: %w", errors.Join(p.err, errors.New("see its log")))
		case <-within.Done():
			err = fmt.Errorf("rig: central has not got everything: %w", within.Err())
		}
	}
	return errors.Join(err, p.Kill())
}
