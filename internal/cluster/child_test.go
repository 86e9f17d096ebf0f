package cluster

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/netlab"
)

const childEnv = "MILLRACE_CLUSTER_CHILD"

// A childConfig is what a process of its own needs to be a server.
type childConfig struct {
	Node   string // directory of its identity
	Listen Listening
	Disk   int // MiB of a file system of its own, which is mounted at Listen.Dir; 0: none
}

// runChild is the server: it says "ready" after each start, does what its input says, and ends with it.
func runChild(config string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	var err error
	if c.Listen.Identity, err = identity.Load(c.Node); err != nil {
		return err
	}
	c.Listen.Anywhere = true
	if c.Disk > 0 {
		if err := os.MkdirAll(c.Listen.Dir, 0o700); err != nil {
			return err
		}
		if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
			return err
		}
		if err := syscall.Mount("none", c.Listen.Dir, "tmpfs", 0, fmt.Sprintf("size=%dm", c.Disk)); err != nil {
			return err
		}
		c.Listen.MaxStore = 1 << 40 // the disk is the limit
	}
	var s *Server
	for lines := bufio.NewScanner(os.Stdin); ; {
		if s, err = Listen(&c.Listen); err != nil {
			return err
		}
		fmt.Println("ready")
		if !lines.Scan() {
			return s.Close()
		}
		if err := s.Close(); err != nil {
			return err
		}
		var size int
		if n, _ := fmt.Sscanf(lines.Text(), "grow %d", &size); n == 1 {
			if err := syscall.Mount("none", c.Listen.Dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm", size)); err != nil {
				return err
			}
		}
	}
}

// A child is a server in a process of its own.
type child struct {
	config childConfig
	host   *netlab.Host // where it runs; nil: here
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors strings.Builder
}

func (c *child) start() error {
	j, err := json.Marshal(c.config)
	if err != nil {
		return err
	}
	c.cmd = exec.Command(os.Args[0])
	if c.host != nil {
		c.cmd = c.host.Command(context.Background(), os.Args[0])
	}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(j))
	c.cmd.Stderr = &c.errors
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.config.Disk > 0 {
		c.cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return err
	}
	return c.ready()
}

func (c *child) ready() error {
	if line, err := c.out.ReadString('\n'); line != "ready\n" {
		_ = c.cmd.Wait()
		return fmt.Errorf("server %s says %q, %v: %s", c.config.Listen.Dir, line, err, c.errors.String())
	}
	return nil
}

// again closes the server and starts it, in the same process, after word.
func (c *child) again(word string) error {
	if _, err := fmt.Fprintln(c.in, word); err != nil {
		return err
	}
	return c.ready()
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

// kill ends the process, at once.
func (c *child) kill() {
	if c.cmd != nil {
		c.signal(syscall.SIGKILL)
		_ = c.cmd.Wait()
		c.cmd = nil
	}
}

// Three are three children of one cluster, whose routes go through lines that can be cut.
type three struct {
	ca       *identity.Authority
	children [3]*child
	lines    [3][3]*cable // from whose process to whose
}

func newThree(t testing.TB, disk [3]int) *three {
	t.Helper()
	return newThreeIn(t, disk, [3]string{})
}

// newThreeIn is newThree with the directories of what the servers keep; "": one beside the others.
func newThreeIn(t testing.TB, disk [3]int, dirs [3]string) *three {
	t.Helper()
	ca, dir := newAuthority(t)
	th := &three{ca: ca}
	var routes [3]string
	for i := range routes {
		routes[i] = loopback() + ":6222"
	}
	for i := range th.children {
		name := fmt.Sprintf("s-%d", i)
		node := dir + "/node-" + name
		if _, err := ca.Issue(identity.Coordinator, name, node); err != nil {
			t.Fatal(err)
		}
		l := Listening{Dir: cmp.Or(dirs[i], dir+"/"+name), Clients: strings.Replace(routes[i], "6222", "4222", 1), Routes: routes[i],
			AdvertiseRoutes: "127.0.0.1:9"} // nobody there: the lines are the only way
		for j := range routes {
			if i == j {
				l.Peers = append(l.Peers, routes[i])
				continue
			}
			th.lines[i][j] = newCable(t, routes[j])
			l.Peers = append(l.Peers, th.lines[i][j].address())
		}
		th.children[i] = &child{config: childConfig{Node: node, Listen: l, Disk: disk[i]}}
	}
	t.Cleanup(func() {
		for _, c := range th.children {
			c.kill()
		}
	})
	for _, c := range th.children {
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	return th
}

func (th *three) urls() (urls []string) {
	for _, c := range th.children {
		urls = append(urls, "tls://"+c.config.Listen.Clients)
	}
	return urls
}

// cut cuts one server off from the others, or ends that.
func (th *three) cut(i int, off bool) {
	for j := range th.children {
		if j != i {
			th.lines[i][j].set(off)
			th.lines[j][i].set(off)
		}
	}
}

// A cable forwards connections until it is cut.
type cable struct {
	to string
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	off   bool
	conns map[net.Conn]bool
}

func newCable(t testing.TB, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{to: to, l: l, conns: map[net.Conn]bool{}}
	c.wg.Go(c.run)
	t.Cleanup(func() {
		l.Close()
		c.set(true)
		c.wg.Wait()
	})
	return c
}

func (c *cable) address() string { return c.l.Addr().String() }

func (c *cable) run() {
	for {
		from, err := c.l.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() {
			to, err := net.DialTimeout("tcp", c.to, 5*time.Second)
			if err != nil {
				from.Close()
				return
			}
			if !c.add(from, to) {
				return
			}
			var both sync.WaitGroup
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				both.Go(func() {
					io.Copy(way[1], way[0])
					from.Close()
					to.Close()
				})
			}
			both.Wait()
			c.mu.Lock()
			delete(c.conns, from)
			delete(c.conns, to)
			c.mu.Unlock()
		})
	}
}

func (c *cable) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range conns {
		if c.off {
			x.Close()
		} else {
			c.conns[x] = true
		}
	}
	return !c.off
}

func (c *cable) set(off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = off
	if off {
		for x := range c.conns {
			x.Close()
		}
	}
}
