package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/gatewaytest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/s3"
)

// roundTrip is what every request of a listing waits before it is answered.
const roundTrip = 50 * time.Millisecond

// BenchmarkList lists 200,000 objects with every request delayed by 50 ms: with the usual number of requests in flight, and with one.
// "gateway" is a real S3 gateway over a directory tree. "numbers" is a flat bucket; since the gateway reads a whole
// directory for each page, a list server in this process answers there.
func BenchmarkList(b *testing.B) {
	const n = 200_000
	for _, mode := range []struct {
		name     string
		requests int
	}{{"parallel", 0}, {"sequential", 1}} {
		b.Run(mode.name, func(b *testing.B) {
			b.Run("gateway", func(b *testing.B) {
				g := gatewaytest.Start(b, "mail")
				for _, k := range dateKeys(n) {
					touch(b, filepath.Join(g.Dir, "mail", k))
				}
				benchmarkList(b, g.Endpoint, s3.Static(g.AccessKey, g.SecretKey), mode.requests, n)
			})
			for _, keys := range []struct {
				name string
				make func(int) []string
			}{{"dates", dateKeys}, {"numbers", numberKeys}} {
				b.Run(keys.name, func(b *testing.B) {
					srv := httptest.NewServer(shelf(keys.make(n)))
					defer srv.Close()
					benchmarkList(b, srv.URL, s3.Static("key", "secret"), mode.requests, n)
				})
			}
		})
	}
}

func benchmarkList(b *testing.B, endpoint string, open store.Opener, requests, want int) {
	target, err := url.Parse(endpoint)
	if err != nil {
		b.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(roundTrip)
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	bucket, _, err := open(b.Context(), store.URI{Scheme: "s3", Bucket: "mail"}, &store.Options{Endpoint: proxy.URL, Requests: requests})
	if err != nil {
		b.Fatal(err)
	}
	defer bucket.Close()
	for b.Loop() {
		got := 0
		for _, err := range bucket.List(b.Context(), "", "") {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != want {
			b.Fatalf("listed %d objects, want %d", got, want)
		}
	}
	b.ReportMetric(float64(want)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

// dateKeys makes keys like 2026/01/17/000123.eml, in order.
func dateKeys(n int) []string {
	keys := make([]string, n)
	perDay := n/(12*28) + 1
	for i := range keys {
		day := i / perDay
		keys[i] = fmt.Sprintf("2026/%02d/%02d/%06d.eml", day/28+1, day%28+1, i%perDay)
	}
	return keys
}

// numberKeys makes keys like mail-0000123.eml, in order.
func numberKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("mail-%07d.eml", i)
	}
	return keys
}

func touch(b *testing.B, path string) {
	err := os.WriteFile(path, nil, 0o644)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, nil, 0o644)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}

// A shelf answers ListObjectsV2 for sorted keys, and any HEAD.
type shelf []string

func (s shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return
	}
	after := r.FormValue("start-after")
	first, found := slices.BinarySearch(s, after)
	if found {
		first++
	}
	page := s[first:min(first+1000, len(s))]
	w.Header().Set("Content-Type", "application/xml")
	out := bufio.NewWriter(w)
	defer out.Flush()
	fmt.Fprintf(out, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>mail</Name><IsTruncated>%v</IsTruncated>`, first+len(page) < len(s))
	for _, k := range page {
		out.WriteString("<Contents><Key>")
		out.WriteString(k)
		out.WriteString(`</Key><LastModified>2026-01-17T10:11:12.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>`)
	}
	out.WriteString("</ListBucketResult>")
}
