package flight_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// asked asks a node and returns the answer.
func asked(t *testing.T, from *flight.Node, address, name, question string) (string, error) {
	t.Helper()
	r, err := from.Ask(address, name, mapper, []byte(question), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestAsk(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	to, from := nodeOn(t, l, flight.Options{}), node(t, flight.Options{})
	forget, err := to.Answer("echo", func(_ context.Context, q *flight.Question) (io.ReadCloser, error) {
		switch text := string(q.Text); text {
		case "stale":
			return nil, fmt.Errorf("%w: of yesterday", shuffle.ErrStale)
		case "bad":
			return nil, errors.New("no such thing")
		default:
			return io.NopCloser(strings.NewReader(fmt.Sprintf("%s asks %s: %s", q.Peer.Subject.CommonName, q.Stamp, text))), nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := asked(t, from, address, "echo", "what?"); got != "node asks "+mapper.String()+": what?" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := asked(t, from, address, "echo", "stale"); !errors.Is(err, shuffle.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	if _, err := asked(t, from, address, "echo", "bad"); !errors.Is(err, shuffle.ErrAborted) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v, want ErrAborted and the reason", err)
	}
	if _, err := to.Answer("echo", nil); err == nil {
		t.Error("two answer to one name")
	}
	to.Advance(mapper.Job, mapper.Epoch+1)
	if _, err := asked(t, from, address, "echo", "what?"); !errors.Is(err, shuffle.ErrStale) {
		t.Errorf("in a later epoch: %v, want ErrStale", err)
	}
	forget()
	if _, err := asked(t, from, address, "echo", "what?"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("nobody answers any more: %v, want an error", err)
	}
	for _, name := range []string{"", strings.Repeat("n", 65)} {
		if _, err := to.Answer(name, nil); err == nil {
			t.Errorf("Answer(%q): no error", name)
		}
		if _, err := from.Ask(address, name, mapper, nil, nil); err == nil {
			t.Errorf("Ask(%q): no error", name)
		}
	}
	if _, err := from.Ask(address, "echo", mapper, make([]byte, flight.MaxQuestion+1), nil); err == nil {
		t.Error("a question that is too long: no error")
	}
	if _, err := from.Ask(address, "echo", flight.Stamp{}, nil, nil); err == nil {
		t.Error("a question of nobody: no error")
	}
}
