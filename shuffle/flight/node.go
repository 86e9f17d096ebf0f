package flight

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	arrow "github.com/apache/arrow/go/v17/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/millrace/millrace/shuffle"
)

// Options say how a node speaks. The zero value of a field means its default.
type Options struct {
	// TLS is required: what this node shows to others as server and as client (Certificates), and whom it trusts (RootCAs, ClientCAs).
	// A peer without a certificate is refused.
	TLS *tls.Config

	Address  string        // where others find this node; "" means the address of the listener
	Window   int           // bytes under way to one reader from one writer; 0 means 1 MiB
	Silence  time.Duration // after which a connection on which nothing comes counts as broken; 0 means 15 seconds
	Patience time.Duration // for another connection, when one broke; 0 means 30 seconds
}

// A Node is what one agent has of netpipes to other nodes. Its methods may be called concurrently.
type Node struct {
	o       Options
	server  *grpc.Server
	ctx     context.Context // of all that the node does
	cancel  context.CancelFunc
	serving chan error

	mu     sync.Mutex
	closed bool
	sinks  map[string]*sink
	kept   map[string]*kept // by token or name
	conns  map[string]*grpc.ClientConn
	epochs map[string]uint64
	ends   sync.WaitGroup // that need links
}

const (
	defaultWindow   = 1 << 20
	defaultSilence  = 15 * time.Second
	defaultPatience = 30 * time.Second
	maxMessage      = 512 << 10 // a frame's payload is half of that at most
	maxStreams      = 1 << 14   // that one peer may have
	connWindow      = 16 << 20
)

// Listen begins to serve on l, which the node takes over.
func Listen(l net.Listener, o Options) (*Node, error) {
	if o.TLS == nil || len(o.TLS.Certificates) == 0 || o.TLS.RootCAs == nil || o.TLS.ClientCAs == nil {
		return nil, errors.Join(errors.New("flight needs a certificate and the authorities to trust"), l.Close())
	}
	if o.Address == "" {
		o.Address = l.Addr().String()
	}
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	if o.Silence <= 0 {
		o.Silence = defaultSilence
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	o.TLS = o.TLS.Clone()
	o.TLS.MinVersion = tls.VersionTLS13
	o.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	n := &Node{o: o, serving: make(chan error, 1), sinks: map[string]*sink{}, kept: map[string]*kept{},
		conns: map[string]*grpc.ClientConn{}, epochs: map[string]uint64{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(o.TLS)),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams), grpc.WaitForHandlers(true), grpc.ConnectionTimeout(o.Silence),
		// A stream has room for all that a writer may send: only a broken connection makes it wait there.
		grpc.InitialWindowSize(int32(o.Window+maxMessage)), grpc.InitialConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: o.Silence, Timeout: o.Silence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	arrow.RegisterFlightServiceServer(n.server, &service{n: n})
	go func() { n.serving <- n.server.Serve(l) }()
	return n, nil
}

// Close ends all netpipes of the node: ends that are open fail. It waits until nothing of them is left.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	conns := n.conns
	n.conns = nil
	n.mu.Unlock()
	n.cancel()
	n.server.Stop()
	var errs []error
	if err := <-n.serving; err != grpc.ErrServerStopped { // which it says if it had not begun
		errs = append(errs, err)
	}
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	n.ends.Wait()
	return errors.Join(errs...)
}

// Address returns where others find the node.
func (n *Node) Address() string { return n.o.Address }

// Advance refuses frames of that job with a lower epoch from now on, also in netpipes that are open: their ends fail with shuffle.ErrStale.
func (n *Node) Advance(job string, epoch uint64) {
	n.mu.Lock()
	n.epochs[job] = max(n.epochs[job], epoch)
	var cut []*sink
	for _, s := range n.sinks {
		if s.stamp.Job == job && s.stamp.Epoch < epoch {
			cut = append(cut, s)
		}
	}
	n.mu.Unlock()
	for _, s := range cut {
		s.outdate(fmt.Errorf("%w: epoch %d of job %s has begun", shuffle.ErrStale, epoch, job))
	}
}

// current returns why frames with a stamp are not wanted any more.
func (n *Node) current(s Stamp) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.epochs[s.Job]; s.Epoch < now {
		return fmt.Errorf("%w: epoch %d of job %s, now is %d", shuffle.ErrStale, s.Epoch, s.Job, now)
	}
	return nil
}

// Make makes a netpipe from the attempts of the stamps, each of which gets a descriptor for its writer. The caller opens the reader.
func (n *Node) Make(from ...Stamp) (writers []shuffle.Descriptor, r shuffle.PipeReader, err error) {
	var readers []shuffle.PipeReader
	for _, s := range from {
		var encoded []byte
		if encoded, err = s.encode(); err != nil {
			break
		}
		k := &sink{n: n, stamp: s, encoded: encoded, token: rand.Text(), inbox: make(chan *putServer, 1)}
		n.mu.Lock()
		n.sinks[k.token] = k
		n.mu.Unlock()
		writers = append(writers, n.descriptor(k.token))
		readers = append(readers, shuffle.NewPipeReader(nil, &shuffle.PipeOptions{Window: n.o.Window, Silence: n.o.Silence,
			Redial: k.next, Over: k.over}))
	}
	if err != nil {
		for _, r := range readers {
			r.Close()
		}
		return nil, nil, err
	}
	return writers, shuffle.Join(readers...), nil
}

// Keep lets others read, as often as they like, what open returns: always the same bytes, the work of the attempt of the stamp. forget ends that.
func (n *Node) Keep(s Stamp, open func() (io.ReadCloser, error)) (d shuffle.Descriptor, forget func(), err error) {
	return n.keepFor(s, open, false)
}

// Offer lets one other read from r, as it comes and once. r is closed when the other has read all, or has gone; its Close may be called during a Read.
// forget ends the offer, if nobody has taken it.
func (n *Node) Offer(s Stamp, r io.ReadCloser) (d shuffle.Descriptor, forget func(), err error) {
	var taken atomic.Bool
	return n.keepFor(s, func() (io.ReadCloser, error) {
		if taken.Swap(true) {
			return nil, fmt.Errorf("somebody has read it before: %w", syscall.EPIPE)
		}
		return r, nil
	}, true)
}

// keepFor keeps what open returns for those who ask for the work of the attempt of the stamp, by a token.
func (n *Node) keepFor(s Stamp, open func() (io.ReadCloser, error), live bool) (d shuffle.Descriptor, forget func(), err error) {
	encoded, err := s.encode()
	if err != nil {
		return "", nil, err
	}
	token := rand.Text()
	forget, err = n.keep(token, &kept{live: live, open: func(_ context.Context, q *Question) (io.ReadCloser, error) {
		asked, err := q.Stamp.encode()
		if err == nil {
			err = stale(asked, encoded)
		}
		if err != nil {
			return nil, err
		}
		return open()
	}})
	return n.descriptor(token), forget, err
}

// A Question is what another node asks for.
type Question struct {
	Stamp Stamp  // of the attempt that asks, and the incarnation that it takes this node's agent for
	Text  []byte // between the two; it stays the Question's
	Peer  *x509.Certificate
}

// Answer lets others ask for what open returns: the same bytes whenever the same is asked, since a reader whose connection broke goes on
// where it was. An error of open that is shuffle.ErrStale refuses the question; another one aborts the answer. ctx is done when the asker is gone.
// forget ends that; answers under way go on. Name is not in use, and has at most 64 bytes.
func (n *Node) Answer(name string, open func(ctx context.Context, q *Question) (io.ReadCloser, error)) (forget func(), err error) {
	if name == "" || len(name) > maxName {
		return nil, errName
	}
	return n.keep(name, &kept{open: open})
}

func (n *Node) keep(name string, k *kept) (forget func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kept[name] != nil {
		return nil, fmt.Errorf("flight: %q is answered already", name)
	}
	n.kept[name] = k
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.kept, name)
	}, nil
}

// Ask returns a reader of what the node at that address answers to a question, for the attempt of the stamp. It is not open. Heard, if not nil, is
// called whenever something comes from that node while the reader reads, if only that it is there.
func (n *Node) Ask(address, name string, s Stamp, question []byte, heard func()) (shuffle.PipeReader, error) {
	encoded, err := s.encode()
	if err != nil {
		return nil, err
	}
	if name == "" || len(name) > maxName {
		return nil, errName
	}
	if len(question) > MaxQuestion {
		return nil, fmt.Errorf("flight: a question of %d bytes, more than %d", len(question), MaxQuestion)
	}
	return n.reader(&caller{n: n, address: address, token: name, stamp: encoded, question: question, alive: heard, good: time.Now()}), nil
}

// MaxQuestion is the most that a question has, in bytes.
const MaxQuestion = maxMessage / 2

var errName = fmt.Errorf("flight: a name has 1 to %d bytes", maxName)

func (n *Node) reader(c *caller) shuffle.PipeReader {
	return shuffle.NewPipeReader(nil, &shuffle.PipeOptions{Window: n.o.Window, Silence: n.o.Silence, Redial: c.get, Over: c.over})
}

// Scheme opens the ends of "flight:" descriptors, which other nodes have made: writers for the attempt of the stamp, and readers
// of what the attempt of the stamp has written.
func (n *Node) Scheme(s Stamp) shuffle.Scheme {
	return shuffle.Scheme{
		Writer: func(d shuffle.Descriptor) (shuffle.PipeWriter, error) {
			c, err := n.caller(d, s)
			if err != nil {
				return nil, err
			}
			return shuffle.NewPipeWriter(nil, &shuffle.PipeOptions{Silence: n.o.Silence, Redial: c.put, Over: c.over}), nil
		},
		Reader: func(d shuffle.Descriptor) (shuffle.PipeReader, error) {
			c, err := n.caller(d, s)
			if err != nil {
				return nil, err
			}
			return n.reader(c), nil
		},
	}
}

func (n *Node) descriptor(token string) shuffle.Descriptor {
	return shuffle.Descriptor("flight:" + n.o.Address + "/" + token)
}

func (n *Node) caller(d shuffle.Descriptor, s Stamp) (*caller, error) {
	encoded, err := s.encode()
	if err != nil {
		return nil, err
	}
	address, token, ok := strings.Cut(d.Rest(), "/")
	if !ok {
		return nil, errors.New("not the descriptor of a netpipe between nodes")
	}
	return &caller{n: n, address: address, token: token, stamp: encoded, good: time.Now()}, nil
}

// conn returns the connection to another node, which serves all netpipes to it.
func (n *Node) conn(address string) (*grpc.ClientConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errNodeClosed
	}
	if c := n.conns[address]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(n.o.TLS)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithInitialWindowSize(int32(n.o.Window+maxMessage)), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: n.o.Silence,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: max(n.o.Silence, 10*time.Second), Timeout: n.o.Silence, PermitWithoutStream: true}))
	if err != nil {
		return nil, err
	}
	n.conns[address] = c
	return c, nil
}

// enter counts an end that needs links. It is false when the node is closed.
func (n *Node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.ends.Add(1)
	}
	return !n.closed
}

// A service is what other nodes call.
type service struct {
	arrow.UnimplementedFlightServiceServer
	n *Node
}

var errNodeClosed = fmt.Errorf("flight: the node is closed: %w", net.ErrClosed)
