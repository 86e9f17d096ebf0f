package home

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/identity"
)

const (
	serversPath = "/v1/servers"
	maxServers  = 64 << 10 // bytes of their list
)

// Welcome returns what lets nodes join by the authority and tells them where the cluster's engine is reached; it is served with JoinTLS of the node.
// A server without a host, as in ":7741", is where whoever asks has found this one.
func Welcome(a *identity.Authority, servers []string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", a.Handler())
	mux.HandleFunc("GET "+serversPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(servers) // who does not hear it asks again
	})
	return mux
}

// Join makes a home in dir, by a token, at the coordinator behind address (host:port). With replace, a home that is there gets another
// identity, of the same cluster; what it had stays in DIR/node.old.
func Join(ctx context.Context, address, token, dir string, replace bool) (*Home, error) {
	old, err := Open(dir)
	switch {
	case err == nil && !replace:
		return nil, fmt.Errorf("%s: %w: %v of %s", dir, ErrTaken, old.Identity, old.Identity.Cluster)
	case err != nil && !replace:
		if err := vacant(dir); err != nil {
			return nil, err
		}
	}
	made := filepath.Join(dir, "node.new")
	if err := os.RemoveAll(made); err != nil { // of an earlier try
		return nil, err
	}
	n, err := identity.Join(ctx, address, token, made)
	if err != nil {
		return nil, err
	}
	servers, err := ask(ctx, address, n)
	if err != nil {
		return nil, fmt.Errorf("ask %s where the cluster is reached: %w", address, err)
	}
	if old != nil && old.Identity.Fingerprint() != n.Fingerprint() {
		return nil, fmt.Errorf("%s: %w: %s, and the token is of another cluster", dir, ErrTaken, old.Identity.Cluster)
	}
	if err := writeServers(dir, servers); err != nil {
		return nil, err
	}
	if old == nil && n.Role == identity.Coordinator {
		if err := os.WriteFile(fresh(dir), nil, 0o600); err != nil {
			return nil, err
		}
	}
	if err := swap(dir, made); err != nil {
		return nil, err
	}
	return Open(dir)
}

// swap makes a new identity that of the home.
func swap(dir, made string) error {
	past := filepath.Join(dir, "node.old")
	if _, err := os.Lstat(nodeDir(dir)); err == nil {
		if err := errors.Join(os.RemoveAll(past), os.Rename(nodeDir(dir), past)); err != nil {
			return err
		}
	}
	return os.Rename(made, nodeDir(dir))
}

// ask returns where the cluster's engine is reached.
func ask(ctx context.Context, address string, n *identity.Node) ([]string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: n.TLS(identity.Coordinator)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+serversPath, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var servers []string
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxServers)).Decode(&servers); err != nil {
		return nil, fmt.Errorf("an answer that is none: %w", err)
	}
	for i, s := range servers {
		if rest, bare := strings.CutPrefix(s, ":"); bare {
			servers[i] = net.JoinHostPort(host, rest)
		}
		if err := checkServer(servers[i]); err != nil {
			return nil, err
		}
	}
	return servers, nil
}

func checkServer(s string) error {
	if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
		return fmt.Errorf("server %q: want host:port", s)
	}
	return nil
}

func readServers(dir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "servers"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	servers := slices.DeleteFunc(strings.Split(string(b), "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
	for _, s := range servers {
		if err := checkServer(s); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "servers"), err)
		}
	}
	return servers, nil
}

// SetServers says where the cluster's engine is reached.
func (h *Home) SetServers(servers []string) error {
	if err := writeServers(h.Dir, servers); err != nil {
		return err
	}
	h.Servers = servers
	return nil
}

func writeServers(dir string, servers []string) error {
	name := filepath.Join(dir, "servers")
	if err := os.WriteFile(name+".new", []byte(strings.Join(servers, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
