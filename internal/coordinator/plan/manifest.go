package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// maxManifest bounds what is read of a manifest: some hundred thousand parts.
const maxManifest = 128 << 20

// readManifest returns the manifest of ours that lies at the input's prefix, and the prefix of its parts; nil if there
// is none. A document of that name that is not ours is none.
func readManifest(ctx context.Context, in Input) (*job.Manifest, store.Key, error) {
	if in.URI.Glob != "" || in.URI.Exact {
		return nil, "", nil
	}
	prefix := in.URI.Prefix
	if prefix != "" && !strings.HasSuffix(string(prefix), "/") {
		prefix += "/"
	}
	r, err := in.Bucket.Open(ctx, prefix+manifestName, "", 0, maxManifest)
	if errors.Is(err, store.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, "", err
	}
	name := store.Name(in.URI.Scheme, in.URI.Bucket, prefix+manifestName)
	var m job.Manifest
	switch err := json.Unmarshal(body, &m); {
	case len(body) == maxManifest:
		return nil, "", fmt.Errorf("%s: larger than %d bytes", name, maxManifest)
	case err != nil || m.Job == "" || m.Version < 1:
		return nil, "", nil
	case m.Version > 1:
		return nil, "", fmt.Errorf("%s: manifest of version %d, known is 1", name, m.Version)
	}
	for _, p := range m.Parts {
		if p.Key == "" || p.ETag == "" || p.Size < 0 {
			return nil, "", fmt.Errorf("%s: part %q without a key, an ETag or a size", name, p.Key)
		}
	}
	return &m, prefix, nil
}

// parts yields what a manifest lists, as a listing would.
func parts(m *job.Manifest, prefix store.Key) iter.Seq2[store.Object, error] {
	sorted := slices.SortedFunc(slices.Values(m.Parts), func(a, b job.Part) int { return strings.Compare(a.Key, b.Key) })
	return func(yield func(store.Object, error) bool) {
		for _, p := range sorted {
			o := store.Object{Key: prefix + store.Key(p.Key), Size: p.Size, ETag: p.ETag, Modified: m.Created}
			if !yield(o, nil) {
				return
			}
		}
	}
}
