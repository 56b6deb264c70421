package config

import _ "embed"

//go:embed example/punchd.yaml
var examplePunchd string

//go:embed example/roster.yaml
var exampleRoster string

// Example gives the two files that a new gateway begins with: a configuration
// with a comment at every key, right as it stands, and a roster to go with it.
// What needs a key of its own or a device is commented out.
func Example() (punchd, roster string) { return examplePunchd, exampleRoster }
