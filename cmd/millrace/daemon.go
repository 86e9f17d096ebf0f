package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Ports, where none are given.
const (
	joinPort    = "7740" // new nodes, to the coordinator with the authority
	clientsPort = "7741" // agents, coordinators and clients, to the cluster's engine
	routesPort  = "7742" // servers of the engine, among themselves
	dataPort    = "7743" // programs, plans and printed lines, to a coordinator
	agentPort   = "7745" // runs, to an agent
)

// daemonFlags are those of serve and agent.
type daemonFlags struct {
	Config configFile `placeholder:"FILE" help:"Read what flags say, by their names, from FILE (YAML). Flags come first."`

	LogFormat string `group:"other" enum:"text,json" default:"text" help:"How the log is written to stderr: ${enum}."`
	LogLevel  string `group:"other" enum:"debug,info,warn,error" default:"info" help:"What is logged at least: ${enum}."`
	Metrics   string `group:"other" placeholder:"HOST:PORT" help:"Serve metrics for Prometheus there, to whoever asks, at /metrics."`
}

// A dirFlag says which node of which cluster this machine is.
type dirFlag struct {
	Dir string `default:"/var/lib/millrace" placeholder:"DIR" help:"Where this node keeps its identity in the cluster (default ${default})."`
}

// daemon marks commands that run until they are told to end, and see to signals themselves.
type daemon interface{ daemon() }

func (daemonFlags) daemon() {}

// logger returns where a daemon logs.
func (f *daemonFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

// terms returns two contexts: the first SIGINT or SIGTERM ends soon, the second one ends now as well. stop gives the signals back.
func terms(log *slog.Logger) (soon, now context.Context, stop func()) {
	now, end := context.WithCancelCause(context.Background())
	soon, begin := context.WithCancelCause(now)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for _, cancel := range []context.CancelCauseFunc{begin, end} {
			select {
			case s := <-signals:
				log.Info("told to end", "signal", s.String(), "at_once", soon.Err() != nil)
				cancel(errCancelled)
			case <-done:
				return
			}
		}
	}()
	return soon, now, func() {
		signal.Stop(signals)
		close(done)
		<-gone
		end(nil)
		begin(nil)
	}
}

// listenHTTP serves h at an address until stop is called, which waits.
func listenHTTP(l net.Listener, h http.Handler, log *slog.Logger) (stop func()) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }() // it always ends in ErrServerClosed
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
		<-done
	}
}

// at fills in what an address leaves out: the host, and the port if it has none.
func at(address, host, port string) (string, error) {
	if address == "" {
		return net.JoinHostPort(host, port), nil
	}
	h, p, err := net.SplitHostPort(address)
	if err != nil {
		if h, p, err = net.SplitHostPort(address + ":" + port); err != nil {
			return "", fmt.Errorf("address %q: want host:port", address)
		}
	}
	if h == "" {
		h = host
	}
	return net.JoinHostPort(h, p), nil
}
