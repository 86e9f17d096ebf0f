package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const maxFile = 64 << 10

// writeNew writes a file that is not there yet, for its owner alone; after it the file is on disk.
func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// newKey makes the key of a node in dir, or takes the one that a join that did not come to its end has left there.
func newKey(dir string) (*ecdsa.PrivateKey, error) {
	name := filepath.Join(dir, "node.key")
	if _, err := os.Lstat(filepath.Join(dir, "node.pem")); err == nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "node.pem"), fs.ErrExist)
	}
	if key, err := readKey(name); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	b, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeNew(name, b)
}

// read returns the one PEM block of a file.
func read(name, kind string, private bool) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if private && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: %w (mode %v)", name, ErrExposed, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return block(name, kind, b)
}

func block(name, kind string, b []byte) ([]byte, error) {
	p, rest := pem.Decode(b)
	if p == nil || p.Type != kind || len(rest) > 0 {
		return nil, fmt.Errorf("%s: want one PEM block, a %s", name, kind)
	}
	return p.Bytes, nil
}

func readCert(name string) (*x509.Certificate, error) {
	der, err := read(name, "CERTIFICATE", false)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

func readKey(name string) (*ecdsa.PrivateKey, error) {
	der, err := read(name, "PRIVATE KEY", true)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: not a private key", name) // what it is, is nobody's to read
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: a key of another kind than ECDSA", name)
	}
	return k, nil
}
