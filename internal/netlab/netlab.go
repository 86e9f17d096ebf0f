// Package netlab gives tests several hosts on one machine: network namespaces of their own, which a switch in another one joins. Wires are cut, one way or
// both; made slow; and disks are small. Nothing outside of these namespaces is touched, and they go with the test, however that ends: a process
// that waits for its end holds each of them, and none has a name.
package netlab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Lab is some hosts and their switch. Its methods, and those of hosts, may be called concurrently, but not for the same wire.
type Lab struct {
	Hosts []*Host

	tb     testing.TB
	middle *holder
}

// A Host is a machine, as far as its network and its mounts go: files, processes and users are those of all.
type Host struct {
	IP string

	lab    *Lab
	hold   *holder
	number int
	port   string // of the switch
	more   int    // addresses
}

// A holder is a process that keeps namespaces.
type holder struct {
	cmd *exec.Cmd
	in  io.Closer
}

// New makes n hosts that reach each other, until the end of the test. Where this machine cannot, and in short mode, the test is skipped instead.
func New(tb testing.TB, n int) *Lab {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs network namespaces")
	}
	if os.Geteuid() != 0 {
		tb.Skip("needs root, to make network namespaces")
	}
	for _, tool := range []string{"ip", "tc", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			tb.Skip(err)
		}
	}
	l := &Lab{tb: tb}
	l.middle = l.holdNew(syscall.CLONE_NEWNET)
	l.must(l.middle.ip("link add name sw type bridge", "link set sw up"))
	for i := range n {
		h := &Host{IP: fmt.Sprintf("10.77.0.%d", i+1), lab: l, number: i + 1, port: fmt.Sprintf("p%d", i+1)}
		h.hold = l.holdNew(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS)
		l.must(l.middle.ip(
			fmt.Sprintf("link add name %s type veth peer name eth0 netns %d", h.port, h.hold.cmd.Process.Pid),
			fmt.Sprintf("link set %s master sw up", h.port)))
		l.must(h.hold.ip("link set lo up", "link set eth0 up", fmt.Sprintf("addr add %s/16 dev eth0", h.IP)))
		l.must(h.hold.run("", "mount", "--make-rprivate", "/"))
		l.Hosts = append(l.Hosts, h)
	}
	return l
}

// must ends the test: what fails here is the laboratory.
func (l *Lab) must(err error) {
	l.tb.Helper()
	if err != nil {
		l.tb.Fatalf("laboratory: %v", err)
	}
}

// holdNew makes namespaces.
func (l *Lab) holdNew(flags uintptr) *holder {
	l.tb.Helper()
	h := &holder{cmd: exec.CommandContext(context.Background(), "cat")} // it ends with its input: with us, at the latest
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	in, err := h.cmd.StdinPipe()
	l.must(err)
	h.in = in
	l.must(h.cmd.Start())
	l.tb.Cleanup(func() {
		h.in.Close()
		_ = h.cmd.Wait()
	})
	return h
}

// enter is a command that runs in the namespaces.
func (h *holder) enter(ctx context.Context, name string, args ...string) *exec.Cmd {
	of := []string{"-t", fmt.Sprint(h.cmd.Process.Pid), "-n"}
	if h.cmd.SysProcAttr.Cloneflags&syscall.CLONE_NEWNS != 0 {
		of = append(of, "-m")
		if wd, err := os.Getwd(); err == nil {
			of = append(of, "--wdns="+wd)
		}
	}
	return exec.CommandContext(ctx, "nsenter", append(append(of, "--", name), args...)...)
}

func (h *holder) run(in, name string, args ...string) error {
	cmd := h.enter(context.Background(), name, args...)
	cmd.Stdin = strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// ip has the program of that name do commands.
func (h *holder) ip(commands ...string) error {
	return h.run(strings.Join(commands, "\n"), "ip", "-batch", "-")
}

// Command is a command that runs on the host. It is killed when the thread that starts it ends, with the test.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := h.hold.enter(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Address is a port of the host.
func (h *Host) Address(port int) string { return net.JoinHostPort(h.IP, fmt.Sprint(port)) }

// Addresses gives the host n more addresses, and returns them.
func (h *Host) Addresses(n int) (ips []string, err error) {
	for range n {
		h.more++
		ip := fmt.Sprintf("10.77.%d.%d", h.more, h.number)
		if err := h.hold.ip(fmt.Sprintf("addr add %s/16 dev eth0", ip)); err != nil {
			return nil, err
		}
		ips = append(ips, ip)
	}
	return ips, nil
}

// Disk puts a file system of so many MiB at a directory, which the host alone sees, or gives the one there another size.
func (h *Host) Disk(dir string, size int) {
	h.lab.tb.Helper()
	options := fmt.Sprintf("size=%dm", size)
	if h.hold.run("", "mountpoint", "-q", dir) == nil {
		options = "remount," + options
	}
	h.lab.must(h.hold.run("", "mount", "-t", "tmpfs", "-o", options, "none", dir))
}

// Do calls f in the network of the host: sockets that it makes itself, not by other goroutines, are there, and stay there.
func (h *Host) Do(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.hold.cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = f()
	if e := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); e != nil {
		return e // the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// Dial connects from the host to an IP address, as net.Dialer.DialContext does.
func (h *Host) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = h.Do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Forward returns an address of this machine's loopback, of which connections go from the host to another address, until the end of the test.
func (h *Host) Forward(to string) string {
	h.lab.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	h.lab.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { h.forward(ctx, in, to) })
		}
	})
	h.lab.tb.Cleanup(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

// forward copies both ways until either end is closed.
func (h *Host) forward(ctx context.Context, in net.Conn, to string) {
	defer in.Close()
	out, err := h.Dial(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { in.Close() })()
	done := make(chan bool, 2)
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- true
		}()
	}
	<-done
	in.Close()
	out.Close()
	<-done
}
