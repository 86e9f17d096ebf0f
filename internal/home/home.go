// Package home is the directory in which one machine of a cluster keeps who it is and where the others are:
//
//	DIR/node/        its certificate and key, as package identity has them
//	DIR/servers      where the cluster's engine is reached, one host:port a line
//	DIR/authority/   where the cluster began, and only there: the authority that lets others join
//	DIR/engine/      of a coordinator: what the cluster's engine keeps
//	DIR/new          of a coordinator: it has not found the cluster's engine prepared yet
//
// A machine has one by [Begin] or by [Join]; the daemons and commands on it [Open] it.
package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/identity"
)

// Errors, asked for with errors.Is.
var (
	// ErrNone says that a directory is no home: nobody has begun a cluster there, or joined one.
	ErrNone = errors.New("no node of a cluster")
	// ErrTaken says that a directory is a home already.
	ErrTaken = errors.New("a node of a cluster already")
)

// A Home is an open directory. It may be used concurrently.
type Home struct {
	Dir      string
	Identity *identity.Node
	Servers  []string // host:port; none where the cluster has begun
}

// Begin makes a new cluster in dir: its authority, and the identity of its first coordinator.
func Begin(dir, cluster, node string) (*Home, error) {
	if err := (identity.Peer{Cluster: cluster, Role: identity.Coordinator, Name: node}).Check(); err != nil {
		return nil, err
	}
	if err := vacant(dir); err != nil {
		return nil, err
	}
	a, err := identity.Open(authority(dir)) // an earlier try that did not come to its end
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(fresh(dir), nil, 0o600); err != nil {
			return nil, err
		}
		a, err = identity.Create(authority(dir), cluster)
	}
	if err != nil {
		return nil, err
	}
	if a.Cluster() != cluster {
		return nil, fmt.Errorf("%s: %w: the authority of cluster %s is there", dir, ErrTaken, a.Cluster())
	}
	if _, err := a.Issue(identity.Coordinator, node, nodeDir(dir)); err != nil {
		return nil, err
	}
	return Open(dir)
}

// Open opens the home in dir.
func Open(dir string) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	n, err := identity.Load(nodeDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	h := &Home{Dir: dir, Identity: n}
	h.Servers, err = readServers(dir)
	return h, err
}

// Authority returns the cluster's authority; nil: it is kept elsewhere.
func (h *Home) Authority() (*identity.Authority, error) {
	a, err := identity.Open(authority(h.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return a, err
}

// Engine returns the directory of the cluster's engine.
func (h *Home) Engine() string { return filepath.Join(h.Dir, "engine") }

// Fresh reports whether a coordinator has never found the cluster's engine prepared: the one where the cluster has begun prepares it, the others wait.
func (h *Home) Fresh() bool {
	_, err := os.Stat(fresh(h.Dir))
	return err == nil
}

// Prepared says that the engine is prepared: from now on, what it has lost is lost.
func (h *Home) Prepared() error {
	if err := os.Remove(fresh(h.Dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := os.Open(h.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// vacant returns an error if dir is a home.
func vacant(dir string) error {
	_, err := os.Lstat(filepath.Join(nodeDir(dir), "node.pem"))
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", dir, ErrTaken)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

func authority(dir string) string { return filepath.Join(dir, "authority") }
func nodeDir(dir string) string   { return filepath.Join(dir, "node") }
func fresh(dir string) string     { return filepath.Join(dir, "new") }
