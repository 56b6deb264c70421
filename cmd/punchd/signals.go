package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// outlive keeps a command from being killed where it has something to end
// cleanly. When the reader of its output is gone (head), its writes tell it, or
// fail unheard. When the window that it runs in is closed, the context ends,
// unless the command was started so that it survives that (nohup).
func outlive(ctx context.Context) (context.Context, func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	stop := func() {}
	if !signal.Ignored(syscall.SIGHUP) {
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	return ctx, func() { stop(); signal.Stop(broken) }
}
