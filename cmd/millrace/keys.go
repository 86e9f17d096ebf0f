package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A keyboard waits for q.
type keyboard struct {
	pressed chan struct{} // closed when it came
	restore func()
}

// readKeys begins to read keys as they are pressed, if stdin is a terminal. Ctrl-C is a signal still.
func readKeys(stdin io.Reader) *keyboard {
	k := &keyboard{pressed: make(chan struct{}), restore: func() {}}
	f, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return k
	}
	restore, err := unbuffered(int(f.Fd()))
	if err != nil {
		return k
	}
	k.restore = restore
	go func() { // ends with the key or, as reads from a terminal cannot be cancelled, with the process
		var b [1]byte
		for {
			if _, err := f.Read(b[:]); err != nil {
				return
			}
			if b[0] == 'q' {
				close(k.pressed)
				return
			}
		}
	}()
	return k
}

// close gives the terminal back as it was.
func (k *keyboard) close() { k.restore() }

// unbuffered has a terminal pass on each key at once, and not show it.
func unbuffered(fd int) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t := *old
	t.Lflag &^= unix.ICANON | unix.ECHO
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &t); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}
