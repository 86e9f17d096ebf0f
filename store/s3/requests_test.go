package s3

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/millrace/millrace/store"
)

// A recorder is a store with one object, "k", which remembers what it was asked.
type recorder struct {
	*Bucket
	mu    sync.Mutex
	asked []*http.Request
	busy  int // requests for the object to answer 503
}

func record(t *testing.T, opts *store.Options, cred aws.CredentialsProvider) *recorder {
	t.Helper()
	r := &recorder{}
	srv := httptest.NewServer(http.HandlerFunc(r.answer))
	t.Cleanup(srv.Close)
	opts.Endpoint, opts.Region = srv.URL, "us-east-1"
	var err error
	if r.Bucket, err = open(t.Context(), "b", opts, cred); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Bucket.Close() })
	return r
}

func (r *recorder) answer(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, req)
	switch {
	case req.URL.Query().Has("list-type"):
		io.WriteString(w, "<ListBucketResult><IsTruncated>false</IsTruncated>"+listed("cold", "GLACIER", "")+listed("deep", "DEEP_ARCHIVE", "")+
			listed("k", "STANDARD", "")+listed("soon", "GLACIER", "<IsRestoreInProgress>true</IsRestoreInProgress>")+
			listed("thawed", "GLACIER", "<IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2030-01-01T00:00:00Z</RestoreExpiryDate>")+"</ListBucketResult>")
	case req.Method == http.MethodPost && req.URL.Query().Has("uploads"):
		io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
	case r.busy > 0 && !isProbe(req):
		r.busy--
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "<Error><Code>SlowDown</Code></Error>")
	case req.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		if req.Method == http.MethodGet || req.Method == http.MethodHead {
			w.Header().Set("Content-Length", "2")
		}
		if req.Method == http.MethodGet {
			io.WriteString(w, "ok")
		}
	}
}

func listed(key, class, restore string) string {
	if restore != "" {
		restore = "<RestoreStatus>" + restore + "</RestoreStatus>"
	}
	return fmt.Sprintf(`<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>"v1"</ETag><Size>2</Size><StorageClass>%s</StorageClass>%s</Contents>`,
		key, class, restore)
}

// use makes every kind of request there is.
func (r *recorder) use(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, err := range r.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Stat(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	body, err := r.Open(ctx, "k", "v1", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(body); err != nil || string(b) != "ok" {
		t.Fatalf("read %q, %v", b, err)
	}
	body.Close()
	w, err := r.Create(ctx, "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "data"); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
}

func TestRequesterPays(t *testing.T) {
	r := record(t, &store.Options{RequesterPays: true}, aws.CredentialsProviderFunc(testKey))
	r.use(t)
	for _, req := range r.asked {
		if !isProbe(req) && req.Header.Get("X-Amz-Request-Payer") != "requester" {
			t.Errorf("%s %s does not say that we pay", req.Method, req.URL)
		}
	}
	if len(r.asked) < 6 {
		t.Errorf("%d requests", len(r.asked))
	}
}

func TestNoSignRequest(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	r := record(t, &store.Options{NoSignRequest: true}, nil)
	r.use(t)
	for _, req := range r.asked {
		if req.Header.Get("Authorization") != "" || req.URL.Query().Has("X-Amz-Signature") {
			t.Errorf("%s %s is signed", req.Method, req.URL)
		}
	}
}

// Objects in an archive are told from those that were restored.
func TestArchived(t *testing.T) {
	r := record(t, &store.Options{}, aws.CredentialsProviderFunc(testKey))
	var got []string
	for o, err := range r.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Archived {
			got = append(got, string(o.Key))
		}
	}
	if want := []string{"cold", "deep", "soon"}; !slices.Equal(got, want) {
		t.Errorf("archived: %v, want %v", got, want)
	}
}

// A store that asks for patience is asked again.
func TestSlowDown(t *testing.T) {
	r := record(t, &store.Options{}, aws.CredentialsProviderFunc(testKey))
	r.busy = 2
	if _, err := r.Stat(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if r.busy != 0 {
		t.Errorf("%d refusals were not seen", r.busy)
	}
}
