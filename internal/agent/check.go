package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// The sample of a check: objects are chosen by a hash of their key, so that the next job chooses the same.
const (
	sampleRate = 100  // one of so many
	sampleMin  = 16   // of each of the first splits, and that many splits
	sampleMax  = 1000 // of a job, on one node: those that are mapped first
	shownDiffs = 5    // named by an error
)

// A check maps a sample of objects again, each by a runner that is no slot's, and compares. It serves all slots of an agent.
type check struct {
	again []*again
	taken atomic.Int64 // objects in samples so far
}

// An again is a runner that maps objects again, one at a time. It is started when it is first needed.
type again struct {
	how   string // for people
	hello runner.Hello
	code  *os.File

	mu   sync.Mutex
	link *link // nil: none
}

// errDiffers says that a program is not deterministic.
var errDiffers = errors.New("the program is not deterministic")

func newCheck(j *Job) *check {
	c := &check{again: []*again{{how: "in another process", hello: j.Hello, code: j.Code}}}
	if j.Module != nil {
		h := j.Hello
		h.Interpret = true
		c.again = append(c.again, &again{how: "by the interpreter", hello: h, code: j.Module})
	}
	return c
}

// sample chooses the objects of t's split that are mapped again.
func (c *check) sample(t *try) map[int]bool {
	type candidate struct {
		object int
		hash   uint64
	}
	var all []candidate
	for i := range t.objects {
		if _, skip := t.lease.Skip[i]; !skip {
			all = append(all, candidate{i, xxh3.HashString(string(t.objects[i].Key))})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.hash%sampleRate, b.hash%sampleRate), cmp.Compare(a.hash, b.hash))
	})
	n := 0
	for n < len(all) && all[n].hash%sampleRate == 0 {
		n++
	}
	if t.lease.Attempt.Task.Compare(job.MapTask(sampleMin)) < 0 {
		n = max(n, min(sampleMin, len(all)))
	}
	over := c.taken.Add(int64(n)) - sampleMax
	n = max(0, n-int(max(0, over)))
	chosen := make(map[int]bool, n)
	for _, x := range all[:n] {
		chosen[x.object] = true
	}
	return chosen
}

// run maps t's sample again. An error that is errDiffers names the objects that did not come out as they had.
func (c *check) run(ctx context.Context, t *try) error {
	var differ []string
	objects := slices.Sorted(maps.Keys(t.sums))
	for _, i := range objects {
		open := t.sums[i].Open()
		same := true
		for n := 0; n < len(c.again) && same && !open; n++ {
			sum, err := c.again[n].sum(ctx, t, i)
			if err != nil {
				return err
			}
			if open = sum == nil || sum.Open(); open {
				continue
			}
			if what := t.sums[i].Differs(sum); what != "" {
				differ = append(differ, fmt.Sprintf("%s: %s, %s", t.uri(i), what, c.again[n].how))
				same = false
			}
		}
		switch {
		case open:
			t.unchecked++
		case same:
			t.checked++
		}
	}
	if len(differ) == 0 {
		return nil
	}
	text := strings.Join(differ[:min(len(differ), shownDiffs)], "; ")
	if n := len(differ) - shownDiffs; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return fmt.Errorf("%w: %d of %d objects came out otherwise when they were mapped again: %s", errDiffers, len(differ), len(objects), text)
}

// sum maps one object of t's split again. It returns nil if that could not be done to the end.
func (a *again) sum(ctx context.Context, t *try, object int) (*runner.Sum, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.link == nil {
		l, err := t.a.start(ctx, &a.hello, a.code)
		if err != nil {
			return nil, attemptError("mapped again " + a.how + ": " + err.Error())
		}
		a.link = l
	}
	defer context.AfterFunc(ctx, a.link.hang)()
	second := &try{
		a: t.a, link: a.link, lease: &coordinator.Lease{Attempt: t.lease.Attempt, Partitions: t.lease.Partitions},
		objects: t.objects[object : object+1], sample: map[int]bool{0: true}, again: true,
	}
	done, err := second.mapObjects(ctx, &runner.Map{Attempt: t.lease.Attempt, Partitions: t.lease.Partitions, Check: true})
	if err == nil {
		t.checkCPU += time.Duration(done.CPUUser + done.CPUSystem)
		return second.sums[0], nil // nil: the object cannot be read any more
	}
	late := a.link.killed.Load() != nil
	if cerr := a.close(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case late:
		return nil, nil
	case errors.Is(err, store.ErrThrottled):
		return nil, err
	}
	return nil, attemptError(fmt.Sprintf("%s: mapped again %s: %v", t.uri(object), a.how, err))
}

// close ends the runner, if there is one.
func (a *again) close() error {
	l := a.link
	a.link = nil
	if l == nil {
		return nil
	}
	return l.close()
}

func (c *check) close() (err error) {
	for _, a := range c.again {
		err = errors.Join(err, a.close())
	}
	return err
}
