package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options are what a user may say about access to a store beyond its URI. The zero value leaves
// all to the environment (for S3, the standard AWS configuration).
type Options struct {
	NoSignRequest bool   `json:"no_sign_request,omitempty"` // S3: anonymous requests
	RequesterPays bool   `json:"requester_pays,omitempty"`  // S3: this account pays
	Endpoint      string `json:"endpoint,omitempty"`        // S3: overrides AWS_ENDPOINT_URL
	Region        string `json:"region,omitempty"`          // S3: overrides the configured region
	Requests      int    `json:"requests,omitempty"`        // requests in flight for listing; 0 means 16
}

// An Opener opens the bucket that u names and returns u as the driver understands it: a file URI of
// a single file comes back as its directory and a Prefix that is the file's whole name.
type Opener func(ctx context.Context, u URI, opts *Options) (Bucket, URI, error)

// Schemes maps a scheme to the driver that serves it. Commands hold it as a value; there is no registry.
type Schemes map[string]Opener

// Open opens the store that u names, with its driver.
func (s Schemes) Open(ctx context.Context, u URI, opts *Options) (Bucket, URI, error) {
	open, ok := s[u.Scheme]
	if !ok {
		return nil, u, fmt.Errorf("%s: no store is called %q (there are %s)", u, u.Scheme, strings.Join(slices.Sorted(maps.Keys(s)), ", "))
	}
	return open(ctx, u, opts)
}
