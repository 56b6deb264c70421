package machine

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrMissing says that something is not installed which the machine is made of.
var ErrMissing = errors.New("not installed")

// parts are the programs and the kernel that a machine is made of.
type parts struct {
	qemu, mkfs string
	kernel     string // the image
	modules    string // directory
}

// Look says what a machine is missing; the error, if any, is [ErrMissing].
// Kernel is the directory in which boot/ and lib/modules/ of a kernel are.
func Look(kernel string) error {
	_, err := find(kernel)
	return err
}

func find(kernel string) (*parts, error) {
	var (
		p    parts
		errs []error
	)
	for _, program := range []struct {
		to         *string
		name, from string
	}{{&p.qemu, "qemu-system-x86_64", "qemu-system-x86"}, {&p.mkfs, "mkfs.ext4", "e2fsprogs"}} {
		if *program.to = look(program.name); *program.to == "" {
			errs = append(errs, fmt.Errorf("machine: %s is %w: install it (Debian's package %s)", program.name, ErrMissing, program.from))
		}
	}
	images, err := filepath.Glob(filepath.Join(kernel, "boot", "vmlinuz-*"))
	if err != nil {
		return nil, fmt.Errorf("machine: the kernel directory %s: %w", kernel, err)
	}
	slices.Sort(images)
	for _, image := range images { // the last one wins
		modules := filepath.Join(kernel, "lib", "modules", strings.TrimPrefix(filepath.Base(image), "vmlinuz-"))
		if _, err := os.Stat(filepath.Join(modules, "modules.dep")); err == nil {
			p.kernel, p.modules = image, modules
		}
	}
	if p.kernel == "" {
		errs = append(errs, fmt.Errorf("machine: a Linux kernel with its modules is %w in %s (boot/vmlinuz-* and lib/modules/*/modules.dep): "+
			"unpack one with .ci/kernel DIRECTORY and name the directory with --kernel", ErrMissing, kernel))
	}
	return &p, errors.Join(errs...)
}

// look finds a program, also where an ordinary user's path does not lead.
func look(name string) string {
	for _, at := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	return ""
}

// moduleFiles lists the files of kernel modules and of what they depend on, in
// the order of loading, without those that are built in or among loaded.
func moduleFiles(dir string, names, loaded []string) (files []string, err error) {
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	defer f.Close()
	needs := map[string][]string{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		file, deps, _ := strings.Cut(s.Text(), ":")
		needs[moduleName(file)] = append(strings.Fields(deps), file)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("machine: %s: %w", f.Name(), err)
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	for _, name := range names {
		of, found := needs[name]
		if !found && !slices.ContainsFunc(strings.Fields(string(builtin)), func(file string) bool { return moduleName(file) == name }) {
			return nil, fmt.Errorf("machine: the kernel in %s has no %s: take another one, such as Debian's linux-image-cloud-amd64", dir, name)
		}
		// A line names what is to be loaded first last, and the module itself
		// comes after all of them.
		if len(of) > 0 {
			slices.Reverse(of[:len(of)-1])
		}
		for _, file := range of {
			if !slices.Contains(files, file) && !slices.Contains(loaded, file) {
				files = append(files, file)
			}
		}
	}
	return files, nil
}

// moduleName is a module's name by that of its file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// static says whether a program runs on a machine that has nothing else.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("machine: %s: %w", program, err)
	}
	defer f.Close()
	fits := f.Machine == elf.EM_X86_64
	for _, p := range f.Progs {
		fits = fits && p.Type != elf.PT_INTERP
	}
	if !fits {
		return fmt.Errorf("machine: %s is no static program for amd64: build it with CGO_ENABLED=0 GOOS=linux GOARCH=amd64", program)
	}
	return nil
}
