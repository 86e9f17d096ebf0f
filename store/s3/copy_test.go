package s3

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

// A store that does not copy is read from and written to; it is asked once.
func TestCopyRefused(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 9<<16)
	var mu sync.Mutex
	asked := 0
	parts := map[string][]byte{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case req.Method == http.MethodPost && req.URL.Query().Has("uploads"):
			io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
		case req.Header.Get("X-Amz-Copy-Source") != "":
			asked++
			w.WriteHeader(http.StatusNotImplemented)
			io.WriteString(w, "<Error><Code>NoCopies</Code></Error>")
		case req.Method == http.MethodPut:
			part, _ := io.ReadAll(req.Body)
			parts[req.URL.Query().Get("partNumber")] = part
			w.Header().Set("ETag", `"part"`)
		default:
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(body))
		}
	}))
	defer srv.Close()
	opts := &store.Options{Endpoint: srv.URL, Region: "us-east-1", NoSignRequest: true}
	b, err := open(t.Context(), "b", opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w, err := b.Create(t.Context(), "all", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.(store.Copier).Copy(t.Context(), store.Object{Key: "k", Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := append(append(append([]byte{}, parts["1"]...), parts["2"]...), parts["3"]...)
	if p.Size != int64(2*len(body)) || asked != 1 || string(got) != strings.Repeat(string(body), 2) {
		t.Errorf("%d bytes in %d parts, asked %d times to copy", len(got), len(parts), asked)
	}
}
