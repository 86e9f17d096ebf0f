// Package locate knows where objects lie: on which nodes of a cluster, by what users say of their stores, and on the disks of this node.
//
// What it says wrongly costs speed only, as long as every node can read every input.
package locate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/swift"
)

// A Config is what a user says of where objects lie. Its fields do not change.
type Config struct {
	Rules []Rule
	// Rings is a directory with swift.conf and the ring files of objects, or "endpoints", which asks the proxy; "": nobody knows where objects of Swift lie.
	Rings string
	// Devices is the directory of this node's devices with objects of Swift; "": there are none.
	Devices string
	// Addresses are those by which the rings know this node; nil: all that it has.
	Addresses []string
	// Node is the name of this node, where files lie for which there is no rule; "": files lie nowhere in particular.
	Node string
}

// A Locator says on which nodes objects lie.
type Locator interface {
	// Locate sets nodes[i] to the nodes that hold the object under keys[i], each once; to nil if nobody knows.
	Locate(ctx context.Context, keys []store.Key, nodes [][]string) error
}

// Locator returns who knows where the objects of an input lie, nil if they lie nowhere in particular. It says names of nodes: names returns that of the node which has
// an address, or a name, and "" if no node of the cluster has it; nodes that are not of the cluster are left out. A nil names leaves addresses and names as they are.
func (c *Config) Locator(ctx context.Context, u store.URI, b store.Bucket, names func(string) string) (Locator, error) {
	l, err := c.locator(ctx, u, b)
	if l == nil || err != nil || names == nil {
		return l, err
	}
	return &members{l, names}, nil
}

func (c *Config) locator(ctx context.Context, u store.URI, b store.Bucket) (Locator, error) {
	if l := c.rules(u); l != nil {
		return l, nil
	}
	if s, ok := b.(*swift.Bucket); ok && c.Rings != "" {
		l, err := s.Locator(ctx, c.Rings)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	return nil, nil
}

// Disk returns what opens objects of an input from this node's disks, nil if there is nothing of it.
func (c *Config) Disk(ctx context.Context, b store.Bucket) (Disk, error) {
	s, ok := b.(*swift.Bucket)
	if !ok || c.Devices == "" {
		return nil, nil
	}
	addresses := c.Addresses
	if addresses == nil {
		var err error
		if addresses, err = own(); err != nil {
			return nil, err
		}
	}
	d, err := s.Disks(ctx, c.Rings, c.Devices, addresses)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// A Disk opens objects that lie on this node. It may be used concurrently.
type Disk interface {
	// Open opens the object o, as it was listed, at its beginning. The file is the caller's. An error means that the object is to be had from its bucket.
	Open(o store.Object) (*os.File, error)
}

// own returns the addresses of this machine.
func own() (addresses []string, err error) {
	all, err := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			addresses = append(addresses, n.IP.String())
		}
	}
	return addresses, err
}

// members says names of nodes where another Locator says addresses.
type members struct {
	from  Locator
	names func(string) string
}

func (m *members) Locate(ctx context.Context, keys []store.Key, nodes [][]string) error {
	if err := m.from.Locate(ctx, keys, nodes); err != nil {
		return err
	}
	named := map[string]string{} // members may come and go while a job is planned
	for i, at := range nodes {
		known := make([]string, 0, len(at))
		for _, a := range at {
			n, ok := named[a]
			if !ok {
				n = m.names(a)
				named[a] = n
			}
			if n != "" && !slices.Contains(known, n) {
				known = append(known, n)
			}
		}
		nodes[i] = known
	}
	return nil
}

// Names returns a function that knows nodes by their names and by their addresses, each an IP or a host, with a port or without.
func Names(nodes map[string][]string) func(string) string {
	by := make(map[string]string)
	for name, addresses := range nodes {
		for _, a := range addresses {
			if host, _, err := net.SplitHostPort(a); err == nil {
				a = host
			}
			by[host(a)] = name
		}
	}
	for name := range nodes {
		by[host(name)] = name
	}
	return func(s string) string { return by[host(s)] }
}

// host writes one address always the same way.
func host(s string) string {
	if ip := net.ParseIP(strings.Trim(s, "[]")); ip != nil {
		return ip.String()
	}
	return strings.ToLower(s)
}

// Check says what is wrong with a configuration.
func (c *Config) Check() error {
	switch {
	case c.Devices != "" && (c.Rings == "" || c.Rings == "endpoints"):
		return fmt.Errorf("devices of Swift in %s are of use only with its rings", c.Devices)
	case c.Devices == "" && len(c.Addresses) > 0:
		return errors.New("addresses of this node in the rings of Swift are of use only with its devices")
	}
	return nil
}
