package rig

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryOf reads what Linux counts for a process; zero on other systems.
func memoryOf(pid int) Memory {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}
	}
	defer f.Close()
	var m Memory
	fields := map[string]*float64{"VmRSS": &m.RSS, "RssAnon": &m.Anonymous, "VmHWM": &m.Peak}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), ":")
		if to := fields[name]; to != nil {
			if kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64); err == nil {
				*to = kib * 1024 / 1e6
			}
		}
	}
	return m
}

// machine measures what the daemon's work is made of.
func (b *bench) machine() (err error) {
	if b.figures.SyncsPerSecond, err = syncs(filepath.Join(b.cfg.Dir, "sync")); err != nil {
		return err
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte("a check-in"))
	sig, err := ecdsa.SignASN1(rand.Reader, ec, sum[:])
	if err != nil {
		return err
	}
	b.figures.ES256VerifyUS = each500(func() bool { return ecdsa.VerifyASN1(&ec.PublicKey, sum[:], sig) })
	text := make([]byte, 500)
	pub := b.world.key.Public().(ed25519.PublicKey)
	sig = ed25519.Sign(b.world.key, text)
	b.figures.EdDSAVerifyUS = each500(func() bool { return ed25519.Verify(pub, text, sig) })
	b.say("this machine alone: %.0f fdatasync a second; verifying takes %.0f us (ES256), %.0f us (EdDSA)", b.figures.SyncsPerSecond, b.figures.ES256VerifyUS, b.figures.EdDSAVerifyUS)
	return nil
}

// each500 is how long one of 500 takes, in microseconds.
func each500(do func() bool) float64 {
	start := time.Now()
	for range 500 {
		if !do() {
			panic("rig: a good signature does not verify")
		}
	}
	return float64(time.Since(start).Nanoseconds()) / 500 / 1000
}

// syncs writes a file over as a ledger does, for a second.
func syncs(path string) (rate float64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	block := make([]byte, 512)
	start, n := time.Now(), 0
	for ; time.Since(start) < time.Second; n++ {
		if _, err := f.WriteAt(block, int64(n%2048)*512); err != nil {
			return 0, err
		}
		if err := datasync(f); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// size is what the files below a directory take on disk by their lengths. Files
// that vanish meanwhile count for nothing.
func size(dir string) float64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return float64(sum)
}

// cpuOf is the processor time that a process has used so far, as Linux counts
// it; zero on other systems.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the program's name in brackets, and may hold spaces.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ, which Linux has fixed for programs
}
