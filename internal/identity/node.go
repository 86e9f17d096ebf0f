package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// A Node is a node's own certificate, and whom it trusts. It may be used concurrently.
type Node struct {
	Peer
	Expires time.Time // then a new one is needed, by joining again

	ca   *x509.Certificate
	pool *x509.CertPool
	cert tls.Certificate
	now  func() time.Time
}

// Load opens the node in dir. It fails if its certificate is not of its authority, or has expired.
func Load(dir string) (*Node, error) {
	n, err := load(dir, time.Now)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", dir, err)
	}
	return n, nil
}

func load(dir string, now func() time.Time) (*Node, error) {
	ca, err := readCert(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	leaf, err := readCert(filepath.Join(dir, "node.pem"))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, "node.key"))
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("node.key is not the key of node.pem")
	}
	n := &Node{Expires: leaf.NotAfter, ca: ca, pool: x509.NewCertPool(), now: now}
	n.pool.AddCert(ca)
	// The authority's certificate goes along, for those who know no more of it than a fingerprint.
	n.cert = tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: key, Leaf: leaf}
	if n.Peer, err = n.verify([]*x509.Certificate{leaf}); err != nil {
		return nil, err
	}
	return n, nil
}

// Fingerprint returns that of the node's authority.
func (n *Node) Fingerprint() string { return (&Authority{cert: n.ca}).Fingerprint() }

// verify returns whom a certificate of the node's authority names.
func (n *Node) verify(chain []*x509.Certificate) (Peer, error) {
	return verify(n.pool, n.now(), chain)
}

func verify(pool *x509.CertPool, now time.Time, chain []*x509.Certificate) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, fmt.Errorf("%w: it shows no certificate", ErrStranger)
	}
	leaf := chain[0]
	p, err := PeerOf(leaf)
	if err != nil {
		return Peer{}, err
	}
	if now.After(leaf.NotAfter) {
		return Peer{}, fmt.Errorf("%w: the certificate of %v expired at %s", ErrStranger, p, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return Peer{}, fmt.Errorf("%w: the certificate of %v: %w", ErrStranger, p, err)
	}
	return p, nil
}

// TLS returns what either end of a connection needs: it shows this node's certificate and demands one of the same authority, of a
// node in one of the roles. The caller owns it.
func (n *Node) TLS(roles ...Role) *tls.Config {
	return n.config(func(p Peer) error {
		if !slices.Contains(roles, p.Role) {
			return fmt.Errorf("%w: %v is none of %v", ErrStranger, p, roles)
		}
		return nil
	})
}

// TLSTo is TLS for connections to the one node of that role and name.
func (n *Node) TLSTo(role Role, name string) *tls.Config {
	want := Peer{n.Cluster, role, name}
	return n.config(func(p Peer) error {
		if p != want {
			return fmt.Errorf("%w: it is %v, wanted is %v", ErrStranger, p, want)
		}
		return nil
	})
}

func (n *Node) config(allow func(Peer) error) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{n.cert},
		RootCAs:      n.pool,
		ClientCAs:    n.pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
		// Names are those of nodes and not of hosts, which VerifyConnection looks at, at both ends and for resumed connections too.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			p, err := n.verify(cs.PeerCertificates)
			if err != nil {
				return err
			}
			return allow(p)
		},
	}
}
