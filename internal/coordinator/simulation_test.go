package coordinator

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run the simulation's schedule of this seed alone, and print it")
	simFirst = flag.Uint64("sim.first", 0, "the first seed of the simulation; 0: the time")
	simCount = flag.Uint64("sim.count", 0, "how many schedules the simulation tries; 0: 100,000, or 5,000 with -short")
)

// TestSimulation runs whole jobs on a model of the world, each on a schedule of its own, and checks that what they publish is what an
// undisturbed run does, once.
//
// Real are the machine and the loop around it, the replay of the log, claims, decisions and publishing, the mem store, and what package shuffle does to
// sections: how they are sealed, framed, received, selected and merged. Modelled are agents and their runners, the network, where the job log and the plan lie, and time.
// Messages come late, in any order, twice or never; pieces of runs are cut short or altered as well. Nodes die with what they kept, start
// again, or do not, stand still, are slow, fail more than others, or two of them never reach each other; disks lose some of what is kept; reduces commit before they were told all runs; coordinators die between any two appends
// and calls to the store; appends and calls fail before or after they took effect,
// and another coordinator takes over from one that is dead or only silent: it finishes what was decided, or goes on where the log ends, or, if the plan was
// not sealed, begins another one, which differs. Agents keep what counts meanwhile, and ask again for what may. At last nothing breaks any more, and the job must end.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		s := newSimulation(*simSeed, true)
		err := s.run()
		t.Logf("%s\n%v", s.story(), err)
		if err != nil {
			t.Fail()
		}
		return
	}
	first, count := *simFirst, *simCount
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	switch {
	case count > 0:
	case testing.Short():
		count = 5_000
	default:
		count = 100_000
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	began := time.Now()
	failed, tried, seen := trySchedules(first, count)
	t.Logf("%d schedules of %d steps from seed %d in %v: %d coordinators went on after others, with %d tasks committed; %d backups began, %d nodes were quarantined",
		tried, seen.steps, first, time.Since(began).Round(time.Millisecond), seen.resumed, seen.kept, seen.backups, seen.quarantined)
	if failed == nil {
		return
	}
	at := failed.seed - first + 1
	if *simFirst == 0 {
		// Of the failures nearby, the shortest is the easiest to read.
		for seed := failed.seed + 1; seed < failed.seed+500; seed++ {
			if s := newSimulation(seed, false); s.run() != nil && s.steps < failed.steps {
				failed = s
			}
		}
	}
	s := newSimulation(failed.seed, true)
	err := s.run()
	t.Fatalf("schedule %d fails; here is seed %d (-sim.seed=%[2]d shows it again):\n%s\nwrong: %v", at, failed.seed, s.story(), err)
}

// story is the trace of a schedule, without the middle of one that does not end.
func (s *simulation) story() string {
	const begin, end = 600, 100
	lines := s.trace
	if left := len(lines) - begin - end; left > 0 {
		lines = append(append(lines[:begin:begin], fmt.Sprintf("      (%d lines)", left)), lines[begin+left:]...)
	}
	return strings.Join(lines, "\n")
}

// trySchedules runs schedules until one fails, and returns the first that did.
func trySchedules(first, count uint64) (failed *simulation, tried uint64, seen seen) {
	var next atomic.Uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				mu.Lock()
				stop := failed != nil
				mu.Unlock()
				if i >= count || stop {
					return
				}
				s := newSimulation(first+i, false)
				err := s.run()
				mu.Lock()
				seen.add(s)
				if err != nil && (failed == nil || s.seed < failed.seed) {
					failed = s
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed, min(next.Load(), count), seen
}

// A seen says what happened.
type seen struct{ steps, resumed, kept, backups, quarantined int }

func (n *seen) add(s *simulation) {
	n.steps += s.steps
	for _, h := range s.heads {
		if h.resumed {
			n.resumed++
			n.kept += h.kept
		}
		n.backups += int(h.loop.m.backups)
		n.quarantined += h.quarantined
	}
}

// TestScheduleRepeats shows that a seed is all that a schedule needs.
func TestScheduleRepeats(t *testing.T) {
	for seed := range uint64(50) {
		var stories [2]string
		for i := range stories {
			s := newSimulation(seed, true)
			if err := s.run(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			stories[i] = strings.Join(s.trace, "\n")
		}
		if stories[0] != stories[1] {
			t.Fatalf("seed %d is not always the same:\n%s\n\n%s", seed, stories[0], stories[1])
		}
	}
}

// A simulation is one schedule of one job: all that happens follows from its seed.
type simulation struct {
	seed   uint64
	r      *rand.Rand
	now    time.Time
	faults int // that may still happen
	steps  int
	err    error // the first thing that was wrong

	// The job.
	maps, reducers int
	content        int     // of the first split
	poison         []uint8 // objects of each split that bring their runner down, as bits
	chance         bool    // the program's records differ between attempts
	tolerant       bool

	// What may happen.
	storeFaults, refusals, cancels bool
	deaths                         [][objects]int // of runners, with an object in flight

	// What is durable: the job log, and plans that were begun, by epoch.
	log    []entry
	plans  map[uint64][]job.Split
	ended  error                    // as the log says that the job did
	leases map[job.AttemptID]holder // by any coordinator

	names []string
	nodes []*node
	apart [2]int  // nodes that cannot reach each other; the same twice: none
	heads []*head // by epoch
	epoch uint64  // the highest
	net   []parcel
	store *jobStore

	done     bool
	result   error        // what the job's user was told
	counters job.Counters // that are decided

	tracing bool
	trace   []string
}

// An entry is one of the job log: a record, or a coordinator's first.
type entry struct {
	epoch  uint64
	lead   bool
	record []byte
}

// A parcel is a message under way.
type parcel struct {
	to      *node // nil: a coordinator
	deliver func()
}

func newSimulation(seed uint64, tracing bool) *simulation {
	r := rand.New(rand.NewPCG(seed, 7))
	s := &simulation{
		seed: seed, r: r, now: start, faults: r.IntN(16), tracing: tracing,
		maps: r.IntN(5), reducers: r.IntN(4), content: r.IntN(contents - 4),
		chance: r.IntN(8) == 0, tolerant: r.IntN(4) > 0,
		storeFaults: r.IntN(4) == 0, refusals: r.IntN(16) == 0, cancels: r.IntN(16) == 0,
	}
	s.plans, s.leases = make(map[uint64][]job.Split), make(map[job.AttemptID]holder)
	s.store = &jobStore{Bucket: mem.New().Bucket("b"), out: make(map[store.Handle]bool)}
	s.poison, s.deaths = make([]uint8, s.maps), make([][objects]int, s.maps)
	for i := range s.poison {
		if r.IntN(8) == 0 {
			s.poison[i] = uint8(r.IntN(1 << objects))
		}
	}
	slots := 1 + r.IntN(2)
	for i := range 1 + r.IntN(3) {
		n := &node{
			s: s, name: "abc"[i : i+1], slots: make([]simSlot, slots), kept: make(map[job.AttemptID]*keptRun),
			counts: make(map[job.AttemptID]bool),
			store:  &process{jobStore: s.store},
			slow:   r.IntN(6) == 0, flaky: r.IntN(8) == 0,
		}
		s.names, s.nodes = append(s.names, n.name), append(s.nodes, n)
	}
	if r.IntN(4) == 0 {
		s.apart = [2]int{r.IntN(len(s.nodes)), r.IntN(len(s.nodes))}
	}
	return s
}

// note adds a line to the story.
func (s *simulation) note(format string, args ...any) {
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%4d  ", s.steps)+fmt.Sprintf(format, args...))
	}
}

// wrong says what must not have happened.
func (s *simulation) wrong(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
		s.note("WRONG: %v", s.err)
	}
}

// fault says, once in n times, that something breaks.
func (s *simulation) fault(n int) bool {
	if s.faults == 0 || s.r.IntN(n) > 0 {
		return false
	}
	s.faults--
	return true
}

func (s *simulation) quiet() bool { return s.faults == 0 }

// send sends a message. It comes late, twice or never.
func (s *simulation) send(to *node, deliver func()) {
	if s.fault(12) {
		s.note("a message is lost")
		return
	}
	s.net = append(s.net, parcel{to, deliver})
	if s.fault(16) {
		s.note("a message is sent twice")
		s.net = append(s.net, parcel{to, deliver})
	}
}

// stream sends a piece of a run. It may be cut short or altered as well.
func (s *simulation) stream(b []byte, deliver func([]byte)) {
	if s.fault(12) {
		b = b[:s.r.IntN(len(b))]
		s.note("a piece is cut to %d bytes", len(b))
	} else if s.fault(12) {
		at := s.r.IntN(len(b))
		b = bytes.Clone(b)
		b[at] ^= 1 << s.r.IntN(8)
		s.note("byte %d of %d of a piece is altered", at, len(b))
	}
	s.send(nil, func() { deliver(b) })
}

// reach reports whether two nodes can reach each other.
func (s *simulation) reach(a, b *node) bool {
	x, y := s.nodes[s.apart[0]], s.nodes[s.apart[1]]
	return a == b || (a != x || b != y) && (a != y || b != x)
}

// late says whether somebody has waited for an answer for so long that there will be none. At times there is one after all.
func (s *simulation) late() bool {
	if len(s.net) > 0 {
		return s.r.IntN(64) == 0
	}
	return s.r.IntN(6) == 0
}

// arrive delivers one message of those under way.
func (s *simulation) arrive() {
	i := s.r.IntN(len(s.net))
	p := s.net[i]
	if p.to != nil && p.to.paused {
		return
	}
	last := len(s.net) - 1
	s.net[i], s.net[last] = s.net[last], parcel{}
	s.net = s.net[:last]
	p.deliver()
}

func (s *simulation) byName(name string) *node { return s.nodes[name[0]-'a'] }

func (s *simulation) number(t job.TaskID) int { return int(t[len(t)-1] - '0') }

// finish notes what the job's user is told.
func (s *simulation) finish(err error) {
	if !s.done {
		s.done, s.result = true, err
		s.note("the job is over: %v", err)
	}
}

const (
	breaking  = 1500 // steps, after which nothing breaks any more
	unbroken  = 8000 // steps more, after which the job must have ended
	afterward = 40   // steps, after the end, for what comes late
)

// run runs the schedule to its end and returns what was wrong with it.
func (s *simulation) run() error {
	s.newHead().take()
	for _, n := range s.nodes {
		n.start()
	}
	left := s.r.IntN(afterward)
	for ; s.err == nil && s.store.err == nil && (!s.done || left > 0); s.steps++ {
		if s.steps == breaking {
			s.faults = 0
		}
		if s.steps > breaking+unbroken {
			s.wrong("no end")
		}
		if s.done {
			left--
		}
		s.step()
	}
	err := errors.Join(s.err, s.store.err)
	if err == nil {
		err = s.check()
	}
	for _, h := range s.heads {
		if h.phase != gone {
			h.die()
		}
	}
	return err
}

func (s *simulation) step() {
	s.now = s.now.Add(time.Duration(s.r.IntN(100)) * time.Millisecond)
	switch k := s.r.IntN(16); {
	case k < 7 && len(s.net) > 0:
		s.arrive()
	case k < 14:
		if n := s.nodes[s.r.IntN(len(s.nodes))]; !n.slow || s.steps > breaking || s.r.IntN(12) == 0 {
			n.act()
		}
	default:
		s.lead()
	}
}

// lead has one coordinator act, fail, or take over.
func (s *simulation) lead() {
	last := s.heads[len(s.heads)-1]
	h := last
	if s.r.IntN(4) == 0 {
		h = s.heads[s.r.IntN(len(s.heads))]
	}
	switch {
	case !s.done && (last.phase == gone || last.paused) && s.r.IntN(4) == 0, !s.done && s.fault(200):
		s.newHead().take()
	case h.phase == gone:
	case h.paused:
		if s.r.IntN(8) == 0 {
			s.note("%v goes on", h)
			h.paused = false
		}
	case s.fault(100):
		h.die()
	case s.fault(60):
		s.note("%v stands still", h)
		h.paused = true
	default:
		h.act()
	}
}
