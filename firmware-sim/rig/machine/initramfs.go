package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// The kernel modules of the machine: those that may be there before the disk
// is, and the one that finds it.
var (
	earlyModules = []string{"virtio_pci", "virtio_net", "crc32c_generic", "ext4"}
	lateModules  = []string{"virtio_blk"}
)

// archive is an initramfs in the making.
type archive struct {
	w   *cpio.Writer
	err error
}

// initramfs packs what a machine starts with: the programs, the daemon's files
// and the kernel modules. The places are those that the program guest knows.
func (c *Config) initramfs(to string, p *parts) (err error) {
	early, err := moduleFiles(p.modules, earlyModules, nil)
	if err != nil {
		return err
	}
	late, err := moduleFiles(p.modules, lateModules, early)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	a := &archive{w: cpio.NewWriter(f)}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "modules", "site", "site/data"} {
		a.directory(dir)
	}
	a.file("init", c.Guest, 0o755)
	a.file("punchd", c.Daemon, 0o755)
	a.modules("modules/early", p.modules, early)
	a.modules("modules/late", p.modules, late)
	a.tree("site", c.Site)
	if a.err == nil {
		a.err = a.w.Close()
	}
	if a.err != nil {
		return fmt.Errorf("machine: %s: %w", to, a.err)
	}
	return nil
}

func (a *archive) directory(name string) {
	if a.err == nil {
		a.err = a.w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o700, Links: 2})
	}
}

func (a *archive) bytes(name string, text []byte, mode cpio.FileMode) {
	if a.err == nil {
		a.err = a.w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | mode, Size: int64(len(text)), Links: 1})
	}
	if a.err == nil {
		_, a.err = a.w.Write(text)
	}
}

func (a *archive) file(name, from string, mode cpio.FileMode) {
	text, err := os.ReadFile(from)
	a.err = errors.Join(a.err, err)
	a.bytes(name, text, mode)
}

// modules adds modules and the list of them.
func (a *archive) modules(list, dir string, files []string) {
	var lines strings.Builder
	for _, file := range files {
		name := "modules/" + path.Base(file)
		a.file(name, filepath.Join(dir, filepath.FromSlash(file)), 0o600)
		fmt.Fprintf(&lines, "/%s\n", name)
	}
	a.bytes(list, []byte(lines.String()), 0o600)
}

// tree adds what is in a directory.
func (a *archive) tree(name, dir string) {
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(dir, p)
		if err = errors.Join(err, relErr); err != nil || rel == "." {
			return err
		}
		to := path.Join(name, filepath.ToSlash(rel))
		if d.IsDir() {
			a.directory(to)
		} else {
			a.file(to, p, 0o600)
		}
		return nil
	})
	a.err = errors.Join(a.err, err)
}
