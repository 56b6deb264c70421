package rig

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const tellTime = "PUNCHD_RIG_TELL_TIME"

// TestMain makes this program, if it is asked to be that, one that tells the
// time for each line it reads: the wall clock's, and what has gone by.
func TestMain(m *testing.M) {
	if os.Getenv(tellTime) == "" {
		os.Exit(m.Run())
	}
	start := time.Now()
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		now := time.Now()
		fmt.Println(now.Unix(), now.Sub(start).Milliseconds())
	}
}

// TestClockOfItsOwn: a program's wall clock is set while it runs, and what it
// measures stays true.
func TestClockOfItsOwn(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), tellTime+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	begun := time.Now()
	c, err := startWithClock(cmd, -56*year)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no program can be given a clock here: ", err)
	}
	lines := bufio.NewScanner(out)
	for _, ahead := range []time.Duration{-56 * year, 0, 10 * year, -time.Hour, 120 * year, 0} {
		if err := c.set(ahead); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(in)
		if !lines.Scan() {
			t.Fatal("it said nothing: ", lines.Err())
		}
		wall, gone, _ := strings.Cut(lines.Text(), " ")
		unix, err1 := strconv.ParseInt(wall, 10, 64)
		ms, err2 := strconv.ParseInt(gone, 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if off := time.Unix(unix, 0).Sub(time.Now().Add(ahead)).Abs(); off > 5*time.Second {
			t.Errorf("set ahead by %v, the clock is off by %v", ahead, off)
		}
		if d := time.Duration(ms) * time.Millisecond; d < 0 || d > time.Since(begun) {
			t.Errorf("set ahead by %v, it believes that %v have gone by", ahead, d)
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}
