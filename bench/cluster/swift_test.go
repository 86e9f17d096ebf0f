// Package cluster measures jobs on several nodes.
package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/clustertest"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/internal/swifttest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper/builtin"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/swift"
)

func TestMain(m *testing.M) {
	runner.Child()
	m.Run()
}

// A storage is a Swift of three nodes that keeps each mail on two of them, behind a proxy of our own that counts.
type storage struct {
	swift *swifttest.Cluster
	front *httptest.Server
	open  store.Opener
	bytes atomic.Int64 // of objects of the container, that went through the proxy
	gets  atomic.Int64
}

const container = "mail"

// A transport does not use a connection again after a HEAD, to which Swift sends the end of a body all the same.
type transport struct{}

func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Close = r.Method == http.MethodHead
	return http.DefaultTransport.RoundTrip(r)
}

func newStorage(tb testing.TB, mails int) *storage {
	tb.Helper()
	s := &storage{swift: swifttest.Run(tb, &swifttest.Options{Nodes: 3, Policies: []swifttest.Policy{{Index: 1, Name: "two", Replicas: 2}}})}
	if err := s.swift.MakeContainer(tb.Context(), container, "two"); err != nil {
		tb.Fatal(err)
	}
	to, err := url.Parse(s.swift.AuthURL)
	if err != nil {
		tb.Fatal(err)
	}
	p := &httputil.ReverseProxy{
		// The name by which it is asked stays: from that the store makes the address of the account.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", to.Host, r.In.Host
		},
		Transport: transport{},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodGet && r.StatusCode/100 == 2 && strings.Contains(r.Request.URL.Path, "/"+container+"/") {
				s.gets.Add(1)
				s.bytes.Add(r.ContentLength)
			}
			return nil
		},
	}
	s.front = httptest.NewServer(p)
	tb.Cleanup(s.front.Close)
	s.open = swift.Static(s.front.URL+"/auth/v1.0", s.swift.User, s.swift.Key)

	b := s.bucket(tb)
	g := mailgen.New(1, nil)
	var eg errgroup.Group
	eg.SetLimit(8)
	began := time.Now()
	for i := range mails {
		eg.Go(func() error {
			key, body := g.Mail(i)
			_, err := b.Put(tb.Context(), store.Key(key), body)
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		tb.Fatal(err)
	}
	tb.Logf("%d mails stored in %v", mails, time.Since(began).Round(time.Second))
	return s
}

func (s *storage) bucket(tb testing.TB) store.Bucket {
	tb.Helper()
	u, err := store.ParseURI("swift://" + container + "/")
	if err != nil {
		tb.Fatal(err)
	}
	b, _, err := s.open(tb.Context(), u, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

// A crew is a cluster of three agents, one on each node of the storage.
type crew struct {
	*storage
	client *server.Client
	local  bool // they read objects where they lie
}

func newCrew(tb testing.TB, s *storage, local bool) *crew {
	tb.Helper()
	c := clustertest.New(tb, store.Schemes{"swift": s.open})
	c.Log = slog.New(slog.DiscardHandler)
	rings := filepath.Join(s.swift.Dir, "etc")
	if local {
		c.Where = &locate.Config{Rings: rings}
	}
	c.Server("server")
	for i, ip := range s.swift.Nodes {
		c.Agent(fmt.Sprint("node-", i), 1, func(o *agent.NodeOptions) {
			if local {
				o.Member.Addresses = append(o.Member.Addresses, ip)
				o.Where = &locate.Config{Rings: rings, Devices: s.swift.Devices(i), Addresses: []string{ip}}
			}
		})
	}
	return &crew{s, c.Client("client"), local}
}

// A found is what a search came to.
type found struct {
	lines    int
	counters job.Counters
}

// search searches the mails, or those that match a pattern.
func (c *crew) search(tb testing.TB, include ...string) found {
	tb.Helper()
	params := builtin.GrepParams{Patterns: []string{"invoice "}, Fixed: true}
	spec := &job.Spec{
		Inputs: []string{"swift://" + container + "/"}, Program: job.Program{Engine: job.Builtin, Name: "grep"}, Params: params.Encode(), Tolerate: "0", Include: include,
	}
	var out bytes.Buffer
	j, err := c.client.Submit(tb.Context(), spec, &server.SubmitOptions{Stdout: &out})
	if err != nil {
		tb.Fatal(err)
	}
	end, err := j.Wait(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if end.State != server.Succeeded {
		tb.Fatalf("the search is %s: %s", end.State, end.Error)
	}
	return found{bytes.Count(out.Bytes(), []byte{'\n'}), end.Result.Counters}
}

// All mails are searched on a node that holds them, and none of them goes over the proxy.
func TestSwift(t *testing.T) {
	const mails = 80
	s := newStorage(t, mails)
	far := newCrew(t, s, false).search(t)
	if n, size := s.gets.Swap(0), s.bytes.Swap(0); n != mails || size != far.counters.Bytes {
		t.Errorf("%d objects of %d bytes over the proxy, want %d of %d", n, size, mails, far.counters.Bytes)
	}
	near := newCrew(t, s, true).search(t)
	if n := s.gets.Load(); n != 0 {
		t.Errorf("%d objects went over the proxy", n)
	}
	in := near.counters.Input
	if in.Local != mails || in.Remote != 0 || in.Placed == 0 || in.Near != in.Placed {
		t.Errorf("of %d mails: %+v", mails, in)
	}
	if near.lines != far.lines || near.lines == 0 || near.counters.Bytes != far.counters.Bytes {
		t.Errorf("%d lines of %d bytes where they lie, %d of %d over the proxy", near.lines, near.counters.Bytes, far.lines, far.counters.Bytes)
	}
}

// BenchmarkSwift searches 5,000 mails on three nodes: where they lie, and through the proxy.
func BenchmarkSwift(b *testing.B) {
	const mails = 5000
	s := newStorage(b, mails)
	for _, local := range []bool{true, false} {
		b.Run(map[bool]string{true: "local", false: "proxy"}[local], func(b *testing.B) {
			c := newCrew(b, s, local)
			c.search(b, "**00.eml") // agents have connections then
			var in job.Reading
			s.bytes.Store(0)
			for b.Loop() {
				in = in.Plus(c.search(b).counters.Input, 1)
			}
			b.ReportMetric(100*float64(in.Local)/float64(in.Local+in.Remote), "local-%")
			if in.Placed > 0 {
				b.ReportMetric(100*float64(in.Near)/float64(in.Placed), "near-%")
			}
			b.ReportMetric(float64(s.bytes.Load())/float64(b.N), "proxy-bytes")
			b.ReportMetric(mails*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
