package identity

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func authority(t testing.TB) *Authority {
	t.Helper()
	a, err := Create(filepath.Join(t.TempDir(), "ca"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *Authority, role Role, name string) *Node {
	t.Helper()
	n, err := a.Issue(role, name, filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shake has two ends greet each other, and returns what each says of the other.
func shake(t testing.TB, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, c := range []net.Conn{a, b} {
		c.SetDeadline(time.Now().Add(time.Minute))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		s := tls.Server(a, server)
		if serverErr = s.Handshake(); serverErr == nil {
			_, serverErr = s.Write([]byte("x"))
		}
		a.Close()
	})
	c := tls.Client(b, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1)) // a server refuses after the client is content
	}
	b.Close()
	wg.Wait()
	return serverErr, clientErr
}

func TestHandshakes(t *testing.T) {
	a := authority(t)
	coordinator, agent, other := issue(t, a, Coordinator, "c-1"), issue(t, a, Agent, "node-1"), issue(t, a, Agent, "node-2")
	foreign := issue(t, authority(t), Agent, "node-1")
	old, err := load(filepath.Join(t.TempDir(), "none"), time.Now)
	if old != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a node that is not there: %v, %v", old, err)
	}
	for _, tt := range []struct {
		name           string
		server, client *tls.Config
		serverSays     string
		clientSays     string // "" with a serverSays means that any error will do
	}{
		{"agent to coordinator", coordinator.TLS(Agent), agent.TLS(Coordinator), "", ""},
		{"agent to agent by name", agent.TLS(Agent), other.TLSTo(Agent, "node-1"), "", ""},
		{"agent where only coordinators may", coordinator.TLS(Coordinator), agent.TLS(Coordinator), "agent node-1 is none of [coordinator]", ""},
		{"agent takes an agent for a coordinator", other.TLS(Agent), agent.TLS(Coordinator), "", "agent node-2 is none of [coordinator]"},
		{"another node than the wanted", other.TLS(Agent), agent.TLSTo(Agent, "node-3"), "", "it is agent node-2, wanted is agent node-3"},
		{"node of another authority", coordinator.TLS(Agent), foreign.TLS(Coordinator), "unknown authority", "unknown authority"},
		{"no certificate", coordinator.TLS(Agent), &tls.Config{InsecureSkipVerify: true}, "didn't provide a certificate", ""},
		{"TLS 1.2", coordinator.TLS(Agent), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "unsupported versions", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serverErr, clientErr := shake(t, tt.server, tt.client)
			if tt.serverSays == "" && tt.clientSays == "" {
				if serverErr != nil || clientErr != nil {
					t.Fatalf("server says %v, client %v", serverErr, clientErr)
				}
				return
			}
			if !says(serverErr, tt.serverSays) && !says(clientErr, tt.clientSays) || clientErr == nil {
				t.Errorf("server says %v, client %v; want %q or %q", serverErr, clientErr, tt.serverSays, tt.clientSays)
			}
		})
	}
}

func says(err error, text string) bool {
	return err != nil && text != "" && strings.Contains(err.Error(), text)
}

func TestExpired(t *testing.T) {
	a := authority(t)
	dir := filepath.Join(t.TempDir(), "n")
	n, err := a.Issue(Agent, "node-1", dir)
	if err != nil {
		t.Fatal(err)
	}
	late := func() time.Time { return n.Expires.Add(time.Second) }
	if _, err := load(dir, late); !errors.Is(err, ErrStranger) || !says(err, "the certificate of agent node-1 expired at ") {
		t.Errorf("load after the end: %v", err)
	}
	c := issue(t, a, Coordinator, "c-1")
	c.now = late
	if s, _ := shake(t, c.TLS(Agent), n.TLS(Coordinator)); s == nil {
		t.Error("a coordinator talks to an expired node")
	}
	behind := func() time.Time { return time.Now().Add(-time.Hour) } // a clock that is an hour off
	if _, err := load(dir, behind); err != nil {
		t.Errorf("load an hour before: %v", err)
	}
}

func TestFilesAreTheOwners(t *testing.T) {
	a := authority(t)
	dir := filepath.Join(t.TempDir(), "n")
	if _, err := a.Issue(Agent, "node-1", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Token(Agent, "node-2", time.Hour); err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, root := range []string{a.dir, dir} {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			info, err := d.Info()
			if err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
			files++
			return nil
		})
	}
	if files != 9 {
		t.Errorf("%d files and directories, want 9", files)
	}
	for _, name := range []string{filepath.Join(dir, "node.key"), filepath.Join(a.dir, "ca.key")} {
		if err := os.Chmod(name, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir); !errors.Is(err, ErrExposed) {
		t.Errorf("a node whose key others may read: %v, want ErrExposed", err)
	}
	if _, err := Open(a.dir); !errors.Is(err, ErrExposed) {
		t.Errorf("an authority whose key others may read: %v, want ErrExposed", err)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	a := authority(t)
	if _, err := Create(a.dir, "test"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second authority in the same place: %v, want ErrExist", err)
	}
	again, err := Open(a.dir)
	if err != nil || again.Fingerprint() != a.Fingerprint() || again.Cluster() != "test" {
		t.Errorf("opened %v, %v: want the same", again, err)
	}
	dir := filepath.Join(t.TempDir(), "n")
	n, err := a.Issue(Agent, "node-1", dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(Agent, "node-2", dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second node in the same place: %v, want ErrExist", err)
	}
	if again, err := Load(dir); err != nil || again.Peer != n.Peer || n.Peer != (Peer{"test", Agent, "node-1"}) {
		t.Errorf("loaded %v, %v: want %v", again, err, n.Peer)
	}
}

func TestNames(t *testing.T) {
	a := authority(t)
	for _, tt := range []struct {
		role Role
		name string
	}{{Agent, ""}, {Agent, "a.b"}, {Agent, "a/b"}, {Agent, ">"}, {Agent, strings.Repeat("x", 64)}, {"root", "x"}, {"", "x"}} {
		if _, err := a.Token(tt.role, tt.name, time.Hour); err == nil {
			t.Errorf("a token for %q %q", tt.role, tt.name)
		}
		if _, err := a.Issue(tt.role, tt.name, filepath.Join(t.TempDir(), "n")); err == nil {
			t.Errorf("a certificate for %q %q", tt.role, tt.name)
		}
	}
	for _, life := range []time.Duration{0, -time.Second, MaxTokenLife + 1} {
		if _, err := a.Token(Agent, "x", life); err == nil {
			t.Errorf("a token for %v", life)
		}
	}
}

// serve has nodes join by a, whose machine is n.
func serve(t testing.TB, a *Authority, n *Node) (address string) {
	t.Helper()
	s := httptest.NewUnstartedServer(a.Handler())
	s.TLS = n.JoinTLS()
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func token(t testing.TB, a *Authority, role Role, name string, life time.Duration) string {
	t.Helper()
	s, err := a.Token(role, name, life)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJoin(t *testing.T) {
	a := authority(t)
	c := issue(t, a, Coordinator, "c-1")
	address := serve(t, a, c)
	tok := token(t, a, Agent, "node-1", time.Hour)
	n, err := Join(t.Context(), address, tok+"\n", filepath.Join(t.TempDir(), "n"))
	if err != nil {
		t.Fatal(err)
	}
	if n.Peer != (Peer{"test", Agent, "node-1"}) || n.Fingerprint() != a.Fingerprint() {
		t.Errorf("joined as %v", n.Peer)
	}
	if s, cl := shake(t, c.TLS(Agent), n.TLS(Coordinator)); s != nil || cl != nil {
		t.Errorf("server says %v, client %v", s, cl)
	}
	dir := filepath.Join(t.TempDir(), "again")
	if _, err := Join(t.Context(), address, tok, dir); !errors.Is(err, ErrToken) || !says(err, address) {
		t.Errorf("a token used twice: %v, want ErrToken and where", err)
	}
	// With another token the same directory goes on.
	if _, err := Join(t.Context(), address, token(t, a, Client, "me", time.Hour), dir); err != nil {
		t.Errorf("a second try: %v", err)
	}
}

func TestJoinRefuses(t *testing.T) {
	a, b := authority(t), authority(t)
	c, agent := issue(t, a, Coordinator, "c-1"), issue(t, a, Agent, "node-9")
	address := serve(t, a, c)
	old := token(t, a, Agent, "node-1", time.Minute)
	foreign := token(t, b, Agent, "node-1", time.Minute)
	fresh := token(t, a, Agent, "node-1", time.Hour)
	a.now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	asked := atomic.Int32{}
	spy := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	spy.TLS = agent.JoinTLS()
	spy.StartTLS()
	defer spy.Close()
	for _, tt := range []struct {
		name, address, token string
		is                   error
	}{
		{"too old", address, old, ErrToken},
		{"of another authority", address, foreign, ErrStranger},
		{"a server that is no coordinator", spy.Listener.Addr().String(), fresh, ErrStranger},
		{"no token", address, "hello", ErrToken},
		{"half a token", address, fresh[:len(fresh)-4], ErrToken},
		{"an altered token", address, fresh[:len(fresh)-8] + "AAAAAAAA", ErrToken},
	} {
		dir := filepath.Join(t.TempDir(), "n")
		_, err := Join(t.Context(), tt.address, tt.token, dir)
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.is)
		}
		if err != nil && len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[len(tt.token)-16:]) {
			t.Errorf("%s: the error has the token: %v", tt.name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "node.pem")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a certificate: %v", tt.name, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("a stranger was told the secret")
	}
}

func TestTokenIsForOne(t *testing.T) {
	a := authority(t)
	_, secret, err := parseToken(token(t, a, Agent, "node-1", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		other, err := Open(a.dir) // another process
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			switch g, err := other.redeem(secret); {
			case err == nil && g.Name == "node-1":
				won.Add(1)
			case !errors.Is(err, ErrToken):
				t.Errorf("redeem: %v, %v", g, err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d used one token", won.Load())
	}
}

func TestOldTokensAreSwept(t *testing.T) {
	a := authority(t)
	token(t, a, Agent, "node-1", time.Minute)
	a.now = func() time.Time { return time.Now().Add(time.Hour) }
	token(t, a, Agent, "node-2", time.Minute)
	if files, err := os.ReadDir(filepath.Join(a.dir, "tokens")); err != nil || len(files) != 1 {
		t.Errorf("%d token files, %v; want the new one", len(files), err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(tokenPrefix + strings.Repeat("A", 66))
	f.Add("millrace-join-")
	f.Fuzz(func(t *testing.T, s string) {
		if _, secret, err := parseToken(s); err == nil && len(secret) != secretSize {
			t.Errorf("a secret of %d bytes", len(secret))
		}
	})
}
