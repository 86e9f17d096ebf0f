package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		if err := runChild(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Servers that shut down while streams change leave these behind.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

func embed(t testing.TB, opts *Options) *Cluster {
	t.Helper()
	c, err := Embed(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// soon is a context for what should happen at once.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestEmbedLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	c := embed(t, nil)
	if info, err := os.Stat(c.tmp.Path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v: want one that only we may enter", info, err)
	}
	if c.server.Addr() != nil {
		t.Errorf("listens on %v", c.server.Addr())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("Close left %v, %v", left, err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCall(t *testing.T) {
	c := embed(t, nil)
	ctx := soon(t)
	_, err := c.Serve(ctx, "coordinator.job-1", func(ctx context.Context, req []byte) ([]byte, error) {
		switch string(req) {
		case "plain":
			return nil, errors.New("no slot")
		case "coded":
			return nil, fmt.Errorf("lease: %w", &RemoteError{Code: "stale", Text: "epoch 1 is over"})
		case "huge":
			return make([]byte, MaxMessage+1), nil
		}
		return fmt.Appendf(nil, "%s in %d", req, Epoch(ctx)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		subject, req, want, err, code string
		is                            error
	}{
		{subject: "coordinator.job-1", req: "work", want: "work in 7"},
		{subject: "coordinator.job-1", req: "", want: " in 7"},
		{subject: "coordinator.job-1", req: "plain", err: "call coordinator.job-1: no slot", code: "error"},
		{subject: "coordinator.job-1", req: "coded", err: "call coordinator.job-1: lease: epoch 1 is over", code: "stale"},
		{subject: "coordinator.job-1", req: "huge", err: "call coordinator.job-1: reply: message too large: 1048577 bytes of 1048576", code: "error"},
		{subject: "coordinator.job-1", req: string(make([]byte, MaxMessage+1)), err: "call coordinator.job-1: message too large: 1048577 bytes of 1048576", is: ErrTooLarge},
		{subject: "coordinator.job-2", err: "call coordinator.job-2: nobody serves it", is: ErrNobody},
		{subject: "coordinator.*", err: `subject "coordinator.*": "*" is no word of letters, digits, - and _`},
		{subject: "", err: `subject "": "" is no word of letters, digits, - and _`},
	} {
		got, err := c.Call(WithEpoch(ctx, 7), tt.subject, []byte(tt.req))
		if string(got) != tt.want || text(err) != tt.err {
			t.Errorf("Call(%s, %.10q) = %q, %v; want %q, %q", tt.subject, tt.req, got, err, tt.want, tt.err)
		}
		if r, ok := errors.AsType[*RemoteError](err); ok != (tt.code != "") || ok && r.Code != tt.code {
			t.Errorf("Call(%s, %.10q): error %#v, want the code %q", tt.subject, tt.req, err, tt.code)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("Call(%s, %.10q): error %v is not %v", tt.subject, tt.req, err, tt.is)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCallOfMaxMessage(t *testing.T) {
	c := embed(t, nil)
	ctx := soon(t)
	if _, err := c.Serve(ctx, "echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil }); err != nil {
		t.Fatal(err)
	}
	req := bytes.Repeat([]byte{7}, MaxMessage)
	if got, err := c.Call(ctx, "echo", req); err != nil || !bytes.Equal(got, req) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestHandlersAreBounded(t *testing.T) {
	const limit = 3
	c := embed(t, &Options{Handlers: limit})
	ctx := soon(t)
	var running, most atomic.Int32
	full := make(chan struct{}, 100)
	release := make(chan struct{})
	if _, err := c.Serve(ctx, "slow", func(context.Context, []byte) ([]byte, error) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		full <- struct{}{}
		<-release
		running.Add(-1)
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, err := c.Call(ctx, "slow", nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range limit {
		<-full // as many run at once as may
	}
	close(release)
	calls.Wait()
	if most.Load() != limit {
		t.Errorf("%d handlers ran at once, want %d", most.Load(), limit)
	}
}

func TestStopWaitsForHandlers(t *testing.T) {
	c := embed(t, nil)
	ctx := soon(t)
	entered, left := make(chan struct{}), atomic.Bool{}
	stop, err := c.Serve(ctx, "s", func(ctx context.Context, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		time.Sleep(10 * time.Millisecond)
		left.Store(true)
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	var call sync.WaitGroup
	call.Go(func() {
		if _, err := c.Call(ctx, "s", nil); err == nil {
			t.Error("the call succeeded, want the error of its handler")
		}
	})
	<-entered
	stop()
	if !left.Load() {
		t.Error("stop returned before the handler")
	}
	call.Wait()
	stop() // again
	if _, err := c.Call(ctx, "s", nil); !errors.Is(err, ErrNobody) {
		t.Errorf("after stop: %v, want ErrNobody", err)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	c := embed(t, nil)
	ctx := soon(t)
	release := make(chan struct{})
	if _, err := c.Serve(ctx, "s", func(context.Context, []byte) ([]byte, error) { <-release; return nil, nil }); err != nil {
		t.Fatal(err)
	}
	defer close(release)
	lost := errors.New("lease lost")
	short, cancel := context.WithCancelCause(ctx)
	time.AfterFunc(10*time.Millisecond, func() { cancel(lost) })
	if _, err := c.Call(short, "s", nil); !errors.Is(err, lost) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestNews(t *testing.T) {
	c := embed(t, nil)
	ctx := soon(t)
	got := make(chan string, 10)
	hear := func(name, pattern string) func() {
		stop, err := c.Subscribe(ctx, pattern, func(ctx context.Context, news []byte) {
			got <- fmt.Sprintf("%s: %s in %d", name, news, Epoch(ctx))
		})
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	hear("one", "cancel.job-1")
	stop := hear("all", "cancel.*")
	publish := func(subject, news string, wants ...string) {
		t.Helper()
		if err := c.Publish(WithEpoch(ctx, 3), subject, []byte(news)); err != nil {
			t.Fatal(err)
		}
		var all []string
		for range wants {
			select {
			case s := <-got:
				all = append(all, s)
			case <-ctx.Done():
				t.Fatalf("got %q, want %q", all, wants)
			}
		}
		slices.Sort(all)
		if !slices.Equal(all, wants) {
			t.Errorf("got %q, want %q", all, wants)
		}
	}
	publish("cancel.job-1", "a", "all: a in 3", "one: a in 3")
	publish("cancel.job-2", "b", "all: b in 3")
	stop()
	publish("cancel.job-2", "lost")
	publish("cancel.job-1", "c", "one: c in 3")
	if err := c.Publish(ctx, "x", make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestAfterClose(t *testing.T) {
	c := embed(t, nil)
	ctx := soon(t)
	l, err := c.Log(ctx, "j")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	_, serve := c.Serve(ctx, "s", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	_, call := c.Call(ctx, "s", nil)
	_, open := c.Log(ctx, "j")
	for name, err := range map[string]error{"Serve": serve, "Call": call, "Log": open,
		"Publish": c.Publish(ctx, "s", nil), "Lead": l.Lead(ctx, 1)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}

func FuzzEnvelopes(f *testing.F) {
	f.Add(appendRequest(nil, 3, []byte("x")))
	f.Add(appendReply(nil, []byte("x"), nil))
	f.Add(appendReply(nil, nil, &RemoteError{"code", "text"}))
	f.Add((&entry{kind: kindRecords, body: appendRecord(appendRecord(nil, []byte("a")), nil)}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if epoch, p, err := parseRequest(b); err == nil && !bytes.Equal(appendRequest(nil, epoch, p), b) {
			t.Errorf("request %x is not what it was read as", b)
		}
		if p, err := parseReply(b); err == nil && !bytes.Equal(appendReply(nil, p, nil), b) {
			t.Errorf("reply %x is not what it was read as", b)
		}
		if e, err := parseEntry(1, b); err == nil {
			if !bytes.Equal(e.append(nil), b) {
				t.Errorf("entry %x is not what it was read as", b)
			}
			e.yield(func(Record, error) bool { return true })
		}
	})
}

func BenchmarkEmbed(b *testing.B) {
	for range b.N {
		c, err := Embed(nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		c.Close()
		b.StartTimer()
	}
}

func BenchmarkCall(b *testing.B) {
	c := embed(b, nil)
	ctx := context.Background()
	c.Serve(ctx, "s", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
	req := make([]byte, 256)
	b.ResetTimer()
	for range b.N {
		if _, err := c.Call(ctx, "s", req); err != nil {
			b.Fatal(err)
		}
	}
}
