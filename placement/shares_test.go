package placement_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/placement"
)

func ExampleShares() {
	s := placement.NewShares(nil)
	s.Resize(3)
	s.Add(placement.Job{ID: "search"}, start)
	s.Add(placement.Job{ID: "count", Priority: 1}, start)
	fmt.Println(s.Admit(start))
	for range 3 {
		for id := range s.Order() {
			s.Took(id) // whoever has nothing for this slot leaves it to the next
			fmt.Println(id)
			break
		}
	}
	// Output:
	// [count search]
	// count
	// search
	// count
}

func TestAdmit(t *testing.T) {
	quotas := map[string]placement.Quota{"small": {Slots: 4, Jobs: 1}, "": {Jobs: 3}}
	tests := []struct {
		name  string
		slots int
		jobs  []placement.Job // that come a second apart
		after time.Duration   // since the first came
		want  []string
	}{
		{"as they came", 2, []placement.Job{{ID: "a"}, {ID: "b"}, {ID: "c"}}, time.Minute, []string{"a", "b"}},
		{"by priority", 2, []placement.Job{{ID: "a"}, {ID: "b", Priority: 1}, {ID: "c", Priority: 2}}, time.Minute, []string{"c", "b"}},
		{"age is priority", 1, []placement.Job{{ID: "a", Priority: 1}, {ID: "b", Priority: 1}}, time.Hour, []string{"a"}},
		{"no slots", 0, []placement.Job{{ID: "a"}}, time.Hour, nil},
		{"as much as it needs", 4, []placement.Job{{ID: "a", Slots: 3}, {ID: "b", Slots: 2}}, time.Minute, []string{"a"}},
		{"nobody takes the turn of who waits", 4, []placement.Job{{ID: "a", Slots: 3}, {ID: "b", Slots: 2}, {ID: "c"}}, time.Minute, []string{"a"}},
		{"larger than the cluster", 4, []placement.Job{{ID: "a", Slots: 5}, {ID: "b", Slots: 2}}, time.Minute, []string{"b"}},
		{"one of a tenant", 4, []placement.Job{{ID: "a", Tenant: "small"}, {ID: "b", Tenant: "small"}, {ID: "c"}}, time.Minute, []string{"a", "c"}},
		{"larger than its tenant may", 9, []placement.Job{{ID: "a", Tenant: "small", Slots: 5}, {ID: "b"}}, time.Minute, []string{"b"}},
		{"three of any other", 9, []placement.Job{{ID: "a", Tenant: "x"}, {ID: "b", Tenant: "x"}, {ID: "c", Tenant: "x"}, {ID: "d", Tenant: "x"}, {ID: "e", Tenant: "y"}}, time.Minute, []string{"a", "b", "c", "e"}},
		{"said twice", 9, []placement.Job{{ID: "a"}, {ID: "a"}}, time.Minute, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := placement.NewShares(quotas)
			s.Resize(tt.slots)
			for i, j := range tt.jobs {
				s.Add(j, start.Add(time.Duration(i)*time.Second))
			}
			if got := s.Admit(start.Add(tt.after)); !slices.Equal(got, tt.want) {
				t.Errorf("admits %q, want %q", got, tt.want)
			}
			if got := s.Admit(start.Add(tt.after)); len(got) > 0 {
				t.Errorf("then admits %q", got)
			}
		})
	}
}

// A job that has waited long is admitted before one of higher priority that came just now.
func TestAging(t *testing.T) {
	s := placement.NewShares(nil)
	s.Resize(1)
	s.Add(placement.Job{ID: "first", Priority: 3}, start)
	s.Admit(start)
	s.Add(placement.Job{ID: "old"}, start)
	now := start.Add(4 * placement.Aging)
	s.Add(placement.Job{ID: "new", Priority: 3}, now)
	s.Remove("first")
	if got := s.Admit(now); !slices.Equal(got, []string{"old"}) {
		t.Errorf("admits %q, want the one that waited", got)
	}
}

// When the cluster shrinks, of two jobs that lack slots the later one gives back what it has, so that the other can go on.
func TestResize(t *testing.T) {
	s := placement.NewShares(nil)
	s.Resize(10)
	s.Add(placement.Job{ID: "a", Slots: 6}, start)
	s.Add(placement.Job{ID: "b", Slots: 4}, start)
	s.Admit(start)
	for range 5 {
		s.Took("a")
	}
	for range 3 {
		s.Took("b")
	}
	if back := s.Resize(8); !slices.Equal(back, []string{"b"}) {
		t.Fatalf("%q are to give back their slots, want b", back)
	}
	if got := slices.Collect(s.Order()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("slots are for %q, want a", got)
	}
	for range 3 {
		s.Gave("b")
	}
	if got := s.Admit(start); len(got) > 0 {
		t.Errorf("admits %q", got)
	}
	s.Remove("a")
	if got := s.Admit(start); !slices.Equal(got, []string{"b"}) {
		t.Errorf("admits %q, want b", got)
	}
}

// Jobs that always want more have slots by their priorities, and no tenant more than its quota.
func TestOrderIsFair(t *testing.T) {
	s := placement.NewShares(map[string]placement.Quota{"bounded": {Slots: 5}})
	s.Resize(75)
	for _, j := range []placement.Job{{ID: "a"}, {ID: "b", Priority: 1}, {ID: "c", Priority: 2}, {ID: "d", Priority: 9, Tenant: "bounded"}} {
		s.Add(j, start)
	}
	s.Admit(start)
	has := map[string]int{}
	for range 75 {
		for id := range s.Order() {
			s.Took(id)
			has[id]++
			break
		}
	}
	for id, want := range map[string]int{"a": 10, "b": 20, "c": 40, "d": 5} {
		if has[id] != want {
			t.Errorf("%s has %d slots, want %d", id, has[id], want)
		}
	}
}

// TestSharesRandom has jobs of several tenants come to a cluster that grows and shrinks. Jobs that have less than they need make no progress and give nothing
// back. All are done in the end, none takes the turn of its equals, and no quota is exceeded.
func TestSharesRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range uint64(200) {
		if err := divide(rand.New(rand.NewPCG(seed, round))); err != nil {
			t.Fatalf("seed %d/%d: %v", seed, round, err)
		}
	}
}

// A running job is one that the test plays.
type running struct {
	placement.Job
	came     int
	has      int
	left     int // of slots that it is yet to have
	admitted bool
}

func divide(r *rand.Rand) error {
	quotas := map[string]placement.Quota{"t0": {Slots: 6 + r.IntN(10), Jobs: 1 + r.IntN(3)}, "t1": {Slots: 6 + r.IntN(4)}}
	s := placement.NewShares(quotas)
	const largest = 20
	slots := largest
	s.Resize(slots)
	var jobs []*running
	byID := map[string]*running{}
	taken := func() (n int) {
		for _, j := range jobs {
			n += j.has
		}
		return n
	}
	give := func(j *running, n int) {
		for range n {
			s.Gave(j.ID)
			j.has--
		}
	}
	const steps, coming = 4000, 1500
	for step := range steps {
		now := start.Add(time.Duration(step) * time.Second)
		if step < coming && r.IntN(20) == 0 {
			j := &running{came: step, left: 1 + r.IntN(60), Job: placement.Job{ID: fmt.Sprint("j", step), Tenant: fmt.Sprint("t", r.IntN(3)), Priority: r.IntN(5) - 2}}
			if r.IntN(3) == 0 {
				j.Slots = 1 + r.IntN(6)
			}
			jobs, byID[j.ID] = append(jobs, j), j
			s.Add(j.Job, now)
		}
		if r.IntN(100) == 0 {
			slots = 6 + r.IntN(largest-5)
			if step >= coming {
				slots = largest
			}
			for over := taken() - slots; over > 0; over-- { // they are lost
				if j := jobs[r.IntN(len(jobs))]; j.has > 0 {
					give(j, 1)
				} else {
					over++
				}
			}
			for _, id := range s.Resize(slots) {
				j := byID[id]
				j.admitted = false
				give(j, j.has)
			}
		}
		for _, id := range s.Admit(now) {
			j := byID[id]
			for _, o := range jobs {
				if !o.admitted && o != j && o.came < j.came && o.Priority >= j.Priority && o.Tenant == j.Tenant && max(o.Slots, 1) <= max(j.Slots, 1) {
					return fmt.Errorf("%+v is admitted before %+v", j, o)
				}
			}
			j.admitted = true
		}
		for progress := true; progress && taken() < slots; {
			progress = false
			for id := range s.Order() {
				j := byID[id]
				if !j.admitted {
					return fmt.Errorf("a slot is for %+v", j)
				}
				if j.left <= 0 {
					continue
				}
				s.Took(id)
				j.has++
				j.left--
				progress = true
				break
			}
		}
		has := map[string]placement.Quota{}
		for _, j := range jobs {
			q := has[j.Tenant]
			q.Slots += j.has
			if j.admitted {
				q.Jobs++
			} else if j.has > 0 {
				return fmt.Errorf("%+v is not admitted", j)
			}
			has[j.Tenant] = q
		}
		for tenant, q := range quotas {
			if h := has[tenant]; h.Slots > q.Slots || q.Jobs > 0 && h.Jobs > q.Jobs {
				return fmt.Errorf("%s has %+v of %+v", tenant, h, q)
			}
		}
		for i := len(jobs) - 1; i >= 0; i-- {
			j := jobs[i]
			if j.left > 0 && j.has < max(j.Slots, 1) {
				continue // it cannot go on
			}
			for n := j.has; n > 0; n-- {
				if r.IntN(4) == 0 {
					give(j, 1)
				}
			}
			if j.has == 0 && j.left <= 0 {
				s.Remove(j.ID)
				jobs = slices.Delete(jobs, i, i+1)
			}
		}
	}
	if len(jobs) > 0 {
		return fmt.Errorf("%d jobs are not done, such as %+v", len(jobs), jobs[0])
	}
	return nil
}
