// Package cluster is how the processes of Millrace talk about jobs: calls between agents and a coordinator, news that may get
// lost, one append-only log per job, who is a member, and who leads. It is NATS JetStream, whose types stop here. It carries no object data,
// no shuffle data, and no state per object.
//
// [Embed] keeps it within one process; [Listen] serves it to others, alone or as one of three; [Connect] reaches it there. What it
// keeps on several nodes is made once, by [Cluster.Prepare]: what was there and is gone is an error, never a beginning.
//
// # Messages
//
// Everything that is sent has an envelope. All numbers are big-endian.
//
//	request, news = version:u8 epoch:u64 payload
//	reply         = version:u8 status:u8 payload          status 0: what the handler returned
//	                                                      status 1: codelen:u8 code text
//	log entry     = version:u8 kind:u8 epoch:u64 writer:16 number:u64 (length:uvarint record)*
//	who leads     = version:u8 kind:u8 epoch:u64 writer:16 number:u64 lease:u64 length:u32 holder
//
// The version is 1. Kind 1 is the first entry of a coordinator (no records), kind 2 carries records, which are appended together or not at all.
// Writer and number name an entry: a writer that did not hear whether its entry landed reads back and looks for them. Kind 3 says who leads
// the cluster: its numbers are renewals, and lease is in nanoseconds, 0 if nobody leads. Beats of members, and their answers, are news in JSON.
//
// Calls use the subjects millrace.call.SUBJECT, news millrace.news.SUBJECT, beats millrace.member.NODE, their answers millrace.standing.NODE,
// logs millrace.log.JOB in the stream millrace_log, and who leads is millrace.state.leader in the stream millrace_state.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/internal/tempdir"
)

// MaxMessage bounds a request, a reply, a piece of news, and the records of one Append together, in bytes.
const MaxMessage = 1 << 20

// Errors, asked for with errors.Is.
var (
	// ErrTooLarge says that a message is larger than MaxMessage.
	ErrTooLarge = errors.New("message too large")
	// ErrNobody says that nobody serves a subject.
	ErrNobody = errors.New("nobody serves it")
	// ErrClosed says that the cluster was closed.
	ErrClosed = errors.New("cluster closed")
	// ErrFenced says that a job has another coordinator: whoever gets it stops working on that job, for good.
	ErrFenced = errors.New("fenced")
	// ErrUnknown says that it is not known whether an entry was appended; the log may be read, or appended to again.
	ErrUnknown = errors.New("may or may not have been appended")
	// ErrCorrupt says that a message or an entry is none of ours.
	ErrCorrupt = errors.New("corrupt message")
	// ErrLost says that what the engine must have is not there. It is never taken for something new.
	ErrLost = errors.New("the cluster's state is gone")
	// ErrUnsafe says that an engine is set up so that it may lose what it acknowledged.
	ErrUnsafe = errors.New("unsafe engine")
)

// Options say how a cluster is embedded. The zero value of a field means its default.
type Options struct {
	Dir      string // of the job logs, which then survive Close and are synced entry by entry; "" keeps them in memory
	Memory   int64  // bytes of all logs in memory; 0 means 256 MiB
	Handlers int    // calls served at once for one subject; 0 means 16384
}

// A Cluster is a connection to the engine. Its methods may be called concurrently.
type Cluster struct {
	server   *server.Server // nil: it runs elsewhere
	remote   *Remote        // nil: it is embedded
	hosts    string         // of remote
	conn     *nats.Conn
	js       jetstream.JetStream
	handlers int
	copies   int          // of everything that the engine keeps
	tmp      *tempdir.Dir // of the engine in memory
	floor    floor        // of who leads

	mu      sync.Mutex
	streams map[string]jetstream.Stream
	left    time.Time      // when a server was left for another
	stops   map[int]func() // of services and subscriptions
	next    int
	closed  bool
}

const (
	startTimeout    = time.Minute
	defaultHandlers = 1 << 14 // most of them only wait
	envelopeRoom    = 64 << 10
)

// Embed starts an engine within this process, which opens no port, handles no signals and logs nothing. Nil opts mean defaults.
func Embed(opts *Options) (*Cluster, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Memory <= 0 {
		o.Memory = 256 << 20
	}
	if o.Handlers <= 0 {
		o.Handlers = defaultHandlers
	}
	c := &Cluster{handlers: o.Handlers, copies: 1, stops: map[int]func(){}, streams: map[string]jetstream.Stream{}}
	if err := c.start(&o); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("embedded cluster: %w", err)
	}
	return c, nil
}

func (c *Cluster) start(o *Options) error {
	dir, storage := o.Dir, jetstream.FileStorage
	if dir == "" {
		tmp, err := tempdir.New("millrace-cluster-")
		if err != nil {
			return err
		}
		c.tmp = tmp
		dir, storage = tmp.Path, jetstream.MemoryStorage
	}
	s, err := server.NewServer(&server.Options{
		ServerName:             "millrace",
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true,
		NoSystemAccount:        true,
		MaxPayload:             MaxMessage + envelopeRoom,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               dir,
		SyncAlways:             storage == jetstream.FileStorage,
		JetStreamMaxMemory:     o.Memory,
	})
	if err != nil {
		return err
	}
	c.server = s
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		return fmt.Errorf("not ready after %v", startTimeout)
	}
	c.conn, err = nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // lost news is no error
	if err != nil {
		return err
	}
	if c.js, err = jetstream.New(c.conn); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	logs, err := c.js.CreateOrUpdateStream(ctx, logConfig(storage, 1))
	c.streams[logStream] = logs
	return err
}

// Close ends all services and subscriptions, waits for their handlers, and stops the engine. A second Close does nothing.
// Handlers must not call it.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	stops := c.stops
	c.stops = nil
	c.mu.Unlock()

	for _, stop := range stops { // first nobody works any more,
		stop()
	}
	if c.conn != nil { // then nobody talks,
		gone := make(chan struct{})
		c.conn.SetClosedHandler(func(*nats.Conn) { close(gone) })
		c.conn.Close()
		<-gone
	}
	if c.server != nil { // then nobody listens.
		c.server.Shutdown()
		c.server.WaitForShutdown()
	}
	if c.tmp != nil {
		return c.tmp.Close()
	}
	return nil
}

// keep remembers how to stop something that runs, and returns a function that stops it once.
func (c *Cluster) keep(stop func()) (func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	id := c.next
	c.next++
	once := sync.OnceFunc(stop)
	c.stops[id] = once
	return func() {
		c.mu.Lock()
		delete(c.stops, id)
		c.mu.Unlock()
		once()
	}, nil
}
