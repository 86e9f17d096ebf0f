package swift

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/remote"
	"github.com/millrace/millrace/store"
)

const (
	maxPage = 128 << 20 // bytes of one page: ten thousand objects with the longest names, escaped, are below
	looks   = 8         // requests at once about the objects of a page
)

// List keeps several requests in flight.
func (b *Bucket) List(ctx context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		err := remote.List(ctx, b.fetchPage, string(prefix), string(after), b.limits.Page, b.requests, func(o store.Object) bool { return yield(o, nil) })
		if err != nil {
			yield(store.Object{}, b.explain(ctx, prefix, err))
		}
	}
}

// fetchPage asks for the page of objects under prefix that begins after the key after.
func (b *Bucket) fetchPage(ctx context.Context, prefix, after, token string) (remote.Page, error) {
	marker := token
	if marker == "" {
		marker = before(after)
	}
	items, err := b.page(ctx, b.name, prefix, marker)
	if err != nil {
		return remote.Page{}, err
	}
	p := remote.Page{Truncated: len(items) >= b.limits.Page}
	if len(items) > 0 {
		p.Token = items[len(items)-1].Name
	}
	for marker != after && len(items) > 0 && items[0].Name <= after {
		items = items[1:]
	}
	p.Objects = make([]store.Object, len(items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looks)
	for i, it := range items {
		o := &p.Objects[i]
		if *o, err = it.object(); err != nil {
			return remote.Page{}, err
		}
		if it.mayBeManifest() {
			g.Go(func() error { return b.lookAgain(ctx, o) })
		}
	}
	return p, g.Wait()
}

// before returns the greatest name not after key that Swift takes as a marker, or one a little before it: keys are UTF-8, and what
// stands between them need not be.
func before(key string) string {
	if utf8.ValidString(key) {
		return key
	}
	n := 0
	for {
		r, size := utf8.DecodeRuneInString(key[n:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		n += size
	}
	valid, rest := key[:n], key[n:]
	// Runes are ordered as their encodings are: the last one whose encoding is less than the rest.
	i := sort.Search(utf8.MaxRune, func(i int) bool {
		r := rune(i + 1)
		if utf16.IsSurrogate(r) {
			r = 0xd7ff
		}
		return string(r) > rest
	})
	for i > 0 && !utf8.ValidRune(rune(i)) {
		i--
	}
	if i == 0 {
		return valid
	}
	return valid + string(rune(i))
}

// lookAgain describes what is listed as empty and may be the manifest of a dynamic large object.
func (b *Bucket) lookAgain(ctx context.Context, o *store.Object) error {
	h, err := b.head(ctx, &request{container: b.name, key: o.Key})
	if has(err, http.StatusNotFound) || err == nil && h.Get("X-Object-Manifest") == "" {
		return nil
	}
	if err != nil {
		return err
	}
	modified := o.Modified
	*o, err = describe(o.Key, h)
	o.Modified = modified
	return err
}

// An item is one object of a listing.
type item struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	Hash     string `json:"hash"`
	SLO      string `json:"slo_etag"` // what a static large object is known by
	Type     string `json:"content_type"`
	Modified string `json:"last_modified"`
}

var emptySum = md5.Sum(nil)
var emptyHash = hex.EncodeToString(emptySum[:])

// mayBeManifest reports whether the item is listed as empty without being called a directory.
func (it item) mayBeManifest() bool {
	return it.Bytes == 0 && it.SLO == "" && it.Hash == emptyHash && !strings.HasPrefix(it.Type, "application/directory")
}

func (it item) object() (store.Object, error) {
	etag := it.Hash
	if it.SLO != "" {
		etag = it.SLO
	}
	o := store.Object{Key: store.Key(it.Name), Size: it.Bytes, ETag: unquote(etag)}
	var err error
	if o.Modified, err = time.Parse("2006-01-02T15:04:05.999999", it.Modified); err != nil || o.Key == "" || o.Size < 0 || o.ETag == "" {
		return o, fmt.Errorf("%w: an object without name, size, hash or time", store.ErrListing)
	}
	return o, nil
}

// page asks for a page of a container's listing.
func (b *Bucket) page(ctx context.Context, container, prefix, after string) ([]item, error) {
	q := url.Values{"format": {"json"}, "limit": {strconv.Itoa(b.limits.Page)}}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	if after != "" {
		q.Set("marker", after)
	}
	for try := 1; ; try++ {
		resp, err := b.do(ctx, &request{method: http.MethodGet, container: container, query: q})
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
		resp.Body.Close()
		switch {
		case err == nil && len(body) > maxPage:
			return nil, fmt.Errorf("%w: page of more than %d bytes", store.ErrListing, maxPage)
		case err == nil && resp.StatusCode == http.StatusNoContent:
			return nil, nil
		case err == nil:
			return parsePage(body, b.limits.Page)
		case ctx.Err() != nil || try == remote.Resumes:
			return nil, fmt.Errorf("%w: %w", store.ErrShort, err)
		}
	}
}

// parsePage reads the JSON of a page of at most limit items.
func parsePage(body []byte, limit int) ([]item, error) {
	var items []item
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, fmt.Errorf("%w: a page with malformed JSON", store.ErrListing)
	}
	if len(items) > limit {
		return nil, fmt.Errorf("%w: a page of %d objects, asked for were %d", store.ErrListing, len(items), limit)
	}
	return items, nil
}

// unquote returns an ETag as the rest of the program knows it.
func unquote(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }
