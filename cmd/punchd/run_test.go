package main

import (
	"context"
	"strings"
	"testing"
)

// To be told to stop while it still reads its ledger is a clean end too.
func TestStoppedWhileStarting(t *testing.T) {
	o := newOffice(t, punchesOf(1000)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, errOut, err := o.run(ctx, "run")
	if err != nil || !strings.Contains(errOut, "stopped before the start was through") {
		t.Errorf("%v: %s", err, errOut)
	}
}
