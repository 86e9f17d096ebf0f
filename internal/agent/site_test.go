package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/identity"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle/flight"
	"github.com/millrace/millrace/shuffle/shuffletest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// A site is a job on several nodes, in this process: the real coordinator, agents and data plane, on loopback.
type site struct {
	t        testing.TB
	ca       *identity.Authority
	store    *mem.Store
	inputs   []plan.Input
	splits   []job.Split
	plan     *plan.Reader
	hello    runner.Hello
	launch   Launcher
	reducers int
	patience time.Duration
	coord    *coordinator.Coordinator
	running  sync.WaitGroup

	mu       sync.Mutex
	members  map[string]*resident // the last of each name
	unknown  int                  // how often it is not told where they are
	failures []coordinator.Failure
	missing  map[string]bool // what reduces said that they cannot have, and whether it was gone
}

// A resident is a node of a site.
type resident struct {
	*coordinator.Coordinator
	s       *site
	name    string
	number  uint64            // incarnation
	line    *shuffletest.Line // to it, if not nil
	id      *identity.Node
	flight  *flight.Node
	address string
	unplug  func() // ends its data plane
	agent   *Agent
	stop    context.CancelFunc
	ended   chan struct{}

	// What it does; set before it starts.
	maps, reduces bool
	before        func(l *coordinator.Lease) // a lease is worked on
}

// newSite plans a job over objects, so many a split.
func newSite(t testing.TB, j *job.Job, objects []string, split, reducers int) *site {
	t.Helper()
	s := &site{
		t: t, store: mem.New(), launch: InProcess(j), reducers: reducers, patience: 20 * time.Second,
		members: make(map[string]*resident), missing: make(map[string]bool),
	}
	for i, body := range objects {
		if _, err := s.store.Bucket("in").Put(t.Context(), objectKey(i), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	uri, err := store.ParseURI("mem:in/mail/")
	if err != nil {
		t.Fatal(err)
	}
	area := plan.NewDirArea(t.TempDir())
	s.inputs = []plan.Input{{URI: uri, Bucket: s.store.Bucket("in")}}
	_, err = plan.Build(t.Context(), s.inputs, area, &plan.Options{Split: split}, func(sp job.Split) error {
		s.splits = append(s.splits, sp)
		return nil
	})
	if err := errors.Join(err, area.Close()); err != nil {
		t.Fatal(err)
	}
	s.plan = plan.Open(area)
	s.hello = runner.Hello{Version: runner.Version, Format: job.Text, Inputs: []runner.Input{{Root: "mem:in/", Base: len("mail/")}}}
	if s.ca, err = identity.Create(filepath.Join(t.TempDir(), "ca"), "test"); err != nil {
		t.Fatal(err)
	}
	return s
}

type noLog struct{}

func (noLog) Append(context.Context, []byte) error { return nil }

// begin starts the coordinator.
func (s *site) begin() {
	m := coordinator.New(coordinator.Config{
		Job: "j", Epoch: 1, Reducers: s.reducers, Tolerates: func(failed, _ int64) bool { return failed == 0 },
	})
	s.coord = coordinator.Start(context.Background(), m, coordinator.Options{Log: noLog{}, Discard: s.store.Bucket("out").Discard})
	for _, sp := range s.splits {
		s.tell(coordinator.Planned{Split: sp})
	}
	s.tell(coordinator.Sealed{Digest: "d"})
	s.t.Cleanup(func() {
		s.coord.Close()
		s.running.Wait()
	})
}

func (s *site) tell(e coordinator.Event) {
	s.t.Helper()
	if err := s.coord.Tell(context.Background(), e); err != nil {
		s.t.Error(err)
	}
}

// node makes a node, which does not run yet, with a data plane of its own unless there was one of that name before.
func (s *site) node(name string, line *shuffletest.Line) *resident {
	s.t.Helper()
	n := &resident{Coordinator: s.coord, s: s, name: name, number: 1, line: line, maps: true, reduces: true, ended: make(chan struct{})}
	s.mu.Lock()
	if old := s.members[name]; old != nil {
		n.number, n.id, n.flight, n.address, n.unplug = old.number+1, old.id, old.flight, old.address, old.unplug
	}
	s.members[name] = n
	s.mu.Unlock()
	if n.flight != nil {
		return n
	}
	var err error
	if n.id, err = s.ca.Issue(identity.Agent, name, filepath.Join(s.t.TempDir(), name)); err != nil {
		s.t.Fatal(err)
	}
	n.flight, n.address, n.unplug = s.plane(n.id.TLS(identity.Agent), line)
	return n
}

// run starts a node's agent.
func (n *resident) run(slots int) {
	s := n.s
	pool := NewPool(s.launch)
	j := Job{
		Sender: coordinator.Sender{Job: "j", Epoch: 1, Node: n.name, Incarnation: n.number},
		Hello:  s.hello, Inputs: s.inputs, Plan: s.plan, SpillDir: s.t.TempDir(), Pool: pool, Slots: slots,
		Network: &Network{Flight: n.flight, Patience: s.patience},
		Output: &Output{
			Bucket: s.store.Bucket("out"), Prefix: "res/",
			Record: func(context.Context, string, store.Handle) error { return nil },
			Discard: func(ctx context.Context, _ string, h store.Handle) error {
				return s.store.Bucket("out").Discard(ctx, h)
			},
		},
	}
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	n.agent = New(ctx, j, n)
	s.running.Go(func() {
		defer close(n.ended)
		err := n.agent.Run(ctx)
		<-ctx.Done() // others may still want what it keeps
		if cerr := errors.Join(n.agent.Close(), pool.Close()); cerr != nil {
			s.t.Errorf("%s: close: %v", n.name, cerr)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			s.t.Errorf("%s: %v", n.name, err)
		}
	})
	s.t.Cleanup(n.die)
}

// die ends the agent, with all that it keeps. Its data plane stays.
func (n *resident) die() {
	n.stop()
	<-n.ended
}

// said returns what agents have said of failed attempts and of missing runs.
func (s *site) said() ([]coordinator.Failure, map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failures), maps.Clone(s.missing)
}

// keeps returns how many runs a node keeps.
func (n *resident) keeps() int {
	n.agent.runs.mu.Lock()
	defer n.agent.runs.mu.Unlock()
	return len(n.agent.runs.kept)
}

// addresses are what agents are told of each other: also of an earlier incarnation, which the agent there is to refuse.
func (s *site) addresses() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]string)
	if s.unknown > 0 {
		s.unknown--
		return all
	}
	for name, n := range s.members {
		all[name] = n.address
	}
	return all
}

// Want asks for work of the kind that the node does, and gives other work back.
func (n *resident) Want(ctx context.Context, w coordinator.Want) (coordinator.Lease, error) {
	for {
		l, err := n.Coordinator.Want(ctx, w)
		if err != nil || l.Over || l.Idle {
			return l, err
		}
		if reduce := l.Attempt.Task.IsReduce(); reduce && n.reduces || !reduce && n.maps {
			if n.before != nil {
				n.before(&l)
			}
			if l.Attempt.Task.IsReduce() {
				l.Addresses = n.s.addresses()
			}
			return l, nil
		}
		_, err = n.Coordinator.Fail(ctx, coordinator.Failure{Sender: w.Sender, Attempt: l.Attempt, Fault: coordinator.FaultStore, Object: -1})
		if err != nil {
			return l, err
		}
		time.Sleep(10 * time.Millisecond) // for somebody else to ask
	}
}

func (n *resident) Fail(ctx context.Context, f coordinator.Failure) (coordinator.Verdict, error) {
	n.s.mu.Lock()
	n.s.failures = append(n.s.failures, f)
	n.s.mu.Unlock()
	return n.Coordinator.Fail(ctx, f)
}

func (n *resident) Follow(ctx context.Context, f coordinator.Follow) (coordinator.Arrivals, error) {
	n.s.mu.Lock()
	for _, x := range f.Missing {
		n.s.missing[x.Run.String()] = x.Gone
	}
	n.s.mu.Unlock()
	a, err := n.Coordinator.Follow(ctx, f)
	a.Addresses = n.s.addresses()
	return a, err
}

func (n *resident) Beat(context.Context, coordinator.Beat) error { return nil }

// parts waits for the end of the job and returns what each reduce has published.
func (s *site) parts() map[job.TaskID]string {
	s.t.Helper()
	select {
	case <-s.coord.Ended():
	case <-time.After(2 * time.Minute):
		s.t.Fatalf("no end: %+v", s.coord.Progress())
	}
	o, err := s.coord.Outcome()
	if err != nil {
		s.t.Fatal(err)
	}
	texts := make(map[job.TaskID]string)
	l := lab{store: s.store}
	for task, r := range o.Parts {
		if task.IsReduce() {
			texts[task] = l.text(s.t.(*testing.T), r.Part)
		}
	}
	return texts
}

// alone returns what one node publishes.
func alone(t *testing.T, j *job.Job, objects []string, split, reducers int) map[job.TaskID]string {
	t.Helper()
	s := newSite(t, j, objects, split, reducers)
	s.begin()
	s.node("alone", nil).run(2)
	return s.parts()
}

// same compares what was published.
func same(t *testing.T, got, want map[job.TaskID]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d parts, want %d", len(got), len(want))
	}
	size := 0
	for task, text := range want {
		if got[task] != text {
			t.Errorf("%s: %d bytes that are not the %d wanted", task, len(got[task]), len(text))
		}
		size += len(text)
	}
	if size == 0 {
		t.Error("nothing was published")
	}
}

// lines returns objects of random words.
func lines(objects, words int) (all []string) {
	r := rand.New(rand.NewPCG(1, 2))
	for range objects {
		var b strings.Builder
		for range words {
			fmt.Fprintf(&b, "w%x ", r.IntN(words*objects/4+1))
		}
		all = append(all, b.String())
	}
	return all
}

// plane starts a data plane, reached over a line if that is not nil.
func (s *site) plane(config *tls.Config, line *shuffletest.Line) (n *flight.Node, address string, unplug func()) {
	s.t.Helper()
	l := listen(s.t)
	address = l.Addr().String()
	if line != nil {
		front := listen(s.t)
		address = front.Addr().String()
		var accepting sync.WaitGroup
		back := l.Addr().String()
		accepting.Go(func() {
			for {
				c, err := front.Accept()
				if err != nil {
					return
				}
				b, err := net.Dial("tcp", back)
				if err != nil {
					_ = c.Close()
					continue
				}
				line.Connect(c, b)
			}
		})
		s.t.Cleanup(func() {
			_ = front.Close()
			line.Close()
			accepting.Wait()
		})
	}
	n, err := flight.Listen(l, flight.Options{TLS: config, Address: address, Silence: time.Minute, Patience: time.Minute})
	if err != nil {
		s.t.Fatal(err)
	}
	unplug = sync.OnceFunc(func() {
		if err := n.Close(); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(unplug)
	return n, address, unplug
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
