package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/store"
)

// explain turns an error of the SDK into one line that names the object and wraps the sentinel of package store that
// says what it means. key may be empty: then the bucket is named.
func (b *Bucket) explain(ctx context.Context, key store.Key, err error) error {
	if err == nil {
		return nil
	}
	name := store.Name("s3", b.name, key)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	code, message, status := dissect(err)
	kind := classify(code, status)
	text := oneLine(strings.TrimSpace(code + " " + message))
	var api smithy.APIError
	switch {
	case kind != nil && text != "":
		return fmt.Errorf("%s: %w (%s)", name, kind, text)
	case kind != nil:
		return fmt.Errorf("%s: %w", name, kind)
	case errors.As(err, &api) || status != 0:
		return fmt.Errorf("%s: store answered %d %s", name, status, text)
	}
	for _, own := range []error{store.ErrShort, store.ErrListing, store.ErrChanged, store.ErrKey, store.ErrNotExist, store.ErrPermission} {
		if errors.Is(err, own) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// The SDK wraps transport errors in several layers of its own words; the last one is the cause.
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	return fmt.Errorf("%s: %w", name, err)
}

// dissect returns the code and message of the store's answer, and its HTTP status; "" and 0 if there was none.
func dissect(err error) (code, message string, status int) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	if code == "UnknownError" || code == message {
		message = ""
	}
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		status = re.HTTPStatusCode()
	}
	return code, message, status
}

// classify returns the sentinel for an answer, or nil.
func classify(code string, status int) error {
	switch code {
	case "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchUpload", "NoSuchVersion":
		return store.ErrNotExist
	case "PreconditionFailed", "ConditionalRequestConflict":
		return store.ErrChanged
	case "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "TooManyRequests", "RequestThrottled", "BandwidthLimitExceeded":
		return store.ErrThrottled
	case "KeyTooLongError", "InvalidURI", "InvalidObjectName", "ObjectParentIsFile", "ExistingObjectIsDirectory", "DirectoryObjectContainsData":
		return store.ErrKey
	case "InvalidObjectState":
		return store.ErrPermission
	}
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return store.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return store.ErrPermission
	case http.StatusPreconditionFailed:
		return store.ErrChanged
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return store.ErrThrottled
	}
	return nil
}

// oneLine makes text from outside fit to be shown: one line, printable, not long.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
