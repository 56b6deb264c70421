// Package disktest is a disk in memory that fails and loses power on demand.
package disktest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"github.com/punchd/punchd/sync/ledger/disk"
)

// Sector is what the disk writes as a whole, in bytes.
const Sector = 512

// Kind is the kind of an operation.
type Kind string

// The operations that the function given to [Disk.Fail] is asked about.
const (
	Read    Kind = "read"
	Write   Kind = "write"
	Sync    Kind = "sync"
	Create  Kind = "create"
	Rename  Kind = "rename"
	Remove  Kind = "remove"
	SyncDir Kind = "syncdir"
)

// Op is an operation about to be done.
type Op struct {
	N    int // counts all operations that change something, from 1; 0 for a read
	Kind Kind
	Path string
	Off  int64 // Read, Write
	Len  int   // Read, Write
}

// Short is the error of a write of which only N bytes get through.
type Short struct {
	N   int
	Err error
}

func (s *Short) Error() string { return fmt.Sprintf("short write of %d bytes: %v", s.N, s.Err) }

// Unwrap gives the cause.
func (s *Short) Unwrap() error { return s.Err }

// Disk is a file system whose writes are volatile until they are synced, in
// any order, sector by sector. A sync that fails drops what it did not write,
// as Linux does: the pages count as clean, and a later sync does not write
// them. Programs see what they wrote in either case.
type Disk struct {
	mu      sync.Mutex
	fail    func(Op) error
	rand    *rand.Rand
	ops     int
	names   map[string]*inode // as programs see them
	durable map[string]*inode // as they are after a power cut
	pending []func(map[string]*inode)
}

type inode struct {
	data   []byte             // as programs see it
	stable []byte             // as it is on the disk
	dirty  map[int64][][]byte // by sector, every version since the last sync
}

// New gives an empty disk. The seed decides what a failed sync writes.
func New(seed uint64) *Disk {
	return &Disk{rand: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, durable: map[string]*inode{}}
}

// Fail sets what is asked before each operation from now on; an error makes the
// operation fail. Nil lets all succeed.
func (d *Disk) Fail(ask func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = ask
}

// Ops is how many operations there were that change something.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

func (d *Disk) ask(op Op) error {
	if op.Kind != Read {
		d.ops++
		op.N = d.ops
	}
	if d.fail == nil {
		return nil
	}
	return d.fail(op)
}

// Crash gives the disk as it may be after a power cut now. Of what was not
// synced, any subset of sectors and any first part of the directory's changes
// is there. d itself stays as it is.
func (d *Disk) Crash(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, change := range d.pending[:r.IntN(len(d.pending)+1)] {
		change(names)
	}
	after := New(r.Uint64())
	copies := map[*inode]*inode{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old := names[name]
		if copies[old] == nil {
			content := old.crash(r)
			copies[old] = &inode{data: content, stable: slices.Clone(content)}
		}
		after.names[name] = copies[old]
	}
	after.durable = maps.Clone(after.names)
	return after
}

// crash chooses what of a file survives.
func (n *inode) crash(r *rand.Rand) []byte {
	content := slices.Clone(n.stable)
	for _, sector := range slices.Sorted(maps.Keys(n.dirty)) {
		versions := n.dirty[sector]
		if k := r.IntN(len(versions) + 1); k > 0 {
			content = put(content, sector*Sector, versions[k-1])
		}
	}
	return content
}

// put writes into b, which grows as needed.
func put(b []byte, off int64, p []byte) []byte {
	if need := int(off) + len(p); need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[off:], p)
	return b
}

// Flip inverts bits of a byte of a file, on the disk and in memory.
func (d *Disk) Flip(path string, off int64, bits byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[path]
	n.data[off] ^= bits
	if off < int64(len(n.stable)) {
		n.stable[off] ^= bits
	}
}

// Truncate cuts a file, on the disk and in memory.
func (d *Disk) Truncate(path string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[path]
	n.data = n.data[:size]
	n.stable = n.stable[:min(int64(len(n.stable)), size)]
}

// Bytes gives a file's content as programs see it.
func (d *Disk) Bytes(path string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.names[path].data)
}

// SetBytes replaces a file's content, durably.
func (d *Disk) SetBytes(path string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[path] = &inode{data: slices.Clone(b), stable: slices.Clone(b)}
	d.durable[path] = d.names[path]
}

// Clone gives a copy that shares nothing with d, as if everything were durable.
// Each copy has a seed of its own.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New(d.rand.Uint64())
	for name, n := range d.names {
		c.names[name] = &inode{data: slices.Clone(n.data), stable: slices.Clone(n.data)}
	}
	c.durable = maps.Clone(c.names)
	return c
}

// Open implements [disk.FS].
func (d *Disk) Open(path string, _ bool) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return &file{d, path, n}, nil
}

// Create implements [disk.FS].
func (d *Disk) Create(path string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask(Op{Kind: Create, Path: path}); err != nil {
		return nil, err
	}
	n := &inode{}
	d.change(func(names map[string]*inode) { names[path] = n })
	return &file{d, path, n}, nil
}

// change makes a change to the directory that is not durable yet.
func (d *Disk) change(do func(map[string]*inode)) {
	do(d.names)
	d.pending = append(d.pending, do)
}

// Rename implements [disk.FS].
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask(Op{Kind: Rename, Path: from}); err != nil {
		return err
	}
	n, ok := d.names[from]
	if !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.change(func(names map[string]*inode) {
		delete(names, from)
		names[to] = n
	})
	return nil
}

// RenameNew implements [disk.FS].
func (d *Disk) RenameNew(from, to string) error {
	d.mu.Lock()
	_, taken := d.names[to]
	d.mu.Unlock()
	if taken {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	return d.Rename(from, to)
}

// Remove implements [disk.FS].
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask(Op{Kind: Remove, Path: path}); err != nil {
		return err
	}
	if _, ok := d.names[path]; !ok {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	d.change(func(names map[string]*inode) { delete(names, path) })
	return nil
}

// ReadDir implements [disk.FS].
func (d *Disk) ReadDir(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for path := range d.names {
		if filepath.Dir(path) == filepath.Clean(dir) {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements [disk.FS].
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask(Op{Kind: SyncDir, Path: dir}); err != nil {
		return err
	}
	for _, change := range d.pending {
		change(d.durable)
	}
	d.pending = nil
	return nil
}

// MkdirAll implements [disk.FS]; a Disk has no directories of its own.
func (d *Disk) MkdirAll(string) error { return nil }

type file struct {
	d    *Disk
	path string
	n    *inode
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.ask(Op{Kind: Read, Path: f.path, Off: off, Len: len(p)}); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.ask(Op{Kind: Write, Path: f.path, Off: off, Len: len(p)})
	if err != nil {
		s, ok := err.(*Short)
		if !ok {
			return 0, err
		}
		p = p[:min(s.N, len(p))]
	}
	f.n.write(p, off)
	return len(p), err
}

func (n *inode) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	n.data = put(n.data, off, p)
	if n.dirty == nil {
		n.dirty = map[int64][][]byte{}
	}
	for sector := off / Sector; sector*Sector < off+int64(len(p)); sector++ {
		n.dirty[sector] = append(n.dirty[sector], slices.Clone(n.sector(sector)))
	}
}

func (n *inode) sector(i int64) []byte {
	return n.data[i*Sector : min(int64(len(n.data)), (i+1)*Sector)]
}

func (f *file) Datasync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.ask(Op{Kind: Sync, Path: f.path})
	for _, sector := range slices.Sorted(maps.Keys(f.n.dirty)) {
		if err == nil || f.d.rand.IntN(2) == 0 {
			f.n.stable = put(f.n.stable, sector*Sector, f.n.sector(sector))
		}
	}
	f.n.dirty = nil
	return err
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *file) Close() error { return nil }
