package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// errCancelled is the cause of a context that the user cancelled.
var errCancelled = errors.New("cancelled by the user")

// interrupts returns a context that the first SIGINT or SIGTERM cancels, with cause errCancelled. The second one ends
// the process at once. stop gives the signals back and waits for its goroutine.
func interrupts(parent context.Context, stderr io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for first := true; ; first = false {
			select {
			case <-signals:
				if !first {
					os.Exit(exitCancelled)
				}
				if _, tty := terminal(stderr); tty {
					// The line of progress stands there, and the ^C that the terminal echoes.
					_, _ = io.WriteString(stderr, "\r\x1b[K")
				}
				warn(stderr, "cancelling; again to kill")
				cancel(errCancelled)
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-gone
		cancel(nil)
	}
}
