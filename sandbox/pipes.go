package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pipes connect a native guest: our ends, which the runtime's poller serves, and its ends, which block.
type pipes struct {
	stdin, stdout, stderr *os.File
	size                  int   // bytes that stdin and stdout hold and that are moved at once
	guest                 []int // its stdin, stdout, stderr; -1 when closed
}

// Sizes of pipes. The larger one is for runs of many pieces of work: who writes need not wait for who reads so often.
const (
	pipeSize     = 64 << 10 // what the kernel gives
	longPipeSize = 256 << 10
)

func newPipes(long bool) (*pipes, error) {
	p := &pipes{size: pipeSize}
	if long {
		p.size = longPipeSize
	}
	for i, ours := range []**os.File{&p.stdin, &p.stdout, &p.stderr} {
		var ends [2]int // read, write
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			p.close()
			return nil, fmt.Errorf("pipe to the guest: %w", err)
		}
		mine, its := ends[0], ends[1]
		if i == 0 {
			mine, its = its, mine
		}
		p.guest = append(p.guest, its)
		if long && i < 2 {
			// A user who has many pipes is refused; it works as well with what there is.
			_, _ = unix.FcntlInt(uintptr(mine), unix.F_SETPIPE_SZ, longPipeSize)
		}
		err := unix.SetNonblock(mine, true)
		*ours = os.NewFile(uintptr(mine), "pipe")
		if err != nil {
			p.close()
			return nil, fmt.Errorf("pipe to the guest: %w", err)
		}
	}
	return p, nil
}

// buffer returns memory to move bytes through a pipe.
func (p *pipes) buffer() []byte { return make([]byte, p.size) }

// ends returns the descriptors that the guest is given: its streams, then more.
func (p *pipes) ends(more []*os.File) []uintptr {
	var files []uintptr
	for _, fd := range p.guest {
		files = append(files, uintptr(fd))
	}
	for _, f := range more {
		files = append(files, f.Fd())
	}
	return files
}

// started closes the guest's ends: it has them now.
func (p *pipes) started() {
	for i, fd := range p.guest {
		if fd >= 0 {
			unix.Close(fd)
			p.guest[i] = -1
		}
	}
}

func (p *pipes) close() {
	p.started()
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}
