package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// A foreign is a server that somebody else runs, with users in two accounts.
type foreign struct {
	server       *server.Server
	url          string
	user, system string // files of credentials
	keys         []string
}

func newForeign(t testing.TB, change func(*server.Options)) *foreign {
	t.Helper()
	f := &foreign{}
	operator := must(nkeys.CreateOperator())
	claims := jwt.NewOperatorClaims(pub(operator))
	resolver := &server.MemAccResolver{}
	dir := t.TempDir()
	account := func(name string, system bool) (public, creds string) {
		a, u := must(nkeys.CreateAccount()), must(nkeys.CreateUser())
		ac := jwt.NewAccountClaims(pub(a))
		if !system {
			ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		if err := resolver.Store(pub(a), must(ac.Encode(operator))); err != nil {
			t.Fatal(err)
		}
		seed := must(u.Seed())
		f.keys = append(f.keys, string(seed))
		creds = filepath.Join(dir, name+".creds")
		if err := os.WriteFile(creds, must(jwt.FormatUserConfig(must(jwt.NewUserClaims(pub(u)).Encode(a)), seed)), 0o600); err != nil {
			t.Fatal(err)
		}
		return pub(a), creds
	}
	o := &server.Options{ServerName: "theirs", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true,
		DisableJetStreamBanner: true, StoreDir: filepath.Join(dir, "store"), SyncAlways: true, MaxPayload: MaxMessage + envelopeRoom, AccountResolver: resolver}
	o.SystemAccount, f.system = account("system", true)
	_, f.user = account("user", false)
	claims.SystemAccount = o.SystemAccount
	o.TrustedOperators = []*jwt.OperatorClaims{must(jwt.DecodeOperatorClaims(must(claims.Encode(operator))))}
	if change != nil {
		change(o)
	}
	var err error
	if f.server, err = server.NewServer(o); err != nil {
		t.Fatal(err)
	}
	f.server.Start()
	t.Cleanup(func() { f.server.Shutdown(); f.server.WaitForShutdown() })
	if !f.server.ReadyForConnections(startTimeout) {
		t.Fatal("their server does not start")
	}
	f.url = "nats://" + f.server.Addr().String()
	return f
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pub(k nkeys.KeyPair) string { return must(k.PublicKey()) }

func TestForeignEngine(t *testing.T) {
	t.Parallel()
	f := newForeign(t, nil)
	c := connect(t, &Remote{URLs: []string{f.url}, Credentials: f.user, System: f.system, anywhere: true})
	if err := c.Prepare(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(soon(t)); err != nil {
		t.Fatal(err)
	}
	l := openTestLog(t, c, "a")
	lead(t, l, 1)
	add(t, l, 1, "x")
	if got, want := contents(t, openTestLog(t, c, "a")), "1! 1:x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// The connection is made again after it broke.
	address := f.server.Addr()
	c.conn.ForceReconnect()
	add(t, l, 1, "y")
	if f.server.Addr() != address {
		t.Fatal("another server")
	}
	// What was prepared and is gone is not new.
	if err := c.js.DeleteStream(soon(t), stateStream); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(soon(t)); !errors.Is(err, ErrLost) {
		t.Errorf("check without state: %v, want ErrLost", err)
	}
	if err := c.Prepare(soon(t)); !errors.Is(err, ErrLost) {
		t.Errorf("prepare without state beside logs: %v, want ErrLost", err)
	}
}

func TestUnsafeEngines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(*server.Options)
		remote  func(*Remote)
		prepare func(context.Context, *Cluster) error
		want    string
	}{
		{"no sync_always", func(o *server.Options) { o.SyncAlways = false }, nil, nil,
			"server theirs acknowledges before it syncs: it needs sync_always"},
		{"store below /tmp", nil, func(r *Remote) { r.anywhere = false }, nil, "which is emptied: it needs another store_dir"},
		{"nobody says", nil, func(r *Remote) { r.System = "" }, nil, "nobody says whether it syncs what it acknowledges"},
		{"small messages", func(o *server.Options) { o.MaxPayload = 1 << 20 }, nil, nil, "its max_payload is 1048576 bytes, needed are 1114112"},
		{"logs in memory", nil, nil, func(ctx context.Context, c *Cluster) error {
			_, err := c.js.CreateStream(ctx, logConfig(jetstream.MemoryStorage, 1))
			return err
		}, "stream millrace_log is in memory"},
		{"logs that forget", nil, nil, func(ctx context.Context, c *Cluster) error {
			cfg := logConfig(jetstream.FileStorage, 1)
			cfg.Discard, cfg.MaxBytes = jetstream.DiscardOld, 1<<30
			_, err := c.js.CreateStream(ctx, cfg)
			return err
		}, "stream millrace_log forgets when it is full"},
		{"stale reads", nil, nil, func(ctx context.Context, c *Cluster) error {
			cfg := logConfig(jetstream.FileStorage, 1)
			cfg.AllowDirect = true
			_, err := c.js.CreateStream(ctx, cfg)
			return err
		}, "stream millrace_log may be read without its leader"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForeign(t, tt.change)
			r := &Remote{URLs: []string{f.url}, Credentials: f.user, System: f.system, anywhere: true}
			if tt.remote != nil {
				tt.remote(r)
			}
			c, err := Connect(soon(t), r)
			if err == nil {
				defer c.Close()
				if tt.prepare != nil {
					if err := tt.prepare(soon(t), c); err != nil {
						t.Fatal(err)
					}
				}
				err = c.Prepare(soon(t))
			}
			if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), strings.TrimPrefix(f.url, "nats://")) {
				t.Errorf("got %v, want ErrUnsafe, where and %q", err, tt.want)
			}
		})
	}
}

func TestConnectErrors(t *testing.T) {
	t.Parallel()
	f := newForeign(t, nil)
	bad := filepath.Join(t.TempDir(), "bad.creds")
	if err := os.WriteFile(bad, []byte("-----BEGIN NATS USER JWT-----\nSUAsecretsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(f.url, "nats://")
	secrets := append(f.keys, "hunter2", "SUAsecret")
	for _, tt := range []struct {
		name string
		r    Remote
		want string
	}{
		{"nobody listens", Remote{URLs: []string{"nats://me:hunter2@127.0.0.1:9", "nats://127.0.0.1:10"}}, "connect to the cluster at 127.0.0.1:9, 127.0.0.1:10: "},
		{"wrong password", Remote{URLs: []string{"nats://me:hunter2@" + host}}, "at " + host + ": "},
		{"no URL", Remote{}, "no URL"},
		{"not a URL", Remote{URLs: []string{f.url, "nats://me:hunter2@ho st:x"}}, "URL 2 of 2 is not nats://host:port or tls://host:port"},
		{"another scheme", Remote{URLs: []string{"http://me:hunter2@host"}}, "URL 1 of 1 is not"},
		{"no credentials file", Remote{URLs: []string{f.url}, Credentials: "/none/x.creds"}, "/none/x.creds: no such file"},
		{"bad credentials", Remote{URLs: []string{f.url}, Credentials: bad}, "at " + host + ": "},
	} {
		c, err := Connect(soon(t), &tt.r)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", tt.name)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		for _, s := range secrets {
			if strings.Contains(err.Error(), s) {
				t.Errorf("%s: the error has a secret: %v", tt.name, err)
			}
		}
	}
}

func TestLoadTLS(t *testing.T) {
	ca, dir := newAuthority(t)
	n := filepath.Join(dir, "n")
	if _, err := ca.Issue("agent", "node-1", n); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(n, name) }
	c, err := LoadTLS(file("ca.pem"), file("node.pem"), file("node.key"))
	if err != nil || c.RootCAs == nil || len(c.Certificates) != 1 {
		t.Fatalf("got %v, %v", c, err)
	}
	for _, tt := range [][3]string{{file("node.key"), "", ""}, {"", file("node.pem"), ""}, {file("none"), "", ""}, {"", file("ca.pem"), file("node.key")}} {
		if _, err := LoadTLS(tt[0], tt[1], tt[2]); err == nil {
			t.Errorf("LoadTLS%q succeeded", tt)
		}
	}
}
