package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
			"capture":   capture,
			"exits":     exits,
			"fill":      fill,
			"freeport":  freePort,
			"lines":     countLines,
			"listening": listening,
			"mode":      mode,
			"parts":     parts,
			"paste":     paste,
			"until":     until,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "ci" {
				return os.Getenv("CI") == "true", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(env *testscript.Env) error {
			signed, err := filepath.Abs(filepath.Join("..", "..", "sync", "ledger", "audit", "testdata", "v1"))
			env.Setenv("SIGNED", signed) // a ledger with heads
			return err
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
		cmd := exec.Command(program(ts, args[1]), args[2:]...)
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

// program finds a program in the script's own path, where the commands under
// test are.
func program(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	ts.Fatalf("there is no program %s", name)
	return ""
}

// listening ADDRESS waits until somebody takes connections there.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: listening ADDRESS")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		conn, err := net.Dial("tcp", args[0])
		if err == nil {
			ts.Check(conn.Close())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
	}
}

// fill TEMPLATE FILE NAME... writes a file from a template, in which each NAME
// stands for the variable's value; with NAME=FILE for what a file holds.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || neg {
		ts.Fatalf("usage: fill TEMPLATE FILE NAME...")
	}
	text := ts.ReadFile(args[0])
	for _, name := range args[2:] {
		name, file, from := strings.Cut(name, "=")
		value := ts.Getenv(name)
		if from {
			value = ts.ReadFile(file)
		}
		text = strings.ReplaceAll(text, name, value)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o666))
}

// paste FILE INTO [REGEXP] puts a file's text into another, at its end or below
// its first line that matches.
func paste(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 || neg {
		ts.Fatalf("usage: paste FILE INTO [REGEXP]")
	}
	before, after := ts.ReadFile(args[1]), ""
	if len(args) == 3 {
		line := regexp.MustCompile("(?m)" + args[2] + ".*\n").FindStringIndex(before)
		if line == nil {
			ts.Fatalf("no line of %s matches %s", args[1], args[2])
		}
		before, after = before[:line[1]], before[line[1]:]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(before+ts.ReadFile(args[0])+after), 0o666))
}

// exits CODE COMMAND... runs a command that must end with an exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit status %d, want %s", code, args[0])
	}
}

// mode MODE FILE... compares the permissions of files.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: mode MODE FILE...")
	}
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has the mode %s, want %s", file, got, args[0])
		}
	}
}

// lines N FILE counts the lines of a file.
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: lines N FILE")
	}
	if n := strings.Count(ts.ReadFile(args[1]), "\n"); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%s has %d lines, want %s", args[1], n, args[0])
	}
}

// capture NAME REGEXP FILE sets a variable to the first match in a file.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: capture NAME REGEXP FILE")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	found := re.FindString(ts.ReadFile(args[2]))
	if found == "" {
		ts.Fatalf("nothing in %s matches %q", args[2], args[1])
	}
	ts.Setenv(args[0], found)
}

// parts REGEXP FILE OUT writes what matches in a file, each on its line.
func parts(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: parts REGEXP FILE OUT")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	found := re.FindAllString(ts.ReadFile(args[1]), -1)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(append(found, ""), "\n")), 0o666))
}
