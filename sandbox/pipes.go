package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pipes connect a native guest: our ends, which the runtime's poller serves, and its ends, which block.
type pipes struct {
	stdin, stdout, stderr *os.File
	guest                 []int // its stdin, stdout, stderr; -1 when closed
}

func newPipes() (*pipes, error) {
	p := &pipes{}
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
		err := unix.SetNonblock(mine, true)
		*ours = os.NewFile(uintptr(mine), "pipe")
		if err != nil {
			p.close()
			return nil, fmt.Errorf("pipe to the guest: %w", err)
		}
	}
	return p, nil
}

func (p *pipes) ends() []uintptr {
	var files []uintptr
	for _, fd := range p.guest {
		files = append(files, uintptr(fd))
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
