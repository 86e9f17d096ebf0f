// Package swift keeps objects in OpenStack Swift.
//
// Access is configured as for other Swift tools, by the environment: OS_AUTH_URL with OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and their
// like (Keystone, version 3 or 2), application credentials, or ST_AUTH, ST_USER and ST_KEY (version 1: tempauth, swauth). OS_STORAGE_URL names
// the account's address, with OS_AUTH_TOKEN for a token that there is already, and with nothing else for containers that everybody may read.
//
// A pending object is a directory of segments, millrace/TOKEN/, in a container beside its own, CONTAINER_segments, which is made if need be. TOKEN is
// random and is the handle's ID. Publishing makes one segment a plain object, by a copy within the store, and several a static large object (SLO),
// whose manifest is written last; both carry the token in their metadata, by which Publish and Discard know what is theirs. In that directory:
//
//	000001 …    the segments, in the order of the object; one may itself be the manifest of what was copied
//	1000001 …   manifests of a thousand segments each, where there are more than a manifest may name
//	copied-T    segments of the pending object T are referred to from here
//	shared      another pending object, named in it, refers to segments here, which outlive their own object
//	published   the object was published: nobody shall do it again
//
// Deleting an object that was written so deletes its segments. Other people's segments are never touched.
package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/remote"
	"github.com/millrace/millrace/store"
)

const (
	attempts        = 8 // of one request that is throttled or fails on the way
	maxBackoff      = 20 * time.Second
	defaultRequests = 16
	loginWait       = time.Minute
)

// A Bucket is one container of one account.
type Bucket struct {
	name      string
	login     *login
	client    *http.Client
	transport *http.Transport
	requests  int // in flight, for listing
	limits    limits

	segmentSize int   // bytes
	leastCopy   int64 // bytes

	mu   sync.Mutex
	made bool // the container of segments is there
}

// limits are what a Swift says of itself.
type limits struct {
	Page     int // objects in a page of a listing
	Segments int // named by a manifest
}

// Open is the store.Opener of the scheme swift.
func Open(ctx context.Context, u store.URI, opts *store.Options) (store.Bucket, store.URI, error) {
	return opener(fromEnvironment)(ctx, u, opts)
}

// Static returns a store.Opener that logs in by version 1, with the given user and key.
func Static(authURL, user, key string) store.Opener {
	return opener(func() (*login, error) { return v1(authURL, user, key), nil })
}

func opener(newLogin func() (*login, error)) store.Opener {
	return func(ctx context.Context, u store.URI, opts *store.Options) (store.Bucket, store.URI, error) {
		l, err := newLogin()
		if err != nil {
			return nil, u, fmt.Errorf("swift://%s: %w", u.Bucket, err)
		}
		b, err := open(ctx, u.Bucket, opts, l)
		if err != nil {
			return nil, u, err
		}
		return b, u, nil
	}
}

func open(ctx context.Context, name string, opts *store.Options, l *login) (*Bucket, error) {
	b := &Bucket{name: name, login: l, requests: defaultRequests, segmentSize: segmentSize, leastCopy: leastCopy, limits: limits{Page: 10_000, Segments: 1000}}
	if opts != nil && opts.Requests > 0 {
		b.requests = opts.Requests
	}
	b.transport = http.DefaultTransport.(*http.Transport).Clone()
	b.transport.TLSClientConfig = l.tls
	remote.Tune(b.transport)
	l.use(b.transport)
	b.client = &http.Client{Transport: b.transport, CheckRedirect: stay}
	err := b.probe(ctx)
	if err == nil {
		err = b.inform(ctx)
	}
	if err != nil {
		b.transport.CloseIdleConnections()
		return nil, b.explain(ctx, "", err)
	}
	return b, nil
}

// stay keeps requests, which carry a token for one host, from following redirects to another.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// probe asks whether the container is there. That it may not be listed is no error here: its objects may be readable.
func (b *Bucket) probe(ctx context.Context) error {
	// Nobody waits long for a store that may not be there at all.
	_, err := b.head(ctx, &request{container: b.name, tries: 3})
	if a, ok := errors.AsType[*answer](err); ok && a.status == http.StatusForbidden {
		return nil
	}
	return err
}

// inform asks the store for its limits. Stores that keep them for themselves have the usual ones.
func (b *Bucket) inform(ctx context.Context) error {
	resp, err := b.do(ctx, &request{method: http.MethodGet, root: "/info", tries: 3})
	if _, ok := errors.AsType[*answer](err); ok {
		return nil
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var info struct {
		Swift struct {
			Page int `json:"container_listing_limit"`
		} `json:"swift"`
		SLO struct {
			Segments int `json:"max_manifest_segments"`
		} `json:"slo"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&info) != nil {
		return nil
	}
	if n := info.Swift.Page; n > 0 {
		b.limits.Page = min(n, b.limits.Page)
	}
	if n := info.SLO.Segments; n > 1 {
		b.limits.Segments = min(n, b.limits.Segments)
	}
	return nil
}

// Close closes the idle connections.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}
