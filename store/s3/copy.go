package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/store"
)

// Sizes of parts that the store copies.
const (
	leastPart = 5 << 20 // bytes of any part but the last one
	mostCopy  = 1 << 30 // bytes copied by one request, which may take up to five times as many
)

// Copy has the store, if it does such, copy what makes parts of their usual size, and reads and uploads the rest: objects that are smaller, and the beginning of one that
// follows them.
func (w *writer) Copy(ctx context.Context, o store.Object) error {
	if w.done {
		return w.b.explain(context.Background(), w.key, errEnded)
	}
	w.sum = nil // nobody sees all bytes
	for off := int64(0); off < o.Size; {
		left := o.Size - off
		n := left
		switch room := int64(partSize(w.count + 1)); {
		case left >= room && len(w.part) == 0 && !w.reads:
			n = min(left, mostCopy)
			err := w.copyPart(ctx, o, off, n)
			if refused(err) {
				w.reads = true
				n = 0
			} else if err != nil {
				return w.b.explain(ctx, o.Key, err)
			}
		case left >= room && len(w.part) >= leastPart && !w.reads:
			if err := w.send(); err != nil {
				return err
			}
			n = 0
		case left >= room+leastPart && !w.reads:
			n = leastPart - int64(len(w.part)) // what is missing of a part
			fallthrough
		default:
			if err := w.pass(ctx, o, off, n); err != nil {
				return err
			}
		}
		off += n
	}
	return w.failed()
}

// pass reads n bytes of o from off on, and writes them.
func (w *writer) pass(ctx context.Context, o store.Object, off, n int64) error {
	r, err := w.b.Open(ctx, o.Key, o.ETag, off, n)
	if err != nil {
		return err
	}
	got, err := io.Copy(w, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if got != n {
		return w.b.explain(ctx, o.Key, store.ErrShort)
	}
	return nil
}

// refused reports whether a store says that it does not copy: then what there is to copy is read and written.
func refused(err error) bool {
	_, _, status := dissect(err)
	return status == http.StatusBadRequest || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

// copyPart has the store make the next part of n bytes of o from off on.
func (w *writer) copyPart(ctx context.Context, o store.Object, off, n int64) error {
	if w.count == maxParts {
		return fmt.Errorf("object has more than %d parts", maxParts)
	}
	in := &s3.UploadPartCopyInput{
		Bucket: &w.b.name, Key: aws.String(string(w.key)), UploadId: &w.upload, RequestPayer: w.b.payer, PartNumber: aws.Int32(int32(w.count + 1)),
		CopySource: aws.String(copySource(w.b.name, o.Key)), CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	}
	in.CopySourceIfMatch, in.CopySourceIfUnmodifiedSince = conditions(o.ETag)
	out, err := w.b.api.UploadPartCopy(ctx, in)
	if err == nil && (out.CopyPartResult == nil || aws.ToString(out.CopyPartResult.ETag) == "") {
		err = errors.New("store copied a part without naming it")
	}
	if err != nil {
		return err
	}
	w.count++
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = append(w.parts, store.Part{Number: w.count, ETag: strings.Trim(*out.CopyPartResult.ETag, `"`), Size: n})
	w.size += n
	return nil
}

// copySource writes the name of an object as a header does. A plus sign would be a space.
func copySource(bucket string, key store.Key) string {
	parts := strings.Split(bucket+"/"+string(key), "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	return strings.Join(parts, "/")
}
