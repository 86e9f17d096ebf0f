// Command mount is a file system in memory whose power can be cut, for tests: what was not synced is then dropped. It is mounted at -dir until standard
// input ends.
//
// What a sync makes durable is what programs may count on, and no more:
//
//   - fsync and fdatasync of a file, and writes with O_SYNC or O_DSYNC: its bytes, its size and its times. If it has no durable name, also the names given to it
//     up to then, with the directories above that are new: journals of ext4, XFS and Btrfs do that. With -strict they do not.
//   - fsync of a directory: the names in it. A rename is durable as a whole as soon as either directory is synced; the time of change that it leaves goes with it.
//   - Without a sync nothing is: neither the order of writes to one file, nor that a file has bytes when it has its name.
//
// A loss of power drops everything else, or keeps by chance a part of it: the changes of names up to a moment, and of the writes to each file those up to
// a moment, the last of them torn at a sector, or any of their pages. What is missing between pages that stay is zeros. Modes and symbolic links
// come with their inodes.
//
// Each line of standard input is a command, and has an answer in one line:
//
//	cut            every operation fails from now on, with EIO                         ok
//	crash SEED     drop what is not durable, and mount what is left at -dir again      ok WRITES NAMES: how many were lost
//
// Who has files open there must be gone before a crash.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	dir := flag.String("dir", "", "directory to mount it at")
	strict := flag.Bool("strict", false, "a sync of a file leaves its name to its directory")
	flag.Parse()
	if err := run(*dir, *strict); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, strict bool) error {
	s := &system{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: newDisk(strict), lists: map[uint64][]string{}}
	m, err := mount(dir, s)
	if err != nil {
		return err
	}
	fmt.Println("ok")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		_ = syscall.Unmount(dir, syscall.MNT_DETACH) // whoever uses it is told when we are gone
		os.Exit(1)
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var seed uint64
		switch n, _ := fmt.Sscanf(lines.Text(), "crash %d", &seed); {
		case n == 1:
			s.cut(true)
			if err := unmount(m); err != nil {
				return err
			}
			l := s.crash(rand.New(rand.NewPCG(seed, 0)))
			if m, err = mount(dir, s); err != nil {
				return err
			}
			fmt.Println("ok", l.writes, l.names)
		case lines.Text() == "cut":
			s.cut(true)
			fmt.Println("ok")
		default:
			return fmt.Errorf("command %q", lines.Text())
		}
	}
	return unmount(m)
}

func mount(dir string, s *system) (*fuse.Server, error) {
	m, err := fuse.NewServer(s, dir, &fuse.MountOptions{
		AllowOther: true, DirectMountStrict: true, DisableXAttrs: true, DisableReadDirPlus: true, FsName: "millrace-crash", Name: "crash", MaxWrite: 1 << 20,
	})
	if err != nil {
		return nil, err
	}
	go m.Serve()
	return m, m.WaitMount()
}

// unmount waits for those who have just been killed.
func unmount(m *fuse.Server) (err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = m.Unmount(); err == nil {
			return nil
		}
	}
	return errors.Join(errors.New("somebody has files open there"), err)
}
