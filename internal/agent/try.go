package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A try is one attempt under way. What it made counts, or is removed by giveUp.
type try struct {
	a     *Agent
	link  *link
	lease *coordinator.Lease
	began time.Time

	objects []plan.Object
	file    *os.File      // of the run, or of what a reducer merges early
	badRun  job.AttemptID // whose run could not be read as it was written
	run1    *run
	text    *upload // output to the store
	list    *upload // failed objects, likewise

	member *member // whose work this is; nil: it is no group's

	again  bool                // only Sums are wanted
	sample map[int]bool        // objects of the split of which a Sum is wanted
	sums   map[int]*runner.Sum // those that came

	wanted int      // keys of a sample, at most
	keys   [][]byte // those that came

	checked, unchecked int64         // objects that came out the same again, and that could not be compared
	checkCPU           time.Duration // of that

	reading reading // of its objects

	mu     sync.Mutex
	given  map[string]job.AttemptID // whose runs a reducer may have, by name
	failed map[int]string           // objects of the split, with the reason
	unread int64                    // of those: they never reached the runner
}

// An attemptError is what a runner says when an attempt cannot succeed in it, though the runner is well.
type attemptError string

func (e attemptError) Error() string { return string(e) }

// run does the work and returns what it came to.
func (t *try) run(ctx context.Context) (*coordinator.Result, error) {
	if t.a.job.Output != nil {
		t.text = &upload{out: t.a.job.Output, attempt: t.lease.Attempt.String(), key: t.a.job.Output.Pieces + store.Key("part-"+t.lease.Attempt.Task) + store.Key(job.Suffix(t.a.job.Hello.Format, t.a.job.Hello.Compress))}
	}
	if t.lease.Attempt.Task.IsReduce() {
		return t.reduce(ctx)
	}
	return t.mapSplit(ctx)
}

// serve takes the runner's frames until the attempt has ended in it.
func (t *try) serve(ctx context.Context) (*runner.Done, error) {
	for {
		k, payload, file, err := t.link.conn.Recv()
		if file != nil {
			_ = file.Close() // a runner has none to give
		}
		if err != nil {
			t.link.dead = true
			return nil, t.link.died(err)
		}
		switch k {
		case runner.KindFree:
			var slab uint32
			if _, err := runner.Uints(payload, &slab); err != nil || slab >= runner.Slabs {
				return nil, t.broken("slab", err)
			}
			if !t.link.back(slab) {
				return nil, t.broken("slab given back that was not lent", nil)
			}
		case runner.KindText, runner.KindMore:
			if t.again {
				return nil, t.broken("text of a check", nil)
			}
			if err := t.take(ctx, payload, k == runner.KindMore); err != nil {
				t.link.dead = true
				return nil, err
			}
		case runner.KindFailed:
			var i uint32
			reason, err := runner.Uints(payload, &i)
			if err != nil || int(i) >= len(t.objects) {
				return nil, t.broken("failed object", err)
			}
			t.fail(int(i), string(reason))
		case runner.KindSum:
			s := new(runner.Sum)
			if err := json.Unmarshal(payload, s); err != nil || !t.sample[int(s.Object)] {
				return nil, t.broken("sum", err)
			}
			if t.sums == nil {
				t.sums = make(map[int]*runner.Sum)
			}
			t.sums[int(s.Object)] = s
		case runner.KindKeys:
			keys, err := runner.Keys(payload)
			if t.keys = append(t.keys, keys...); err != nil || len(t.keys) > t.wanted {
				return nil, t.broken("keys", err)
			}
		case runner.KindLost:
			if t.badRun = t.gave(string(payload)); t.badRun.Task == "" {
				return nil, t.broken("lost run", nil)
			}
		case runner.KindAbort:
			return nil, attemptError(payload)
		case runner.KindOther:
			return nil, otherError(payload)
		case runner.KindDone:
			d := new(runner.Done)
			if err := json.Unmarshal(payload, d); err != nil {
				return nil, t.broken("report", err)
			}
			return d, nil
		default:
			return nil, t.broken(fmt.Sprintf("frame %c", k), nil)
		}
	}
}

// broken ends a runner that does not keep to the protocol.
func (t *try) broken(what string, err error) error {
	t.link.dead = true
	return errors.Join(fmt.Errorf("%w: %s", runner.ErrProtocol, what), err)
}

// take passes on text of the attempt.
func (t *try) take(ctx context.Context, p []byte, more bool) error {
	if t.member != nil {
		return t.member.take(ctx, p)
	}
	if t.text == nil {
		return t.a.job.Print(t.lease.Attempt, p, more)
	}
	return t.text.write(ctx, p)
}

// give notes that a reducer is given the run of an attempt.
func (t *try) give(a job.AttemptID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.given == nil {
		t.given = make(map[string]job.AttemptID)
	}
	t.given[a.String()] = a
}

// gave returns the attempt of that name whose run a reducer was given, a zero one if there is none.
func (t *try) gave(name string) job.AttemptID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.given[name]
}

// progress says how far the attempt is. It is called by others than the attempt's goroutines, before it ends.
func (t *try) progress() coordinator.Running {
	st := t.link.mem.Status()
	r := coordinator.Running{
		Attempt: t.lease.Attempt,
		Objects: st.Objects.Load(), Bytes: st.Bytes.Load(), Records: st.Records.Load(), Failed: st.Failed.Load(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, reason := range t.failed {
		r.Example = &job.FailedObject{URI: t.uri(i), Reason: reason, Task: t.lease.Attempt.Task}
		break
	}
	return r
}

func (t *try) fail(object int, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = make(map[int]string)
	}
	t.failed[object] = reason
}

// result adds up what the attempt came to, and seals its output.
func (t *try) result(ctx context.Context, d *runner.Done) (*coordinator.Result, error) {
	r := &coordinator.Result{Counters: job.Counters{
		Objects: d.Objects + t.unread + int64(len(t.lease.Skip)),
		Bytes:   d.Bytes, Emitted: d.Emitted, Output: d.Output, User: d.User,
		Checked: t.checked, Unchecked: t.unchecked,
		Queue: t.lease.Queued, Run: time.Since(t.began), CPU: time.Duration(d.CPUUser+d.CPUSystem) + t.checkCPU, PeakMemory: max(d.Peak, d.GuestPeak),
		Reads: d.Reads, ReadBytes: d.ReadBytes, Writes: d.Writes, WriteBytes: d.WriteBytes, LogLines: d.LogLines, LogDropped: d.LogDropped, Restored: d.Restored,
		Input: t.reading.total(),
	}, Partition: d.Partition}
	if s := t.lease.Split; s != nil && len(s.Nodes) > 0 {
		r.Counters.Input.Placed = 1
		if slices.Contains(s.Nodes, t.a.job.Sender.Node) {
			r.Counters.Input.Near = 1
		}
	}
	for i, reason := range t.lease.Skip {
		t.fail(i, reason)
	}
	r.Counters.Failed = int64(len(t.failed))
	var err error
	if t.text != nil {
		if t.lease.Attempt.Task.IsReduce() {
			err = t.text.open(ctx) // also an empty partition has its part
		}
		if err == nil {
			r.Part, err = t.text.seal(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, t.nameFailed(ctx, r)
}

// nameFailed lists the failed objects, in order.
func (t *try) nameFailed(ctx context.Context, r *coordinator.Result) error {
	if len(t.failed) == 0 {
		return nil
	}
	if t.a.job.Output != nil {
		n := t.lease.Attempt.Task[len("m-"):]
		t.list = &upload{out: t.a.job.Output, attempt: t.lease.Attempt.String(), key: store.Key("_failed/part-" + n + ".jsonl")}
	}
	for _, i := range slices.Sorted(maps.Keys(t.failed)) {
		f := job.FailedObject{URI: t.uri(i), Reason: t.failed[i], Task: t.lease.Attempt.Task}
		if len(r.Names) < coordinator.MaxNames {
			r.Names = append(r.Names, f)
		}
		if t.list == nil {
			continue
		}
		line, err := json.Marshal(f)
		if err == nil {
			err = t.list.write(ctx, append(line, '\n'))
		}
		if err != nil {
			return err
		}
	}
	if t.list == nil {
		return nil
	}
	var err error
	r.Failed, err = t.list.seal(ctx)
	return err
}

func (t *try) uri(i int) string {
	o := &t.objects[i]
	return t.a.job.Hello.Inputs[o.Input].Root + string(o.Key)
}

// failure tells whose fault the error was.
func (t *try) failure(err error) coordinator.Failure {
	f := coordinator.Failure{
		Sender: t.a.job.Sender, Attempt: t.lease.Attempt, Fault: coordinator.FaultTask, Object: -1, Reason: err.Error(),
	}
	var said attemptError
	switch {
	case errors.Is(err, errDiffers):
		f.Fault = coordinator.FaultJob
	case errors.As(err, &said) && t.badRun.Task != "":
		f.Fault, f.Run = coordinator.FaultRun, t.badRun
	case errors.As(err, &said):
		f.Fault = coordinator.FaultAttempt
	case errors.Is(err, store.ErrThrottled):
		f.Fault = coordinator.FaultStore
	case errors.Is(err, errDied):
		if i := int(t.link.mem.Status().Current.Load()) - 1; i >= 0 && i < len(t.objects) {
			f.Object, f.URI = i, t.uri(i)
		}
		if why := t.link.killed.Load(); why != nil {
			f.Fault, f.Reason = coordinator.FaultObject, *why
		} else if t.link.exit().OOM {
			f.Fault, f.Reason = coordinator.FaultObject, "guest memory limit: its runner was out of memory"
		}
	}
	if f.Fault == coordinator.FaultObject && f.Object < 0 {
		f.Fault = coordinator.FaultTask // a reduce, or between two objects
	}
	return f
}

// giveUp removes what the attempt made.
func (t *try) giveUp() error {
	// The job's context may be over; what a cancelled job made is to go all the same.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	for _, u := range []*upload{t.text, t.list} {
		if u != nil {
			err = errors.Join(err, u.discard(ctx))
		}
	}
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
	}
	return err
}
