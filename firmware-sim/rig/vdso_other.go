//go:build !linux || !amd64

package rig

import (
	"errors"
	"os/exec"
	"time"
)

// ErrNoClock says that no process can be given a clock of its own here.
var ErrNoClock = errors.New("rig: only on Linux on amd64 a program can be given a clock of its own")

type wallClock struct{}

func startWithClock(*exec.Cmd, time.Duration) (*wallClock, error) { return nil, ErrNoClock }

func (*wallClock) set(time.Duration) error { return ErrNoClock }

func (*wallClock) close() error { return nil }
