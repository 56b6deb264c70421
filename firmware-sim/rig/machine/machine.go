// Package machine runs a gateway in a virtual machine whose power can be cut:
// a real kernel, file system and daemon above a disk that the rig serves.
//
// The kernel's own start takes seconds and has nothing to do with the disk, so
// it is done once: the machine's state is saved before the driver of the disk
// is loaded, and every start goes on from there. The time and the randomness of
// a start are its own.
package machine

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/punchd/punchd/firmware-sim/rig/disk"
)

// How the machine sees the rig's computer, and where it is to listen itself.
const (
	HostAddress  = "10.0.2.2"
	Address      = "10.0.2.15"
	BrokerPort   = "1883"
	memory       = "256" // MiB
	stateFile    = "state"
	initramfs    = "initramfs"
	patience     = 3 * time.Minute // for a step of the machine, on a busy computer
	diskMegabyte = 128
)

// Config says what a machine is made of.
type Config struct {
	Kernel string // directory with boot/ and lib/modules/
	Dir    string // where to work
	Daemon string // static programs for linux/amd64
	Guest  string
	Site   string // the daemon's working directory, copied; its data/ is the disk
	Broker string // address on this computer that leads to the machine's broker
}

// Machine can be started again and again.
type Machine struct {
	cfg   Config
	parts *parts
	disk  *disk.Disk
}

// New makes a machine with an empty file system on its disk.
func New(ctx context.Context, cfg Config) (*Machine, error) {
	p, err := find(cfg.Kernel)
	if err != nil {
		return nil, err
	}
	// QEMU works in another directory than we.
	if p.kernel, err = filepath.Abs(p.kernel); err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	m := &Machine{cfg: cfg, parts: p}
	if err := errors.Join(static(cfg.Daemon), static(cfg.Guest)); err != nil {
		return nil, err
	}
	if err := cfg.initramfs(filepath.Join(cfg.Dir, initramfs), p); err != nil {
		return nil, err
	}
	if err := m.format(ctx); err != nil {
		return nil, err
	}
	return m, m.prepare(ctx)
}

// Disk is the machine's disk.
func (m *Machine) Disk() *disk.Disk { return m.disk }

// format makes the disk.
func (m *Machine) format(ctx context.Context) (err error) {
	path := filepath.Join(m.cfg.Dir, "image")
	if err := os.WriteFile(path, make([]byte, diskMegabyte<<20), 0o600); err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	if text, err := exec.CommandContext(ctx, m.parts.mkfs, "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", path).CombinedOutput(); err != nil {
		return fmt.Errorf("machine: make a file system with %s: %w: %s", m.parts.mkfs, err, text)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	m.disk, err = disk.New(image)
	return err
}

// prepare starts the kernel and saves the machine as it is then.
func (m *Machine) prepare(ctx context.Context) (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	defer func() { err = errors.Join(err, ignoreClosed(l.Close())) }()
	r, err := m.launch("prepare", "-chardev", "socket,id=qmp,host=127.0.0.1,port="+port(l), "-mon", "chardev=qmp,mode=control")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Cut()) }()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	mon, err := meet(l)
	if err != nil {
		return errors.Join(err, r.trouble())
	}
	defer func() { err = errors.Join(err, mon.conn.Close()) }()
	if err := r.Await(ctx, Booted); err != nil {
		return err
	}
	return mon.save(ctx, stateFile)
}

// Start puts the power on. The machine's console is written to a file of the
// name given, in the machine's directory.
func (m *Machine) Start(ctx context.Context, console string) (*Run, error) {
	r, err := m.launch(console, "-incoming", "exec:cat "+stateFile)
	if err != nil {
		return nil, err
	}
	if err := r.Await(ctx, Booted); err != nil {
		return nil, errors.Join(err, r.Cut())
	}
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil { // the daemon's keys are no part of what is simulated
		return nil, errors.Join(err, r.Cut())
	}
	if err := r.order(fmt.Sprintf("go %d %s", time.Now().UnixNano(), hex.EncodeToString(seed))); err != nil {
		return nil, errors.Join(err, r.trouble(), r.Cut())
	}
	return r, nil
}

// launch starts QEMU, and serves it the disk.
func (m *Machine) launch(console string, more ...string) (*Run, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	// Timer interrupts come late on a busy computer, which a kernel that checks
	// them would take for a broken one.
	const kernelArgs = "console=ttyS0 panic=-1 quiet mitigations=off nokaslr no_timer_check random.trust_cpu=on rdinit=/init"
	cmd := exec.Command(m.parts.qemu, append([]string{
		"-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", memory, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.parts.kernel, "-initrd", initramfs, "-append", kernelArgs,
		"-blockdev", "driver=nbd,node-name=d,server.type=inet,server.host=127.0.0.1,server.port=" + port(l), "-device", "virtio-blk-pci,drive=d,write-cache=on",
		"-netdev", "user,id=n,ipv6=off,hostfwd=tcp:" + m.cfg.Broker + "-" + Address + ":" + BrokerPort, "-device", "virtio-net-pci,netdev=n,romfile=",
		"-serial", "file:" + console + ".console", "-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line",
	}, more...)...)
	cmd.Dir = m.cfg.Dir
	r := &Run{cmd: cmd, listener: l, words: make(chan Word, 16), done: make(chan struct{})}
	cmd.Stderr = &r.said
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, errors.Join(fmt.Errorf("machine: %w", err), l.Close())
	}
	r.in = in
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("machine: start QEMU: %w", err), l.Close())
	}
	r.serving.Go(func() { r.serve(m.disk) })
	go r.listen(out)
	return r, nil
}

// port is the number at which a listener listens.
func port(l net.Listener) string { return fmt.Sprint(l.Addr().(*net.TCPAddr).Port) }

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// serve lets QEMU use the disk, and nobody after it.
func (r *Run) serve(d *disk.Disk) {
	conn, err := r.listener.Accept()
	if err != nil {
		return // the run ended before
	}
	_ = r.listener.Close() // it has nothing to lose
	defer conn.Close()
	if err := disk.Serve(d, conn); err != nil {
		r.diskErr.Store(&err)
		return
	}
	<-r.done // a disk without power is silent, it does not say that it is gone
}

// listen reads what the machine says until QEMU ends.
func (r *Run) listen(out io.Reader) {
	b := bufio.NewReader(out)
	last := ""
	for {
		text, err := b.ReadString('\n')
		if err != nil { // a word without its end is one that the cut has torn
			break
		}
		if text == last {
			continue
		}
		last = text
		kind, what, _ := strings.Cut(strings.TrimSpace(text), " ")
		select {
		case r.words <- Word{State(kind), what}:
		default: // a machine says five words
		}
	}
	r.err = r.cmd.Wait()
	close(r.done)
}
