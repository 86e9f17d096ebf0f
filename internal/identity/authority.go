package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// How long certificates hold. They begin early, for nodes whose clocks are behind.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	nodeLife      = 365 * 24 * time.Hour
	early         = 24 * time.Hour
)

// An Authority signs the certificates of a cluster. Its methods may be called concurrently, also by several processes with one directory.
type Authority struct {
	dir     string
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	now     func() time.Time
}

// Create makes the authority of a new cluster in dir, which is made if it is not there and holds no authority yet.
func Create(dir, cluster string) (*Authority, error) {
	a, err := create(dir, cluster, time.Now)
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", dir, err)
	}
	return a, nil
}

func create(dir, cluster string, now func() time.Time) (*Authority, error) {
	if !isName(cluster) {
		return nil, fmt.Errorf("cluster name %q: want at most 63 letters, digits, - and _", cluster)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Millrace cluster " + cluster},
		NotBefore: t.Add(-early), NotAfter: t.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{{Scheme: "millrace", Host: cluster}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	// The key comes first: whoever finds its name taken has made nothing.
	if err := writeNew(filepath.Join(dir, "ca.key"), encoded); err != nil {
		return nil, err
	}
	if err := writeNew(filepath.Join(dir, "ca.pem"), encodeCert(der)); err != nil {
		return nil, err
	}
	return open(dir, now)
}

// Open opens the authority that Create made in dir.
func Open(dir string) (*Authority, error) {
	a, err := open(dir, time.Now)
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", dir, err)
	}
	return a, nil
}

func open(dir string, now func() time.Time) (*Authority, error) {
	cert, err := readCert(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || len(cert.URIs) != 1 || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("ca.pem and ca.key are not those of one authority")
	}
	return &Authority{dir: dir, cluster: cert.URIs[0].Host, cert: cert, key: key, now: now}, nil
}

// Cluster returns the name of the cluster.
func (a *Authority) Cluster() string { return a.cluster }

// Fingerprint returns the SHA-256 of the authority's certificate, in hexadecimal digits, by which people can compare it.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Issue makes a node of the authority's own machine, in dir, where no node is yet. Others join by a token.
func (a *Authority) Issue(role Role, name, dir string) (*Node, error) {
	key, err := newKey(dir)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	cert, err := a.sign(Peer{a.cluster, role, name}, &key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return install(dir, a.cert.Raw, cert)
}

// sign returns the certificate of a node.
func (a *Authority) sign(p Peer, public *ecdsa.PublicKey) ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if public.Curve != elliptic.P256() {
		return nil, errors.New("a key that is not on P-256")
	}
	t := a.now()
	end := t.Add(nodeLife)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: p.Name, OrganizationalUnit: []string{string(p.Role)}},
		NotBefore: t.Add(-early), NotAfter: end, URIs: []*url.URL{p.uri()},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, public, a.key)
}

// serial returns a random serial number.
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f        // positive
	return new(big.Int).SetBytes(b)
}

// install completes a node whose key is in dir already, with certificates in DER.
func install(dir string, ca, cert []byte) (*Node, error) {
	name := filepath.Join(dir, "ca.pem")
	old, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(old, encodeCert(ca)) { // else an earlier try wrote it
		err = writeNew(name, encodeCert(ca))
	}
	if err == nil {
		err = writeNew(filepath.Join(dir, "node.pem"), encodeCert(cert)) // the last: with it the node is one
	}
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", dir, err)
	}
	return Load(dir)
}
