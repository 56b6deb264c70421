// Command firmware-sim simulates what stands around a gateway: terminals, card
// readers, phones and the central service; and it puts a gateway to the test.
package main

import (
	"os"

	"github.com/punchd/punchd/firmware-sim/command"
)

func main() { os.Exit(command.Main(os.Args[1:])) }
