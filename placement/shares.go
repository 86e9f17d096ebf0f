package placement

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"time"
)

// A Job is what [Shares] knows of one that wants slots.
type Job struct {
	ID       string
	Tenant   string
	Priority int // between -MaxPriority and MaxPriority; each step doubles the share of slots
	Slots    int // that it must have at once to make progress; less than one means one
}

// MaxPriority bounds the priority of a job.
const MaxPriority = 9

// A Quota bounds what one tenant has at once. A zero field is no bound.
type Quota struct {
	Slots int
	Jobs  int
}

// Aging is how long a job waits for its admission until it counts as one step of priority more.
const Aging = 5 * time.Minute

// Shares divides the slots of a cluster among jobs. A job waits until it is admitted, which is when there is room for as many slots as it needs at least beside what all
// admitted jobs need at least. So no job holds slots that cannot go on. Jobs are admitted by priority and then by age; one that waits gains priority,
// and none of those behind it takes its turn, unless it waits for a quota of its tenant or is larger than the cluster.
//
// A free slot is for the admitted job that lacks slots to make progress, if there is one, else for the one that has the least for its priority.
type Shares struct {
	quotas   map[string]Quota // by tenant; that of "" is for those not named
	slots    int
	waiting  []*holding // in the order that they came
	admitted []*holding // in the order that they were
	jobs     map[string]*holding
	tenants  map[string]*Quota // what each has: slots of its jobs, and admitted jobs
}

// A holding is what a job has.
type holding struct {
	Job
	came time.Time
	has  int // slots
}

// NewShares returns a Shares of no slots. Tenants are bounded by the quota of their name, else by that of "", if there are such.
func NewShares(quotas map[string]Quota) *Shares {
	return &Shares{quotas: quotas, jobs: make(map[string]*holding), tenants: make(map[string]*Quota)}
}

// Add has a job wait for its admission, from the time now. A job that is there already stays as it is.
func (s *Shares) Add(j Job, now time.Time) {
	if s.jobs[j.ID] != nil {
		return
	}
	j.Priority = min(max(j.Priority, -MaxPriority), MaxPriority)
	j.Slots = max(j.Slots, 1)
	h := &holding{Job: j, came: now}
	s.jobs[j.ID] = h
	s.waiting = append(s.waiting, h)
}

// Remove forgets a job, with the slots that it has.
func (s *Shares) Remove(id string) {
	h := s.jobs[id]
	if h == nil {
		return
	}
	delete(s.jobs, id)
	s.tenant(h).Slots -= h.has
	same := func(o *holding) bool { return o == h }
	s.waiting = slices.DeleteFunc(s.waiting, same)
	if i := slices.Index(s.admitted, h); i >= 0 {
		s.admitted = slices.Delete(s.admitted, i, i+1)
		s.tenant(h).Jobs--
	}
	if *s.tenant(h) == (Quota{}) {
		delete(s.tenants, h.Tenant)
	}
}

// Resize says how many slots the cluster has, and returns the jobs that are admitted no longer: the last to be so, of those that lack slots to make progress,
// until there is room for the others. What they have they are to give back. They wait again, with the age that they had.
func (s *Shares) Resize(slots int) (back []string) {
	s.slots = slots
	for i := len(s.admitted) - 1; i >= 0 && s.needed() > slots; i-- {
		h := s.admitted[i]
		if h.has >= h.Slots {
			continue
		}
		s.admitted = slices.Delete(s.admitted, i, i+1)
		s.tenant(h).Jobs--
		s.waiting = append(s.waiting, h)
		back = append(back, h.ID)
	}
	return back
}

// Admit admits the jobs that can be, and returns them in that order.
func (s *Shares) Admit(now time.Time) (ids []string) {
	rank := func(h *holding) int { return h.Priority + int(max(now.Sub(h.came), 0)/Aging) }
	slices.SortStableFunc(s.waiting, func(a, b *holding) int { // those of one rank stay as they came
		return cmp.Or(cmp.Compare(rank(b), rank(a)), a.came.Compare(b.came))
	})
	free, blocked := s.slots-s.needed(), false
	kept := s.waiting[:0]
	for _, h := range s.waiting {
		has, quota := s.tenant(h), s.quota(h)
		switch {
		case h.Slots > s.slots, h.Slots > quota.Slots, has.Jobs >= quota.Jobs, s.neededBy(h.Tenant)+h.Slots > quota.Slots:
			kept = append(kept, h)
		case blocked || h.Slots > free:
			blocked = true
			kept = append(kept, h)
		default:
			free -= h.Slots
			has.Jobs++
			s.admitted = append(s.admitted, h)
			ids = append(ids, h.ID)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	return ids
}

// Order yields the admitted jobs that may have one more slot, those that are to have it first. It holds until anything changes.
func (s *Shares) Order() iter.Seq[string] {
	return func(yield func(string) bool) {
		order := make([]*holding, 0, len(s.admitted))
		for _, h := range s.admitted {
			if s.tenant(h).Slots < s.quota(h).Slots {
				order = append(order, h)
			}
		}
		slices.SortStableFunc(order, func(a, b *holding) int {
			switch a.lacks() - b.lacks() {
			case 0:
				return cmp.Compare(a.share(), b.share())
			case 1:
				return -1
			}
			return 1
		})
		for _, h := range order {
			if !yield(h.ID) {
				return
			}
		}
	}
}

// lacks is 1 if a job has fewer slots than it must have to make progress, else 0.
func (h *holding) lacks() int {
	if h.has < h.Slots {
		return 1
	}
	return 0
}

// share is what a job has for its priority. Of those that lack slots, the first to be admitted comes first.
func (h *holding) share() float64 {
	if h.has < h.Slots {
		return 0
	}
	return math.Ldexp(float64(h.has), -h.Priority)
}

// Took says that a job was given a slot.
func (s *Shares) Took(id string) { s.change(id, 1) }

// Gave says that a job has a slot no longer.
func (s *Shares) Gave(id string) { s.change(id, -1) }

func (s *Shares) change(id string, by int) {
	if h := s.jobs[id]; h != nil && h.has+by >= 0 {
		h.has += by
		s.tenant(h).Slots += by
	}
}

// needed is how many slots all admitted jobs need at least.
func (s *Shares) needed() (n int) {
	for _, h := range s.admitted {
		n += h.Slots
	}
	return n
}

func (s *Shares) neededBy(tenant string) (n int) {
	for _, h := range s.admitted {
		if h.Tenant == tenant {
			n += h.Slots
		}
	}
	return n
}

// tenant returns what the tenant of a job has.
func (s *Shares) tenant(h *holding) *Quota {
	t := s.tenants[h.Tenant]
	if t == nil {
		t = new(Quota)
		s.tenants[h.Tenant] = t
	}
	return t
}

// quota returns what it may have.
func (s *Shares) quota(h *holding) Quota {
	q, ok := s.quotas[h.Tenant]
	if !ok {
		q = s.quotas[""]
	}
	return Quota{Slots: cmp.Or(q.Slots, math.MaxInt), Jobs: cmp.Or(q.Jobs, math.MaxInt)}
}
