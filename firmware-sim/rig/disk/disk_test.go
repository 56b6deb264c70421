package disk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

const testSectors = 64

func newDisk(t testing.TB) *Disk {
	t.Helper()
	d, err := New(make([]byte, testSectors*SectorSize))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// content is that of a sector: one byte, repeated.
func content(b byte) []byte { return bytes.Repeat([]byte{b}, SectorSize) }

// sector reads one, and fails if it is torn in itself.
func sector(t *testing.T, d *Disk, s int) byte {
	t.Helper()
	b := make([]byte, SectorSize)
	if err := d.Read(b, int64(s)*SectorSize); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, content(b[0])) {
		t.Fatalf("sector %d is torn in itself", s)
	}
	return b[0]
}

// model is what a sector may be: what was last made durable, and what was
// written since, the newest last.
type model [testSectors][]byte

func (m *model) write(d *Disk, random *rand.Rand, value byte) error {
	first := random.IntN(testSectors)
	n := 1 + random.IntN(min(8, testSectors-first))
	forced := random.IntN(5) == 0
	for s := first; s < first+n; s++ {
		if m[s] = append(m[s], value); forced {
			m[s] = m[s][len(m[s])-1:]
		}
	}
	return d.Write(bytes.Repeat(content(value), n), int64(first)*SectorSize, forced)
}

func (m *model) flush() {
	for s := range m {
		m[s] = m[s][len(m[s])-1:]
	}
}

// A cut loses exactly what was not flushed: nothing of it may be missing if all
// survives, all of it must be if nothing does, and what was flushed is there
// whatever happens.
func TestCutLosesWhatWasNotFlushed(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		d, m := newDisk(t), model{}
		for s := range m {
			m[s] = []byte{0}
		}
		for step := range 300 {
			switch random.IntN(12) {
			case 0:
				d.Flush()
				m.flush()
			case 1:
				share := []float64{0, 1, random.Float64()}[random.IntN(3)]
				d.Cut(random, share, Manner(random.IntN(int(Manners))))
				for s := range m {
					is := sector(t, d, s)
					if share == 0 && is != m[s][0] || share == 1 && is != m[s][len(m[s])-1] || !slices.Contains(m[s], is) {
						t.Fatalf("seed %d, step %d: sector %d is %d after a cut that %v survives; it may be one of %v", seed, step, s, is, share, m[s])
					}
					m[s] = []byte{is}
				}
			default:
				if err := m.write(d, random, byte(1+step%255)); err != nil {
					t.Fatal(err)
				}
			}
			if s := random.IntN(testSectors); sector(t, d, s) != m[s][len(m[s])-1] {
				t.Fatalf("seed %d, step %d: sector %d is not read as it was last written", seed, step, s)
			}
		}
	}
}

// Each manner does what it is named after: it is what makes a cut worth
// surviving.
func TestManners(t *testing.T) {
	const seed = 5
	random := rand.New(rand.NewPCG(seed, 1))
	torn, reordered := map[Manner]int{}, map[Manner]int{}
	for i := range 300 {
		how := Manner(i % int(Manners))
		d := newDisk(t)
		for w := range 8 {
			if err := d.Write(bytes.Repeat(content(byte(w+1)), 8), int64(w)*8*SectorSize, false); err != nil {
				t.Fatal(err)
			}
		}
		loss := d.Cut(random, 0.5, how)
		if loss.Kept+loss.Lost != testSectors {
			t.Errorf("seed %d: %s: %+v of %d sectors", seed, how, loss, testSectors)
		}
		torn[how] += loss.Torn
		for w := 1; w < 8; w++ {
			if sector(t, d, 8*w) != 0 && sector(t, d, 8*w-8) == 0 {
				reordered[how]++
			}
		}
	}
	if torn[BySector] == 0 || torn[ByRequest]+torn[InOrder] != 0 || reordered[ByRequest] == 0 || reordered[InOrder] != 0 {
		t.Errorf("seed %d: torn %v, put out of order %v", seed, torn, reordered)
	}
}

// One seed is one loss.
func TestCutIsDecidedByItsSeed(t *testing.T) {
	image := func(seed uint64) []byte {
		random := rand.New(rand.NewPCG(seed, 1))
		d, m := newDisk(t), model{}
		for step := range 100 {
			if err := m.write(d, random, byte(step)); err != nil {
				t.Fatal(err)
			}
		}
		d.Cut(random, 0.5, BySector)
		return d.durable
	}
	if !bytes.Equal(image(7), image(7)) {
		t.Error("seed 7: two losses")
	}
	if bytes.Equal(image(7), image(8)) {
		t.Error("seeds 7 and 8: one loss")
	}
}

// The lie of a drive that ignores flushes must be seen by whoever relied on
// them, or a rig built on it proves nothing.
func TestIgnoredFlushesLose(t *testing.T) {
	d := newDisk(t)
	d.IgnoreFlushes()
	if err := d.Write(content(1), 0, false); err != nil {
		t.Fatal(err)
	}
	d.Flush()
	if err := d.Write(content(2), SectorSize, true); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	if loss := d.Cut(random, 0, BySector); loss.Lost != 2 || sector(t, d, 0) != 0 || sector(t, d, 1) != 0 {
		t.Errorf("%+v", loss)
	}
	if s := d.Stats(); s.Writes != 2 || s.Flushes != 1 || s.Forced != 1 {
		t.Errorf("%+v", s)
	}
}

// After the last write that it takes, a disk takes nothing, a flush least of
// all; the next power cut ends that.
func TestSilence(t *testing.T) {
	d := newDisk(t)
	silent := d.SilentAfter(2)
	for i := range 4 {
		if err := d.Write(content(1), int64(i)*SectorSize, i == 3); err != nil {
			t.Fatal(err)
		}
		select {
		case <-silent:
			if i == 0 {
				t.Error("it is silent after one write")
			}
		default:
			if i > 0 {
				t.Error("it is not silent after two writes")
			}
		}
	}
	d.Flush()
	random := rand.New(rand.NewPCG(1, 1))
	if loss := d.Cut(random, 0, BySector); loss.Lost != 2 {
		t.Errorf("%+v", loss)
	}
	if err := d.Write(content(3), 0, true); err != nil || d.gone() {
		t.Error(err, d.gone())
	}
	if d.Cut(random, 0, BySector); sector(t, d, 0) != 3 {
		t.Error("it is silent after the power came back")
	}
}

// Of a sector that is written without end, only so much is remembered.
func TestCacheIsBounded(t *testing.T) {
	d := newDisk(t)
	for i := range 1000 {
		if err := d.Write(content(byte(i)), 0, false); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.cache[0]); n != maxVersions {
		t.Errorf("%d versions", n)
	}
	if is := sector(t, d, 0); is != 999%256 {
		t.Errorf("it reads as %d", is)
	}
}

func TestOutsideTheDisk(t *testing.T) {
	d := newDisk(t)
	for _, c := range []struct {
		n   int
		off int64
	}{{1, 0}, {SectorSize, 1}, {SectorSize, -SectorSize}, {SectorSize, testSectors * SectorSize}, {2 * SectorSize, (testSectors - 1) * SectorSize}, {SectorSize, 1<<63 - SectorSize}} {
		if d.Read(make([]byte, c.n), c.off) == nil || d.Write(make([]byte, c.n), c.off, false) == nil {
			t.Errorf("%d bytes at %d are taken", c.n, c.off)
		}
	}
	if _, err := New(make([]byte, 100)); err == nil {
		t.Error("an image of 100 bytes is taken")
	}
}
