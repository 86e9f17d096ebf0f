package shuffletest

import (
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// A Line carries bytes between pairs of connections, as badly as it is told. The zero value carries them well.
// Its methods may be called concurrently.
type Line struct {
	mu     sync.Mutex
	held   chan struct{} // not nil while nothing passes
	spoil  func(chunk []byte, back bool) [][]byte
	conns  map[io.Closer]bool
	closed bool
	busy   sync.WaitGroup
}

// Connect carries bytes between two connections until one of them ends; it takes them over. back is what b sends to a.
func (l *Line) Connect(a, b io.ReadWriteCloser) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		a.Close()
		b.Close()
		return
	}
	if l.conns == nil {
		l.conns = map[io.Closer]bool{}
	}
	l.conns[a], l.conns[b] = true, true
	l.busy.Go(func() { l.carry(b, a, false) })
	l.busy.Go(func() { l.carry(a, b, true) })
}

// carry copies from src to dst. When src has ended, nothing more is to come and both are closed; when dst takes nothing more,
// that is for the other direction to find, behind what is still to be read from it.
func (l *Line) carry(dst, src io.ReadWriteCloser, back bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			for _, chunk := range l.pass(buf[:n], back) {
				if _, err := dst.Write(chunk); err != nil {
					return
				}
			}
		}
		if err != nil {
			l.drop(dst, src)
			return
		}
	}
}

// pass waits while the line is held, and returns what becomes of a chunk.
func (l *Line) pass(chunk []byte, back bool) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held != nil && !l.closed {
		held := l.held
		l.mu.Unlock()
		<-held
		l.mu.Lock()
	}
	if l.spoil == nil {
		return [][]byte{chunk}
	}
	return l.spoil(chunk, back)
}

func (l *Line) drop(conns ...io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(l.conns, c)
	}
}

// Hold lets nothing pass any more, without an error to anybody, until Release.
func (l *Line) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = make(chan struct{})
}

// Release ends a Hold.
func (l *Line) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		close(l.held)
		l.held = nil
	}
}

// Spoil has f say what becomes of each chunk of bytes from now on. f is not called concurrently.
func (l *Line) Spoil(f func(chunk []byte, back bool) [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoil = f
}

// Cut breaks the connections that there are. New ones may come.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

// Close breaks all connections for good, and waits until nothing is carried.
func (l *Line) Close() {
	l.mu.Lock()
	l.closed = true
	for c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	l.Release()
	l.busy.Wait()
}

// slowly splits chunks into small ones, and sometimes waits.
func slowly(rnd *rand.Rand) func(chunk []byte, _ bool) [][]byte {
	return func(chunk []byte, _ bool) (out [][]byte) {
		for len(chunk) > 0 {
			n := min(len(chunk), 1+rnd.IntN(10_000))
			out, chunk = append(out, chunk[:n]), chunk[n:]
		}
		if rnd.IntN(20) == 0 {
			time.Sleep(time.Millisecond)
		}
		return out
	}
}

// once does harm to the chunk that has byte number at of one direction, and to none before.
func once(at int, back bool, harm func(chunk []byte, at int) [][]byte) func(chunk []byte, back bool) [][]byte {
	passed := 0
	return func(chunk []byte, b bool) [][]byte {
		if b != back || passed < 0 {
			return [][]byte{chunk}
		}
		if passed += len(chunk); passed <= at {
			return [][]byte{chunk}
		}
		in := at - (passed - len(chunk))
		passed = -1
		return harm(chunk, in)
	}
}
