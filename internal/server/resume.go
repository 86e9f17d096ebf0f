package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/job"
)

// resume takes up the jobs of the leaders before, as their logs have them. Those that have ended are only remembered.
func (t *term) resume() error {
	ids, err := t.s.o.Cluster.Jobs(t.ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if err := t.resumeJob(id); err != nil {
			return fmt.Errorf("resume job %s: %w", id, err)
		}
	}
	return nil
}

// resumeJob takes up one job, where its log ends. t.mu is held.
func (t *term) resumeJob(id string) error {
	log, err := t.s.o.Cluster.Resume(t.ctx, id)
	if err != nil {
		return err
	}
	last, _, err := log.Last(t.ctx)
	if err != nil {
		return err
	}
	if r, ok := parse(last.Data); ok && r.Ended != nil {
		j := t.track(id, &job.Spec{}, r.Ended.Began)
		j.ended = r.Ended
		close(j.done)
		return nil
	}
	var spec *job.Spec
	var began time.Time
	for r, err := range log.Read(t.ctx) {
		if err != nil {
			return err
		}
		if x, ok := parse(r.Data); ok && x.Spec != nil {
			spec, began = x.Spec, x.Began
			break
		}
	}
	if spec == nil {
		return nil // its coordinator was gone before it had said what the job is; nor has its client an answer
	}
	j := t.track(id, spec, began)
	j.again = true
	t.living.Store(id, true)
	t.s.o.Log.Info("takes up a job", "job", id, "epoch", t.epoch)
	t.wg.Go(func() {
		j.run(func() error {
			if brief.Prints(spec) {
				return errors.New("the coordinator to which it printed is gone: submit it again")
			}
			return nil
		})
	})
	return nil
}

func parse(data []byte) (r coordinator.Record, ok bool) {
	return r, len(data) > 0 && json.Unmarshal(data, &r) == nil
}
