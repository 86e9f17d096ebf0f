package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A native guest's channels are named pipes, made with its jail in two directories that only its runner can change. The runner stands at the
// other end of each and moves bytes between it and the channel.
//
// While a guest runs, its runner holds both ends of each pipe that the guest writes: an open never waits, and what looks like an end, because a
// shell has closed one redirection and not yet opened the next, is none. A pipe that the guest reads has the runner's end alone, so that its
// close is noticed. A pipe that is not to be opened any more loses its permissions.

// ChannelFiles returns the paths below /dev of what a guest has of a channel: one to read, or the one and so many more to write. They are named when
// a jail for native guests is made.
func ChannelFiles(name string, reads bool, readers int) []string {
	c := Channel{Name: name}
	if reads {
		c.In = eofReader{}
	} else {
		c.Out = make([]io.Writer, readers+1)
	}
	return c.files()
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// Directories of the pipes.
const (
	readDir  = "/dev/in"
	writeDir = "/dev/out"
)

// Permissions of pipes: their owner is the runner. What the guest writes may also be opened for both, as many programs do that create a file.
const (
	readMode  = 0o644
	writeMode = 0o666
)

// makePipes makes the pipes of channels below root, each directory a file system of its own that its guests cannot write.
func makePipes(root string, paths []string) error {
	for _, dir := range []string{readDir, writeDir} {
		to := filepath.Join(root, dir)
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		options := fmt.Sprintf("size=64k,nr_inodes=%d,mode=755", len(paths)+8)
		if err := unix.Mount("tmpfs", to, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for _, p := range paths {
		at, mode := filepath.Join(root, "dev", p), os.FileMode(writeMode)
		if strings.HasPrefix(p, "in/") {
			mode = readMode
		}
		if err := firstError(unix.Mkfifo(at, 0), os.Chmod(at, mode)); err != nil {
			return fmt.Errorf("pipe %s: %w", p, err)
		}
	}
	return nil
}

// checkChannels refuses channels for which a jail was not made.
func (p *plan) checkChannels(channels []Channel) error {
	for i := range channels {
		for _, f := range channels[i].files() {
			if !slices.Contains(p.Channels, f) {
				return fmt.Errorf("the jail has no channel %s", f)
			}
		}
	}
	return nil
}

// relays serve the pipes of one run.
type relays struct {
	meters []*channelMeter
	opened []atomic.Bool           // by channel: the guest has opened what it reads
	stop   context.CancelCauseFunc // ends the run
	ended  chan struct{}           // closed when the guest and all that it has started are gone
	busy   sync.WaitGroup
	held   []*os.File // our ends of what the guest writes
}

// startRelays begins to serve; the guest is started next. What it returns is to be closed when the guest has ended.
func startRelays(channels []Channel, stop context.CancelCauseFunc) (*relays, error) {
	r := &relays{meters: meterChannels(channels), opened: make([]atomic.Bool, len(channels)), stop: stop, ended: make(chan struct{})}
	for i, m := range r.meters {
		for n, name := range m.files() {
			path := filepath.Join("/dev", name)
			if m.In != nil {
				if err := os.Chmod(path, readMode); err != nil {
					r.finish()
					return nil, err
				}
				r.busy.Go(func() { r.read(m, path, &r.opened[i]) })
				continue
			}
			from, hold, err := openPipe(path)
			if err != nil {
				r.finish()
				return nil, err
			}
			r.held = append(r.held, hold)
			r.busy.Go(func() { r.write(m, n, from, path) })
		}
	}
	return r, nil
}

// openPipe opens both ends of a pipe that a guest writes.
func openPipe(path string) (from, hold *os.File, err error) {
	if err := os.Chmod(path, writeMode); err != nil {
		return nil, nil, err
	}
	if from, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, nil, err
	}
	if hold, err = os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err != nil {
		from.Close()
		return nil, nil, err
	}
	return from, hold, nil
}

// read passes on what the guest reads. Until the guest opens its end, nothing is asked for.
func (r *relays) read(m *channelMeter, path string, opened *atomic.Bool) {
	to, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the guest, or for finish
	if err != nil {
		r.stop(fmt.Errorf("channel %s: %w", m.Name, err))
		return
	}
	defer to.Close()
	opened.Store(true)
	if err := os.Chmod(path, 0); err != nil {
		r.stop(fmt.Errorf("channel %s: %w", m.Name, err))
		return
	}
	buf := make([]byte, pipeSize)
	for !r.over() {
		n, err := m.read(buf)
		switch {
		case err == io.EOF, err != nil && r.over(): // finish may have stopped it
			return
		case err != nil:
			r.stop(err)
			<-r.ended // or the guest would see an end
			return
		}
		if _, err := to.Write(buf[:n]); err != nil { // it has closed its end
			m.stop()
			return
		}
	}
}

// over reports whether the guest has ended.
func (r *relays) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// write passes on what the guest writes, until it has ended.
func (r *relays) write(m *channelMeter, file int, from *os.File, path string) {
	defer from.Close()
	buf := make([]byte, pipeSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			err = m.write(file, buf[:n])
		}
		switch {
		case err == io.EOF:
			return
		case errors.Is(err, syscall.EPIPE):
			_ = os.Chmod(path, 0) // who would open it then would wait for ever
			return
		case err != nil:
			r.stop(err)
			return
		}
	}
}

// finish has the relays end, and waits for them: what the guest has written still goes out, unless the run was stopped.
func (r *relays) finish() {
	close(r.ended)
	for _, f := range r.held {
		f.Close()
	}
	for i, m := range r.meters {
		if m.In == nil {
			continue
		}
		m.stop()
		if r.opened[i].Load() {
			continue
		}
		// Its relay still waits for the guest; or will find that it need not.
		if f, err := os.OpenFile(filepath.Join("/dev", m.files()[0]), os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
			defer f.Close()
		}
	}
	r.busy.Wait()
}

// interrupt ends what waits for others.
func (r *relays) interrupt() {
	for _, m := range r.meters {
		m.stop()
	}
}
