// Package cluster measures jobs on several nodes.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/internal/swifttest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper/builtin"
	"github.com/millrace/millrace/placement"
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

// A found is what a search came to.
type found struct {
	lines    int
	counters job.Counters
	took     time.Duration
}

// search has an agent on each node of the storage search the mails; with local they read them where they lie.
func (s *storage) search(tb testing.TB, local bool) found {
	tb.Helper()
	began := time.Now()
	ctx := tb.Context()
	rings := filepath.Join(s.swift.Dir, "etc")
	u, _ := store.ParseURI("swift://" + container + "/")
	inputs := []plan.Input{{URI: u, Bucket: s.bucket(tb)}}
	nodes := make(map[string][]string)
	for i, ip := range s.swift.Nodes {
		nodes[fmt.Sprint("node-", i)] = []string{ip}
	}
	o := &plan.Options{}
	if local {
		l, err := (&locate.Config{Rings: rings}).Locator(ctx, u, inputs[0].Bucket, locate.Names(nodes))
		if err != nil {
			tb.Fatal(err)
		}
		o.Locators = []plan.Locator{l}
	}
	m := coordinator.New(coordinator.Config{
		Job: "j", Epoch: 1, Patience: placement.DefaultPatience,
		Tolerates: func(failed, _ int64) bool { return failed == 0 },
	})
	c := coordinator.Start(ctx, m, coordinator.Options{Log: noLog{}})
	defer c.Close()
	area := plan.NewDirArea(tb.TempDir())
	defer area.Close()
	params := builtin.GrepParams{Patterns: []string{"invoice "}, Fixed: true}
	out := &lines{}
	g, ctx := errgroup.WithContext(ctx)
	for i, ip := range s.swift.Nodes {
		j := agent.Job{
			Sender: coordinator.Sender{Job: "j", Epoch: 1, Node: fmt.Sprint("node-", i), Incarnation: 1},
			Hello: runner.Hello{Version: runner.Version, Engine: job.Builtin, Name: "grep", Params: params.Encode(), Format: job.Text,
				Inputs: []runner.Input{{Root: "swift://" + container + "/"}}},
			Inputs: inputs, Plan: plan.Open(area), Printer: out, SpillDir: tb.TempDir(), Slots: 1, Readers: 16,
		}
		if local {
			d, err := (&locate.Config{Rings: rings, Devices: s.swift.Devices(i), Addresses: []string{ip}}).Disk(ctx, inputs[0].Bucket)
			if err != nil {
				tb.Fatal(err)
			}
			j.Disks = []locate.Disk{d}
		}
		j.Pool = newPool()
		a := agent.New(ctx, j, direct{c})
		g.Go(func() error { return errors.Join(a.Run(ctx), a.Close(), j.Pool.Close()) })
	}
	sum, err := plan.Build(ctx, inputs, area, o, func(s job.Split) error { return c.Tell(ctx, coordinator.Planned{Split: s}) })
	if err == nil {
		err = c.Tell(ctx, coordinator.Sealed{Digest: sum.Digest})
	}
	if err := errors.Join(err, g.Wait()); err != nil {
		tb.Fatal(err)
	}
	outcome, err := c.Outcome()
	if err != nil {
		tb.Fatal(err)
	}
	if sum.Unlocated != "" {
		tb.Fatal(sum.Unlocated)
	}
	return found{int(out.n.Load()), outcome.Counters, time.Since(began)}
}

func newPool() *agent.Pool {
	return agent.PoolFor(&job.Spec{Program: job.Program{Engine: job.Builtin}})
}

type noLog struct{}

func (noLog) Append(context.Context, []byte) error { return nil }

// A direct is a coordinator in this process.
type direct struct{ *coordinator.Coordinator }

func (d direct) Beat(ctx context.Context, b coordinator.Beat) error {
	return d.Tell(ctx, coordinator.Progressed{Beat: b})
}

// lines counts what is printed.
type lines struct{ n atomic.Int64 }

func (l *lines) Print(_ job.AttemptID, text []byte, _ bool) error {
	l.n.Add(int64(bytes.Count(text, []byte{'\n'})))
	return nil
}

func (l *lines) End(job.AttemptID) error { return nil }

func (l *lines) Done(job.AttemptID) error { return nil }

// All mails are searched on a node that holds them, and none of them goes over the proxy.
func TestSwift(t *testing.T) {
	const mails = 80
	s := newStorage(t, mails)
	far := s.search(t, false)
	if n, size := s.gets.Swap(0), s.bytes.Swap(0); n != mails || size != far.counters.Bytes {
		t.Errorf("%d objects of %d bytes over the proxy, want %d of %d", n, size, mails, far.counters.Bytes)
	}
	near := s.search(t, true)
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
			var in job.Reading
			s.bytes.Store(0)
			for b.Loop() {
				f := s.search(b, local)
				in = in.Plus(f.counters.Input, 1)
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
