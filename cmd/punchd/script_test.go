package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	simcommand "github.com/punchd/punchd/firmware-sim/command"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"punchd":       main,
		"firmware-sim": func() { os.Exit(simcommand.Main(os.Args[1:])) },
	})
}

// TestScripts runs the commands as a person would; each script is a session.
// A script that needs a program that is missing skips itself, and fails in CI.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort,
			"until":    until,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "ci" {
				return os.Getenv("CI") == "true", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		RequireUniqueNames: true,
	})
}

// freePort NAME... sets each variable to a port that nobody has.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		ts.Check(err)
		ts.Check(l.Close())
		ts.Setenv(name, port)
	}
}

// until REGEXP COMMAND... runs a command again and again until its output
// matches, for 20 s at most.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for {
		// Not by ts.Exec, which would log every look.
		cmd := exec.Command("sh", append([]string{"-c", `exec "$0" "$@"`}, args[1:]...)...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), "PATH="+ts.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if want.Match(out) {
			// Once more for the script to look at; it may fail, as status does
			// when something needs a person.
			if err := ts.Exec(args[1], args[2:]...); err != nil {
				ts.Logf("%v", err)
			}
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q never matched; the last output was (%v):\n%s", args[0], err, out)
		}
		<-tick.C
	}
}
