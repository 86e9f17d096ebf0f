package agent

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A reading counts from where objects were read.
type reading struct {
	local, localBytes, remote, remoteBytes atomic.Int64
}

func (r *reading) add(local bool, size int64) {
	if local {
		r.local.Add(1)
		r.localBytes.Add(size)
		return
	}
	r.remote.Add(1)
	r.remoteBytes.Add(size)
}

func (r *reading) total() job.Reading {
	return job.Reading{Local: r.local.Load(), LocalBytes: r.localBytes.Load(), Remote: r.remote.Load(), RemoteBytes: r.remoteBytes.Load()}
}

// local reports whether the store of an input is this machine.
func local(in *plan.Input) bool { return in.URI.Scheme == "file" || in.URI.Scheme == "mem" }

func listed(o *plan.Object) store.Object {
	return store.Object{Key: o.Key, Size: o.Size, ETag: o.ETag, Modified: o.Modified}
}

// openLocal opens an object from this node's disks, nil if it is to be had from its store.
func (f *feeder) openLocal(o *plan.Object) *os.File {
	disks := f.t.a.job.Disks
	if o.Input >= len(disks) || disks[o.Input] == nil {
		return nil
	}
	file, err := disks[o.Input].Open(listed(o))
	if err != nil {
		return nil
	}
	return file
}

// readLocal reads an object from this node's disks and reports whether it has.
func (f *feeder) readLocal(o *plan.Object, dst []byte) bool {
	file := f.openLocal(o)
	if file == nil {
		return false
	}
	_, err := io.ReadFull(file, dst)
	if errors.Join(err, file.Close()) != nil {
		return false
	}
	f.t.reading.add(true, o.Size)
	return true
}

// open opens an object, on this node's disks if it can be had there.
func (f *feeder) open(o *plan.Object) (io.ReadCloser, error) {
	if file := f.openLocal(o); file != nil {
		f.t.reading.add(true, o.Size)
		return &detour{f: f, o: o, ReadCloser: file}, nil
	}
	in := &f.t.a.job.Inputs[o.Input]
	r, err := in.Bucket.Open(f.ctx, o.Key, o.ETag, 0, o.Size)
	if err == nil {
		f.t.reading.add(local(in), o.Size)
	}
	return r, err
}

// A detour reads an object from a disk, and what cannot be read there from its store.
type detour struct {
	io.ReadCloser
	f   *feeder
	o   *plan.Object
	off int64
	far bool
}

func (d *detour) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.off += int64(n)
	if err == nil || d.far || d.off == d.o.Size {
		return n, err
	}
	_ = d.ReadCloser.Close()
	d.far = true
	if d.ReadCloser, err = d.f.t.a.job.Inputs[d.o.Input].Bucket.Open(d.f.ctx, d.o.Key, d.o.ETag, d.off, d.o.Size-d.off); err != nil {
		d.ReadCloser = io.NopCloser(failing{err})
		return n, err
	}
	c := &d.f.t.reading
	c.local.Add(-1)
	c.localBytes.Add(d.off - d.o.Size)
	c.add(false, d.o.Size-d.off)
	return n, nil
}

// A failing reader has an error.
type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }
