package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/millrace/millrace/job"
)

// A printer shows the text of a job's tasks: whole objects as they come, or task by task in order. It shows each byte of a task once, however
// often the task is tried, and stops after a number of lines.
type printer struct {
	w     io.Writer
	limit int64             // lines; 0 means all
	stop  func(cause error) // ends the job

	mu      sync.Mutex
	order   bool // print task by task
	tasks   map[job.TaskID]*printed
	next    job.TaskID // the task whose turn it is, if ordered
	lines   int64
	stopped error
}

// A printed is what is known of the text of one task.
type printed struct {
	try     int    // the attempt that speaks
	passed  int64  // bytes that it has said
	shown   int64  // bytes that were shown or kept, by any attempt
	partial []byte // the start of an object's text
	kept    spool  // what waits for its turn
	done    bool
}

// Print takes text of an attempt.
func (p *printer) Print(a job.AttemptID, text []byte, more bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != nil {
		return p.stopped
	}
	t := p.task(a.Task)
	if t.try != a.Try {
		t.try, t.passed, t.partial = a.Try, 0, t.partial[:0]
	}
	if more || len(t.partial) > 0 {
		t.partial = append(t.partial, text...)
		if more {
			return nil
		}
		text = t.partial
		t.partial = t.partial[:0]
	}
	from := t.passed
	t.passed += int64(len(text))
	if t.passed <= t.shown {
		return nil
	}
	text = text[max(0, t.shown-from):]
	t.shown = t.passed
	if (p.order || a.Task.IsReduce()) && a.Task != p.next {
		return p.fail(t.kept.write(text))
	}
	return p.show(text)
}

// End says that an attempt has printed all. There is nothing to do before it counts.
func (p *printer) End(job.AttemptID) error { return nil }

// Done says that a task prints nothing more.
func (p *printer) Done(a job.AttemptID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != nil {
		return p.stopped
	}
	p.task(a.Task).done = true
	if a.Task.IsReduce() && !p.next.IsReduce() {
		p.next = job.ReduceTask(0)
		if err := p.release(); err != nil {
			return err
		}
	}
	for p.task(p.next).done {
		delete(p.tasks, p.next)
		p.next = p.next.Next()
		if err := p.release(); err != nil {
			return err
		}
	}
	return nil
}

// release shows what the task whose turn it is has kept.
func (p *printer) release() error {
	t, ok := p.tasks[p.next]
	if !ok {
		return nil
	}
	return p.fail(errors.Join(t.kept.drain(p.show), t.kept.close()))
}

func (p *printer) task(id job.TaskID) *printed {
	t := p.tasks[id]
	if t == nil {
		t = &printed{}
		p.tasks[id] = t
	}
	return t
}

func (p *printer) show(text []byte) error {
	n := int64(bytes.Count(text, []byte{'\n'}))
	enough := p.limit > 0 && p.lines+n >= p.limit
	if enough {
		n = p.limit - p.lines
		text = firstLines(text, n)
	}
	p.lines += n
	if _, err := p.w.Write(text); err != nil {
		return p.fail(fmt.Errorf("print: %w", err))
	}
	if enough {
		return p.fail(errEnough)
	}
	return nil
}

// printed returns how many lines were shown, and why no more were.
func (p *printer) printed() (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines, p.stopped
}

// fail stops the job at the first error.
func (p *printer) fail(err error) error {
	if err != nil && p.stopped == nil {
		p.stopped = err
		p.stop(err)
	}
	return err
}

// firstLines returns the first n lines of text.
func firstLines(text []byte, n int64) []byte {
	end := 0
	for ; n > 0; n-- {
		i := bytes.IndexByte(text[end:], '\n')
		if i < 0 {
			return text
		}
		end += i + 1
	}
	return text[:end]
}

// close releases what was kept for tasks that never had their turn.
func (p *printer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, t := range p.tasks {
		err = errors.Join(err, t.kept.close())
	}
	clear(p.tasks)
	return err
}
