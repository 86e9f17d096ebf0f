// Package gateway runs the S3 gateway of bench/gateway as a child process, for tests, benchmarks and demonstrations.
package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/built"
	"github.com/millrace/millrace/store"
)

// A Gateway is a running server. Its fields do not change.
type Gateway struct {
	Endpoint  string `json:"endpoint"` // http://127.0.0.1:PORT
	AccessKey string `json:"access"`
	SecretKey string `json:"secret"`
	Dir       string `json:"-"` // its buckets are the directories here

	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *tail
	once   sync.Once
	err    error
}

// Start builds the server if need be, which takes a minute the first time on a machine, and serves dir with the buckets named. It ends with Stop, when
// ctx is done, or with this process. It must be called from within the source tree.
func Start(ctx context.Context, dir string, buckets ...string) (*Gateway, error) {
	bin, err := built.Program(ctx, "bench/gateway")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	g := &Gateway{Dir: dir, stderr: &tail{}}
	g.cmd = exec.CommandContext(ctx, bin, "-dir", dir, "-bucket", strings.Join(buckets, ","))
	g.cmd.Stderr = g.stderr
	g.cmd.WaitDelay = 5 * time.Second
	stdin, err := g.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	g.stdin = stdin
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, g)
	}
	if err != nil {
		return nil, fmt.Errorf("gateway did not start: %w", errors.Join(err, g.Stop()))
	}
	return g, nil
}

// Stop ends the server, which may first finish what it was asked, and returns what was wrong with it. It may be called again.
func (g *Gateway) Stop() error {
	g.once.Do(func() {
		g.stdin.Close()
		late := time.AfterFunc(30*time.Second, func() { g.cmd.Process.Kill() })
		defer late.Stop()
		if err := g.cmd.Wait(); err != nil {
			g.err = fmt.Errorf("gateway: %w: %s", err, g.stderr)
		}
	})
	return g.err
}

// MakeBucket makes a bucket beside those that Start made.
func (g *Gateway) MakeBucket(name string) error { return os.Mkdir(filepath.Join(g.Dir, name), 0o755) }

// Options are what store drivers need to find the server; the credentials come from Env, or are given by s3.Static.
func (g *Gateway) Options() *store.Options {
	return &store.Options{Endpoint: g.Endpoint, Region: "us-east-1"}
}

// Env returns the environment, as "NAME=value", in which AWS clients use the server.
func (g *Gateway) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + g.Endpoint,
		"AWS_ACCESS_KEY_ID=" + g.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + g.SecretKey,
		"AWS_SESSION_TOKEN=",
		"AWS_REGION=us-east-1",
		"AWS_PROFILE=",
		"AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_EC2_METADATA_DISABLED=true",
	}
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
	if n := len(t.buf) - 4096; n > 0 {
		t.buf = t.buf[n:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
