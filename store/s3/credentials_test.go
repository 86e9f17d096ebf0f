package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/millrace/millrace/store"
)

// Credentials that expire are replaced, also in the middle of an upload and of a body: here each lasts for one request.
func TestCredentialsExpire(t *testing.T) {
	var n, refused atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), fmt.Sprintf("Credential=K%d/", n.Load())) {
			refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		n.Add(1)
		w.Header().Set("ETag", `"v1"`)
		switch r.Method {
		case http.MethodPost:
			_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case http.MethodGet:
			from := 0
			if rng := r.Header.Get("Range"); rng != "" {
				_, _ = fmt.Sscanf(rng, "bytes=%d-", &from)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-3/4", from))
			}
			w.Header().Set("Content-Length", fmt.Sprint(4-from))
			if from > 0 {
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = io.WriteString(w, "data"[from:from+1])
		}
	}))
	defer srv.Close()
	b, err := open(t.Context(), "b", &store.Options{Endpoint: srv.URL, Region: "us-east-1"}, aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: fmt.Sprintf("K%d", n.Load()), SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(-time.Second)}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.Open(t.Context(), "k", "v1", 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "data" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	w, err := b.Create(t.Context(), "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "data"); err != nil {
		t.Fatal(err)
	}
	if p, err := w.Seal(t.Context()); err != nil || len(p.Parts) != 1 {
		t.Errorf("sealed as %+v, %v", p, err)
	}
	if refused.Load() > 0 || n.Load() < 7 {
		t.Errorf("%d requests were answered, %d refused", n.Load(), refused.Load())
	}
}
