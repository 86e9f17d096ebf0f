package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/locate"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// A script is a coordinator that gives out leases, one after another, and keeps what it hears.
type script struct {
	refuse bool // commits do not count

	mu       sync.Mutex
	leases   []coordinator.Lease
	arrivals []coordinator.Arrivals // for reduces that follow, in place of all at once; the last has the runs
	commits  []coordinator.Commit
	failures []coordinator.Failure
}

func (s *script) Want(context.Context, coordinator.Want) (coordinator.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leases) == 0 {
		return coordinator.Lease{Over: true}, nil
	}
	l := s.leases[0]
	s.leases = s.leases[1:]
	if l.Attempt.Task.IsReduce() && len(s.arrivals) == 0 { // of all that was mapped
		l.Runs, l.All = s.runs(), true
	}
	return l, nil
}

// runs returns those of all that was mapped.
func (s *script) runs() (runs []coordinator.Run) {
	for _, c := range s.commits {
		if c.Result.Vector != 0 && !c.Attempt.Task.IsReduce() {
			runs = append(runs, coordinator.Run{Attempt: c.Attempt, Vector: c.Result.Vector})
		}
	}
	return runs
}

func (s *script) Follow(ctx context.Context, f coordinator.Follow) (coordinator.Arrivals, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.arrivals) == 0 {
		return coordinator.Arrivals{Gone: true}, nil
	}
	a := s.arrivals[0]
	s.arrivals = s.arrivals[1:]
	if a.All {
		a.Runs = s.runs()
	}
	return a, nil
}

func (s *script) Commit(_ context.Context, c coordinator.Commit) (coordinator.Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = append(s.commits, c)
	return coordinator.Verdict{Accepted: !s.refuse}, nil
}

func (s *script) Fail(_ context.Context, f coordinator.Failure) (coordinator.Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, f)
	return coordinator.Verdict{Accepted: true}, nil
}

func (s *script) Beat(context.Context, coordinator.Beat) error { return nil }

// A lab is a node with one job, in this process.
type lab struct {
	*script
	store  *mem.Store
	input  store.Bucket // as the agent sees it
	scheme string       // as which the agent sees it; "": mem
	launch Launcher     // nil: in process
	splits []job.Split
	hello  runner.Hello // beside what is the same for all
	code   *os.File
	verify bool // a sample is mapped again
	disks  []locate.Disk
	noted  int // uploads written down and not given up
	agent  *Agent
}

func objectKey(i int) store.Key { return store.Key(fmt.Sprintf("mail/%04d", i)) }

// newLab returns a lab whose store holds n objects "mail/000…" with the text that body returns.
func newLab(t *testing.T, n int, body func(i int) string) *lab {
	t.Helper()
	l := &lab{script: &script{}, store: mem.New()}
	l.input = l.store.Bucket("in")
	for i := range n {
		if _, err := l.store.Bucket("in").Put(t.Context(), objectKey(i), []byte(body(i))); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// open plans what the store holds and starts the agent, which is closed with the test. Its first runner is ready.
func (l *lab) open(t *testing.T, j *job.Job, readers int) {
	t.Helper()
	if l.launch == nil {
		l.launch = InProcess(j)
	}
	l.start(t, readers)
	if _, err := l.agent.MapOnly(); err != nil {
		t.Fatal(err)
	}
}

// start is open without a wait for the first runner.
func (l *lab) start(t *testing.T, readers int) {
	t.Helper()
	uri, err := store.ParseURI("mem:in/mail/")
	if err != nil {
		t.Fatal(err)
	}
	area := plan.NewDirArea(t.TempDir())
	inputs := []plan.Input{{URI: uri, Bucket: l.store.Bucket("in")}}
	_, err = plan.Build(t.Context(), inputs, area, &plan.Options{}, func(s job.Split) error {
		l.splits = append(l.splits, s)
		return nil
	})
	if err := errors.Join(err, area.Close()); err != nil {
		t.Fatal(err)
	}
	inputs[0].Bucket = l.input
	if l.scheme != "" {
		inputs[0].URI.Scheme = l.scheme
	}
	pool := NewPool(l.launch)
	l.hello.Version, l.hello.Format, l.hello.Inputs = runner.Version, job.Text, []runner.Input{{Root: "mem:in/", Base: len("mail/")}}
	l.agent = New(t.Context(), Job{
		Sender: coordinator.Sender{Job: "j", Epoch: 1, Node: "n", Incarnation: 1},
		Hello:  l.hello, Code: l.code,
		Inputs: inputs, Plan: plan.Open(area), SpillDir: t.TempDir(), Pool: pool, Slots: 1, Readers: readers, Check: l.verify, Disks: l.disks,
		Output: &Output{
			Bucket: l.store.Bucket("out"), Prefix: "res/",
			Record: func(context.Context, string, store.Handle) error { l.noted++; return nil },
			Discard: func(ctx context.Context, _ string, h store.Handle) error {
				l.noted--
				return l.store.Bucket("out").Discard(ctx, h)
			},
		},
	}, l)
	t.Cleanup(func() {
		if err := errors.Join(l.agent.Close(), pool.Close()); err != nil {
			t.Error(err)
		}
	})
}

// lease has the next lease be one for a task.
func (l *lab) lease(try int, task job.TaskID, partitions int) {
	lease := coordinator.Lease{Attempt: job.AttemptID{Task: task, Try: try}, Partitions: partitions}
	for i := range l.splits {
		if l.splits[i].Task == task {
			lease.Split = &l.splits[i]
		}
	}
	l.leases = append(l.leases, lease)
}

// work has the agent do all that was leased.
func (l *lab) work(t *testing.T) {
	t.Helper()
	if err := l.agent.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// text publishes a part and returns what it holds.
func (l *lab) text(t *testing.T, p *store.Pending) string {
	t.Helper()
	if p == nil {
		return ""
	}
	b := l.store.Bucket("out")
	o, err := b.Publish(t.Context(), *p)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, o.Size)
	if err := store.ReadWhole(t.Context(), b, o, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// sums emits the key, the size and the checksum of each object.
func sums() *job.Job {
	return job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		h := crc32.NewIEEE()
		n, err := io.Copy(h, obj)
		if err != nil {
			return err
		}
		emit(sum(obj.Key, n, h.Sum32()))
		return nil
	})
}

func sum(key string, size int64, crc uint32) string { return fmt.Sprintf("%s %d %08x", key, size, crc) }

func words() *job.Job {
	return job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
		for _, w := range strings.Fields(string(obj.Data)) {
			emit(w, 1)
		}
		return nil
	}, reducer.Sum[int64]())
}
