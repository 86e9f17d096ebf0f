package shuffle

import (
	"context"
	"io"
	"sync"
)

// pieces are the reading ends of this package: batches come as they were written.
type pieces interface {
	PipeReader
	// next returns the next piece, valid until the next call, and whether there is more to come of its batch.
	next() (piece []byte, more bool, err error)
	// state returns why nothing can be read.
	state() error
}

// parts are the writing ends of this package.
type parts interface {
	PipeWriter
	// write writes p as a batch, or as a part of a batch if there is more to come of it.
	write(p []byte, more bool) (int, error)
}

// Join returns one reading end for netpipes that have a writer each: the batches of all, each whole, those of one writer in their order.
// It ends when the last of them has ended, and fails when one fails. It takes over the readers, which NewPipeReader or Join made.
func Join(readers ...PipeReader) PipeReader {
	if len(readers) == 1 {
		return readers[0]
	}
	j := &joined{left: len(readers), turn: make(chan struct{}, 1), taken: make(chan struct{}), given: make(chan joinedPiece),
		ended: make(chan error), stop: make(chan struct{})}
	for _, r := range readers {
		j.from = append(j.from, r.(pieces))
	}
	return j
}

type joined struct {
	from []pieces
	busy sync.WaitGroup

	turn  chan struct{} // full while a batch is given
	given chan joinedPiece
	taken chan struct{} // the piece given last is not used any more
	ended chan error    // why one of the readers has no more
	stop  chan struct{} // closed by fail

	mu     sync.Mutex
	opened bool
	err    error

	// What follows is for Read.
	left  int // readers that have not ended
	rest  []byte
	owing bool // a piece was given and not yet taken
}

type joinedPiece struct {
	data []byte
	more bool
}

func (j *joined) Open(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.opened || j.err != nil {
		return j.err
	}
	j.opened = true
	for _, r := range j.from {
		if err := r.Open(ctx); err != nil {
			j.err = err
			close(j.stop)
			return err
		}
		j.busy.Go(func() { j.pump(r) })
	}
	return nil
}

// pump gives what one reader reads, when it is its turn.
func (j *joined) pump(r pieces) {
	mine := false
	for {
		piece, more, err := r.next()
		if err != nil {
			select {
			case j.ended <- err:
			case <-j.stop:
			}
			return
		}
		if !mine {
			select {
			case j.turn <- struct{}{}:
				mine = true
			case <-j.stop:
				return
			}
		}
		select {
		case j.given <- joinedPiece{piece, more}:
		case <-j.stop:
			return
		}
		select {
		case <-j.taken:
		case <-j.stop:
			return
		}
		if !more {
			<-j.turn
			mine = false
		}
	}
}

func (j *joined) next() (piece []byte, more bool, err error) {
	if err := j.state(); err != nil {
		return nil, false, err
	}
	if j.owing {
		j.owing = false
		select {
		case j.taken <- struct{}{}:
		case <-j.stop:
		}
	}
	for {
		select {
		case p := <-j.given:
			j.owing = true
			return p.data, p.more, nil
		case err := <-j.ended:
			if err == io.EOF && j.left > 1 {
				j.left--
				continue
			}
			return nil, false, j.fail(err)
		case <-j.stop:
			return nil, false, j.state()
		}
	}
}

func (j *joined) state() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil && !j.opened {
		return errNotOpen
	}
	return j.err
}

func (j *joined) Read(p []byte) (int, error) { return readPiece(j, &j.rest, p) }

// readPiece reads from the rest of a piece, and from the next one when there is no rest.
func readPiece(from pieces, rest *[]byte, p []byte) (int, error) {
	for len(*rest) == 0 {
		if len(p) == 0 {
			return 0, from.state()
		}
		piece, _, err := from.next()
		if err != nil {
			return 0, err
		}
		*rest = piece
	}
	if err := from.state(); err != nil {
		return 0, err
	}
	n := copy(p, *rest)
	*rest = (*rest)[n:]
	return n, nil
}

// fail lets go of all readers with err, if there was no error, and returns the one that there is.
func (j *joined) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
		close(j.stop)
	}
	for _, r := range j.from {
		r.Close()
	}
	j.busy.Wait()
	return j.err
}

func (j *joined) Close() error {
	_ = j.fail(errClosed)
	return nil
}
