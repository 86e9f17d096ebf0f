package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/home"
	"github.com/millrace/millrace/internal/identity"
)

// A serveCmd is a coordinator: it leads jobs, or stands by, and serves the cluster's engine.
type serveCmd struct {
	daemonFlags
	dirFlag
	Address string   `group:"addresses" placeholder:"HOST" help:"The address of this machine for the others; it listens there alone (default: on all that it has)."`
	Join    string   `group:"addresses" placeholder:"HOST:PORT" help:"Where nodes join, if the cluster has begun here (default :7740)."`
	Clients string   `group:"addresses" placeholder:"HOST:PORT" help:"Where nodes reach the cluster's engine (default :7741)."`
	Routes  string   `group:"addresses" placeholder:"HOST:PORT" help:"Where the other servers reach it (default :7742)."`
	Cluster []string `group:"addresses" placeholder:"HOST[:PORT]" help:"The addresses of all three servers, this one's too; none if there is but this one."`
	natsFlags
}

func (c *serveCmd) Help() string {
	return `Leads the jobs of a cluster, or stands by for the server that does. One server is a cluster; three make one that does
without any one of them.

  millrace serve --address 10.0.0.1
  millrace serve --address 10.0.0.1 --cluster 10.0.0.1,10.0.0.2,10.0.0.3
  millrace serve --config /etc/millrace/serve.yaml`
}

// natsFlags name an engine that is not one of millrace serve.
type natsFlags struct {
	Nats        []string `group:"engine" name:"nats" env:"MILLRACE_NATS" placeholder:"URL" help:"Use the NATS servers there, and serve no engine."`
	Creds       string   `group:"engine" placeholder:"FILE" help:"Credentials for them."`
	NatsCA      string   `group:"engine" name:"nats-ca" placeholder:"FILE" help:"Authorities of their certificates (default: the system's)."`
	NatsSystem  string   `group:"engine" name:"nats-system" placeholder:"FILE" help:"Credentials of their system account, by which serve asks whether they sync what they acknowledge."`
	NatsTrusted bool     `group:"engine" name:"nats-trusted" help:"They do: do not ask."`
}

// remote returns how the cluster's engine is reached.
func (f *natsFlags) remote(h *home.Home, servers []string) (*cluster.Remote, error) {
	if len(f.Nats) > 0 {
		r := &cluster.Remote{URLs: f.Nats, Credentials: f.Creds, System: f.NatsSystem, Trusted: f.NatsTrusted}
		if f.NatsCA != "" {
			var err error
			if r.TLS, err = cluster.LoadTLS(f.NatsCA, "", ""); err != nil {
				return nil, err
			}
		}
		return r, nil
	}
	r := &cluster.Remote{Identity: h.Identity}
	for _, s := range servers {
		r.URLs = append(r.URLs, "tls://"+s)
	}
	return r, nil
}

// A serving is a coordinator under way.
type serving struct {
	*serveCmd
	log  *slog.Logger
	home *home.Home

	join, clients, routes string // where it listens
	peers                 []string
	closers               []func()
}

func (c *serveCmd) Run(a *app) (err error) {
	log, err := c.logger(a.stderr)
	if err != nil {
		return err
	}
	h, err := home.Open(c.Dir)
	if err != nil {
		return err
	}
	if h.Identity.Role != identity.Coordinator {
		return fmt.Errorf("%s: %v is no coordinator: it can be made one by a token for that", c.Dir, h.Identity)
	}
	s := &serving{serveCmd: c, home: h, log: log.With("node", h.Identity.Name)}
	if err := s.addresses(); err != nil {
		return err
	}
	ctx, _, stop := terms(s.log)
	defer stop()
	defer s.close()
	err = s.run(ctx)
	if errors.Is(context.Cause(ctx), errCancelled) {
		return nil
	}
	return err
}

// then has f called when the coordinator ends, before what was given earlier.
func (s *serving) then(f func()) { s.closers = append(s.closers, f) }

func (s *serving) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// addresses makes the addresses complete.
func (s *serving) addresses() (err error) {
	for _, x := range []struct {
		to         *string
		said, port string
	}{{&s.join, s.Join, joinPort}, {&s.clients, s.Clients, clientsPort}, {&s.routes, s.Routes, routesPort}} {
		if *x.to, err = at(x.said, s.Address, x.port); err != nil {
			return err
		}
	}
	if len(s.Cluster) == 2 {
		return errors.New("--cluster: two servers lose their majority with either: it needs three, or one")
	}
	for _, p := range s.Cluster {
		p, err := at(p, "", routesPort)
		if err != nil {
			return err
		}
		s.peers = append(s.peers, p)
	}
	return nil
}

func (s *serving) run(ctx context.Context) error {
	if len(s.Nats) == 0 { // for the commands on this machine
		if err := s.home.SetServers(s.servers("localhost")); err != nil {
			return err
		}
	}
	// Others may join before there is a majority: they are to be it.
	if err := s.welcome(ctx); err != nil {
		return err
	}
	c, err := s.engine(ctx)
	if err != nil {
		return err
	}
	s.then(func() { _ = c.Close() })
	if err := s.prepared(ctx, c); err != nil {
		return err
	}
	if err := notify(ctx, "READY=1"); err != nil {
		s.log.Warn("systemd was not told", "error", err)
	}
	<-ctx.Done()
	_ = notify(context.WithoutCancel(ctx), "STOPPING=1")
	return nil
}

// prepared sees to it that the cluster's engine is prepared and safe. In a new cluster the server where it has begun prepares it, and the others wait for that.
func (s *serving) prepared(ctx context.Context, c *cluster.Cluster) error {
	if !s.home.Fresh() {
		return c.Check(ctx)
	}
	a, err := s.home.Authority()
	if err != nil {
		return err
	}
	if a != nil {
		err = c.Prepare(ctx)
	}
	for err == nil {
		if err = c.Check(ctx); !errors.Is(err, cluster.ErrLost) || a != nil {
			break
		}
		s.log.Info("waiting for the first server to prepare the cluster's engine")
		select {
		case <-time.After(time.Second):
			err = nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return err
	}
	return s.home.Prepared()
}

// welcome lets nodes join, where the authority is.
func (s *serving) welcome(ctx context.Context) error {
	a, err := s.home.Authority()
	if a == nil || err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.join)
	if err != nil {
		return err
	}
	s.log.Info("nodes can join", "address", l.Addr().String(), "fingerprint", a.Fingerprint())
	s.then(listenHTTP(tls.NewListener(l, s.home.Identity.JoinTLS()), home.Welcome(a, s.servers("")), s.log))
	return nil
}

// servers returns where nodes reach the cluster's engine. A server that has no address of its own is at host.
func (s *serving) servers(host string) (all []string) {
	_, port, _ := net.SplitHostPort(s.clients)
	for _, p := range s.peers {
		host, _, _ := net.SplitHostPort(p)
		all = append(all, net.JoinHostPort(host, port))
	}
	if len(all) == 0 {
		all = []string{net.JoinHostPort(cmp.Or(s.Address, host), port)}
	}
	return all
}

// engine serves the cluster's engine, or finds it elsewhere, and connects to it.
func (s *serving) engine(ctx context.Context) (*cluster.Cluster, error) {
	var servers []string
	if len(s.Nats) == 0 {
		l := &cluster.Listening{Identity: s.home.Identity, Dir: s.home.Engine(), Clients: s.clients, Peers: s.peers}
		if len(s.peers) > 0 {
			l.Routes = s.routes
		}
		if s.Address != "" {
			l.AdvertiseClients, l.AdvertiseRoutes = s.clients, s.routes
		}
		server, err := cluster.Listen(l)
		if err != nil {
			return nil, err
		}
		s.then(func() { _ = server.Close() })
		s.log.Info("engine listens", "address", server.URL(), "servers", max(len(s.peers), 1))
		if err := server.Ready(ctx); err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(s.clients)
		servers = []string{net.JoinHostPort(cmp.Or(s.Address, "localhost"), port)} // it knows the others
	}
	r, err := s.remote(s.home, servers)
	if err != nil {
		return nil, err
	}
	return cluster.Connect(ctx, r)
}
