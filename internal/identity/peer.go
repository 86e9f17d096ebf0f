// Package identity says who is who in a cluster: an authority that signs, a certificate for each node with its name and its role, tokens
// by which nodes join, and what both ends of a connection check of each other. It is built of crypto/x509 alone.
//
// # Files
//
// An authority is a directory, and so is a node. Only their owner may read them; all certificates and keys are PEM.
//
//	AUTHORITY/ca.pem  ca.key            the authority's certificate, for all to have, and its key, which leaves this directory never
//	AUTHORITY/tokens/HASH               a token that was not used yet: role, name and end, as JSON; HASH is the SHA-256 of its secret
//	NODE/ca.pem  node.pem  node.key     whom the node trusts, what it shows, and its own key
//
// # Names
//
// A certificate names its node by one URI, millrace://CLUSTER/ROLE/NAME, and is good for both ends of a connection. Addresses are not in it: a node is
// known by its name, wherever it is. A token is "millrace-join-" and base64url of version:u8 fingerprint:32 secret:16, where the fingerprint
// is the SHA-256 of the authority's certificate. The version is 1.
package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A Role is what a node may be in its cluster.
type Role string

// Roles.
const (
	Agent       Role = "agent"       // lends slots
	Coordinator Role = "coordinator" // leads jobs, and serves the cluster engine
	Client      Role = "client"      // submits jobs
)

var roles = []Role{Agent, Coordinator, Client}

// Errors, asked for with errors.Is.
var (
	// ErrStranger says that the other end of a connection is not who it should be.
	ErrStranger = errors.New("not who it should be")
	// ErrToken says that a token is not one, was used before, or is too old.
	ErrToken = errors.New("no valid token")
	// ErrExposed says that others than the owner may read a key.
	ErrExposed = errors.New("others than its owner may read it")
)

// A Peer names a node.
type Peer struct {
	Cluster string `json:"cluster"`
	Role    Role   `json:"role"`
	Name    string `json:"name"`
}

func (p Peer) String() string { return string(p.Role) + " " + p.Name }

func (p Peer) uri() *url.URL {
	return &url.URL{Scheme: "millrace", Host: p.Cluster, Path: "/" + string(p.Role) + "/" + p.Name}
}

// Check says what is wrong with the words of a name.
func (p Peer) Check() error {
	switch {
	case !slices.Contains(roles, p.Role):
		return fmt.Errorf("role %q: want one of %v", p.Role, roles)
	case !isName(p.Name):
		return fmt.Errorf("node name %q: want at most 63 letters, digits, - and _", p.Name)
	case !isName(p.Cluster):
		return fmt.Errorf("cluster name %q: want at most 63 letters, digits, - and _", p.Cluster)
	}
	return nil
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// PeerOf returns whom a certificate names. It does not say who signed it.
func PeerOf(c *x509.Certificate) (Peer, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "millrace" {
		return Peer{}, fmt.Errorf("%w: a certificate that names no node", ErrStranger)
	}
	u := c.URIs[0]
	role, name, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	p := Peer{Cluster: u.Host, Role: Role(role), Name: name}
	if err := p.Check(); err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrStranger, err)
	}
	return p, nil
}
