package swift

import (
	"context"
	"errors"
	"os"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/swift/replica"
)

// Disks are those of this machine that hold objects of a container. They may be used concurrently.
type Disks struct {
	rings *rings
	node  replica.Node
}

// Disks returns this machine's disks with objects of the bucket: the directories of devices lie in dir, as in /srv/node, and the rings in the directory etc
// know the machine by addresses.
func (b *Bucket) Disks(ctx context.Context, etc, dir string, addresses []string) (*Disks, error) {
	if etc == "endpoints" {
		return nil, errors.New("objects on this machine's disks are found by rings alone, not by endpoints")
	}
	r, err := b.rings(ctx, etc)
	if err != nil {
		return nil, err
	}
	return &Disks{r, replica.Node{Devices: dir, Addresses: addresses, Conf: r.conf, Ring: r.ring, Policy: r.policy}}, nil
}

// Open opens the object o, as listed. Its error is a [replica.Reason], unless the system failed otherwise; the object is to be had from its bucket then. The file
// is the caller's.
func (d *Disks) Open(o store.Object) (*os.File, error) {
	f, err := d.node.Open(d.rings.account, d.rings.container, string(o.Key), o.ETag)
	if err != nil {
		return nil, err
	}
	if f.Size != o.Size {
		_ = f.Close()
		return nil, replica.OtherVersion
	}
	return f.File, nil
}
