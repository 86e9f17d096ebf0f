package server

import (
	"errors"
	"io"
	"time"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/shuffle"
)

// An output is what a job prints, on its way to the client who reads it.
type output struct {
	*io.PipeWriter
	forget func()
	late   *time.Timer
}

// patience is how long a client may take to begin to read.
const patience = 30 * time.Second

var errGone = errors.New("who reads what the job prints has gone")

// print makes a place from which the client reads what the job prints.
func (j *tracked) print() (d shuffle.Descriptor, err error) {
	r, w := io.Pipe()
	o := &output{PipeWriter: w}
	o.late = time.AfterFunc(patience, func() { j.stop(errGone) })
	d, o.forget, err = j.t.s.o.Data.Offer(brief.TextStamp(j.id, j.t.s.origin, j.t.epoch), &reading{PipeReader: r, o: o, j: j})
	if err != nil {
		o.late.Stop()
		return "", err
	}
	j.text = o
	return d, nil
}

// A reading is the client's end.
type reading struct {
	*io.PipeReader
	o *output
	j *tracked
}

func (r *reading) Read(p []byte) (int, error) {
	r.o.late.Stop()
	return r.PipeReader.Read(p)
}

// Close says that the client is gone, or has all.
func (r *reading) Close() error {
	r.j.stop(errGone)
	return r.PipeReader.Close()
}

// release ends what the job offers.
func (j *tracked) release(err error) {
	for _, forget := range j.offers {
		forget()
	}
	if j.text == nil {
		return
	}
	j.text.late.Stop()
	_ = j.text.CloseWithError(err)          // nil: its reader has all
	time.AfterFunc(patience, j.text.forget) // who has not begun to read is told, too
}
