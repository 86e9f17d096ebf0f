package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/shuffle/flight"
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
	Metrics   string `group:"other" placeholder:"HOST:PORT" help:"Serve metrics for Prometheus there, to whoever asks, at /metrics, and at /ready whether it is."`
	Traces    string `group:"other" placeholder:"URL" help:"Send traces to a collector of OpenTelemetry there, by gRPC (default: as OTEL_EXPORTER_OTLP_ENDPOINT says, or nowhere)."`
}

// A dirFlag says which node of which cluster this machine is.
type dirFlag struct {
	Dir string `default:"/var/lib/millrace" env:"MILLRACE_DIR" placeholder:"DIR" help:"Where this node keeps its identity in the cluster (default ${default})."`
}

// An addressFlag says where the others find this machine.
type addressFlag struct {
	Address string `group:"addresses" placeholder:"HOST" help:"The address of this machine for the others; it listens there alone (default: its name, and on all that it has)."`
}

// listenData serves what does not go over the cluster's engine.
func (f *addressFlag) listenData(ctx context.Context, address string, n *identity.Node) (*flight.Node, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err == nil && f.Address != "" {
		host = f.Address
	} else if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		host, err = os.Hostname()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return flight.Listen(l, flight.Options{TLS: n.TLS(identity.Agent, identity.Coordinator, identity.Client), Address: net.JoinHostPort(host, port)})
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

// tracer returns what sends traces, and what sends the last ones. nil: nothing does.
func (f *daemonFlags) tracer(ctx context.Context, daemon, node string, log *slog.Logger) (t *telemetry.Tracer, stop func(), err error) {
	t, err = telemetry.NewTracer(ctx, daemon, version(), node, f.Traces, log)
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			log.Warn("traces are lost", "error", err)
		}
	}, err
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

// retryConnect is how long a daemon waits before it tries again to reach a cluster.
const retryConnect = time.Second

// sleep waits for d, or until ctx ends, with its cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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
