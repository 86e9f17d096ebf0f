package job

import (
	"io"
	"os"
	"syscall"
)

// streams returns where a guest reads and writes. An os.File would lock, look at deadlines and try again: a third of what a small object takes.
func streams() (io.Reader, io.Writer) {
	files = [2]*os.File{os.Stdin, os.Stdout}
	return descriptor(0), descriptor(1)
}

// files are those of the streams, which the garbage collector would close if nobody had them.
var files [2]*os.File

// A descriptor is a stream of the runner, which never refuses to wait and takes all that is written.
type descriptor int

func (d descriptor) Read(p []byte) (int, error) {
	n, err := syscall.Read(int(d), p)
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (d descriptor) Write(p []byte) (int, error) { return syscall.Write(int(d), p) }

// exit ends the process well.
func exit() { syscall.Exit(0) }
