// Package mapper is what a mapper sees: the object it reads, and how it says that an object is bad.
package mapper

import (
	"io"
	"time"
)

// An Object is the input of one call of a mapper: metadata and a stream of its bytes.
// It is valid until the mapper returns and is not safe for concurrent use.
type Object struct {
	Key      string // below the input's URI
	URI      string // whole
	Size     int64
	ETag     string
	Modified time.Time

	Params map[string]string // parameters of the job; do not modify

	Body io.Reader // the object's bytes; Read reads from it
	Data []byte    // all of the bytes, if they are in memory already (small objects), else nil; do not modify: it may lie in memory that cannot be written

	Counter func(name string, n int64) // where Count counts; nil counts nothing
}

// Read reads the object's bytes. It ends in io.EOF.
func (o *Object) Read(p []byte) (int, error) { return o.Body.Read(p) }

// WriteTo writes what has not been read yet to w, at once if it is in memory. It is what io.Copy does with an object.
func (o *Object) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, o.Body) }

// Param returns the job parameter of that name, "" if it was not given.
func (o *Object) Param(name string) string { return o.Params[name] }

// Count adds n to the job's counter of that name (at most 256 bytes). What is counted for an object that fails does not count.
func (o *Object) Count(name string, n int64) {
	if o.Counter != nil {
		o.Counter(name, n)
	}
}
