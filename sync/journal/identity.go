package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/disk"
)

// identityName is the file that says which ledger was begun in a data directory.
// The ledger may stand on a disk of its own that is not mounted, and the buffer,
// which knows it too, may be broken: with neither, an empty directory must not
// be taken for a first start.
const identityName = "ledger.id"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// known is what was known of the ledger before it was opened.
type known struct {
	id    ledger.Identity // zero if it can't be told
	begun bool
}

// readIdentity reads which ledger was begun. That the file is there says that
// one was, whatever it holds; it is made once a ledger is there.
func (j *Journal) readIdentity() (known, error) {
	path := filepath.Join(j.dir, identityName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) { // a first start, or a directory of an older program
		return known{}, nil
	}
	if err != nil {
		return known{}, fmt.Errorf("journal: which ledger was begun can't be read: %w", err)
	}
	id, err := parseIdentity(string(b))
	if err != nil {
		j.log.Error("the file that says which ledger was begun is damaged; it is written anew when the ledger is found", "path", path, "err", err)
	}
	return known{id, true}, nil
}

// formatIdentity is the one line of the file: version, id, salt, and a check sum.
func formatIdentity(id ledger.Identity) string {
	line := fmt.Sprintf("1 %x %x", id.ID, id.Salt)
	return fmt.Sprintf("%s %08x\n", line, crc32.Checksum([]byte(line), castagnoli))
}

func parseIdentity(text string) (id ledger.Identity, err error) {
	parts := strings.Fields(text)
	if len(parts) != 4 {
		return id, fmt.Errorf("%d words, want 4", len(parts))
	}
	_, err = hex.Decode(id.ID[:], []byte(parts[1])[:min(len(parts[1]), 2*len(id.ID))])
	if err == nil {
		_, err = hex.Decode(id.Salt[:], []byte(parts[2])[:min(len(parts[2]), 2*len(id.Salt))])
	}
	if err == nil && formatIdentity(id) != text {
		err = errors.New("the check sum or the version is another")
	}
	if err != nil {
		return ledger.Identity{}, err
	}
	return id, nil
}

// keepIdentity makes it durable which ledger there is, if that is news. Its salt
// is told to nobody, so nobody else may read the file.
func (j *Journal) keepIdentity(id ledger.Identity, was known) error {
	if was.id == id {
		return nil
	}
	path := filepath.Join(j.dir, identityName)
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(formatIdentity(id))
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = disk.OS.SyncDir(j.dir)
	}
	if err != nil {
		return fmt.Errorf("journal: keep which ledger was begun: %w", err)
	}
	return nil
}
