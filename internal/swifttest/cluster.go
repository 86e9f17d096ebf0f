// Package swifttest gives tests a real Swift: the servers of Debian's packages, with rings and configuration of their own,
// on loopback addresses of their own.
package swifttest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed serve.py
var serve string

// startWait is how long the servers may take to answer: a second on an idle machine.
const startWait = 5 * time.Minute

// A Cluster is a running Swift of one proxy and one or more storage nodes. Its fields do not change.
type Cluster struct {
	Dir     string   // what it writes lies below
	Nodes   []string // the addresses of its storage nodes; the proxy has the first
	AuthURL string   // for v1 authentication
	User    string   // ACCOUNT:USER
	Key     string

	opts   Options
	client *http.Client
	user   string // who the servers run as
	cmd    *exec.Cmd
	stdin  io.Closer
	log    *tail
	once   sync.Once
	err    error
}

// Options say how a Cluster is made. A nil *Options means one node.
type Options struct {
	Nodes    int // 0 means 1; there are as many replicas as nodes, up to three
	Policies []Policy
	Place    Place // nil: this machine
}

// A Place is where a Swift may run, if not here.
type Place interface {
	Addresses(n int) ([]string, error) // for so many nodes
	Command(ctx context.Context, name string, args ...string) *exec.Cmd
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// here is this machine, and its loopback.
type here struct{}

func (here) Addresses(n int) ([]string, error) { return addresses(context.Background(), n) }

func (here) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}

func (here) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// A Policy is a storage policy beside the first one, which is called zero.
type Policy struct {
	Index     int
	Name      string
	Replicas  float64
	Elsewhere int // so many devices of its ring have addresses that nobody has; 0: they are those of the nodes
}

const (
	account  = "test"
	userName = "tester"
)

// Missing returns what this machine lacks to run a Swift in dir, or nil.
func Missing(dir string) error {
	for _, program := range []string{"swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server", "memcached"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed (scripts/deps installs it)", program)
		}
	}
	f, err := os.CreateTemp(dir, "xattr")
	if err != nil {
		return err
	}
	f.Close()
	err = syscall.Setxattr(f.Name(), "user.swift.test", []byte("x"), 0)
	if err != nil {
		err = fmt.Errorf("the file system of %s has no extended attributes: %w", dir, err)
	}
	return errors.Join(err, os.Remove(f.Name()))
}

// Start starts a Swift that keeps everything in dir. It ends with Stop, when ctx is done, or with this process.
func Start(ctx context.Context, dir string, opts *Options) (*Cluster, error) {
	if opts == nil {
		opts = &Options{}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, opts: *opts, user: who.Username, User: account + ":" + userName, Key: rand.Text(), log: &tail{}}
	if c.opts.Place == nil {
		c.opts.Place = here{}
	}
	if c.Nodes, err = c.opts.Place.Addresses(max(opts.Nodes, 1)); err != nil {
		return nil, err
	}
	c.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: c.opts.Place.Dial}}
	c.AuthURL = fmt.Sprintf("http://%s:%d/auth/v1.0", c.Nodes[0], proxyPort)
	layout, err := c.write()
	if err != nil {
		return nil, err
	}
	// Debian's servers import their modules by the system's Python, whatever else is on the path.
	c.cmd = c.opts.Place.Command(ctx, "/usr/bin/python3", filepath.Join(dir, "serve.py"), layout)
	c.cmd.Cancel = func() error { return c.stdin.Close() }
	c.cmd.WaitDelay = 30 * time.Second
	c.cmd.Stderr = c.log
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err = bufio.NewReader(stdout).ReadString('\n'); err == nil {
		err = c.ready(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("swift did not start: %w", errors.Join(err, c.Stop(), errors.New(c.log.String())))
	}
	return c, nil
}

// Devices returns the directory of a node's devices. Each node has one, called d1.
func (c *Cluster) Devices(node int) string {
	return filepath.Join(c.Dir, fmt.Sprintf("node-%d", node))
}

// Env returns the environment, as "NAME=value", in which Swift clients use the cluster.
func (c *Cluster) Env() []string {
	env := []string{"ST_AUTH=" + c.AuthURL, "ST_USER=" + c.User, "ST_KEY=" + c.Key}
	for _, name := range []string{"OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_STORAGE_URL", "OS_AUTH_TOKEN", "ST_AUTH_VERSION"} {
		env = append(env, name+"=")
	}
	return env
}

// MakeContainer makes a container in the account of the user, under the policy of that name or the default one.
func (c *Cluster) MakeContainer(ctx context.Context, name, policy string) error {
	login, err := c.ask(ctx, http.MethodGet, c.AuthURL, http.Header{"X-Auth-User": {c.User}, "X-Auth-Key": {c.Key}})
	if err != nil {
		return err
	}
	h := http.Header{"X-Auth-Token": login["X-Auth-Token"]}
	if policy != "" {
		h.Set("X-Storage-Policy", policy)
	}
	_, err = c.ask(ctx, http.MethodPut, login.Get("X-Storage-Url")+"/"+name, h)
	return err
}

// ask makes a request that must succeed, and returns the headers of the answer.
func (c *Cluster) ask(ctx context.Context, method, url string, header http.Header) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Close = true
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return resp.Header, nil
}

// Stop ends all servers. It may be called again.
func (c *Cluster) Stop() error {
	c.once.Do(func() {
		c.stdin.Close()
		if err := c.cmd.Wait(); err != nil {
			c.err = fmt.Errorf("swift: %w: %s", err, c.log)
		}
	})
	return c.err
}

// addresses returns n loopback addresses on which nothing listens.
func addresses(ctx context.Context, n int) ([]string, error) {
	var err error
	for range 20 {
		var r [2]byte
		rand.Read(r[:])
		ips := make([]string, n)
		for i := range ips {
			ips[i] = fmt.Sprintf("127.%d.%d.%d", 1+r[0]%254, r[1], i+1)
		}
		if err = free(ctx, ips); err == nil {
			return ips, nil
		}
	}
	return nil, err
}

func free(ctx context.Context, ips []string) error {
	for _, ip := range ips {
		for _, port := range []int{proxyPort, objectPort, containerPort, accountPort, memcachePort} {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("%s:%d", ip, port))
			if err != nil {
				return err
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready waits until all servers answer.
func (c *Cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	urls := []string{fmt.Sprintf("http://%s:%d/healthcheck", c.Nodes[0], proxyPort)}
	for _, ip := range c.Nodes {
		for _, port := range []int{objectPort, containerPort, accountPort} {
			urls = append(urls, fmt.Sprintf("http://%s:%d/healthcheck", ip, port))
		}
	}
	for _, url := range urls {
		for !healthy(ctx, c.client, url) {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s does not answer: %w", url, ctx.Err())
			}
		}
	}
	return nil
}

func healthy(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// A tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - 8192; n > 0 {
		t.buf = t.buf[n:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(t.buf, nil)))
}
