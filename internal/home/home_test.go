package home_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/home"
	"github.com/millrace/millrace/internal/identity"
)

// open lets nodes join a new cluster, and returns its home and where they do.
func open(t *testing.T, servers ...string) (h *home.Home, a *identity.Authority, address string) {
	t.Helper()
	h, err := home.Begin(filepath.Join(t.TempDir(), "first"), "mail", "one")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = h.Authority(); err != nil || a == nil {
		t.Fatalf("authority %v, %v", a, err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", h.Identity.JoinTLS())
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: home.Welcome(a, servers), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return h, a, l.Addr().String()
}

func token(t *testing.T, a *identity.Authority, role identity.Role, name string) string {
	t.Helper()
	s, err := a.Token(role, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJoin(t *testing.T) {
	t.Parallel()
	first, a, address := open(t, ":7741", "10.0.0.2:7741")
	if !first.Fresh() || first.Identity.Role != identity.Coordinator {
		t.Errorf("fresh %v, role %s", first.Fresh(), first.Identity.Role)
	}
	dir := filepath.Join(t.TempDir(), "second")
	h, err := home.Join(t.Context(), address, token(t, a, identity.Agent, "two"), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := net.SplitHostPort(address)
	if want := []string{host + ":7741", "10.0.0.2:7741"}; !slices.Equal(h.Servers, want) {
		t.Errorf("servers %q, want %q", h.Servers, want)
	}
	if h.Identity.Name != "two" || h.Identity.Role != identity.Agent || h.Identity.Fingerprint() != first.Identity.Fingerprint() || h.Fresh() {
		t.Errorf("joined as %v, fresh %v", h.Identity, h.Fresh())
	}
	if other, err := h.Authority(); other != nil || err != nil {
		t.Errorf("a node that joined has the authority %v, %v", other, err)
	}

	standby, err := home.Join(t.Context(), address, token(t, a, identity.Coordinator, "standby"), filepath.Join(t.TempDir(), "standby"), false)
	if err != nil || !standby.Fresh() {
		t.Errorf("a coordinator that joined: %v, want one that has not found an engine", err)
	}

	if _, err := home.Join(t.Context(), address, token(t, a, identity.Agent, "three"), dir, false); !errors.Is(err, home.ErrTaken) {
		t.Errorf("joined twice: %v, want %v", err, home.ErrTaken)
	}
	h, err = home.Join(t.Context(), address, token(t, a, identity.Agent, "three"), dir, true)
	if err != nil || h.Identity.Name != "three" {
		t.Fatalf("replaced: %v, %v", h, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node.old", "node.pem")); err != nil {
		t.Error(err)
	}
}

func TestJoinOfAnotherCluster(t *testing.T) {
	t.Parallel()
	_, a, address := open(t, ":7741")
	dir := filepath.Join(t.TempDir(), "node")
	if _, err := home.Join(t.Context(), address, token(t, a, identity.Client, "laptop"), dir, false); err != nil {
		t.Fatal(err)
	}
	_, b, other := open(t, ":7741")
	_, err := home.Join(t.Context(), other, token(t, b, identity.Client, "laptop"), dir, true)
	if !errors.Is(err, home.ErrTaken) || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("%v, want %v: another cluster", err, home.ErrTaken)
	}
	if h, err := home.Open(dir); err != nil || h.Identity.Name != "laptop" {
		t.Errorf("afterwards it is %v, %v", h, err)
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "home")
	if _, err := home.Open(dir); !errors.Is(err, home.ErrNone) {
		t.Errorf("opened nothing: %v, want %v", err, home.ErrNone)
	}
	h, err := home.Begin(dir, "mail", "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := home.Begin(dir, "mail", "one"); !errors.Is(err, home.ErrTaken) {
		t.Errorf("begun twice: %v, want %v", err, home.ErrTaken)
	}
	if err := errors.Join(h.Prepared(), h.Prepared()); err != nil || h.Fresh() {
		t.Errorf("prepared: %v, fresh %v", err, h.Fresh())
	}
	// A try that ended before there was a node is gone on with.
	if err := os.RemoveAll(filepath.Join(dir, "node")); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Begin(dir, "post", "one"); !errors.Is(err, home.ErrTaken) {
		t.Errorf("begun as another cluster: %v, want %v", err, home.ErrTaken)
	}
	again, err := home.Begin(dir, "mail", "one")
	if err != nil || again.Identity.Fingerprint() != h.Identity.Fingerprint() || again.Fresh() {
		t.Errorf("begun again: %v, %v", again, err)
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "home")
	if _, err := home.Begin(dir, "mail", "one"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "servers"), []byte("nohost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Open(dir); err == nil || !strings.Contains(err.Error(), `server "nohost": want host:port`) {
		t.Errorf("got %v", err)
	}
}
