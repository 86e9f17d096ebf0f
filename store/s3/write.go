package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/store"
)

const (
	firstPart = 8 << 20 // bytes of the first parts
	growEvery = 1000    // parts, after which they double
	inFlight  = 2       // parts of one object being uploaded while the next is filled
	maxParts  = 10_000
)

// partSize returns the size of part n, counted from 1. Ten thousand of them hold 8 TiB.
func partSize(n int) int { return firstPart << ((n - 1) / growEvery) }

// tokenKey is the name in an object's metadata of the random token of its upload.
const tokenKey = "millrace-token"

// makeID and splitID make a handle's ID of the token and the store's upload id, and take it apart.
func makeID(token, upload string) string { return token + ":" + upload }

func splitID(id string) (token, upload string, err error) {
	token, upload, ok := strings.Cut(id, ":")
	if !ok || len(token) != len(rand.Text()) || upload == "" {
		return "", "", fmt.Errorf("pending object %.40q: not a handle of this store", id)
	}
	return token, upload, nil
}

// checkKey refuses keys that no answer in XML can hold. What else a store does not take, it says itself.
func checkKey(key store.Key) error {
	if strings.IndexByte(string(key), 0) >= 0 {
		return fmt.Errorf("%w: it holds NUL", store.ErrKey)
	}
	return key.Check()
}

// Create begins a multipart upload.
func (b *Bucket) Create(ctx context.Context, key store.Key, opts *store.CreateOptions) (store.Writer, error) {
	if err := checkKey(key); err != nil {
		return nil, b.explain(ctx, key, err)
	}
	token := rand.Text()
	in := &s3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: aws.String(string(key)), RequestPayer: b.payer,
		Metadata: map[string]string{tokenKey: token},
	}
	if opts != nil && opts.ContentType != "" {
		in.ContentType = &opts.ContentType
	}
	out, err := b.api.CreateMultipartUpload(ctx, in)
	if err != nil {
		return nil, b.explain(ctx, key, err)
	}
	if aws.ToString(out.UploadId) == "" {
		return nil, b.explain(ctx, key, errors.New("store began an upload without an id"))
	}
	w := &writer{b: b, key: key, upload: *out.UploadId, sum: sha256.New(), slots: make(chan struct{}, inFlight)}
	w.h = store.Handle{Key: key, ID: makeID(token, w.upload)}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w, nil
}

// A writer cuts what is written into parts and uploads them while the next one fills.
type writer struct {
	b      *Bucket
	key    store.Key
	upload string
	h      store.Handle
	ctx    context.Context // of the uploads
	cancel context.CancelCauseFunc

	sum   hash.Hash // nil once something was copied
	size  int64
	part  []byte // being filled
	count int    // of parts handed to uploads
	done  bool   // sealed or aborted
	reads bool   // the store does not copy

	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	parts []store.Part // uploaded
	err   error        // the first one
	spare [][]byte     // part buffers that are free
}

var errEnded = errors.New("writer has ended")

func (w *writer) Handle() store.Handle { return w.h }

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, w.b.explain(context.Background(), w.key, errEnded)
	}
	written := 0
	for written < len(p) {
		limit := partSize(w.count + 1)
		if len(w.part) == limit {
			if err := w.send(); err != nil {
				return written, err
			}
			continue
		}
		n := min(limit-len(w.part), len(p)-written)
		w.part = append(w.part, p[written:written+n]...)
		if w.sum != nil {
			w.sum.Write(p[written : written+n])
		}
		w.size += int64(n)
		written += n
	}
	return written, w.failed()
}

// failed returns the first error of an upload.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// send starts the upload of the part being filled, once there is room for it.
func (w *writer) send() error {
	if w.count == maxParts {
		return w.b.explain(w.ctx, w.key, fmt.Errorf("object has more than %d parts", maxParts))
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		if err := w.failed(); err != nil {
			return err
		}
		return w.b.explain(w.ctx, w.key, context.Cause(w.ctx))
	}
	w.count++
	number, body := w.count, w.part
	w.mu.Lock()
	w.part = nil
	if n := len(w.spare); n > 0 {
		w.part, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	w.mu.Unlock()
	w.wg.Go(func() {
		defer func() { <-w.slots }()
		part, err := w.uploadPart(number, body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.spare = append(w.spare, body[:0])
		if err != nil {
			if w.err == nil {
				w.err = err
			}
			w.cancel(err)
			return
		}
		w.parts = append(w.parts, part)
	})
	return nil
}

func (w *writer) uploadPart(number int, body []byte) (store.Part, error) {
	out, err := w.b.api.UploadPart(w.ctx, &s3.UploadPartInput{
		Bucket: &w.b.name, Key: aws.String(string(w.key)), UploadId: &w.upload, RequestPayer: w.b.payer,
		PartNumber: aws.Int32(int32(number)), Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
	})
	if err == nil && aws.ToString(out.ETag) == "" {
		err = errors.New("store took a part without naming it")
	}
	if err != nil {
		return store.Part{}, w.b.explain(w.ctx, w.key, err)
	}
	return store.Part{Number: number, ETag: strings.Trim(*out.ETag, `"`), Size: int64(len(body))}, nil
}

// Seal uploads the last part, which is the only one of a small object and empty for an empty one, and waits for all.
func (w *writer) Seal(ctx context.Context) (store.Pending, error) {
	if w.done {
		return store.Pending{}, w.b.explain(context.Background(), w.key, errEnded)
	}
	if ctx.Err() != nil {
		return store.Pending{}, w.b.explain(ctx, w.key, context.Cause(ctx))
	}
	stop := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	defer stop()
	if len(w.part) > 0 || w.count == 0 {
		if err := w.send(); err != nil {
			return store.Pending{}, err
		}
	}
	w.wg.Wait()
	if err := w.failed(); err != nil {
		return store.Pending{}, err
	}
	w.end()
	slices.SortFunc(w.parts, func(a, b store.Part) int { return a.Number - b.Number })
	p := store.Pending{Handle: w.h, Size: w.size, Parts: w.parts}
	if w.sum != nil {
		p.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	}
	return p, nil
}

// end lets go of what the writer holds.
func (w *writer) end() {
	w.done = true
	w.cancel(errEnded)
	w.wg.Wait()
	w.part, w.spare = nil, nil
}

// Abort stops the uploads and removes what they brought.
func (w *writer) Abort(ctx context.Context) error {
	if w.done {
		return nil
	}
	w.end()
	return w.b.Discard(ctx, w.h)
}

// Put replaces the object by one PUT request.
func (b *Bucket) Put(ctx context.Context, key store.Key, body []byte) (store.Object, error) {
	if err := checkKey(key); err != nil {
		return store.Object{}, b.explain(ctx, key, err)
	}
	_, err := b.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: aws.String(string(key)), RequestPayer: b.payer,
		Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
	})
	if err != nil {
		return store.Object{}, b.explain(ctx, key, err)
	}
	return b.Stat(ctx, key)
}

// Delete removes the object. In a bucket that keeps versions the last one remains, hidden.
func (b *Bucket) Delete(ctx context.Context, key store.Key) error {
	if key.Check() != nil {
		return nil
	}
	_, err := b.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: aws.String(string(key)), RequestPayer: b.payer})
	if code, _, _ := dissect(err); err != nil && code == "NoSuchKey" {
		return nil
	}
	return b.explain(ctx, key, err)
}
