package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/punchd/punchd/protocol/phone"
	"github.com/punchd/punchd/sync/ledger"
	"github.com/punchd/punchd/sync/ledger/audit"
)

// maxKeyFile bounds a file with a public key in bytes.
const maxKeyFile = 4 << 10

// readKeys reads the public keys of a gateway.
func readKeys(paths []string) (keys []ed25519.PublicKey, err error) {
	for _, path := range paths {
		text, err := readBounded(path, maxKeyFile)
		if err != nil {
			return nil, badFile("--key", path, err)
		}
		if bytes.Contains(text, []byte("PRIVATE")) {
			return nil, badFile("--key", path, errors.New("is a private key, which no one who checks may have; give the public one, gateway.pub beside it"))
		}
		k, err := phone.ParseKey(string(text))
		if err == nil && k.Ed25519() == nil {
			err = errors.New("it is none of a gateway, which are of the kind Ed25519")
		}
		if err != nil {
			return nil, badFile("--key", path, fmt.Errorf("is no public key of a gateway: %w", err))
		}
		keys = append(keys, k.Ed25519())
	}
	return keys, nil
}

// readWitnesses reads heads that were kept elsewhere.
func readWitnesses(paths []string) (notes [][]byte, err error) {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, badFile("--witness", path, err)
		}
		more, err := audit.ReadWitness(f)
		f.Close() // opened for reading
		if err != nil {
			return nil, badFile("--witness", path, err)
		}
		notes = append(notes, more...)
	}
	return notes, nil
}

// badFile is a file that a flag names and that is not what it should be.
func badFile(flag, path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return &exitError{exitUsage, fmt.Errorf("%s %s: %w", flag, path, err)}
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("is too large, over %d bytes", most)
	}
	return b, err
}

// noLedger says where a ledger may be, if there is none.
func noLedger(err error, dir string) error {
	if errors.Is(err, fs.ErrNotExist) && !isDir(dir) {
		return fmt.Errorf("there is no directory %s; name the ledger, or the data directory it is in: --ledger DIR", dir)
	}
	if errors.Is(err, ledger.ErrEmpty) {
		return fmt.Errorf("%s holds no ledger; name the one that does, or the data directory it is in: --ledger DIR", dir)
	}
	return err
}
