package shuffle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Descriptor names one end of a netpipe: a scheme, a colon, and what that scheme knows the end by. Whoever has it may open
// that end; so it is made of what nobody guesses, or of what only this process has, and printing it shows the scheme alone.
type Descriptor string

// Scheme returns what stands before the colon.
func (d Descriptor) Scheme() string {
	scheme, _, _ := strings.Cut(string(d), ":")
	return scheme
}

// Rest returns what stands behind the colon.
func (d Descriptor) Rest() string {
	_, rest, _ := strings.Cut(string(d), ":")
	return rest
}

func (d Descriptor) String() string { return d.Scheme() + ":…" }

// A Scheme makes the ends of netpipes of one sort, not yet open.
type Scheme struct {
	Writer func(Descriptor) (PipeWriter, error) // nil if one can only read
	Reader func(Descriptor) (PipeReader, error)
}

// Schemes are what a process can open, by name.
type Schemes map[string]Scheme

// OpenWriter opens the writing end that d names. The error is errors.ErrUnsupported if there is no such scheme, or one can only read it.
func (s Schemes) OpenWriter(ctx context.Context, d Descriptor) (PipeWriter, error) {
	scheme, err := s.find(d)
	if err != nil {
		return nil, err
	}
	if scheme.Writer == nil {
		return nil, fmt.Errorf("netpipe %v: %w: one can only read it", d, errors.ErrUnsupported)
	}
	w, err := scheme.Writer(d)
	if err != nil {
		return nil, fmt.Errorf("netpipe %v: %w", d, err)
	}
	if err := w.Open(ctx); err != nil {
		_ = w.Abort(err.Error())
		return nil, fmt.Errorf("netpipe %v: %w", d, err)
	}
	return w, nil
}

// OpenReader opens the reading end that d names. The error is errors.ErrUnsupported if there is no such scheme.
func (s Schemes) OpenReader(ctx context.Context, d Descriptor) (PipeReader, error) {
	scheme, err := s.find(d)
	if err != nil {
		return nil, err
	}
	r, err := scheme.Reader(d)
	if err != nil {
		return nil, fmt.Errorf("netpipe %v: %w", d, err)
	}
	if err := r.Open(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("netpipe %v: %w", d, err)
	}
	return r, nil
}

func (s Schemes) find(d Descriptor) (Scheme, error) {
	scheme, ok := s[d.Scheme()]
	if !ok {
		return Scheme{}, fmt.Errorf("netpipe: %w scheme %q; known are %s", errors.ErrUnsupported, d.Scheme(),
			strings.Join(slices.Sorted(maps.Keys(s)), ", "))
	}
	return scheme, nil
}

// A Mem holds the ends of netpipes within this process until they are opened. The zero value is empty.
type Mem struct {
	mu      sync.Mutex
	writers map[Descriptor]PipeWriter
	readers map[Descriptor]PipeReader
}

// Make makes a netpipe with so many writers, each with a window of so many bytes, 0 meaning 1 MiB.
func (m *Mem) Make(writers, window int) (w []Descriptor, r Descriptor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writers == nil {
		m.writers, m.readers = map[Descriptor]PipeWriter{}, map[Descriptor]PipeReader{}
	}
	var from []PipeReader
	for range writers {
		pw, pr := NewMemPipe(window)
		from = append(from, pr)
		d := Descriptor("mem:" + rand.Text())
		w = append(w, d)
		m.writers[d] = pw
	}
	r = Descriptor("mem:" + rand.Text())
	m.readers[r] = Join(from...)
	return w, r
}

// Scheme opens each end once. The error is os.ErrNotExist for others.
func (m *Mem) Scheme() Scheme {
	return Scheme{
		Writer: func(d Descriptor) (PipeWriter, error) { return once(m, m.writers, d) },
		Reader: func(d Descriptor) (PipeReader, error) { return once(m, m.readers, d) },
	}
}

func once[E any](m *Mem, ends map[Descriptor]E, d Descriptor) (E, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end, ok := ends[d]
	if !ok {
		return end, os.ErrNotExist
	}
	delete(ends, d)
	return end, nil
}

// UnixScheme opens sockets that this process was handed, and takes them over: "unix:7" is descriptor 7, and
// "unix:7,8" is a reader of two writers.
var UnixScheme = Scheme{
	Writer: func(d Descriptor) (PipeWriter, error) {
		f, err := handed(d.Rest())
		if err != nil {
			return nil, err
		}
		return NewUnixWriter(f)
	},
	Reader: func(d Descriptor) (PipeReader, error) {
		var sockets []*os.File
		for _, number := range strings.Split(d.Rest(), ",") {
			f, err := handed(number)
			if err != nil {
				return nil, err
			}
			sockets = append(sockets, f)
		}
		return NewUnixReader(sockets...)
	},
}

func handed(number string) (*os.File, error) {
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is no descriptor", os.ErrInvalid, number)
	}
	return os.NewFile(uintptr(n), "netpipe"), nil
}
