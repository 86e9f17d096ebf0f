package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/millrace/millrace/shuffle"
)

// An intake takes the runs of a reduce attempt from the agent, while mappers make them.
type intake struct {
	conn  *Conn
	g     *shuffle.Gather // nil: what comes is not wanted
	came  int
	total int  // -1: not known yet
	over  bool // the agent says nothing more of this attempt
}

// errGone says that the agent does not want the attempt any more.
var errGone = errors.New("the attempt was given back")

// take takes runs until all are there. An attemptError may come before; then drain is to follow.
func (in *intake) take() error {
	for !in.over {
		if err := in.ahead(); err != nil {
			return err
		}
		if err := in.next(); err != nil {
			return err
		}
	}
	return nil
}

// ahead merges what came while nothing else does.
func (in *intake) ahead() error {
	for in.total < 0 && !in.conn.Waits() {
		more, err := in.g.Ahead()
		if err != nil {
			return &attemptError{err}
		}
		if !more {
			break
		}
	}
	return nil
}

// drain takes what the agent sends before it hears that the attempt failed.
func (in *intake) drain() error {
	in.g = nil
	for !in.over {
		if err := in.next(); err != nil {
			return err
		}
	}
	return nil
}

// next takes a frame.
func (in *intake) next() error {
	k, payload, file, err := in.conn.Recv()
	if err != nil {
		return err
	}
	switch {
	case k == KindRuns && file != nil:
		return in.runs(payload, file)
	case k == KindTotal && file == nil && in.total < 0:
		var n uint32
		if _, err := Uints(payload, &n); err != nil {
			return err
		}
		in.total = int(n)
		if err := in.count(0); err != nil || in.g == nil {
			return err
		}
		return failed(in.g.Total(in.total))
	case k == KindGone && file == nil:
		in.over = true
		if in.g == nil {
			return nil
		}
		return &attemptError{errGone}
	}
	err = fmt.Errorf("%w: frame %c where runs are due", ErrProtocol, k)
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return err
}

// count counts n runs that came, and sees whether these are all.
func (in *intake) count(n int) error {
	in.came += n
	if in.total >= 0 && in.came > in.total {
		return fmt.Errorf("%w: %d runs of %d", ErrProtocol, in.came, in.total)
	}
	in.over = in.came == in.total
	return nil
}

// runs takes runs in a file, which is closed when the last of them was read.
func (in *intake) runs(payload []byte, file *os.File) error {
	var r Runs
	err := fmt.Errorf("%w: no runs", ErrProtocol)
	if json.Unmarshal(payload, &r) == nil && len(r.Sections) > 0 {
		err = in.count(len(r.Sections))
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	open := len(r.Sections)
	done := func() {
		if open--; open == 0 {
			_ = file.Close() // it was only read
		}
	}
	for i := range r.Sections {
		if in.g == nil || err != nil {
			done()
			continue
		}
		err = in.g.Add(shuffle.Run{Name: r.Name, File: file, Section: r.Sections[i], Done: done})
	}
	return failed(err)
}

// failed makes an error that of the attempt.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return &attemptError{err}
}
