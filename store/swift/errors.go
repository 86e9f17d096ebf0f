package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/millrace/millrace/store"
)

// explain makes an error one line that names the object and wraps the sentinel of package store that says what it means. key may be
// empty: then the container is named.
func (b *Bucket) explain(ctx context.Context, key store.Key, err error) error {
	if err == nil {
		return nil
	}
	name := store.Name("swift", b.name, key)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	a, answered := errors.AsType[*answer](err)
	kind := error(nil)
	if answered {
		kind = classify(a.status)
	}
	switch {
	case kind != nil && a.text != "":
		return fmt.Errorf("%s: %w (%s)", name, kind, a.text)
	case kind != nil:
		return fmt.Errorf("%s: %w", name, kind)
	case answered:
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// classify returns the sentinel for a status, or nil.
func classify(status int) error {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return store.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return store.ErrPermission
	case http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return store.ErrChanged
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, rateLimited:
		return store.ErrThrottled
	}
	return nil
}

// has reports whether err is an answer of that status.
func has(err error, status int) bool {
	a, ok := errors.AsType[*answer](err)
	return ok && a.status == status
}

// checkKey refuses what Swift does not take as a name.
func checkKey(key store.Key) error {
	if !utf8.ValidString(string(key)) {
		return fmt.Errorf("%w: it is not UTF-8", store.ErrKey)
	}
	for i := range len(key) {
		if key[i] == 0 {
			return fmt.Errorf("%w: it holds NUL", store.ErrKey)
		}
	}
	return key.Check()
}
