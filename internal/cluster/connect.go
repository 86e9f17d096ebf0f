package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/internal/identity"
)

// A Remote says how to reach an engine that runs elsewhere. The zero value of a field means its default.
type Remote struct {
	URLs []string // nats://host:port or tls://host:port, one or more of the same cluster; more are learnt from the first

	// Identity is what this node is, where the engine is one of Listen. TLS and Credentials then stay empty.
	Identity *identity.Node

	TLS         *tls.Config // of another engine; nil: none, unless a URL or the engine asks for it. See [LoadTLS]
	Credentials string      // file of a user's credentials; "": none
	// System is a file of credentials, of a user of the engine's system account, by which Prepare and Check ask whether the engine syncs what
	// it acknowledges, and where it keeps it. Without it they refuse, unless Trusted says that the operator vouches for that.
	System  string
	Trusted bool

	Handlers int // calls served at once for one subject; 0 means 16384

	anywhere bool // tests keep things in passing places
}

// What a connection allows for before it counts as broken, and between tries to make a new one.
const (
	pingEvery     = 5 * time.Second
	pingsOut      = 2
	reconnectWait = 250 * time.Millisecond
	leaveEvery    = 5 * time.Second // at least this long at one server
)

// LoadTLS reads what a connection with TLS needs: a file of authorities ("" means the system's), and a client certificate with its key, both or none.
func LoadTLS(ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		b, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s: it has no certificate in PEM", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate %q with key %q: %w", cert, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Connect connects to an engine that runs elsewhere. The connection is made again whenever it breaks, also to another server; what is under way then
// may fail. It must have been prepared before logs are opened.
func Connect(ctx context.Context, r *Remote) (*Cluster, error) {
	hosts, err := r.hosts()
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	c := &Cluster{handlers: r.Handlers, stops: map[int]func(){}, streams: map[string]jetstream.Stream{}, remote: r, hosts: hosts}
	if c.handlers <= 0 {
		c.handlers = defaultHandlers
	}
	if err := c.connect(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("connect to the cluster at %s: %w", hosts, err)
	}
	return c, nil
}

// hosts checks the URLs, and returns what of them may be shown.
func (r *Remote) hosts() (string, error) {
	if len(r.URLs) == 0 {
		return "", errors.New("no URL")
	}
	if r.Identity != nil && (r.TLS != nil || r.Credentials != "" || r.System != "") {
		return "", errors.New("an identity, and other credentials beside it")
	}
	var hosts []string
	for i, s := range r.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return "", fmt.Errorf("URL %d of %d is not nats://host:port or tls://host:port", i+1, len(r.URLs)) // it may have a password
		}
		hosts = append(hosts, u.Host)
	}
	return strings.Join(hosts, ", "), nil
}

func (c *Cluster) connect(ctx context.Context) error {
	conn, err := dial(ctx, c.remote, c.remote.Credentials)
	if err != nil {
		return err
	}
	c.conn = conn
	if have, need := conn.MaxPayload(), int64(MaxMessage+envelopeRoom); have < need {
		return fmt.Errorf("%w: its max_payload is %d bytes, needed are %d", ErrUnsafe, have, need)
	}
	c.copies = 1
	if conn.ConnectedClusterName() != "" {
		c.copies = 3
	}
	c.js, err = jetstream.New(conn)
	return err
}

// dial connects as the user of a file of credentials.
func dial(ctx context.Context, r *Remote, credentials string) (*nats.Conn, error) {
	options := []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // lost news is no error
	}
	if deadline, ok := ctx.Deadline(); ok {
		options = append(options, nats.Timeout(min(time.Until(deadline), startTimeout)))
	}
	if r.Identity != nil {
		options = append(options, nats.Secure(r.Identity.TLS(identity.Coordinator)), nats.Name(r.Identity.String()), nats.CustomInboxPrefix(inbox(r.Identity.Peer)))
	}
	if r.TLS != nil {
		options = append(options, nats.Secure(r.TLS))
	}
	if credentials != "" {
		if _, err := os.ReadFile(credentials); err != nil { // the engine's words for it are dim
			return nil, err
		}
		options = append(options, nats.UserCredentials(credentials))
	}
	type result struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := nats.Connect(strings.Join(r.URLs, ","), options...)
		done <- result{conn, err}
	}()
	select {
	case got := <-done:
		return got.conn, got.err
	case <-ctx.Done():
		got := <-done // soon: its timeout is no longer than ours, per server
		if got.conn != nil {
			got.conn.Close()
		}
		return nil, context.Cause(ctx)
	}
}

// server names the server of the connection, for errors; "" for one that is embedded.
func (c *Cluster) serverName() string {
	if c.remote == nil || c.conn == nil {
		return ""
	}
	u, err := url.Parse(c.conn.ConnectedUrlRedacted())
	if err != nil || u.Host == "" {
		return "none of " + c.hosts
	}
	return u.Host
}

// elsewhere leaves a server that may be cut off from the others, unless it was chosen a moment ago.
func (c *Cluster) elsewhere() bool {
	if c.remote == nil || len(c.conn.Servers()) < 2 {
		return false
	}
	c.mu.Lock()
	leave := !c.closed && time.Since(c.left) >= leaveEvery
	if leave {
		c.left = time.Now()
	}
	c.mu.Unlock()
	if leave {
		_ = c.conn.ForceReconnect() // closed: who calls next is told
	}
	return true
}

// synced says whether the engine syncs what it acknowledges, and keeps it in a place that stays.
func (c *Cluster) synced(ctx context.Context) error {
	r := c.remote
	switch {
	case r == nil || r.Identity != nil: // ours are
		return nil
	case r.System == "" && r.Trusted:
		return nil
	case r.System == "":
		return fmt.Errorf("%w: nobody says whether it syncs what it acknowledges", ErrUnsafe)
	}
	conn, err := dial(ctx, r, r.System)
	if err != nil {
		return fmt.Errorf("system account: %w", err)
	}
	defer conn.Close()
	return inspect(ctx, conn, r.anywhere)
}

// A storing is what a server says of its JetStream.
type storing struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data struct {
		Disabled bool `json:"disabled"`
		Config   struct {
			Dir  string `json:"store_dir"`
			Sync bool   `json:"sync_always"`
		} `json:"config"`
		Meta *struct {
			Size int `json:"cluster_size"`
		} `json:"meta_cluster"`
	} `json:"data"`
}

// inspect asks all servers of the engine. Each that keeps anything must answer.
func inspect(ctx context.Context, conn *nats.Conn, anywhere bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	answers := conn.NewRespInbox()
	sub, err := conn.SubscribeSync(answers)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	if err := conn.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", answers, nil); err != nil {
		return err
	}
	for have, want := 0, 1; have < want; {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("%w: %d of %d servers say how they keep what they acknowledge: %w", ErrUnsafe, have, want, err)
		}
		var s storing
		if err := json.Unmarshal(m.Data, &s); err != nil {
			return fmt.Errorf("%w: a server's description: %w", ErrCorrupt, err)
		}
		if s.Data.Disabled {
			continue
		}
		if bad := s.unsafe(anywhere); bad != "" {
			return fmt.Errorf("%w: server %s %s", ErrUnsafe, s.Server.Name, bad)
		}
		have++
		if s.Data.Meta != nil {
			want = max(want, s.Data.Meta.Size)
		}
	}
	return nil
}

func (s *storing) unsafe(anywhere bool) string {
	switch {
	case !s.Data.Config.Sync:
		return "acknowledges before it syncs: it needs sync_always"
	case passing(s.Data.Config.Dir) && !anywhere:
		return "keeps what it acknowledges in " + s.Data.Config.Dir + ", which is emptied: it needs another store_dir"
	}
	return ""
}

// passing says whether a directory is one that systems empty.
func passing(dir string) bool {
	for _, tmp := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run"} {
		if rest, ok := strings.CutPrefix(filepath.Clean(dir), tmp); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
