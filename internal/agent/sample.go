package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// What is mapped for a sample of keys: objects from so many splits, spread over the plan, and of each so much.
const (
	sampledSplits  = 16
	sampledObjects = 64
	sampledBytes   = 16 << 20 // of a split, but for its first object
	sampledTotal   = 256 << 20
	sampledKeys    = 1 << 14
	sampleDeaths   = 4        // of runners with one object in flight, until it is left out
	cutBytes       = 48 << 10 // of all cuts together
)

// Cuts maps some objects of the plan and returns the borders between n partitions of about the same size: the first keys of all but the
// first. The same plan gives the same cuts. It may be called while the agent runs.
func (a *Agent) Cuts(ctx context.Context, splits []job.Split, n int) ([][]byte, error) {
	objects, err := a.sampled(ctx, splits)
	if err != nil {
		return nil, err
	}
	keys, err := a.sample(ctx, objects, n)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &job.Error{Op: "partition by ranges", Err: fmt.Errorf("sample of keys: %w", err)}
	}
	slices.SortFunc(keys, bytes.Compare)
	cuts := make([][]byte, n-1)
	for i := range cuts {
		if len(keys) > 0 {
			cut := keys[(i+1)*len(keys)/n]
			cuts[i] = cut[:min(len(cut), max(cutBytes/n, 8))]
		}
	}
	return cuts, nil
}

// sample maps objects and returns some of the keys that they emit. Objects that are in flight again and again when their runners die are left out.
func (a *Agent) sample(ctx context.Context, objects []plan.Object, n int) ([][]byte, error) {
	deaths := make(map[store.Key]int)
	others := 0 // deaths with no object in flight
	for {
		keys, flying, err := a.sampleOnce(ctx, objects, n)
		if !errors.Is(err, errDied) || ctx.Err() != nil || others == launches {
			return keys, err
		}
		if flying < 0 || flying >= len(objects) {
			others++
			continue
		}
		key := objects[flying].Key
		if deaths[key]++; deaths[key] == sampleDeaths {
			objects = slices.Delete(objects, flying, flying+1)
		}
	}
}

// sampleOnce maps objects in a runner of its own. After an error, flying is the index of the object that was being mapped, or negative.
func (a *Agent) sampleOnce(ctx context.Context, objects []plan.Object, n int) (keys [][]byte, flying int, err error) {
	l, err := a.start(ctx, &a.job.Hello, a.job.Code)
	if err != nil {
		return nil, -1, err
	}
	defer func() { _ = l.close() }() // what it was for is done
	defer context.AfterFunc(ctx, l.hang)()
	attempt := job.AttemptID{Task: job.MapTask(0)}
	t := &try{a: a, link: l, lease: &coordinator.Lease{Attempt: attempt, Partitions: n}, objects: objects, again: true, wanted: 2 * sampledKeys}
	_, err = t.mapObjects(ctx, &runner.Map{Attempt: attempt, Partitions: n, Sample: sampledKeys})
	return t.keys, int(l.mem.Status().Current.Load()) - 1, err
}

// sampled returns the objects that are mapped for a sample.
func (a *Agent) sampled(ctx context.Context, splits []job.Split) (objects []plan.Object, err error) {
	var total int64
	k := min(sampledSplits, len(splits))
	for i := range k {
		all, err := a.job.Plan.Split(ctx, splits[i*len(splits)/k])
		if err != nil {
			return nil, err
		}
		var size int64
		for j, o := range all {
			if j == sampledObjects || j > 0 && size+o.Size > sampledBytes || len(objects) > 0 && total+o.Size > sampledTotal {
				break
			}
			objects = append(objects, o)
			size += o.Size
			total += o.Size
		}
	}
	return objects, nil
}
