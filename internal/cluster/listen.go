package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/internal/identity"
)

// A Listening says how an engine of others' is served. All but the fields with defaults is needed.
type Listening struct {
	Identity *identity.Node // of a coordinator; its name is that of the server
	Dir      string         // of all that the engine keeps, synced entry by entry; not below /tmp and its like
	Clients  string         // host:port where agents, coordinators and clients connect; port 0: any
	Routes   string         // host:port where the other servers connect; "" if there are none
	// Peers are the addresses of Routes of all servers of the cluster, this one's too, the same for all. Three of them keep everything
	// three times, and do without one. Empty: this server is alone.
	Peers []string

	AdvertiseClients string // host:port that others find instead of Clients; "": they find that
	AdvertiseRoutes  string // likewise
	MaxStore         int64  // bytes; 0: what the engine finds fit for the disk

	Anywhere bool // Dir may be one that systems empty, for tests
}

// A Server is an engine that others connect to.
type Server struct {
	server *server.Server
	url    string
}

const serverTLSTimeout = 5 // seconds

// Listen serves an engine to others, until Close. Only nodes of the identity's authority may connect, coordinators alone may be its peers, and each
// node may do no more than its role. It opens the ports of Clients and Routes, handles no signals and logs nothing.
func Listen(l *Listening) (*Server, error) {
	s, err := listen(l)
	if err != nil {
		return nil, fmt.Errorf("serve the cluster: %w", err)
	}
	return s, nil
}

func listen(l *Listening) (*Server, error) {
	o, err := l.options()
	if err != nil {
		return nil, err
	}
	// The engine would only say that it is not ready.
	for _, address := range []string{l.Clients, l.Routes} {
		if address == "" {
			continue
		}
		try, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err != nil {
			return nil, err
		}
		_ = try.Close()
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s := &Server{server: ns}
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		err := fmt.Errorf("not ready on %s after %v", l.Clients, startTimeout)
		if !ns.JetStreamEnabled() {
			err = fmt.Errorf("%w: it keeps nothing in %s", err, l.Dir)
		}
		return nil, errors.Join(err, s.Close())
	}
	s.url = "tls://" + ns.Addr().String()
	return s, nil
}

// options are the engine's.
func (l *Listening) options() (*server.Options, error) {
	switch {
	case l.Identity == nil || l.Identity.Role != identity.Coordinator:
		return nil, errors.New("it needs the identity of a coordinator")
	case l.Dir == "":
		return nil, errors.New("it needs a directory")
	case passing(l.Dir) && !l.Anywhere:
		return nil, fmt.Errorf("%w: %s is emptied by the system", ErrUnsafe, l.Dir)
	case len(l.Peers) == 2:
		return nil, errors.New("two servers lose their majority with either: it needs three, or one")
	case len(l.Peers) > 0 && l.Routes == "":
		return nil, errors.New("peers, and no address where they connect")
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName:                 l.Identity.Name,
		NoSigs:                     true,
		NoLog:                      true,
		MaxPayload:                 MaxMessage + envelopeRoom,
		ClientAdvertise:            l.AdvertiseClients,
		TLSConfig:                  l.Identity.TLS(identity.Agent, identity.Coordinator, identity.Client),
		TLSTimeout:                 serverTLSTimeout,
		CustomClientAuthentication: gate{},
		PingInterval:               pingEvery,
		MaxPingsOut:                pingsOut,
		JetStream:                  true,
		DisableJetStreamBanner:     true,
		StoreDir:                   l.Dir,
		SyncAlways:                 true,
		JetStreamMaxStore:          l.MaxStore,
	}
	var err error
	if o.Host, o.Port, err = hostPort(l.Clients); err != nil {
		return nil, err
	}
	if len(l.Peers) == 0 {
		return o, nil
	}
	o.Cluster = server.ClusterOpts{
		Name:           l.Identity.Cluster,
		TLSConfig:      l.Identity.TLS(identity.Coordinator),
		TLSTimeout:     serverTLSTimeout,
		Advertise:      l.AdvertiseRoutes,
		PingInterval:   pingEvery,
		MaxPingsOut:    pingsOut,
		ConnectRetries: 120,
	}
	if o.Cluster.Host, o.Cluster.Port, err = hostPort(l.Routes); err != nil {
		return nil, err
	}
	for _, p := range l.Peers {
		if _, _, err := hostPort(p); err != nil {
			return nil, err
		}
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: p})
	}
	return o, nil
}

// hostPort takes an address apart as the engine wants it.
func hostPort(address string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: want host:port", address)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: port %q is no number", address, p)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// URL returns where Connect finds the server.
func (s *Server) URL() string { return s.url }

// Ready waits until the server can keep things: alone at once, else with a majority of its peers.
func (s *Server) Ready(ctx context.Context) error {
	for {
		switch {
		case !s.server.Running():
			return fmt.Errorf("cluster server: %w", ErrClosed)
		case !s.server.JetStreamEnabled():
			return errors.New("cluster server: it keeps nothing any more: see its disk")
		case !s.server.JetStreamIsClustered(), s.server.JetStreamIsCurrent():
			return nil
		}
		if !pause(ctx, retryWait) {
			return fmt.Errorf("cluster server: no majority of its peers: %w", context.Cause(ctx))
		}
	}
}

// Close ends the server, after handing what it leads to its peers. A second Close does nothing.
func (s *Server) Close() error {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return nil
}

// A gate lets nodes in by their certificates, which the TLS handshake has verified, each with the rights of its role.
type gate struct{}

func (gate) Check(c server.ClientAuthentication) bool {
	cs := c.GetTLSConnectionState()
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return false
	}
	leaf := cs.PeerCertificates[0]
	p, err := identity.PeerOf(leaf)
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: p.String(), Permissions: rights(p), ConnectionDeadline: leaf.NotAfter})
	return true
}

// inbox is where the answers to a node's calls go; nobody else may listen there.
func inbox(p identity.Peer) string { return "_INBOX." + string(p.Role) + "." + p.Name }

// rights are what a node may do with the engine. Only coordinators write and read logs and say who leads. An agent answers calls to node.NAME alone, calls and
// tells agent.NAME alone, and is a member as itself alone; a client may only call api.
func rights(p identity.Peer) *server.Permissions {
	allow := func(subjects ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: subjects} }
	own := inbox(p) + ".>"
	switch p.Role {
	case identity.Coordinator:
		publish := allow(callPrefix+">", newsPrefix+">", memberPrefix+">", standingPrefix+">", logPrefix+">", statePrefix+">", "$JS.API.>", "_INBOX.>")
		publish.Deny = []string{"$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.RESTORE.>"}
		return &server.Permissions{Publish: publish, Subscribe: allow(callPrefix+">", newsPrefix+">", memberPrefix+">", standingPrefix+">", own)}
	case identity.Agent:
		return &server.Permissions{
			Publish:   allow(callPrefix+"agent."+p.Name+".>", newsPrefix+"agent."+p.Name+".>", memberPrefix+p.Name),
			Subscribe: allow(callPrefix+"node."+p.Name+".>", newsPrefix+">", standingPrefix+p.Name, own),
			Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: time.Hour},
		}
	}
	return &server.Permissions{Publish: allow(callPrefix + "api.>"), Subscribe: allow(own)}
}
