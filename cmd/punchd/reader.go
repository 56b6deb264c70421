package main

import (
	"context"
	"io"
	"os"
	"time"
)

// whileRead is a context that also ends when nobody reads an output any more,
// as after head has had enough. A write would tell it too, but the next one may
// be hours away. Where the system can't be asked, the write alone tells it.
func whileRead(ctx context.Context, out io.Writer, every time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	f, ok := out.(*os.File)
	if !ok {
		return ctx, cancel
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for !abandoned(f) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}
