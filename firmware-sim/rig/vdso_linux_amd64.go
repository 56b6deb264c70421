package rig

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A Go program asks for the time by a function that the kernel maps into it (the
// vDSO), so there is no call that could be intercepted, and no namespace moves
// the wall clock. But that function can be written over, as a debugger does with
// a breakpoint: in this one process it then asks the kernel, and adds seconds
// to the wall clock's answer that stand behind it and may be changed at any
// moment. Timers and the monotonic clock are not touched, as they are not when
// somebody sets a real clock.
var clockCode = [...]byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228: clock_gettime(edi, rsi)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x0a, // jnz to ret
	0x48, 0x8b, 0x0d, 0x0e, 0x00, 0x00, 0x00, // mov rcx, [rip+14]: the seconds, at 32
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
}

const clockSecondsAt = 32

// atSysinfoEHDR is the kind of the entry among what the kernel tells a program that
// says where the vDSO is.
const atSysinfoEHDR = 33

// wallClock is that of one process.
type wallClock struct {
	mem *os.File
	at  int64 // where the seconds stand
}

// startWithClock starts a command whose wall clock is ahead by so much, in whole
// seconds, from its first instruction on.
func startWithClock(cmd *exec.Cmd, ahead time.Duration) (*wallClock, error) {
	// Only the thread that started it may say how it goes on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c, err := overwriteClock(cmd.Process.Pid, ahead)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rig: give the daemon a clock of its own (this needs the right to debug it): %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return c, nil
}

func overwriteClock(pid int, ahead time.Duration) (*wallClock, error) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil { // it stops when the program is there
		return nil, fmt.Errorf("wait for it: %w", err)
	}
	if !status.Stopped() {
		return nil, fmt.Errorf("it did not stop: %v", status)
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	base, err := vdsoOf(pid)
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	entry, err := clockFunction(mem, base)
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	c := &wallClock{mem, entry + clockSecondsAt}
	_, err = mem.WriteAt(clockCode[:], entry)
	if err = errors.Join(err, c.set(ahead)); err == nil {
		err = syscall.PtraceDetach(pid)
	}
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	return c, nil
}

// vdsoOf is where the kernel has mapped its functions into a process.
func vdsoOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, err
	}
	for ; len(text) >= 16; text = text[16:] {
		if binary.LittleEndian.Uint64(text) == atSysinfoEHDR {
			return int64(binary.LittleEndian.Uint64(text[8:])), nil
		}
	}
	return 0, errors.New("the kernel maps no vDSO into it")
}

// clockFunction is where clock_gettime begins in a process.
func clockFunction(mem *os.File, base int64) (int64, error) {
	image := make([]byte, 16<<10)
	n, err := mem.ReadAt(image, base)
	if n < 4<<10 {
		return 0, fmt.Errorf("read its vDSO: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(image[:n]))
	if err != nil {
		return 0, fmt.Errorf("its vDSO: %w", err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("its vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= clockSecondsAt+8 && s.Value%8 == 0 {
			return base + int64(s.Value), nil
		}
	}
	return 0, errors.New("its vDSO has no clock_gettime that could be written over")
}

// set sets the clock ahead of the true one. Go measures what goes by by the
// monotonic clock only while the wall clock shows 1885 to 2157.
func (c *wallClock) set(ahead time.Duration) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(ahead/time.Second))
	if _, err := c.mem.WriteAt(b, c.at); err != nil {
		return fmt.Errorf("rig: set the daemon's clock: %w", err)
	}
	return nil
}

func (c *wallClock) close() error { return c.mem.Close() }
