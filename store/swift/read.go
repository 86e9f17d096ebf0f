package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/remote"
	"github.com/millrace/millrace/store"
)

// searches is how often a pinned object that seems to be gone is looked for: it may be on its way to the nodes that were asked.
const searches = 3

// Stat describes the object under key, as the newest of its replicas has it.
func (b *Bucket) Stat(ctx context.Context, key store.Key) (store.Object, error) {
	h, err := b.look(ctx, b.name, key)
	if err == nil {
		var o store.Object
		if o, err = describe(key, h); err == nil {
			return o, nil
		}
	}
	return store.Object{}, b.explain(ctx, key, err)
}

// look returns the headers of the newest replica of an object.
func (b *Bucket) look(ctx context.Context, container string, key store.Key) (http.Header, error) {
	if checkKey(key) != nil {
		return nil, store.ErrNotExist
	}
	return b.head(ctx, &request{container: container, key: key, header: map[string]string{newest: "true"}})
}

// newest asks a proxy for all replicas, and for the newest of them.
const newest = "X-Newest"

func describe(key store.Key, h http.Header) (store.Object, error) {
	size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return store.Object{}, fmt.Errorf("%w: none at all", store.ErrShort)
	}
	o := store.Object{Key: key, Size: size, ETag: unquote(h.Get("Etag")), Modified: modified(h)}
	if o.ETag == "" {
		return o, errors.New("object without an ETag: its parts are too many for the store")
	}
	return o, nil
}

// modified returns the time of an object, to the microsecond where the answer has that and to the next full second elsewhere.
func modified(h http.Header) time.Time {
	if sec, err := strconv.ParseFloat(h.Get("X-Timestamp"), 64); err == nil && sec > 0 && sec < 1<<40 {
		return time.UnixMicro(int64(math.Round(sec * 1e6))).UTC()
	}
	t, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// get asks for bytes [off, off+n) of the object, n < 0 meaning to the end. The answer is that of the version etag; without one it is the
// newest. A version that seems to be gone or replaced is asked for again from all replicas.
func (b *Bucket) get(ctx context.Context, key store.Key, etag string, off, n int64) (*http.Response, error) {
	r := &request{method: http.MethodGet, container: b.name, key: key}
	ranged := off > 0 || n >= 0
	if ranged {
		bytes := "bytes=" + strconv.FormatInt(off, 10) + "-"
		if n >= 0 {
			bytes += strconv.FormatInt(off+n-1, 10)
		}
		r.set("Range", bytes)
	}
	pin(r, etag)
	resp, err := b.pinned(ctx, r, etag)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(resp, etag, off, n, ranged); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// pin asks for the version etag, or for the newest if that is "".
func pin(r *request, etag string) {
	if etag == "" {
		r.set(newest, "true")
	} else {
		r.set("If-Match", `"`+etag+`"`)
	}
}

// pinned makes a request for the version etag.
func (b *Bucket) pinned(ctx context.Context, r *request, etag string) (*http.Response, error) {
	for search := 1; ; search++ {
		resp, err := b.do(ctx, r)
		gone, replaced := has(err, http.StatusNotFound), has(err, http.StatusPreconditionFailed)
		if etag == "" || !gone && !replaced || search == searches || replaced && search > 1 {
			return resp, err
		}
		r.set(newest, "true")
		if search > 1 && !sleep(ctx, backoff(search, nil)) {
			return nil, err
		}
	}
}

func checkAnswer(resp *http.Response, etag string, off, n int64, ranged bool) error {
	is := resp.Header.Get("Content-Range")
	switch {
	case resp.ContentLength < 0:
		return fmt.Errorf("%w: none at all", store.ErrShort)
	case etag != "" && unquote(resp.Header.Get("Etag")) != etag:
		return store.ErrChanged
	case ranged && is != "" && !strings.HasPrefix(is, "bytes "+strconv.FormatInt(off, 10)+"-"), ranged && is == "" && off > 0:
		return errors.New("store answered another range than was asked for")
	case n >= 0 && resp.ContentLength > n && is != "":
		return fmt.Errorf("%w: %d bytes for a range of %d", store.ErrShort, resp.ContentLength, n)
	}
	return nil
}

// Open asks for the object at once; its body is fetched as it is read.
func (b *Bucket) Open(ctx context.Context, key store.Key, etag string, off, n int64) (io.ReadCloser, error) {
	r, err := b.open(ctx, key, etag, off, n)
	if err != nil {
		return nil, b.explain(ctx, key, err)
	}
	return r, nil
}

func (b *Bucket) open(ctx context.Context, key store.Key, etag string, off, n int64) (*remote.Reader, error) {
	if off < 0 {
		return nil, fmt.Errorf("negative offset %d", off)
	}
	if checkKey(key) != nil {
		return nil, store.ErrNotExist
	}
	if n > 1<<62-off {
		n = -1
	}
	var resp *http.Response
	var err error
	if n != 0 {
		resp, err = b.get(ctx, key, etag, off, n) //nolint:bodyclose // the Reader closes it
	}
	if n == 0 || has(err, http.StatusRequestedRangeNotSatisfiable) {
		// Nothing of it is wanted, or nothing lies there: it must exist all the same, as that version.
		return remote.NewReader(ctx, nil, off, 0, nil, nil), b.beyond(ctx, key, etag, off, n)
	}
	if err != nil {
		return nil, err
	}
	length := resp.ContentLength
	if n >= 0 {
		length = min(length, n)
	}
	etag = unquote(resp.Header.Get("Etag"))
	rest := func(off, n int64) (io.ReadCloser, int64, error) {
		resp, err := b.get(ctx, key, etag, off, n)
		if err != nil {
			return nil, 0, err
		}
		return resp.Body, resp.ContentLength, nil
	}
	return remote.NewReader(ctx, resp.Body, off, length, rest, func(err error) error { return b.explain(ctx, key, err) }), nil
}

// beyond checks that the object exists as that version and, if n is not 0, ends before off.
func (b *Bucket) beyond(ctx context.Context, key store.Key, etag string, off, n int64) error {
	r := &request{method: http.MethodHead, container: b.name, key: key}
	pin(r, etag)
	resp, err := b.pinned(ctx, r, etag)
	if err != nil {
		return err
	}
	resp.Body.Close()
	o, err := describe(key, resp.Header)
	if err == nil && (etag != "" && o.ETag != etag || n != 0 && off < o.Size) {
		err = store.ErrChanged
	}
	return err
}

// ReadWhole implements store.Whole by one GET into dst.
func (b *Bucket) ReadWhole(ctx context.Context, o store.Object, dst []byte) error {
	if int64(len(dst)) != o.Size {
		return b.explain(ctx, o.Key, store.ErrChanged)
	}
	var err error
	for range remote.Resumes {
		var again bool
		if again, err = b.readWhole(ctx, o, dst); err == nil {
			return nil
		}
		if !again || ctx.Err() != nil {
			break
		}
	}
	return b.explain(ctx, o.Key, err)
}

// readWhole reports beside its error whether another try may do better: where a body broke off.
func (b *Bucket) readWhole(ctx context.Context, o store.Object, dst []byte) (again bool, err error) {
	resp, err := b.get(ctx, o.Key, o.ETag, 0, -1)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.ContentLength != o.Size {
		return false, store.ErrChanged
	}
	n, err := io.ReadFull(resp.Body, dst)
	if err != nil && len(dst) > 0 {
		return true, fmt.Errorf("%w: %d of %d bytes: %w", store.ErrShort, n, len(dst), err)
	}
	var end [1]byte
	_, _ = resp.Body.Read(end[:]) // to its end, so that the connection can be used again
	return false, nil
}
