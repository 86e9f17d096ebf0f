package swift

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

// A fake is a Swift with the container "c" that answers requests for objects as a test says, and remembers them.
type fake struct {
	url    string
	answer http.HandlerFunc // of objects and listings

	mu      sync.Mutex
	logins  int
	valid   int // the token of this login is taken; 0 is the last one
	asked   []string
	refused int // requests with another token
}

const (
	fakeUser = "account:someone"
	fakeKey  = "a-key-that-nobody-shall-see"
)

// serve starts a fake and opens its container.
func serve(t *testing.T, answer http.HandlerFunc) (*fake, *Bucket) {
	t.Helper()
	f := &fake{answer: answer}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	b, err := open(t.Context(), "c", nil, v1(f.url+"/auth/v1.0", fakeUser, fakeKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	f.asked = nil
	return f, b
}

func (f *fake) token(login int) string { return fmt.Sprintf("token-of-login-%d", login) }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if r.URL.Path == "/auth/v1.0" {
		if r.Header.Get("X-Auth-User") != fakeUser || r.Header.Get("X-Auth-Key") != fakeKey {
			w.WriteHeader(http.StatusUnauthorized)
		} else {
			f.logins++
			w.Header().Set("X-Auth-Token", f.token(f.logins))
			w.Header().Set("X-Storage-Url", f.url+"/v1/AUTH_account")
		}
		f.mu.Unlock()
		return
	}
	if r.URL.Path != "/info" {
		f.asked = append(f.asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/AUTH_account/"))
	}
	current := f.logins
	if f.valid > 0 {
		current = f.valid
	}
	denied := r.URL.Path != "/info" && r.Header.Get("X-Auth-Token") != f.token(current)
	if denied {
		f.refused++
	}
	f.mu.Unlock()
	switch {
	case r.URL.Path == "/info":
		http.NotFound(w, r)
	case denied:
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "token %s is no good", r.Header.Get("X-Auth-Token"))
	case r.URL.Path == "/v1/AUTH_account/c" && r.Method == http.MethodHead, r.URL.Path == "/v1/AUTH_account/c_segments" && r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNoContent)
	default:
		f.answer(w, r)
	}
}

// count returns how many requests were made that begin so.
func (f *fake) count(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

// object answers with a body of an ETag, by ranges if they are asked for.
func object(w http.ResponseWriter, r *http.Request, etag, body string) {
	w.Header().Set("Etag", `"`+etag+`"`)
	w.Header().Set("X-Timestamp", "1795288276.12345")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
}

// secretless fails if an error gives away what opens the store.
func secretless(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), fakeKey) || strings.Contains(err.Error(), "token-of-login")) {
		t.Errorf("error %q holds a secret", err)
	}
}

// whole reads all of an object.
func whole(b store.Bucket, t *testing.T, etag string) (string, error) {
	r, err := b.Open(t.Context(), "k", etag, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}
