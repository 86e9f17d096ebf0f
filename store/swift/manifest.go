package swift

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/millrace/millrace/store"
)

// firstGroup is the number of the first manifest that stands for a thousand segments of an object.
const firstGroup = 1_000_001

// maxManifest bounds a manifest that is read: ten times as many segments as Swift usually takes.
const maxManifest = 32 << 20

// dir is the directory of a pending object in the container of segments.
func dir(token string) string { return "millrace/" + token + "/" }

func segmentKey(token string, number int) store.Key {
	return store.Key(fmt.Sprintf("%s%06d", dir(token), number))
}

// segments is the container of segments.
func (b *Bucket) segments() string { return b.name + "_segments" }

// checkToken refuses what no writer of this package made.
func checkToken(id string) error {
	if len(id) != len(rand.Text()) || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return fmt.Errorf("pending object %.40q: not a handle of this store", id)
	}
	return nil
}

// A segment is one of those that a manifest names, as a manifest that is sent has it.
type segment struct {
	Path string `json:"path"` // /CONTAINER/KEY
	ETag string `json:"etag"`
	Size int64  `json:"size_bytes"`
}

// named returns parts as segments of token's directory.
func (b *Bucket) named(token string, parts []store.Part) []segment {
	segs := make([]segment, len(parts))
	for i, p := range parts {
		segs[i] = segment{Path: "/" + b.segments() + "/" + string(segmentKey(token, p.Number)), ETag: p.ETag, Size: p.Size}
	}
	return segs
}

// putManifest makes a static large object of segments, which the store checks, and returns the headers of its answer.
func (b *Bucket) putManifest(ctx context.Context, container string, key store.Key, segs []segment, contentType, token string) (http.Header, error) {
	body, err := json.Marshal(segs)
	if err != nil {
		return nil, err
	}
	r := &request{method: http.MethodPut, container: container, key: key, body: body, query: url.Values{"multipart-manifest": {"put"}}}
	r.set("Content-Type", contentType)
	r.set(tokenHeader, token)
	h, err := b.head(ctx, r)
	if has(err, http.StatusBadRequest) && strings.Contains(err.Error(), "404 Not Found") {
		err = fmt.Errorf("%w: a segment is gone", store.ErrNotExist)
	}
	if etag := unquote(h.Get("Etag")); err == nil && etag != largeETag(segs) {
		err = fmt.Errorf("store made a large object of ETag %.40q, want %s", etag, largeETag(segs))
	}
	return h, err
}

// largeETag returns the ETag of a static large object of whole segments.
func largeETag(segs []segment) string {
	var etags strings.Builder
	for _, s := range segs {
		etags.WriteString(s.ETag)
	}
	sum := md5.Sum([]byte(etags.String()))
	return hex.EncodeToString(sum[:])
}

// group makes manifests of the segments of an object that has more than one manifest can name, and returns what is to be named instead.
func (b *Bucket) group(ctx context.Context, token string, parts []store.Part, contentType string) ([]store.Part, error) {
	most := b.limits.Segments
	if len(parts) <= most {
		return parts, nil
	}
	var groups []store.Part
	for len(parts) > 0 {
		some := parts[:min(most, len(parts))]
		parts = parts[len(some):]
		g := store.Part{Number: firstGroup + len(groups)}
		for _, p := range some {
			g.Size += p.Size
		}
		h, err := b.putManifest(ctx, b.segments(), segmentKey(token, g.Number), b.named(token, some), contentType, "")
		if err != nil {
			return nil, err
		}
		g.ETag = unquote(h.Get("Etag"))
		groups = append(groups, g)
	}
	return groups, nil
}

// manifest reads the segments of the static large object under key. It returns false if they are not all whole segments in token's
// directory of this bucket.
func (b *Bucket) manifest(ctx context.Context, key store.Key, token string) (segs []segment, ours bool, err error) {
	r := &request{method: http.MethodGet, container: b.name, key: key, query: url.Values{"multipart-manifest": {"get"}}}
	r.set(newest, "true")
	resp, err := b.do(ctx, r)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return nil, false, err
	}
	var items []struct {
		Name  string  `json:"name"`
		Hash  string  `json:"hash"`
		Bytes int64   `json:"bytes"`
		Range *string `json:"range"`
		Data  *string `json:"data"`
	}
	if len(body) > maxManifest || json.Unmarshal(body, &items) != nil {
		return nil, false, nil
	}
	for _, it := range items {
		if it.Range != nil || it.Data != nil || it.Hash == "" || it.Bytes <= 0 || !strings.HasPrefix(it.Name, "/"+b.segments()+"/"+dir(token)) {
			return nil, false, nil
		}
		segs = append(segs, segment{Path: it.Name, ETag: it.Hash, Size: it.Bytes})
	}
	return segs, len(segs) > 0, nil
}
