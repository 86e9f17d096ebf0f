package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// Subjects of calls by clients.
const (
	apiSubmit = "api.submit" // a submission; the answer is an accepted
	apiJobs   = "api.jobs"   // the answer is a list of Status, without results
	apiJob    = "api.job"    // a question; the answer is a Status
	apiWait   = "api.wait"   // likewise, when the job has ended or after a while
	apiCancel = "api.cancel" // likewise, at once
)

// A submission asks for a job. Its client has chosen the name of the job, so that it can ask again.
type submission struct {
	Job         string   `json:"job"`
	Spec        job.Spec `json:"spec"` // programs have digests and no paths
	Sorted      bool     `json:"sorted,omitempty"`
	MaxRequests int64    `json:"max_requests,omitempty"` // that the job may need, 0: any number
}

// An accepted answers it.
type accepted struct {
	Epoch  uint64 `json:"epoch"`
	Origin uint64 `json:"origin"`
	// Programs are where the client is to send programs that nobody has, by digest.
	Programs map[string]shuffle.Descriptor `json:"programs,omitempty"`
	// Text is where the client reads what the job prints. If it does not, or stops before the end, the job is cancelled.
	Text shuffle.Descriptor `json:"text,omitempty"`
}

type question struct {
	Job string `json:"job"`
}

// A State is what is to be said of a job in a word. It only moves forward.
type State string

// States.
const (
	Accepted  State = "accepted" // it waits for its programs, for an agent, or for its output
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended reports whether a job of that state needs nothing any more.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled }

// A Status describes a job.
type Status struct {
	Job      string       `json:"job"`
	Name     string       `json:"name,omitempty"`
	State    State        `json:"state"`
	Began    time.Time    `json:"began"`
	Took     int64        `json:"took_ns"` // so far
	Error    string       `json:"error,omitempty"`
	Progress job.Progress `json:"progress,omitzero"`
	Result   *job.Result  `json:"result,omitempty"` // of a job that succeeded, without its parts if they are many
}

// serve answers clients.
func (t *term) serve() error {
	for subject, h := range map[string]cluster.Handler{
		apiSubmit: api(t, t.submit),
		apiJobs:   api(t, t.list),
		apiJob:    api(t, t.status),
		apiWait:   api(t, t.wait),
		apiCancel: api(t, t.cancel),
	} {
		stop, err := t.s.o.Cluster.Serve(t.ctx, subject, h)
		if err != nil {
			return err
		}
		t.stops = append(t.stops, stop)
	}
	return nil
}

// api makes a handler of calls out of a method.
func api[Q, A any](t *term, f func(context.Context, *Q) (A, error)) cluster.Handler {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		var q Q
		if err := json.Unmarshal(req, &q); err != nil {
			return nil, err
		}
		a, err := f(ctx, &q)
		if t.ctx.Err() != nil {
			return nil, errDeposed
		}
		if err != nil {
			return nil, err
		}
		return json.Marshal(a)
	}
}

// maxListed bounds the jobs of one list.
const maxListed = 1000

// list returns the jobs that came last.
func (t *term) list(context.Context, *struct{}) ([]Status, error) {
	t.mu.Lock()
	var all []Status
	for _, j := range t.jobs {
		s := j.status()
		s.Result = nil
		all = append(all, s)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.Job, b.Job)) })
	return all[:min(len(all), maxListed)], nil
}

func (t *term) tracked(id string) (*tracked, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j := t.jobs[id]; j != nil {
		return j, nil
	}
	return nil, &cluster.RemoteError{Code: "unknown", Text: fmt.Sprintf("no job %.70q", id)}
}

func (t *term) status(_ context.Context, q *question) (Status, error) {
	j, err := t.tracked(q.Job)
	if err != nil {
		return Status{}, err
	}
	return j.status(), nil
}

func (t *term) wait(ctx context.Context, q *question) (Status, error) {
	j, err := t.tracked(q.Job)
	if err != nil {
		return Status{}, err
	}
	late := time.NewTimer(hold)
	defer late.Stop()
	select {
	case <-j.done:
	case <-late.C:
	case <-ctx.Done():
	}
	return j.status(), nil
}

// errCancelled ends a job that its user does not want any more.
var errCancelled = errors.New("cancelled")

func (t *term) cancel(_ context.Context, q *question) (Status, error) {
	j, err := t.tracked(q.Job)
	if err != nil {
		return Status{}, err
	}
	j.stop(errCancelled)
	return j.status(), nil
}
