package flight_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/shuffle/shuffletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs the certificates of nodes.
var authority = sync.OnceValue(newAuthority)

type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority() *ca {
	c := &ca{pool: x509.NewCertPool()}
	c.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, c.key.Public(), c.key)
	if err != nil {
		panic(err)
	}
	c.cert, _ = x509.ParseCertificate(der)
	c.pool.AddCert(c.cert)
	return c
}

// tls returns what a node of this authority shows and trusts.
func (c *ca) tls() *tls.Config {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, t, c.cert, key.Public(), c.key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: c.pool, ClientCAs: c.pool}
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// node starts a node, which ends with the test.
func node(t testing.TB, o flight.Options) *flight.Node {
	t.Helper()
	return nodeOn(t, listen(t), o)
}

func nodeOn(t testing.TB, l net.Listener, o flight.Options) *flight.Node {
	t.Helper()
	if o.TLS == nil {
		o.TLS = authority().tls()
	}
	n, err := flight.Listen(l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

var mapper = flight.Stamp{Job: "job-1", Task: "m-00042", Attempt: 1, Incarnation: 7, Epoch: 3}

// attempts are those of several writers.
func attempts(n int) (all []flight.Stamp) {
	for i := range n {
		s := mapper
		s.Task = fmt.Sprintf("m-%05d", i)
		all = append(all, s)
	}
	return all
}

// made returns the ends of a netpipe from one node to another.
func made(t testing.TB, from, to *flight.Node, writers int) (w []shuffle.PipeWriter, r shuffle.PipeReader) {
	t.Helper()
	stamps := attempts(writers)
	descriptors, r, err := to.Make(stamps...)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range descriptors {
		end, err := from.Scheme(stamps[i]).Writer(d)
		if err != nil {
			t.Fatal(err)
		}
		w = append(w, end)
	}
	return w, r
}

func TestFlight(t *testing.T) {
	from, to := node(t, flight.Options{}), node(t, flight.Options{})
	shuffletest.TestPipe(t, shuffletest.Transport{
		Open: func(t testing.TB, writers int) ([]shuffle.PipeWriter, shuffle.PipeReader) {
			return made(t, from, to, writers)
		},
		Wire: func(t testing.TB, l *shuffletest.Line, hurry shuffletest.Timing) (shuffle.PipeWriter, shuffle.PipeReader) {
			to := nodeBehind(t, l, hurry)
			w, r := made(t, node(t, flight.Options{Silence: hurry.Silence, Patience: hurry.Patience}), to, 1)
			return w[0], r
		},
		Resumes: true,
	})
}

// nodeBehind starts a node whose address is that of a line to it.
func nodeBehind(t testing.TB, l *shuffletest.Line, hurry shuffletest.Timing) *flight.Node {
	front, back := listen(t), listen(t)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", back.Addr().String())
			if err != nil {
				c.Close()
				continue
			}
			l.Connect(c, b)
		}
	})
	t.Cleanup(func() {
		front.Close()
		accepting.Wait()
	})
	return nodeOn(t, back, flight.Options{Address: front.Addr().String(), Silence: hurry.Silence, Patience: hurry.Patience})
}

// keep has a node keep data, and returns a reader of it on another.
func keep(t testing.TB, from, to *flight.Node, data []byte) shuffle.PipeReader {
	t.Helper()
	d, forget, err := from.Keep(mapper, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forget)
	r, err := to.Scheme(mapper).Reader(d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFetch(t *testing.T) {
	from, to := node(t, flight.Options{}), node(t, flight.Options{})
	shuffletest.TestPipe(t, shuffletest.Transport{
		Feed: func(t testing.TB, data []byte) shuffle.PipeReader { return keep(t, from, to, data) },
	})
}

func TestFetchAgain(t *testing.T) {
	l := &shuffletest.Line{}
	defer l.Close()
	calm := shuffletest.Timing{Silence: time.Minute, Patience: time.Minute}
	from, to := nodeBehind(t, l, calm), node(t, flight.Options{Patience: time.Minute})
	data := make([]byte, 5<<20+123)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	passed, cuts := 0, 0
	l.Spoil(func(chunk []byte, back bool) [][]byte {
		if passed += len(chunk); passed > 1<<20 && cuts < 4 {
			passed, cuts = 0, cuts+1
			go l.Cut()
		}
		return [][]byte{chunk}
	})
	r := keep(t, from, to, data)
	defer r.Close()
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(data), err)
	}
	l.Spoil(nil)
	if cuts < 3 {
		t.Errorf("%d connections broke, want some more", cuts)
	}
}

func TestStale(t *testing.T) {
	from, to := node(t, flight.Options{}), node(t, flight.Options{})
	for name, change := range map[string]func(s *flight.Stamp){
		"attempt":     func(s *flight.Stamp) { s.Attempt-- },
		"incarnation": func(s *flight.Stamp) { s.Incarnation-- },
		"epoch":       func(s *flight.Stamp) { s.Epoch-- },
		"task":        func(s *flight.Stamp) { s.Task = "m-00041" },
		"job":         func(s *flight.Stamp) { s.Job = "job-0" },
	} {
		t.Run(name, func(t *testing.T) {
			other := mapper
			change(&other)
			d, r, err := to.Make(mapper)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			schemes := shuffle.Schemes{"flight": from.Scheme(other)}
			if _, err := schemes.OpenWriter(t.Context(), d[0]); !errors.Is(err, shuffle.ErrStale) {
				t.Errorf("writer: %v, want ErrStale", err)
			}
			// The reader waits for the attempt that it wants.
			w, err := from.Scheme(mapper).Writer(d[0])
			if err == nil {
				err = w.Open(t.Context())
			}
			if err == nil {
				_, err = w.Write([]byte("x"))
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); string(got) != "x" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}

			kept, forget, err := to.Keep(mapper, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil })
			if err != nil {
				t.Fatal(err)
			}
			defer forget()
			fetched, err := schemes.OpenReader(t.Context(), kept)
			if err != nil {
				t.Fatal(err)
			}
			defer fetched.Close()
			if _, err := io.ReadAll(fetched); !errors.Is(err, shuffle.ErrStale) {
				t.Errorf("reader: %v, want ErrStale", err)
			}
		})
	}
}

func TestAdvance(t *testing.T) {
	from, to := node(t, flight.Options{}), node(t, flight.Options{})
	w, r := made(t, from, to, 1)
	defer r.Close()
	opened := make(chan error, 1)
	go func() { opened <- w[0].Open(t.Context()) }()
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	kept := keep(t, to, from, make([]byte, 8<<20))
	defer kept.Close()
	if err := kept.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(kept, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	to.Advance("another job", mapper.Epoch+1)
	to.Advance(mapper.Job, mapper.Epoch) // nothing new
	if _, err := w[0].Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	to.Advance(mapper.Job, mapper.Epoch+1)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, shuffle.ErrStale) {
		t.Errorf("reader: %v, want ErrStale", err)
	}
	if _, err := w[0].Write(make([]byte, 16<<20)); !errors.Is(err, shuffle.ErrStale) {
		t.Errorf("writer: %v, want ErrStale", err)
	}
	if _, err := io.Copy(io.Discard, kept); !errors.Is(err, shuffle.ErrStale) {
		t.Errorf("reader of what is kept: %v, want ErrStale", err)
	}
	late, err := from.Scheme(attempts(1)[0]).Writer("flight:nowhere")
	if err == nil {
		t.Errorf("a descriptor without a token gave %v", late)
	}
}

func TestUnknownToken(t *testing.T) {
	from, to := node(t, flight.Options{}), node(t, flight.Options{})
	d, r, err := to.Make(mapper)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	schemes := shuffle.Schemes{"flight": from.Scheme(mapper)}
	for name, d := range map[string]shuffle.Descriptor{"closed": d[0], "guessed": d[0][:len(d[0])-1] + "a"} {
		if _, err := schemes.OpenWriter(t.Context(), d); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: writer: %v, want EPIPE", name, err)
		}
		fetched, err := schemes.OpenReader(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fetched.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("%s: reader: %v, want an error", name, err)
		}
		fetched.Close()
	}
}

func TestStrangers(t *testing.T) {
	to := node(t, flight.Options{})
	d, r, err := to.Make(mapper)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, config := range map[string]func() *tls.Config{
		"another authority": func() *tls.Config {
			c := newAuthority().tls()
			c.RootCAs = authority().pool // it knows us, we do not know it
			return c
		},
		"we are not known": func() *tls.Config {
			c := authority().tls()
			c.RootCAs = newAuthority().pool
			return c
		},
	} {
		from := node(t, flight.Options{TLS: config(), Silence: 300 * time.Millisecond, Patience: 300 * time.Millisecond})
		schemes := shuffle.Schemes{"flight": from.Scheme(mapper)}
		if _, err := schemes.OpenWriter(t.Context(), d[0]); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: %v, want EPIPE", name, err)
		}
	}
	for name, config := range map[string]*tls.Config{
		"nothing": nil, "no certificate": {RootCAs: authority().pool, ClientCAs: authority().pool}, "no trust": {Certificates: authority().tls().Certificates},
	} {
		if n, err := flight.Listen(listen(t), flight.Options{TLS: config}); err == nil {
			n.Close()
			t.Errorf("%s: a node was started, want an error", name)
		}
	}
}

func TestStampsAreBounded(t *testing.T) {
	n := node(t, flight.Options{})
	for _, bad := range []flight.Stamp{{}, {Job: "j"}, {Task: "t"}, {Job: strings.Repeat("j", 65), Task: "t"}, {Job: "j", Task: strings.Repeat("t", 65)}} {
		if _, _, err := n.Make(mapper, bad); err == nil {
			t.Errorf("Make(%v): no error", bad)
		}
		if _, _, err := n.Keep(bad, nil); err == nil {
			t.Errorf("Keep(%v): no error", bad)
		}
		if _, err := n.Scheme(bad).Writer("flight:a/b"); err == nil {
			t.Errorf("Writer of %v: no error", bad)
		}
		if _, err := n.Scheme(bad).Reader("flight:a/b"); err == nil {
			t.Errorf("Reader of %v: no error", bad)
		}
	}
}

func TestKeptThatFails(t *testing.T) {
	from, to := node(t, flight.Options{}), node(t, flight.Options{})
	bad := errors.New("disk on fire")
	for name, open := range map[string]func() (io.ReadCloser, error){
		"open": func() (io.ReadCloser, error) { return nil, bad },
		"midway": func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("x"), failing{bad})), nil
		},
	} {
		d, forget, err := from.Keep(mapper, open)
		if err != nil {
			t.Fatal(err)
		}
		r, err := shuffle.Schemes{"flight": to.Scheme(mapper)}.OpenReader(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, shuffle.ErrAborted) || !strings.Contains(err.Error(), bad.Error()) {
			t.Errorf("%s: %v, want ErrAborted and the reason", name, err)
		}
		r.Close()
		forget()
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestNodeCloses(t *testing.T) {
	to := node(t, flight.Options{})
	from, err := flight.Listen(listen(t), flight.Options{TLS: authority().tls()})
	if err != nil {
		t.Fatal(err)
	}
	w, r := made(t, from, to, 1)
	defer r.Close()
	waiting, _, err := from.Make(mapper)
	if err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}
	opened := make(chan error, 1)
	go func() { opened <- w[0].Open(context.Background()) }()
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { _, err := w[0].Write(make([]byte, 16<<20)); wrote <- err }()
	if err := from.Close(); err != nil {
		t.Error(err)
	}
	if err := <-wrote; err == nil {
		t.Error("a write to a closed node had no error")
	}
	if _, err := from.Scheme(mapper).Writer(waiting[0]); err != nil {
		t.Fatal(err)
	}
}
