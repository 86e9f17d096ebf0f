package runner

import (
	"io"

	"github.com/millrace/millrace/internal/format"
	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
)

// An output sends the output of an attempt to the agent, compressed if the job wants it. Unless it is compressed, what lies between
// two ends of a T frame is the text of whole objects.
type output struct {
	conn     *Conn
	compress job.Compression
	z        io.WriteCloser // compresses the attempt under way; nil if nothing was written yet, or nothing is compressed
	buf      []byte
}

const flushAt = 64 << 10

// reset forgets what an attempt has left.
func (o *output) reset() { o.z, o.buf = nil, o.buf[:0] }

// writer returns what writes the records of a part. The part is made also if there are none.
func (o *output) writer(f job.Format, key, value guest.Type) (format.Writer, error) {
	if _, err := o.Write(nil); err != nil {
		return nil, err
	}
	return format.NewWriter(o, f, key, value)
}

// Write takes the text of one object, or anything of a part.
func (o *output) Write(p []byte) (int, error) {
	if o.compress == "" {
		return sink{o}.Write(p)
	}
	if o.z == nil {
		var err error
		if o.z, err = format.NewCompressor(sink{o}, o.compress); err != nil {
			return 0, err
		}
	}
	return o.z.Write(p)
}

// end completes what was written and sends what is left of it.
func (o *output) end() error {
	if o.z != nil {
		if err := o.z.Close(); err != nil {
			return err
		}
		o.z = nil
	}
	return o.flush()
}

// A sink takes the bytes that are sent.
type sink struct{ o *output }

func (s sink) Write(p []byte) (int, error) {
	s.o.buf = append(s.o.buf, p...)
	if len(s.o.buf) < flushAt {
		return len(p), nil
	}
	return len(p), s.o.flush()
}

// flush sends what is there.
func (o *output) flush() error {
	for b := o.buf; len(b) > 0; {
		k, n := KindText, len(b)
		if n > MaxFrame-1 {
			k, n = KindMore, MaxFrame-1
		}
		if err := o.conn.Send(k, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	o.buf = o.buf[:0]
	return nil
}
