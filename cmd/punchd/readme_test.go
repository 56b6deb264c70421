package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestSimulatorsReadme types the commands of the simulators' README, one after
// the other in an empty folder, as a newcomer does.
func TestSimulatorsReadme(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the reader's pty is there on Linux alone")
	}
	if _, err := exec.LookPath("sh"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("sh is not installed")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "firmware-sim", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	said := ""
	commands := regexp.MustCompile(`(?m)^    ((?:go|sed|cat) .*)$`).FindAllStringSubmatch(string(text), -1)
	for _, c := range commands {
		line := strings.TrimSpace(strings.Split(c[1], " #")[0])
		if strings.HasPrefix(line, "go run ./cmd/punchd run ") {
			continue // it has its own scripts
		}
		// The programs are built already. Simulators are to end, and to take no
		// port that somebody has.
		line = strings.NewReplacer("go run ./cmd/punchd ", "punchd ", "go run ./firmware-sim ", "firmware-sim ").Replace(line)
		if strings.HasPrefix(line, "firmware-sim ") && line != "firmware-sim zk quirks" {
			line += " --for 1ms"
		}
		if strings.HasPrefix(line, "firmware-sim zk --") || strings.HasPrefix(line, "firmware-sim central ") {
			line += " --listen 127.0.0.1:0"
		}
		said += sh(t, line)
	}
	if len(commands) < 11 {
		t.Errorf("only %d commands were found", len(commands))
	}
	for _, want := range []string{"phones, 1 sink; my-office/roster.yaml: 11 employees", "10 phones, broker", "central on http://", "2 cards,"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing said %q:\n%s", want, said)
		}
	}

	sink := regexp.MustCompile(`(?m)^    (- \{name: .*)$`).FindStringSubmatch(string(text))
	if sink == nil {
		t.Fatal("no sink was found")
	}
	cfg, err := os.ReadFile("my-office/punchd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg = []byte(strings.Replace(string(cfg), "\nsinks:\n", "\nsinks:\n  "+sink[1]+"\n", 1))
	if err := os.WriteFile("my-office/punchd.yaml", cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "punchd check -c my-office/punchd.yaml"); !strings.Contains(out, "2 sinks") {
		t.Error(out)
	}
}

func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}
