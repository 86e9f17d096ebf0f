// Package crashfs gives tests a file system whose power can be cut: what was not synced is then dropped. Its own command, in package mount, says
// what a sync is worth there.
package crashfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/built"
)

// An FS is such a file system, empty at first. One goroutine at a time may use it.
type FS struct {
	Dir string // where it is mounted

	tb  testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Options say how a file system behaves.
type Options struct {
	Strict bool // a sync of a file leaves its name to its directory
}

// Mount mounts one until the end of the test. Where this machine cannot, and in short mode, the test is skipped instead. Nil opts mean defaults.
func Mount(tb testing.TB, opts *Options) *FS {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a file system of its own")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		tb.Skip("needs /dev/fuse: ", err)
	}
	f.Close()
	if os.Geteuid() != 0 {
		tb.Skip("needs root, to mount a file system")
	}
	sweep()
	bin, err := built.Program(tb.Context(), "internal/crashfs/mount")
	if err != nil {
		tb.Fatal(err)
	}
	fs := &FS{Dir: tb.TempDir(), tb: tb}
	args := []string{"-dir", fs.Dir}
	if opts != nil && opts.Strict {
		args = append(args, "-strict")
	}
	fs.cmd = exec.CommandContext(context.Background(), bin, args...) // tb.Context ends before its clean-up
	fs.cmd.Stderr = os.Stderr
	if fs.in, err = fs.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := fs.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	fs.out = bufio.NewReader(out)
	if err := fs.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		fs.in.Close()
		late := time.AfterFunc(time.Minute, func() { fs.cmd.Process.Kill() })
		defer late.Stop()
		if err := fs.cmd.Wait(); err != nil {
			tb.Errorf("crashing file system: %v", err)
		}
	})
	fs.answer("")
	return fs
}

// sweep takes away what the servers of killed tests have left mounted.
func sweep() {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line) // device, directory, type
		if _, err := os.Stat(f[1]); f[2] == "fuse.crash" && errors.Is(err, unix.ENOTCONN) {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
}

// Cut has every operation fail from now on: nothing becomes durable any more.
func (fs *FS) Cut() {
	fs.tb.Helper()
	fs.say("cut")
	fs.answer("")
}

// A Loss counts what a crash has dropped.
type Loss struct{ Writes, Names int }

// Crash drops what is not durable, or a part of it by that seed; the rest is there when it returns. Processes that have files open there must be gone.
func (fs *FS) Crash(seed uint64) (l Loss) {
	fs.tb.Helper()
	fs.say(fmt.Sprintf("crash %d", seed))
	fs.answer(" %d %d", &l.Writes, &l.Names)
	return l
}

func (fs *FS) say(command string) {
	fs.tb.Helper()
	if _, err := fmt.Fprintln(fs.in, command); err != nil {
		fs.tb.Fatalf("crashing file system: %s: %v", command, err)
	}
}

func (fs *FS) answer(format string, values ...any) {
	fs.tb.Helper()
	line, err := fs.out.ReadString('\n')
	if err != nil {
		fs.tb.Fatalf("crashing file system: %v", err)
	}
	if _, err := fmt.Sscanf(line, "ok"+format+"\n", values...); err != nil {
		fs.tb.Fatalf("crashing file system says %q: %v", line, err)
	}
}
