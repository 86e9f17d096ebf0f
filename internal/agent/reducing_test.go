package agent

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
)

// countingLab returns a lab that counts words, and how many runners it has started.
func countingLab(t *testing.T) (*lab, *atomic.Int64) {
	l := newLab(t, 3, func(int) string { return "to be or not to be" })
	started := new(atomic.Int64)
	start := InProcess(words())
	l.launch = func(ctx context.Context, socket, memory *os.File) (Process, error) {
		started.Add(1)
		return start(ctx, socket, memory)
	}
	l.open(t, words(), 0)
	return l, started
}

const wordCounts = "be\t6\nnot\t3\nor\t3\nto\t6\n"

// A reduce begins before the runs are there, and asks for them.
func TestReduceFollows(t *testing.T) {
	l, _ := countingLab(t)
	l.arrivals = []coordinator.Arrivals{{}, {Next: 1}, {All: true}}
	l.lease(1, "m-00000", 1)
	l.lease(1, "r-00000", 1)
	l.work(t)
	if len(l.commits) != 2 || len(l.failures) > 0 {
		t.Fatalf("commits %+v, failures %+v", l.commits, l.failures)
	}
	r := l.commits[1].Result
	if got := l.text(t, r.Part); got != wordCounts {
		t.Errorf("got %q, want %q", got, wordCounts)
	}
	if want := coordinator.Merged(map[job.TaskID]uint64{"m-00000": l.commits[0].Result.Vector}); r.Vector != want {
		t.Errorf("has merged %x, want %x", r.Vector, want)
	}
}

// A map that was done again is merged once.
func TestReduceIsToldTwice(t *testing.T) {
	l, _ := countingLab(t)
	l.lease(1, "m-00000", 1)
	l.lease(2, "m-00000", 1)
	l.lease(1, "r-00000", 1)
	l.work(t)
	if len(l.commits) != 3 {
		t.Fatalf("commits %+v, failures %+v", l.commits, l.failures)
	}
	if got := l.text(t, l.commits[2].Result.Part); got != wordCounts {
		t.Errorf("got %q, want %q", got, wordCounts)
	}
}

// A reduce that is given back is reported neither as done nor as failed, leaves nothing, and its runner goes on.
func TestReduceGivenBack(t *testing.T) {
	l, started := countingLab(t)
	l.arrivals = []coordinator.Arrivals{{}, {Gone: true}, {All: true}}
	l.lease(1, "m-00000", 1)
	l.lease(1, "r-00000", 1)
	l.lease(2, "r-00000", 1)
	l.work(t)
	if len(l.commits) != 2 || l.commits[1].Attempt.Try != 2 || len(l.failures) > 0 {
		t.Fatalf("commits %+v, failures %+v", l.commits, l.failures)
	}
	if got := l.text(t, l.commits[1].Result.Part); got != wordCounts {
		t.Errorf("got %q, want %q", got, wordCounts)
	}
	if n := started.Load(); n != 1 {
		t.Errorf("%d runners were started, want 1", n)
	}
	if l.noted != 1 {
		t.Errorf("%d uploads are written down, want that of the second attempt", l.noted)
	}
}

// A runner that does not give up is ended.
func TestRunnerKeepsOn(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1, func(int) string { return "" })
	l.arrivals = []coordinator.Arrivals{{Gone: true}}
	l.launch = func(_ context.Context, socket, _ *os.File) (Process, error) {
		fd, err := unix.FcntlInt(socket.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		conn, err := runner.NewConn(os.NewFile(uintptr(fd), "agent"))
		if err != nil {
			return nil, err
		}
		d := &deaf{conn: conn}
		d.wg.Go(d.run)
		return d, nil
	}
	l.start(t, 0)
	l.lease(1, "r-00000", 1)
	began := time.Now()
	l.work(t)
	if took := time.Since(began); took < patience || len(l.commits) > 0 || len(l.failures) > 0 {
		t.Errorf("ended after %v: commits %+v, failures %+v", took, l.commits, l.failures)
	}
}

// A deaf runner answers its Hello and then takes what it is sent.
type deaf struct {
	conn *runner.Conn
	wg   sync.WaitGroup
}

func (d *deaf) run() {
	err := d.conn.SendJSON(runner.KindReady, runner.Ready{Description: guest.Description{ABI: guest.ABI}})
	for err == nil {
		var file *os.File
		if _, _, file, err = d.conn.Recv(); file != nil {
			_ = file.Close()
		}
	}
}

func (d *deaf) Kill() { d.conn.Hang() }

func (d *deaf) Wait() Exit {
	d.wg.Wait()
	_ = d.conn.Close()
	return Exit{Text: "killed"}
}
