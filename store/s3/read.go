package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/remote"
	"github.com/millrace/millrace/store"
)

// Stat describes the object under key by a HEAD request.
func (b *Bucket) Stat(ctx context.Context, key store.Key) (store.Object, error) {
	out, err := b.head(ctx, key, "")
	if err != nil {
		return store.Object{}, b.explain(ctx, key, err)
	}
	return describe(key, out), nil
}

func (b *Bucket) head(ctx context.Context, key store.Key, etag string) (*s3.HeadObjectOutput, error) {
	if err := key.Check(); err != nil {
		return nil, store.ErrNotExist
	}
	in := &s3.HeadObjectInput{Bucket: &b.name, Key: aws.String(string(key)), RequestPayer: b.payer}
	in.IfMatch, in.IfUnmodifiedSince = conditions(etag)
	out, err := b.api.HeadObject(ctx, in)
	if err != nil {
		return nil, err
	}
	if out.ContentLength == nil {
		return nil, fmt.Errorf("%w: none at all", store.ErrShort)
	}
	return out, nil
}

func describe(key store.Key, out *s3.HeadObjectOutput) store.Object {
	o := store.Object{Key: key, Size: *out.ContentLength, Modified: aws.ToTime(out.LastModified)}
	o.ETag = etagOf(aws.ToString(out.ETag), o.Modified)
	o.Archived = archived(string(out.StorageClass)) && !strings.Contains(aws.ToString(out.Restore), `ongoing-request="false"`)
	return o
}

func archived(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// etagOf returns an ETag as the rest of the program knows it: without quotes, and for an object without one (some gateways
// have such) made of its time.
func etagOf(header string, modified time.Time) string {
	etag := strings.Trim(strings.TrimPrefix(header, "W/"), `"`)
	if etag == "" {
		etag = modifiedTag + strconv.FormatInt(modified.Unix(), 10)
	}
	return etag
}

const modifiedTag = "modified-"

// conditions returns the headers that ask for the version etag.
func conditions(etag string) (match *string, unmodified *time.Time) {
	if etag == "" {
		return nil, nil
	}
	if sec, ok := strings.CutPrefix(etag, modifiedTag); ok {
		if n, err := strconv.ParseInt(sec, 10, 64); err == nil {
			return nil, aws.Time(time.Unix(n, 0).UTC())
		}
	}
	return aws.String(`"` + etag + `"`), nil
}

// get asks for bytes [off, off+n) of the object, n < 0 meaning to the end. The answer's ContentLength is set, and the answer is
// that of the version etag.
func (b *Bucket) get(ctx context.Context, key store.Key, etag string, off, n int64) (*s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(string(key)), RequestPayer: b.payer}
	in.IfMatch, in.IfUnmodifiedSince = conditions(etag)
	ranged := off > 0 || n >= 0
	if ranged {
		r := "bytes=" + strconv.FormatInt(off, 10) + "-"
		if n >= 0 {
			r += strconv.FormatInt(off+n-1, 10)
		}
		in.Range = &r
	}
	out, err := b.api.GetObject(ctx, in)
	if err != nil {
		return nil, err
	}
	err = checkAnswer(out, etag, off, n, ranged)
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return out, nil
}

func checkAnswer(out *s3.GetObjectOutput, etag string, off, n int64, ranged bool) error {
	switch {
	case out.ContentLength == nil || *out.ContentLength < 0:
		return fmt.Errorf("%w: none at all", store.ErrShort)
	case etag != "" && etagOf(aws.ToString(out.ETag), aws.ToTime(out.LastModified)) != etag:
		return store.ErrChanged
	case ranged && out.ContentRange != nil && !strings.HasPrefix(*out.ContentRange, "bytes "+strconv.FormatInt(off, 10)+"-"),
		ranged && out.ContentRange == nil && off > 0:
		return errors.New("store answered another range than was asked for")
	case n >= 0 && *out.ContentLength > n && out.ContentRange != nil:
		return fmt.Errorf("%w: %d bytes for a range of %d", store.ErrShort, *out.ContentLength, n)
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
	if err := key.Check(); err != nil {
		return nil, store.ErrNotExist
	}
	if n > 1<<62-off {
		n = -1
	}
	var out *s3.GetObjectOutput
	err := error(nil)
	if n != 0 {
		out, err = b.get(ctx, key, etag, off, n)
	}
	var re *awshttp.ResponseError
	if n == 0 || errors.As(err, &re) && re.HTTPStatusCode() == http.StatusRequestedRangeNotSatisfiable {
		// Nothing of it is wanted, or nothing lies there: it must exist all the same, as that version.
		out, err := b.head(ctx, key, etag)
		if err == nil && etag != "" && describe(key, out).ETag != etag {
			err = store.ErrChanged
		}
		if err == nil && n != 0 && off < *out.ContentLength {
			err = store.ErrChanged
		}
		return remote.NewReader(ctx, nil, off, 0, nil, nil), err
	}
	if err != nil {
		return nil, err
	}
	length := *out.ContentLength
	if n >= 0 {
		length = min(length, n)
	}
	etag = etagOf(aws.ToString(out.ETag), aws.ToTime(out.LastModified))
	again := func(off, n int64) (io.ReadCloser, int64, error) {
		out, err := b.get(ctx, key, etag, off, n)
		if err != nil {
			return nil, 0, err
		}
		return out.Body, *out.ContentLength, nil
	}
	return remote.NewReader(ctx, out.Body, off, length, again, func(err error) error { return b.explain(ctx, key, err) }), nil
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
	out, err := b.get(ctx, o.Key, o.ETag, 0, -1)
	if err != nil {
		return false, err
	}
	defer out.Body.Close()
	if *out.ContentLength != o.Size {
		return false, store.ErrChanged
	}
	n, err := io.ReadFull(out.Body, dst)
	if err != nil && len(dst) > 0 {
		return true, fmt.Errorf("%w: %d of %d bytes: %w", store.ErrShort, n, len(dst), err)
	}
	var end [1]byte
	_, _ = out.Body.Read(end[:]) // to its end, so that the connection can be used again
	return false, nil
}
