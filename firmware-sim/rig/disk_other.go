//go:build !linux

package rig

import "context"

// HasOwnMounts reports whether this process may mount what nobody else sees.
func HasOwnMounts() bool { return false }

// InOwnMounts runs this program in namespaces of its own, on Linux.
func InOwnMounts(context.Context, []string) error { return ErrNoDisk }

func mountDisk(_, _, _ string, _ int64) error { return ErrNoDisk }

func unmountDisk(string) error { return ErrNoDisk }

func freeOn(string) (uint64, error) { return 0, ErrNoDisk }
