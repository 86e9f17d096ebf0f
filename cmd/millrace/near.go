package main

import (
	"github.com/millrace/millrace/internal/locate"
)

// nearFlags say on which nodes objects lie.
type nearFlags struct {
	Near       []locate.Rule `group:"store" sep:"none" placeholder:"URI=NODE,…" help:"Nodes that have what lies below a URI, or * for all alike; may be repeated."`
	SwiftRings string        `group:"store" env:"MILLRACE_SWIFT_RINGS" placeholder:"DIR|endpoints" help:"How to find the nodes of Swift's objects: a directory with swift.conf and ring files, or the proxy."`
}

// diskFlags say which objects are read from disks of this node.
type diskFlags struct {
	SwiftRings   string   `group:"store" env:"MILLRACE_SWIFT_RINGS" placeholder:"DIR" help:"Directory with swift.conf and the ring files of Swift's objects."`
	SwiftDevices string   `group:"store" env:"MILLRACE_SWIFT_DEVICES" placeholder:"DIR" help:"Directory of Swift's devices on this node (/srv/node): objects on them are read there, past the store."`
	SwiftAddress []string `group:"store" env:"MILLRACE_SWIFT_ADDRESS" placeholder:"ADDRESS" help:"An address by which the rings know this node, in place of all that it has; may be repeated."`
}

func (f *nearFlags) where() *locate.Config {
	return &locate.Config{Rules: f.Near, Rings: f.SwiftRings}
}

func (f *diskFlags) where() (*locate.Config, error) {
	c := &locate.Config{Rings: f.SwiftRings, Devices: f.SwiftDevices, Addresses: f.SwiftAddress}
	if c.Devices == "" {
		return nil, nil // rings alone are of use to others
	}
	return c, c.Check()
}
