// Package store is the contract between Millrace and the places where objects lie.
//
// A [Bucket] is a flat, byte-ordered map from keys to immutable versions of objects. The drivers are
// in store/s3, store/swift, store/file and store/mem; package storetest holds the behaviours that each must show.
//
// Output is written in two steps. [Bucket.Create] and [Writer.Seal] make a [Pending] object: durable and
// invisible. [Bucket.Publish] makes it visible under its key, and may be repeated. Between the two lies the
// decision of a job to commit.
package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"time"
)

// A Key names an object within its bucket. It is any non-empty byte string of up to 1,024 bytes
// that the store accepts; it is not a path and it is compared bytewise.
type Key string

// An Object is one version of what lies under a key, as a listing or a Stat describes it.
type Object struct {
	Key      Key
	Size     int64
	ETag     string // identifies the version, opaque, as the store gave it without quotes; never a hash to rely on
	Modified time.Time
	Archived bool // it must be restored from an archive class before it can be read
}

// Errors that drivers wrap. Each is asked for with errors.Is.
var (
	// ErrNotExist says that there is no such bucket or object.
	ErrNotExist = fs.ErrNotExist
	// ErrPermission says that the store knows who asks and refuses, or that it needs to know.
	ErrPermission = fs.ErrPermission
	// ErrChanged says that an object is no longer the version that was asked for.
	ErrChanged = errors.New("object changed")
	// ErrShort says that a body ended before, or went on after, its announced length.
	ErrShort = errors.New("body does not have its announced length")
	// ErrThrottled says that the store asked for fewer requests, for longer than the driver was willing to wait.
	ErrThrottled = errors.New("store asks for fewer requests")
	// ErrListing says that a listing broke its own rules: a repeated token, keys out of order.
	ErrListing = errors.New("listing is inconsistent")
	// ErrKey says that the store cannot hold an object of that name.
	ErrKey = errors.New("key not accepted")
)

// A Bucket is the least an object store must do. Its methods may be called concurrently.
// Errors name the object (as a URI) and the cause.
type Bucket interface {
	// Stat describes the object now under key. ErrNotExist if there is none.
	Stat(ctx context.Context, key Key) (Object, error)

	// Open returns bytes [off, off+n) of the object as it was at etag; n < 0 means to the end, an empty
	// etag any version. It returns ErrChanged if the object is no longer that one, also when that shows only
	// in the middle of the body. The body ends in io.EOF only after exactly the bytes asked for (fewer only
	// where the object ends before off+n); a body cut short is an error that wraps ErrShort.
	// Cancelling ctx ends a read under way. The caller closes the body.
	Open(ctx context.Context, key Key, etag string, off, n int64) (io.ReadCloser, error)

	// List yields the objects under prefix in byte order of their keys, starting after the key after
	// ("" means from the first). It stops at the first error, which it yields. Objects created or
	// deleted meanwhile may or may not be seen; each key is seen at most once.
	List(ctx context.Context, prefix, after Key) iter.Seq2[Object, error]

	// Create returns a Writer. Nothing is visible under key until Publish.
	Create(ctx context.Context, key Key, opts *CreateOptions) (Writer, error)

	// Publish makes a sealed object visible under its key, replacing what is there. It is idempotent:
	// publishing what was published already succeeds and describes the object.
	Publish(ctx context.Context, p Pending) (Object, error)

	// Discard removes the pending object h, sealed or not, and what it occupies. It never touches what was
	// published, and a handle that is gone already is no error.
	Discard(ctx context.Context, h Handle) error

	// Put replaces the object under key by body, at once and atomically. It is for small documents.
	Put(ctx context.Context, key Key, body []byte) (Object, error)

	// Delete removes the object under key. A key with no object is no error.
	Delete(ctx context.Context, key Key) error

	// Close releases what the driver holds: connections, descriptors, goroutines. Readers and Writers
	// must be closed before.
	Close() error
}

// A Whole is a Bucket that can read small objects faster than through Open.
type Whole interface {
	// ReadWhole reads all of the object o, as listed, into dst, whose length is o.Size. It returns ErrChanged
	// if the object is no longer that version or size.
	ReadWhole(ctx context.Context, o Object, dst []byte) error
}

// ReadWhole reads all of the object o, as listed, into dst, whose length is o.Size, by the fastest way b has.
func ReadWhole(ctx context.Context, b Bucket, o Object, dst []byte) error {
	if w, ok := b.(Whole); ok {
		return w.ReadWhole(ctx, o, dst)
	}
	r, err := b.Open(ctx, o.Key, o.ETag, 0, o.Size)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, dst)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = ErrShort
	}
	return errors.Join(err, r.Close())
}

// CreateOptions say how an object is made. A nil *CreateOptions means the zero value.
type CreateOptions struct {
	ContentType string // "" leaves it to the store
}

// A Writer takes the bytes of one pending object. It is not safe for concurrent use. It ends in Seal or in
// Abort; there is no Close, so that a deferred call can never publish half an object.
type Writer interface {
	io.Writer

	// Handle identifies the pending object from before its first byte, so that it can be written down and
	// discarded by somebody else later.
	Handle() Handle

	// Seal makes all bytes written durable, still invisible, and ends the Writer. After an error the Writer
	// can only be aborted.
	Seal(ctx context.Context) (Pending, error)

	// Abort gives the object up and removes what was written. After Seal it does nothing.
	Abort(ctx context.Context) error
}

// A Copier is a Writer that can take the bytes of an object of its bucket without reading all of them.
type Copier interface {
	// Copy writes all of the object o, as it was at its ETag. It returns ErrChanged if the object is no longer that one. After an error the Writer
	// can only be aborted.
	Copy(ctx context.Context, o Object) error
}

// A Handle identifies a pending object in its bucket: an upload id, a staging name. It is plain data and
// survives the process that made it.
type Handle struct {
	Key Key    `json:"key"`
	ID  string `json:"id"`
}

// A Pending is a sealed, invisible object: all that Publish needs. It is plain data and survives the
// process that made it.
type Pending struct {
	Handle
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // of the whole content, hexadecimal; "" if a Copier has copied some of it
	Parts  []Part `json:"parts,omitempty"`
}

// A Part is one piece of a Pending as its store names it.
type Part struct {
	Number int    `json:"n"`
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
}
