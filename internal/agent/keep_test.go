package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// keptRun returns a run of two partitions, in a file that holds "0123456789", and the runs that it is among.
func keptRun(t testing.TB) (*runs, coordinator.Run) {
	t.Helper()
	f, err := newSpill(t.TempDir())
	if err == nil {
		_, err = f.WriteString("0123456789")
	}
	if err != nil {
		t.Fatal(err)
	}
	rs := &runs{}
	t.Cleanup(func() {
		if err := rs.close(); err != nil {
			t.Error(err)
		}
	})
	sections := []shuffle.Section{
		{Partition: 0, Offset: 0, Length: 2, Records: 1, Emitted: 1, Digest: 7},
		{Partition: 1, Offset: 2, Length: 3, Records: 1, Emitted: 2, Digest: 8},
		{Partition: 1, Offset: 7, Length: 2, Records: 2, Emitted: 2, Digest: 9},
	}
	id := job.AttemptID{Task: "m-00000", Try: 1}
	rs.add(id, &run{f, sections, 10})
	return rs, coordinator.Run{Attempt: id, Node: "a", Incarnation: 1, Vector: vector(sections)}
}

func TestWhoMayHaveRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, words(), lines(1, 1), 1, 1)
	rs, kept := keptRun(t)
	issue := func(role identity.Role, name string) *identity.Node {
		n, err := s.ca.Issue(role, name, filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	keeps := issue(identity.Agent, "a")
	open, openAt, _ := s.plane(keeps.TLS(identity.Agent, identity.Client), nil) // as where clients fetch other things
	k := &keeper{job: "j", node: "a", incarnation: 1, runs: rs, reading: make(chan struct{}, 1)}
	forget, err := open.Answer(runsOf("j"), k.answer)
	if err != nil {
		t.Fatal(err)
	}
	defer forget()
	_, closedAt, _ := s.plane(keeps.TLS(identity.Agent), nil)
	other := newSite(t, words(), lines(1, 1), 1, 1)
	stranger, err := other.ca.Issue(identity.Agent, "b", filepath.Join(t.TempDir(), "stranger"))
	if err != nil {
		t.Fatal(err)
	}
	good := flight.Stamp{Job: "j", Task: "r-00001", Attempt: 1, Incarnation: 1, Epoch: 1}
	ask := question{node: "a", partition: 1, runs: []coordinator.Run{kept}}.encode()
	for _, c := range []struct {
		name    string
		id      *identity.Node
		address string
		change  func(s *flight.Stamp)
		ask     []byte
		is      error
		says    string
	}{
		{name: "an agent", ask: ask},
		{name: "a client", id: issue(identity.Client, "me"), ask: ask, is: shuffle.ErrAborted, says: "client me may not have runs"},
		{name: "a client where none may speak", id: issue(identity.Client, "me"), address: closedAt, ask: ask, is: io.ErrUnexpectedEOF},
		{name: "an agent of another authority", id: stranger, ask: ask, is: io.ErrUnexpectedEOF},
		{name: "for an earlier incarnation", change: func(s *flight.Stamp) { s.Incarnation = 0 }, ask: ask, is: shuffle.ErrStale},
		{name: "for a later incarnation", change: func(s *flight.Stamp) { s.Incarnation = 2 }, ask: ask, is: shuffle.ErrStale},
		{name: "for another job", change: func(s *flight.Stamp) { s.Job = "k" }, ask: ask, is: shuffle.ErrStale},
		{name: "for another node", ask: question{node: "b", partition: 1}.encode(), is: shuffle.ErrStale},
		{name: "no question", ask: []byte{9}, is: shuffle.ErrAborted, says: "not a question for runs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stamp := good
			if c.change != nil {
				c.change(&stamp)
			}
			if c.id == nil {
				c.id = issue(identity.Agent, "b")
			}
			if c.address == "" {
				c.address = openAt
			}
			patience := time.Minute
			if c.is == io.ErrUnexpectedEOF { // no connection comes about
				patience = 300 * time.Millisecond
			}
			from, err := flight.Listen(listen(t), flight.Options{TLS: c.id.TLS(identity.Agent), Silence: patience, Patience: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			r, err := from.Ask(c.address, runsOf("j"), stamp, c.ask, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if c.is != nil {
				if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || len(b) > 0 {
					t.Errorf("got %d bytes, %v, want %v, %q", len(b), err, c.is, c.says)
				}
				return
			}
			if err != nil || !strings.HasSuffix(string(b), "23478") {
				t.Errorf("got %q, %v, want its bytes", b, err)
			}
		})
	}
}

// answered reads an answer.
func answered(t *testing.T, k *keeper, q *question) []byte {
	t.Helper()
	a := &delivery{ctx: t.Context(), k: k, q: q}
	b, err := io.ReadAll(a)
	if err = errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswer(t *testing.T) {
	rs, kept := keptRun(t)
	k := &keeper{runs: rs, reading: make(chan struct{}, 1)}
	other := kept
	other.Attempt.Try = 2
	empty := answered(t, k, &question{partition: 2, runs: []coordinator.Run{kept, other}})
	if want := []byte{stateHere, 0, 0, 0, 0, stateGone, 0, 0, 0, 0}; !bytes.Equal(empty, want) {
		t.Errorf("of an empty partition, and of a run that is not there: %v, want %v", empty, want)
	}
	b := answered(t, k, &question{partition: 1, runs: []coordinator.Run{kept}})
	if !bytes.Equal(b, answered(t, k, &question{partition: 1, runs: []coordinator.Run{kept}})) {
		t.Error("asked again, the answer is another")
	}
	f := testFetcher(t, 1)
	w := &want{run: kept}
	f.wants[kept.Attempt.Task] = w
	if err := f.receive(bufio.NewReader(bytes.NewReader(b)), w); err != nil {
		t.Fatal(err)
	}
	came, all, err := f.take()
	if err != nil || !all || len(came) != 1 || len(came[0].Sections) != 2 || came[0].Sections[1].Offset != 3 || came[0].Sections[1].Digest != 9 {
		t.Fatalf("came %+v, all: %t, %v", came, all, err)
	}
	got := make([]byte, 5)
	if _, err := came[0].file.ReadAt(got, 0); err != nil || string(got) != "23478" {
		t.Errorf("the file has %q, %v", got, err)
	}
}

// testFetcher returns one that asks nobody.
func testFetcher(t testing.TB, partition int) *fetcher {
	a := &Agent{job: Job{SpillDir: t.TempDir(), Network: &Network{}}}
	f := newFetcher(context.Background(), &try{a: a, lease: &coordinator.Lease{Partition: partition}})
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Only so many answers are given at once; an asker who waits may go.
func TestAnswersTakeTurns(t *testing.T) {
	rs, kept := keptRun(t)
	k := &keeper{runs: rs, reading: make(chan struct{}, 1)}
	q := &question{partition: 1, runs: []coordinator.Run{kept}}
	first := &delivery{ctx: t.Context(), k: k, q: q}
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	gone := &delivery{ctx: ctx, k: k, q: q}
	stop()
	if _, err := gone.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it gives up", err)
	}
	second := make(chan error, 1)
	go func() {
		a := &delivery{ctx: t.Context(), k: k, q: q}
		_, err := io.Copy(io.Discard, a)
		second <- errors.Join(err, a.Close())
	}()
	if err := errors.Join(gone.Close(), first.Close()); err != nil {
		t.Error(err)
	}
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func FuzzQuestion(f *testing.F) {
	run := coordinator.Run{Attempt: job.AttemptID{Task: "m-00042", Try: 2}, Vector: 7}
	f.Add(question{node: "a", partition: 3, runs: []coordinator.Run{run, run}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseQuestion(b)
		if err != nil {
			if !errors.Is(err, shuffle.ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
			return
		}
		if again := q.encode(); !bytes.Equal(again, b) {
			t.Errorf("%+v comes from %x, not %x", q, again, b)
		}
	})
}

// Whatever is answered, what is taken for a run lies where its table says.
func FuzzAnswer(f *testing.F) {
	rs, kept := keptRun(f)
	k := &keeper{runs: rs, reading: make(chan struct{}, 1)}
	b, err := io.ReadAll(&delivery{ctx: context.Background(), k: k, q: &question{partition: 1, runs: []coordinator.Run{kept}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{stateGone, 0, 0, 0, 0})
	f.Add(binary.LittleEndian.AppendUint32([]byte{stateHere}, maxSections))
	f.Fuzz(func(t *testing.T, b []byte) {
		fe := testFetcher(t, 1)
		w := &want{run: kept}
		fe.wants[kept.Attempt.Task] = w
		err := fe.receive(bufio.NewReader(bytes.NewReader(b)), w)
		came, all, _ := fe.take()
		switch {
		case err != nil || w.gone != "":
			if len(came) > 0 {
				t.Errorf("%v, and came %+v", err, came)
			}
			return
		case len(came) != 1 || !all:
			t.Fatalf("came %+v", came)
		}
		at := int64(0)
		for _, s := range came[0].Sections {
			if s.Partition != 1 || s.Offset != at {
				t.Errorf("sections %+v", came[0].Sections)
			}
			at += s.Length
		}
		if at > int64(len(b)) || at != fe.end {
			t.Errorf("%d bytes of %d, room for %d", at, len(b), fe.end)
		}
	})
}
