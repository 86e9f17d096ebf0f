package chaos

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/s3"
)

// A storm is an S3 whose answers do not always come.
type storm struct {
	next http.Handler
	mu   sync.Mutex
	seen map[string]bool // requests that have failed

	reads, uploads int // that have failed
}

// ServeHTTP has some requests fail: refused, or carried out and not answered, or answered in part.
func (s *storm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch s.fate(r) {
	case "busy":
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"))
	case "error":
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("<Error><Code>InternalError</Code><Message>try again</Message></Error>"))
	case "lost answer":
		s.next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case "cut short":
		answer := httptest.NewRecorder()
		s.next.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		body := answer.Body.Bytes()
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	default:
		s.next.ServeHTTP(w, r)
	}
}

// fate says what becomes of a request: reads of objects and uploads of parts fail in each way in turn, once each.
func (s *storm) fate(r *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	upload := r.Method == http.MethodPut && q.Has("partNumber")
	read := r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/input/") && len(r.URL.Path) > len("/input/") && s.reads < 4
	of := r.Method + r.URL.Path + q.Get("partNumber") + q.Get("uploadId")
	if !upload && !read || s.seen[of] {
		return ""
	}
	s.seen[of] = true
	kinds := [...]string{"busy", "error", "lost answer", "cut short"}
	if read {
		s.reads++
		return kinds[s.reads-1]
	}
	s.uploads++
	return kinds[(s.uploads-1)%4]
}

// A store refuses, forgets to answer and cuts its answers short while a job reads its objects and writes its parts.
func TestStoreStorm(t *testing.T) {
	j := jobsOf()[4]
	j.objects, j.each = 4, 20
	x := j.newTarget(t, newWorkshop(t))
	u, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil {
		t.Fatal(err)
	}
	s := &storm{next: httputil.NewSingleHostReverseProxy(u), seen: make(map[string]bool)} // Host stays as it is signed
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	spec := x.spec("storm")
	if _, err := local.Run(t.Context(), &spec, &local.Options{Schemes: store.Schemes{"s3": s3.Open}}); err != nil {
		t.Fatal(err)
	}
	x.same(t, "storm")
	x.leftNothing(t, "storm")
	if s.reads < 4 || s.uploads < 4 {
		t.Errorf("%d reads and %d uploads failed, want at least 4 of each", s.reads, s.uploads)
	}
}
