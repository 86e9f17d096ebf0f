package swifttest

import (
	"testing"

	"github.com/millrace/millrace/internal/netlab"
)

// A Swift runs on a host of its own, with an address for each node.
func TestPlace(t *testing.T) {
	l := netlab.New(t, 2)
	c := Run(t, &Options{Nodes: 2, Place: l.Hosts[0]})
	if err := c.MakeContainer(t.Context(), "c", ""); err != nil {
		t.Error(err)
	}
	conn, err := l.Hosts[1].Dial(t.Context(), "tcp", c.Nodes[1]+":6200")
	if err != nil {
		t.Fatalf("from another host: %v", err)
	}
	conn.Close()
}
