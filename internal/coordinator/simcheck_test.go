package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// deciding checks a decision that h is about to write against what it wrote to its log. The store is locked.
func (s *simulation) deciding(h *head, d *commit.Decision) {
	if err := s.checkDecision(h, d); err != nil {
		s.store.wrong("%w", err)
	}
}

func (s *simulation) checkDecision(h *head, d *commit.Decision) error {
	for _, later := range s.heads[h.epoch:] {
		if later.claim != nil {
			return fmt.Errorf("epoch %d decides, and epoch %d has its claim", h.epoch, later.epoch)
		}
	}
	if s.store.decided != nil {
		return fmt.Errorf("epoch %d decides after epoch %d did", h.epoch, s.store.by)
	}
	if !h.sealed {
		return fmt.Errorf("decides with %d splits planned of %d", h.planned, s.maps)
	}
	if len(h.committed) != s.maps+s.reducers {
		return fmt.Errorf("decides with %d tasks of %d committed", len(h.committed), s.maps+s.reducers)
	}
	s.store.decided, s.store.by = make(map[store.Handle]bool), h.epoch
	counted := make(map[store.Handle]bool)
	sum := job.Counters{User: map[string]int64{}}
	for _, c := range h.committed {
		for _, hd := range c.Result.handles() {
			counted[hd] = true
		}
		add(&sum, &c.Result.Counters)
	}
	for _, ps := range [][]commit.Part{d.Parts, d.Failed} {
		for _, p := range ps {
			hd := p.Pending.Handle
			if !counted[hd] {
				return fmt.Errorf("decides on %s, which is of no attempt that counts", hd)
			}
			delete(counted, hd)
			s.store.decided[hd] = true
		}
	}
	if len(counted) > 0 {
		return fmt.Errorf("decides without %v", counted)
	}
	o := &h.outcome.Counters
	if o.Attempts != o.Retries+o.Backups+int64(s.maps+s.reducers) {
		return fmt.Errorf("%d attempts, %d retries and %d backups for %d tasks", o.Attempts, o.Retries, o.Backups, s.maps+s.reducers)
	}
	sum.Attempts, sum.Retries, sum.Backups, sum.Beaten = o.Attempts, o.Retries, o.Backups, int64(len(h.beaten))
	if !reflect.DeepEqual(*o, sum) {
		return fmt.Errorf("counters are %+v, the sum of what committed attempts reported is %+v", *o, sum)
	}
	p := h.loop.m.Progress()
	if p.Maps != s.maps || p.Reduces != s.reducers || p.ShuffleBytes != sum.Writes {
		return fmt.Errorf("progress at the end: %+v", p)
	}
	s.counters = sum
	return nil
}

// add adds what an attempt reported to sum, field by field.
func add(sum, c *job.Counters) {
	s, v := reflect.ValueOf(sum).Elem(), reflect.ValueOf(c).Elem()
	for i := range s.NumField() {
		f := s.Field(i)
		switch s.Type().Field(i).Name {
		case "PeakMemory":
			f.SetInt(max(f.Int(), v.Field(i).Int()))
		case "User":
			for k, n := range c.User {
				sum.User[k] += n
			}
		case "Input":
			sum.Input = sum.Input.Plus(c.Input, 1)
		case "Channels":
			sum.Channels = sum.Channels.Plus(c.Channels, 1)
		default:
			f.SetInt(f.Int() + v.Field(i).Int())
		}
	}
}

// manifest reads what lies at the output.
func (s *simulation) manifest() (*job.Manifest, error) {
	body, err := s.body(manifestKey)
	if err != nil {
		return nil, err
	}
	m := new(job.Manifest)
	return m, json.Unmarshal(body, m)
}

func (s *simulation) body(key store.Key) ([]byte, error) {
	o, err := s.store.Stat(bg, key)
	if err != nil {
		return nil, err
	}
	if o.Size > math.MaxInt32 {
		return nil, fmt.Errorf("%s has %d bytes", key, o.Size)
	}
	b := make([]byte, o.Size)
	return b, s.store.ReadWhole(bg, o, b)
}

// check looks at what the job has left.
func (s *simulation) check() error {
	for _, n := range s.nodes {
		n.stop()
	}
	for _, h := range s.heads {
		if h.phase != gone {
			h.store.seed = 0
			h.release(errFenced)
		}
	}
	visible, hidden := s.listing()
	if len(hidden) > 0 || s.store.Pending() > 0 {
		// Agents that were late have left something in the work area. It can be cleaned.
		opts := &commit.Options{
			Name: "out", Owner: commit.Owner{Host: "here", PID: 1 << 20}, Float64: s.r.Float64,
			Dead: func(commit.Owner) (dead, known bool) { return true, true },
		}
		if _, err := commit.Clean(bg, &process{jobStore: s.store, epoch: 1 << 20}, outDir, opts); err != nil {
			return err
		}
		visible, hidden = s.listing()
	}
	if len(hidden) > 0 || s.store.Pending() > 0 {
		return fmt.Errorf("left behind: %v, %d pending", hidden, s.store.Pending())
	}
	if err := errors.Join(s.err, s.store.err); err != nil {
		return err
	}
	if s.result != nil {
		if s.store.decided != nil || len(visible) > 0 {
			return fmt.Errorf("the job failed, and %v is visible: %w", visible, s.result)
		}
		return s.checkFailure()
	}
	return s.checkOutput(visible)
}

func (s *simulation) listing() (visible map[store.Key]bool, hidden []store.Key) {
	visible = make(map[store.Key]bool)
	for o := range s.store.List(bg, "", "") {
		if strings.HasPrefix(string(o.Key), workArea) {
			hidden = append(hidden, o.Key)
		} else {
			visible[o.Key] = true
		}
	}
	return visible, hidden
}

// checkFailure says whether the job had a reason to fail, and named it.
func (s *simulation) checkFailure() error {
	poisoned := false
	for _, p := range s.poison {
		poisoned = poisoned || p > 0
	}
	switch text := s.result.Error(); {
	case errors.Is(s.result, errCancelled):
	case s.storeFaults && errors.Is(s.result, errFault):
	case poisoned && !s.tolerant && strings.Contains(text, "more than the job tolerates; "):
	case s.chance && strings.Contains(text, "m-0000") && strings.Contains(text, "not deterministic"):
	case s.refusals && strings.HasSuffix(text, "refused"):
	default:
		return fmt.Errorf("the job failed without a reason: %w", s.result)
	}
	return nil
}

// checkOutput compares what is visible with what an undisturbed run publishes.
func (s *simulation) checkOutput(visible map[store.Key]bool) error {
	if s.store.decided == nil {
		return errors.New("the job is done, and nothing was decided")
	}
	want := map[store.Key]string{}
	all := make([]record, 0, 16)
	by := s.heads[s.store.by-1]
	for i := range s.maps {
		id := job.MapTask(i)
		content := s.source(i, by.plan)
		skip := map[int]string{}
		for o := range objects {
			if s.poison[content-s.content]>>o&1 == 1 {
				skip[o] = "guest memory limit"
			}
		}
		if len(skip) > 0 {
			if !s.tolerant {
				return errors.New("published with failed objects that are not tolerated")
			}
			var names []job.FailedObject
			for o := range objects {
				if r := skip[o]; r != "" {
					names = append(names, job.FailedObject{URI: fmt.Sprint(i, ".", o), Reason: r, Task: id})
				}
			}
			want[store.Key(fmt.Sprintf("%s_failed/part-%05d.jsonl", outDir, i))] = fmt.Sprint(names)
		}
		variant := s.variant(by.committed[id], content, skip)
		if variant < 0 {
			return fmt.Errorf("%s has committed what it did not emit", id)
		}
		var out strings.Builder
		for o := range objects {
			if skip[o] != "" {
				continue
			}
			for _, r := range mapped(content, o, variant) {
				all = append(all, r)
				listed(&out, r.key, r.value)
			}
		}
		if s.reducers == 0 {
			want[store.Key(outDir+"part-"+id)] = out.String()
		}
	}
	for p := range s.reducers {
		want[store.Key(outDir+"part-"+job.ReduceTask(p))] = reduced(all, p, s.reducers)
	}
	m, err := s.manifest()
	if err != nil {
		return err
	}
	if len(m.Parts)+len(m.Failed) != len(want) || len(visible) != len(want)+1 {
		return fmt.Errorf("visible is %v, the manifest names %v and %v, want %v", visible, m.Parts, m.Failed, want)
	}
	for key, text := range want {
		b, err := s.body(key)
		if err != nil {
			return err
		}
		if string(b) != text {
			return fmt.Errorf("%s is\n%s\nwant\n%s", key, b, text)
		}
	}
	for _, p := range m.Parts {
		if text, ok := want[outDir+store.Key(p.Key)]; !ok || int(p.Size) != len(text) || int(p.Records) != strings.Count(text, "\n") {
			return fmt.Errorf("the manifest says %+v", p)
		}
	}
	s.counters.User, m.Counters.User = nil, nil
	if got, want := fmt.Sprint(m.Counters), fmt.Sprint(s.counters); got != want {
		return fmt.Errorf("the manifest counts %s, want %s", got, want)
	}
	return nil
}

// variant returns which variant a map attempt committed, -1 if it is none.
func (s *simulation) variant(c *Committed, content int, skip map[int]string) int {
	for v := range variants {
		if !s.chance && v > 0 {
			break
		}
		if s.reducers > 0 && vectorOf(newKeptRun(content, v, s.reducers, skip).table) == c.Result.Vector {
			return v
		}
		if s.reducers == 0 {
			var out strings.Builder
			for o := range objects {
				if skip[o] != "" {
					continue
				}
				for _, r := range mapped(content, o, v) {
					listed(&out, r.key, r.value)
				}
			}
			if b, err := s.body(store.Key(outDir + "part-" + c.Attempt.Task)); err == nil && string(b) == out.String() {
				return v
			}
		}
	}
	return -1
}
