// Guest is the first process of a virtual machine that is a gateway: it takes
// up the disk, starts the daemon and tells the rig over a serial line how far it
// is.
package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The places in the machine, as the rig's package machine lays them out.
const (
	line     = "/dev/ttyS1" // to the rig
	site     = "/site"      // the daemon's working directory
	data     = site + "/data"
	device   = "/dev/vda"
	early    = "/modules/early" // in the order of loading
	late     = "/modules/late"  // what finds the disk
	notifier = "/tmp/notify"
)

// longest is how long the machine lives if the rig does not end it, so that one
// whose rig has died does not stay.
const longest = 15 * time.Minute

// seedBytes is how much randomness the rig gives.
const seedBytes = 32

func main() {
	time.AfterFunc(longest, powerOff)
	if err := guest(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	powerOff()
}

func powerOff() {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "guest: power off:", err)
	}
	select {} // a first process must not end
}

// guest does everything up to the point where the power may go.
func guest() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	rig, err := openLine()
	if err != nil {
		return err
	}
	say := func(word string, more ...any) {
		fmt.Fprintln(rig, append([]any{word}, more...)...) // nobody else could be told of an error
	}
	if err := errors.Join(load(early), network()); err != nil {
		say("failed", oneLine(err))
		return err
	}
	orders := listen(rig)
	order, err := first(orders, say)
	if err == nil {
		err = errors.Join(wake(order), load(late), mount())
	}
	if err != nil {
		say("failed", oneLine(err))
		return err
	}
	say("mounted")
	err = run(say, orders)
	if err == nil {
		err = unix.Unmount(data, 0)
	}
	if err != nil {
		say("failed", oneLine(err))
		return err
	}
	say("stopped")
	return nil
}

// oneLine keeps an error on one line of the serial line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// openLine opens the serial line to the rig, byte for byte.
func openLine() (*os.File, error) {
	f, err := os.OpenFile(line, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	t.Oflag &^= unix.OPOST
	t.Iflag &^= unix.ICRNL | unix.IXON
	return f, unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}

// listen passes on the lines that the rig writes, and ends when there are no
// more.
func listen(rig io.Reader) <-chan string {
	orders := make(chan string)
	go func() {
		defer close(orders)
		for s := bufio.NewScanner(rig); s.Scan(); {
			orders <- s.Text()
		}
	}()
	return orders
}

// first says that the machine is there until the rig gives an order. It says so
// again and again, because the machine is saved and restored meanwhile, and what
// is on the line then is lost.
func first(orders <-chan string, say func(string, ...any)) (string, error) {
	for {
		say("booted")
		select {
		case order, given := <-orders:
			if !given {
				return "", io.ErrUnexpectedEOF
			}
			return order, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// load loads the kernel modules that a file lists.
func load(list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for path := range strings.FieldsSeq(string(text)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		flags := 0
		if !strings.HasSuffix(path, ".ko") {
			flags = unix.MODULE_INIT_COMPRESSED_FILE
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// network gives the one card the address at which the rig's forwarding expects
// the machine. There is no route beyond the rig.
func network() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(request uint, card string, address []byte) error {
		r, err := unix.NewIfreq(card)
		if err != nil {
			return err
		}
		if address == nil {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		} else if err := r.SetInet4Addr(address); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, request, r); err != nil {
			return fmt.Errorf("network card %s: %w", card, err)
		}
		return nil
	}
	return errors.Join(
		set(unix.SIOCSIFADDR, "eth0", []byte{10, 0, 2, 15}), set(unix.SIOCSIFNETMASK, "eth0", []byte{255, 255, 255, 0}),
		set(unix.SIOCSIFFLAGS, "eth0", nil), set(unix.SIOCSIFFLAGS, "lo", nil))
}

// wake makes a machine that was restored differ from all others that were: it
// takes the time and some randomness from the rig's order.
func wake(order string) error {
	var (
		now  int64
		seed string
	)
	if _, err := fmt.Sscanf(order, fmt.Sprintf("go %%d %%%ds", 2*seedBytes), &now, &seed); err != nil {
		return fmt.Errorf("the order %q: %w", order, err)
	}
	tv := unix.NsecToTimeval(now)
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	// As the kernel's header has it: the bits it may count on, the bytes, and these.
	pool := struct {
		bits, bytes int32
		seed        [seedBytes]byte
	}{bits: 8 * seedBytes, bytes: seedBytes}
	if n, err := hex.Decode(pool.seed[:], []byte(seed)); err != nil || n != seedBytes {
		return fmt.Errorf("the order %q has no %d bytes of randomness", order, seedBytes)
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&pool))); no != 0 {
		err = no
	} else {
		_, err = unix.IoctlRetInt(int(f.Fd()), unix.RNDRESEEDCRNG)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("renew the randomness: %w", err)
	}
	return nil
}

// mount waits for the disk and mounts it.
func mount() error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		f, err := os.Open(device)
		if err == nil {
			// A kernel with the driver built in has looked at it before this start.
			err = unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("forget what was read of the disk: %w", err)
			}
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the disk does not appear: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := unix.Mount(device, data, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return nil
}

// run runs the daemon until it ends, by itself or because the rig asked.
func run(say func(string, ...any), orders <-chan string) error {
	ready, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(ready, &unix.SockaddrUnix{Name: notifier}); err != nil {
		return fmt.Errorf("%s: %w", notifier, err)
	}
	cmd := exec.Command("/punchd", "run", "-c", "punchd.yaml")
	cmd.Dir, cmd.Stderr = site, os.Stderr
	cmd.Env = []string{"NOTIFY_SOCKET=" + notifier, "HOME=/tmp"}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	go func() {
		b := make([]byte, 4<<10)
		for {
			n, err := unix.Read(ready, b)
			if err != nil {
				return
			}
			if strings.Contains(string(b[:n]), "READY=1") {
				say("ready")
			}
		}
	}()
	stopping := make(chan struct{})
	go func() {
		if _, given := <-orders; given { // there is one left to give
			close(stopping)
			_ = cmd.Process.Signal(syscall.SIGTERM) // one that has ended is waited for below
		}
	}()
	err = cmd.Wait()
	select {
	case <-stopping:
		if err != nil {
			return fmt.Errorf("the daemon, asked to stop, ended with %w", err)
		}
		return nil
	default:
		return fmt.Errorf("the daemon ended by itself: %w", errors.Join(err, errors.New("see the console's log")))
	}
}
