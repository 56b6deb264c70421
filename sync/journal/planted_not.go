//go:build !planted

package journal

// Bugs that planted.go has for a test of the tests.
const (
	plantedGate = false
	plantedAck  = false
)
