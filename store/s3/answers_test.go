package s3

import (
	"context"
	"errors"
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

// serve opens the bucket "b" of a store that answers as h does, in region us-east-1.
func serve(t *testing.T, h http.HandlerFunc) *Bucket {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	b, err := open(t.Context(), "b", &store.Options{Endpoint: srv.URL, Region: "us-east-1"}, aws.CredentialsProviderFunc(testKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func isProbe(r *http.Request) bool { return r.Method == http.MethodHead && r.URL.Path == "/b" }

func TestAnswers(t *testing.T) {
	tests := []struct {
		status int
		body   string
		want   error
	}{
		{404, "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>", store.ErrNotExist},
		{404, "<html>not found</html>", store.ErrNotExist},
		{403, "<Error><Code>AccessDenied</Code><Message>no\nway</Message></Error>", store.ErrPermission},
		{412, "<Error><Code>PreconditionFailed</Code></Error>", store.ErrChanged},
		{400, "<Error><Code>KeyTooLongError</Code></Error>", store.ErrKey},
		{403, strings.Repeat("x", 10*maxErrorBody), store.ErrPermission},
	}
	for _, tt := range tests {
		b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !isProbe(r) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}
		})
		_, err := b.Open(t.Context(), "some/key", "", 0, -1)
		if !errors.Is(err, tt.want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "s3://b/some/key: ") || len(err.Error()) > 500 {
			t.Errorf("%d %.40q: Open = %v, want one line of %v", tt.status, tt.body, err, tt.want)
		}
	}
}

func TestBucketInAnotherRegion(t *testing.T) {
	var signed atomic.Value
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		signed.Store(r.Header.Get("Authorization"))
		if strings.Contains(r.Header.Get("Authorization"), "/us-east-1/") {
			w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Content-Length", "1")
	})
	if _, err := b.Stat(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if got := signed.Load().(string); !strings.Contains(got, "/eu-west-1/s3/") {
		t.Errorf("signed %q, want it for eu-west-1", got)
	}
}

func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
	start := time.Now()
	_, _, err := Open(t.Context(), store.URI{Scheme: "s3", Bucket: "b"}, &store.Options{Endpoint: "http://127.0.0.1:1"})
	if !errors.Is(err, store.ErrPermission) || !strings.Contains(err.Error(), "no AWS credentials") {
		t.Errorf("Open = %v, want that there are no credentials", err)
	}
	if d := time.Since(start); d > credentialsWait+10*time.Second {
		t.Errorf("took %v", d)
	}
}

// A body that ends early is asked for again from where it ended, as the same version.
func TestResume(t *testing.T) {
	body := strings.Repeat("0123456789", 1000)
	var ranges []string
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if isProbe(r) {
			return
		}
		from := 0
		if rng := r.Header.Get("Range"); rng != "" {
			fmt.Sscanf(rng, "bytes=%d-", &from)
			ranges = append(ranges, rng+" "+r.Header.Get("If-Match"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		io.WriteString(w, body[from:min(from+4000, len(body))])
	})
	r, err := b.Open(t.Context(), "k", "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != body {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, len(body))
	}
	if want := `[bytes=4000-9999 "v1" bytes=8000-9999 "v1"]`; fmt.Sprint(ranges) != want {
		t.Errorf("ranges %v, want %s", ranges, want)
	}
}

// A completion whose answer is lost, and one answered 200 with an error in its body, are found to have succeeded.
func TestPublishFindsItsOwnObject(t *testing.T) {
	const token = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for name, answer := range map[string]func(w http.ResponseWriter){
		"unknown upload": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, "<Error><Code>NoSuchUpload</Code></Error>")
		},
		"conflict": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, "<Error><Code>OperationAborted</Code></Error>")
		},
		"200 with an error": func(w http.ResponseWriter) {
			io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>x</Message></Error>`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case isProbe(r):
				case r.Method == http.MethodPost:
					answer(w)
				case r.Method == http.MethodHead:
					w.Header().Set("X-Amz-Meta-"+tokenKey, token)
					w.Header().Set("ETag", `"v1-1"`)
					w.Header().Set("Content-Length", "5")
				}
			})
			p := store.Pending{Handle: store.Handle{Key: "k", ID: makeID(token, "u")}, Size: 5, Parts: []store.Part{{Number: 1, ETag: "x", Size: 5}}}
			o, err := b.Publish(t.Context(), p)
			if err != nil || o.ETag != "v1-1" || o.Size != 5 {
				t.Errorf("Publish = %+v, %v, want the object", o, err)
			}
			if name != "unknown upload" {
				return // the outcome is not clear, and is looked at for long
			}
			p.ID = makeID("Z"+token[1:], "u")
			if o, err := b.Publish(t.Context(), p); err == nil {
				t.Errorf("Publish of another upload = %+v, want an error", o)
			}
		})
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType><NextContinuationToken>t</NextContinuationToken><Contents><Key>a%20b</Key><Size>5</Size><ETag>"x"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified><Owner><ID>o</ID></Owner></Contents><CommonPrefixes/></ListBucketResult>`))
	f.Add([]byte(`<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePage(body)
		if err != nil && !errors.Is(err, store.ErrListing) {
			t.Errorf("parsePage = %v, want ErrListing", err)
		}
		for _, o := range p.Objects {
			if err == nil && (o.Key == "" || o.Size < 0) {
				t.Errorf("parsePage let %+v pass", o)
			}
		}
	})
}

func TestParsePage(t *testing.T) {
	p, err := parsePage([]byte(`<?xml version="1.0"?>
<ListBucketResult xmlns="x"><Name>b</Name><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType><NextContinuationToken>t&amp;u</NextContinuationToken>
<Contents><Key>a%20b%2Bc+d</Key><Size>5</Size><ETag>&quot;x-2&quot;</ETag><LastModified>2026-01-02T03:04:05.000Z</LastModified><StorageClass>GLACIER</StorageClass><Owner><ID>o</ID></Owner></Contents>
<Contents><Key>b</Key><Size>0</Size><ETag/><LastModified>2026-01-02T03:04:05Z</LastModified></Contents><CommonPrefixes/></ListBucketResult>`))
	if err != nil || len(p.Objects) != 2 || !p.Truncated || p.Token != "t&u" {
		t.Fatalf("parsePage = %+v, %v", p, err)
	}
	modified := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := []store.Object{
		{Key: "a b+c d", Size: 5, ETag: "x-2", Modified: modified, Archived: true},
		{Key: "b", ETag: modifiedTag + fmt.Sprint(modified.Unix()), Modified: modified},
	}
	for i, o := range p.Objects {
		if o != want[i] {
			t.Errorf("object %d = %+v, want %+v", i, o, want[i])
		}
	}
}

func testKey(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "key", SecretAccessKey: "secret"}, nil
}
