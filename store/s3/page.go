package s3

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/millrace/millrace/internal/remote"
	"github.com/millrace/millrace/store"
)

const (
	pageKeys = 1000
	maxPage  = 16 << 20 // bytes of one page: a thousand objects with the longest keys, escaped, are below
)

// List keeps several requests in flight.
func (b *Bucket) List(ctx context.Context, prefix, after store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		err := remote.List(ctx, b.fetchPage, string(prefix), string(after), pageKeys, b.requests, func(o store.Object) bool { return yield(o, nil) })
		if err != nil {
			yield(store.Object{}, b.explain(ctx, prefix, err))
		}
	}
}

// fetchPage asks for the page of objects under prefix that begins after the key after, or at token if that is not empty.
func (b *Bucket) fetchPage(ctx context.Context, prefix, after, token string) (remote.Page, error) {
	in := &s3.ListObjectsV2Input{
		Bucket: &b.name, Prefix: &prefix, MaxKeys: aws.Int32(pageKeys),
		EncodingType: types.EncodingTypeUrl, RequestPayer: b.payer,
	}
	switch {
	case token != "":
		in.ContinuationToken = &token
	case after != "":
		in.StartAfter = &after
	}
	if b.aws {
		in.OptionalObjectAttributes = []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}
	}
	var body []byte
	_, err := b.api.ListObjectsV2(ctx, in, s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return takeBody(stack, &body)
	}))
	if err != nil {
		return remote.Page{}, err
	}
	return parsePage(body)
}

// takeBody reads the body of a good answer into dst, in place of the SDK, whose decoder takes several times as long as the rest of
// listing. Errors are left to the SDK.
func takeBody(stack *middleware.Stack, dst *[]byte) error {
	const sdk = "OperationDeserializer"
	inner, ok := stack.Deserialize.Get(sdk)
	if !ok {
		return fmt.Errorf("the SDK has no step %s", sdk)
	}
	_, err := stack.Deserialize.Swap(sdk, middleware.DeserializeMiddlewareFunc(sdk, func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		return inner.HandleDeserialize(ctx, in, middleware.DeserializeHandlerFunc(func(
			ctx context.Context, in middleware.DeserializeInput,
		) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			resp, ok := out.RawResponse.(*smithyhttp.Response)
			if err != nil || !ok || resp.StatusCode/100 != 2 {
				return out, meta, err
			}
			*dst, err = readBody(resp)
			resp.Body.Close()
			resp.Body = io.NopCloser(bytes.NewReader(nil))
			return out, meta, err
		}))
	}))
	return err
}

func readBody(resp *smithyhttp.Response) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, min(max(resp.ContentLength, 0), maxPage)+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, maxPage+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", store.ErrShort, err)
	case n > maxPage:
		return nil, fmt.Errorf("%w: page of more than %d bytes", store.ErrListing, maxPage)
	}
	return buf.Bytes(), nil
}

// parsePage reads the XML of a page. It knows the elements that it needs and steps over all others; it takes no document type, so that
// there are no entities but the five of XML and numbers.
func parsePage(body []byte) (remote.Page, error) {
	x := scanner{rest: string(body)}
	if name, _ := x.start(); name != "ListBucketResult" {
		return remote.Page{}, fmt.Errorf("%w: a page without a ListBucketResult", store.ErrListing)
	}
	var p remote.Page
	p.Objects = make([]store.Object, 0, min(pageKeys, strings.Count(x.rest, "<Contents>")))
	encoded := false
	for {
		name, empty := x.start()
		switch {
		case x.bad:
			return remote.Page{}, fmt.Errorf("%w: a page with malformed XML", store.ErrListing)
		case name == "/ListBucketResult":
			return p, decode(p.Objects, encoded)
		case empty:
		case name == "Contents":
			if len(p.Objects) == 10*pageKeys {
				return remote.Page{}, fmt.Errorf("%w: a page of more than %d objects", store.ErrListing, len(p.Objects))
			}
			o, err := x.object()
			if err != nil {
				return remote.Page{}, err
			}
			p.Objects = append(p.Objects, o)
		case name == "IsTruncated":
			p.Truncated = x.text(name) == "true"
		case name == "NextContinuationToken":
			p.Token = x.text(name)
		case name == "EncodingType":
			encoded = x.text(name) == "url"
		default:
			x.skip(name)
		}
	}
}

// decode undoes the URL encoding of keys.
func decode(objects []store.Object, encoded bool) error {
	if !encoded {
		return nil
	}
	for i := range objects {
		o := &objects[i]
		if strings.IndexByte(string(o.Key), '%') < 0 && strings.IndexByte(string(o.Key), '+') < 0 {
			continue
		}
		key, err := url.QueryUnescape(string(o.Key))
		if err != nil {
			return fmt.Errorf("%w: key %.100q is not URL-encoded", store.ErrListing, o.Key)
		}
		o.Key = store.Key(key)
	}
	return nil
}

// A scanner steps through an XML document of elements and text. Once bad, it stays so.
type scanner struct {
	rest string
	bad  bool
}

// start moves behind the next tag and returns its name, with a slash before it if it ends an element, and whether it is an empty
// element.
func (x *scanner) start() (name string, empty bool) {
	for {
		i := strings.IndexByte(x.rest, '<')
		if i < 0 || x.bad {
			x.bad = true
			return "", false
		}
		x.rest = x.rest[i+1:]
		j := strings.IndexByte(x.rest, '>')
		if j < 0 {
			x.bad = true
			return "", false
		}
		tag := x.rest[:j]
		x.rest = x.rest[j+1:]
		switch {
		case tag == "" || tag[0] == '!':
			x.bad = true
			return "", false
		case tag[0] == '?':
			continue
		}
		tag, empty = strings.CutSuffix(tag, "/")
		name, _, _ = strings.Cut(tag, " ")
		return name, empty
	}
}

// text returns the text up to the end of the element name, and moves behind it.
func (x *scanner) text(name string) string {
	text, rest, ok := strings.Cut(x.rest, "<")
	if !ok || !strings.HasPrefix(rest, "/") || !strings.HasPrefix(rest[1:], name) || !strings.HasPrefix(rest[1+len(name):], ">") {
		x.bad = true
		return ""
	}
	x.rest = rest[len(name)+2:]
	if strings.IndexByte(text, '&') >= 0 {
		text = html.UnescapeString(text)
	}
	return text
}

// skip moves behind the end of the element name, whose children have other names.
func (x *scanner) skip(name string) {
	for depth := 0; !x.bad; {
		tag, empty := x.start()
		switch {
		case empty:
		case tag == "/"+name && depth == 0:
			return
		case strings.HasPrefix(tag, "/"):
			depth--
		default:
			depth++
		}
	}
}

// object reads the elements of a Contents element.
func (x *scanner) object() (store.Object, error) {
	var o store.Object
	var etag, class string
	restored := false
	for {
		name, empty := x.start()
		switch {
		case x.bad:
			return o, fmt.Errorf("%w: a page with malformed XML", store.ErrListing)
		case name == "/Contents":
			if o.Key == "" || o.Size < 0 {
				return o, fmt.Errorf("%w: an object without key or size", store.ErrListing)
			}
			o.ETag = etagOf(etag, o.Modified)
			o.Archived = archived(class) && !restored
			return o, nil
		case empty:
		case name == "Key":
			o.Key = store.Key(x.text(name))
		case name == "Size":
			size, err := strconv.ParseInt(x.text(name), 10, 64)
			if err != nil {
				return o, fmt.Errorf("%w: an object without a size", store.ErrListing)
			}
			o.Size = size
		case name == "ETag":
			etag = x.text(name)
		case name == "StorageClass":
			class = x.text(name)
		case name == "LastModified":
			t, err := time.Parse(time.RFC3339, x.text(name))
			if err != nil {
				return o, fmt.Errorf("%w: an object without a time", store.ErrListing)
			}
			o.Modified = t
		case name == "RestoreStatus":
			from := x.rest
			x.skip(name)
			status := from[:len(from)-len(x.rest)]
			restored = strings.Contains(status, "<IsRestoreInProgress>false<") && strings.Contains(status, "<RestoreExpiryDate>")
		default:
			x.skip(name)
		}
	}
}
