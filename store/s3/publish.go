package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/store"
)

// publishTries is how often a completion is asked for whose outcome is not clear. Each is followed by a look at the object, so
// that the SDK itself tries only twice.
const publishTries = 8

// Publish completes the upload, and answers only after it has seen the object. Whatever the completion was answered, the object under
// the key with this upload's token and size means success: an answer may be lost, and a store may
// answer 404 for an upload that it has completed.
func (b *Bucket) Publish(ctx context.Context, p store.Pending) (store.Object, error) {
	token, upload, err := splitID(p.ID)
	if err == nil && len(p.Parts) == 0 {
		err = fmt.Errorf("pending object %.40s has no parts", p.ID)
	}
	if err == nil && p.Key.Check() != nil {
		err = p.Key.Check()
	}
	if err != nil {
		return store.Object{}, b.explain(ctx, p.Key, err)
	}
	parts := make([]types.CompletedPart, len(p.Parts))
	for i, part := range p.Parts {
		parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(part.Number)), ETag: aws.String(`"` + part.ETag + `"`)}
	}
	for try := range publishTries {
		if try > 0 && !sleep(ctx, time.Duration(1<<try)*25*time.Millisecond) {
			break
		}
		_, err = b.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &b.name, Key: aws.String(string(p.Key)), UploadId: &upload, RequestPayer: b.payer,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		}, func(o *s3.Options) { o.RetryMaxAttempts = 2 })
		out, headErr := b.head(ctx, p.Key, "")
		if headErr == nil && out.Metadata[tokenKey] == token {
			if *out.ContentLength != p.Size {
				err := fmt.Errorf("%w: published with %d bytes, sealed with %d", store.ErrShort, *out.ContentLength, p.Size)
				return store.Object{}, b.explain(ctx, p.Key, err)
			}
			return describe(p.Key, out), nil
		}
		code, _, status := dissect(err)
		if status >= 400 && status < 500 && status != http.StatusConflict && status != http.StatusTooManyRequests && code != "NoSuchUpload" {
			break
		}
		if err == nil && try >= publishTries/2 {
			// The store says that it completed the upload, and what lies under the key is not it: it did so earlier, and
			// somebody has replaced the object since.
			err = fmt.Errorf("pending object %.40s: %w under this key any more", p.ID, store.ErrNotExist)
			break
		}
		if code == "NoSuchUpload" && try >= 1 {
			break
		}
	}
	return store.Object{}, b.explain(ctx, p.Key, err)
}

// sleep waits, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Discard aborts the upload. An upload that is unknown, because it was completed or aborted, is no error.
func (b *Bucket) Discard(ctx context.Context, h store.Handle) error {
	_, upload, err := splitID(h.ID)
	if err != nil {
		return b.explain(ctx, h.Key, err)
	}
	_, err = b.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &b.name, Key: aws.String(string(h.Key)), UploadId: &upload, RequestPayer: b.payer,
	})
	if err = b.explain(ctx, h.Key, err); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}
