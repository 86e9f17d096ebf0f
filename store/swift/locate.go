package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/swift/ring"
)

// mostEndpoints is how many objects of a Locator are asked for one by one.
const mostEndpoints = 5000

// A Locator says on which nodes the objects of a container lie, by a ring or by asking the proxy. It may be used concurrently.
type Locator struct {
	b    *Bucket
	ring *rings // nil: the proxy is asked

	mu      sync.Mutex
	asked   int
	account string
}

// Locator returns the locator of the bucket's objects. dir is a directory with swift.conf and the rings of objects, as every node has in
// /etc/swift, or "endpoints", which asks the proxy for one object after the other and is for small jobs.
func (b *Bucket) Locator(ctx context.Context, dir string) (*Locator, error) {
	if dir != "endpoints" {
		r, err := b.rings(ctx, dir)
		if err != nil {
			return nil, err
		}
		return &Locator{b: b, ring: r}, nil
	}
	account, err := b.account(ctx)
	if err != nil {
		return nil, err
	}
	return &Locator{b: b, account: account}, nil
}

// rings are what says where the objects of a container lie.
type rings struct {
	account, container string
	conf               *ring.Conf
	policy             ring.Policy
	ring               *ring.Ring
}

// account returns the name of the account that the bucket is in.
func (b *Bucket) account(ctx context.Context) (string, error) {
	t, err := b.login.ticket(ctx, nil)
	if err != nil {
		return "", b.explain(ctx, "", err)
	}
	_, account, _ := strings.Cut(t.url, "/v1/")
	if account, err = url.PathUnescape(account); err != nil || account == "" || strings.Contains(account, "/") {
		return "", fmt.Errorf("swift://%s: the account's address has no account in it", b.name)
	}
	return account, nil
}

// rings reads swift.conf in a directory, and there the ring of the policy that the container has.
func (b *Bucket) rings(ctx context.Context, dir string) (*rings, error) {
	account, err := b.account(ctx)
	if err != nil {
		return nil, err
	}
	r := &rings{account: account, container: b.name}
	if r.conf, err = ring.OpenConf(dir); err != nil {
		return nil, err
	}
	h, err := b.head(ctx, &request{container: b.name})
	if err != nil {
		return nil, b.explain(ctx, "", err)
	}
	var ok bool
	if r.policy, ok = r.conf.Policy(h.Get("X-Storage-Policy")); !ok {
		return nil, fmt.Errorf("swift://%s: policy %.60q is not in %s", b.name, h.Get("X-Storage-Policy"), filepath.Join(dir, "swift.conf"))
	}
	if r.policy.Type != "replication" {
		r.ring = &ring.Ring{} // no node holds a whole object
		return r, nil
	}
	r.ring, err = ring.Open(filepath.Join(dir, r.policy.File()))
	return r, err
}

// Locate sets nodes[i] to the addresses of the nodes that hold the object under keys[i], in the order of its replicas; to nil if nobody
// knows. A large object lies where its segments are, which is not looked at.
func (l *Locator) Locate(ctx context.Context, keys []store.Key, nodes [][]string) error {
	if l.ring == nil {
		return l.endpoints(ctx, keys, nodes)
	}
	var devices []*ring.Device
	r := l.ring
	for i, key := range keys {
		devices = r.ring.Replicas(devices[:0], r.ring.Partition(r.conf.Hash(r.account, r.container, string(key))))
		nodes[i] = make([]string, 0, len(devices))
		for _, d := range devices {
			nodes[i] = add(nodes[i], d.IP)
		}
	}
	return nil
}

// add appends a node, once.
func add(nodes []string, node string) []string {
	for _, n := range nodes {
		if n == node {
			return nodes
		}
	}
	return append(nodes, node)
}

// endpoints asks the proxy, for as many objects as is sensible.
func (l *Locator) endpoints(ctx context.Context, keys []store.Key, nodes [][]string) error {
	l.mu.Lock()
	n := min(len(keys), mostEndpoints-l.asked)
	l.asked += n
	l.mu.Unlock()
	clear(nodes)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(l.b.requests)
	for i, key := range keys[:n] {
		g.Go(func() (err error) {
			nodes[i], err = l.endpoint(ctx, key)
			return err
		})
	}
	return g.Wait()
}

func (l *Locator) endpoint(ctx context.Context, key store.Key) ([]string, error) {
	path := "/endpoints/v2/" + escape(l.account+"/"+l.b.name+"/"+string(key))
	resp, err := l.b.do(ctx, &request{method: http.MethodGet, root: path})
	if err != nil {
		return nil, l.b.explain(ctx, key, err)
	}
	defer resp.Body.Close()
	var answer struct {
		Endpoints []string `json:"endpoints"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, l.b.explain(ctx, key, errors.New("the store's answer to /endpoints is malformed"))
	}
	var nodes []string
	for _, e := range answer.Endpoints {
		if u, err := url.Parse(e); err == nil && u.Hostname() != "" {
			nodes = add(nodes, u.Hostname())
		}
	}
	return nodes, nil
}
