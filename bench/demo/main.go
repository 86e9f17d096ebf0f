// Command demo shows millrace at work: it serves a bucket of generated mail from an S3 gateway on this machine, searches it,
// counts it with a MapReduce job written in Go, and checks both results against what was generated. It leaves nothing behind.
//
//	demo [-millrace PROGRAM] [-n MAILS] [-seed SEED]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/millrace/millrace/internal/demo"
	"github.com/millrace/millrace/internal/gatewaytest/gateway"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/s3"
)

func main() {
	millrace := flag.String("millrace", "bin/millrace", "the `program` to show")
	mails := flag.Int("n", 10_000, "how many `mails`")
	seed := flag.Uint64("seed", 1, "which mails: a `number`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *millrace, *mails, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run shows all of it. What it started has ended when it returns, and what it wrote is gone.
func run(ctx context.Context, millrace string, mails int, seed uint64) (err error) {
	start := time.Now()
	millrace, err1 := filepath.Abs(millrace)
	dir, err2 := tempDir()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Not with ctx: an interrupted job still talks to it while it cleans up.
	g, err := gateway.Start(context.WithoutCancel(ctx), dir, "mail", "results")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Stop()) }()
	for _, v := range g.Env() { // for the upload here; millrace inherits it
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	fmt.Printf("An S3 gateway serves %s at %s, for as long as this runs.\n\n", dir, g.Endpoint)

	truth, err := upload(ctx, mails, seed)
	if err != nil {
		return err
	}
	s := &show{ctx: ctx, millrace: millrace}
	if err := s.grep(truth); err != nil {
		return err
	}
	if err := s.senders(truth); err != nil {
		return err
	}
	fmt.Printf(`Both results are what was generated, to the line. All of it took %.0f s.

Try next:
  bin/millrace grep -i 'some words' ./a/directory     search files like objects
  bin/millrace grep PATTERN s3://bucket/prefix/       search a bucket of yours, with the usual AWS configuration
  bin/millrace plan examples/senders -i s3://bucket/  what a job would read
  bin/millrace doctor                                 what works on this machine
  examples/                                           jobs to copy; docs/jobs.md tells how they are written
`, time.Since(start).Seconds())
	return nil
}

// upload writes the mails into the bucket and says how far it is.
func upload(ctx context.Context, mails int, seed uint64) (*mailgen.Truth, error) {
	u, err := store.ParseURI("s3://mail/")
	if err != nil {
		return nil, err
	}
	b, _, err := s3.Open(ctx, u, nil)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	start := time.Now()
	var done atomic.Int64
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		if !term.IsTerminal(int(os.Stderr.Fd())) {
			return
		}
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(os.Stderr, "\ruploading: %d of %d mails", done.Load(), mails)
			case <-quit:
				fmt.Fprint(os.Stderr, "\r\x1b[K")
				return
			}
		}
	}()
	truth, err := demo.Upload(ctx, b, mailgen.New(seed, nil), mails, &done)
	close(quit)
	<-gone
	if err != nil {
		return nil, err
	}
	fmt.Printf("Uploaded %d generated mails, %.1f MB, in %.1f s.\n\n", truth.Mails, float64(truth.Bytes)/1e6, time.Since(start).Seconds())
	return truth, nil
}

// tempDir returns a new directory on a file system with extended attributes, which the gateway needs.
func tempDir() (string, error) {
	var first error
	for _, parent := range []string{os.TempDir(), "/var/tmp", "."} {
		dir, err := os.MkdirTemp(parent, "millrace-demo-")
		if err == nil {
			if err = unix.Setxattr(dir, "user.millrace", []byte("x"), 0); err == nil {
				return filepath.Abs(dir)
			}
			_ = os.Remove(dir)
			err = fmt.Errorf("%s: no extended attributes: %w", parent, err)
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}
