// Command gateway serves a directory as S3, for tests, benchmarks and demonstrations: versitygw's posix backend on a
// free loopback port.
//
//	gateway -dir DIR [-bucket NAME,NAME…] [-access KEY -secret SECRET]
//
// Every directory directly below DIR is a bucket; -bucket makes those that are missing. Once requests are answered it
// prints one line of JSON to stdout,
//
//	{"endpoint":"http://127.0.0.1:PORT","access":"KEY","secret":"SECRET"}
//
// and serves until its stdin ends or it gets SIGTERM or SIGINT. It keeps object metadata in extended attributes, so DIR
// must lie on a file system that has them.
//
// It is a module of its own: nothing of the gateway is linked into millrace.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	dir := flag.String("dir", "", "serve the directories below `DIR` as buckets")
	buckets := flag.String("bucket", "", "make these buckets first: `NAME`,NAME…")
	access := flag.String("access", os.Getenv("GATEWAY_ACCESS_KEY"), "access `key`; random if empty")
	secret := flag.String("secret", os.Getenv("GATEWAY_SECRET_KEY"), "secret `key`; random if empty")
	flag.Parse()
	if err := run(*dir, *buckets, *access, *secret); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func run(dir, buckets, access, secret string) error {
	if dir == "" {
		return errors.New("-dir is missing")
	}
	if err := (meta.XattrMeta{}).Test(dir); err != nil {
		return fmt.Errorf("%s: no extended attributes: %w", dir, err)
	}
	for name := range strings.SplitSeq(buckets, ",") {
		if name == "" {
			continue
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if access == "" {
		access = rand.Text()[:20]
	}
	if secret == "" {
		secret = rand.Text() + rand.Text()
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	// The gateway prints notes to stdout; they go to stderr, so that the one line for the caller stands alone.
	out := os.Stdout
	os.Stdout = os.Stderr

	// New changes the working directory to dir, so that everything before it sees relative names as the user meant them.
	be, err := posix.New(dir, meta.XattrMeta{}, posix.PosixOpts{Concurrency: 5000, CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		done <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{
			RootUserAccess:    access,
			RootUserSecret:    secret,
			Ports:             []string{addr},
			MaxConnections:    10_000,
			MaxRequests:       5_000,
			MultipartMaxParts: 10_000,
			Quiet:             true,
			KeepAlive:         true,
			HealthPath:        healthPath,
		})
	}()
	if err := awaitHealth(ctx, "http://"+addr+healthPath, done); err != nil {
		return err
	}
	err = json.NewEncoder(out).Encode(map[string]string{
		"endpoint": "http://" + addr, "access": access, "secret": secret,
	})
	if err != nil {
		return err
	}
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// healthPath is no valid bucket name, so it hides none.
const healthPath = "/_health"

// freeAddr returns a loopback address on which nobody listened a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// awaitHealth returns once url answers, or with the error that ended the server before it did.
func awaitHealth(ctx context.Context, url string, done <-chan error) error {
	deadline := time.After(10 * time.Second)
	for {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-done:
			return errors.Join(errors.New("server ended"), err)
		case <-deadline:
			return fmt.Errorf("no answer from %s within 10s", url)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
