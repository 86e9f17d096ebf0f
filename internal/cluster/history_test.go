package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/millrace/millrace/internal/identity"
)

var (
	histories = flag.Int("cluster.histories", 0, "histories of job logs on three servers, under faults of all kinds; 0: a few, and the gentlest fault")
	logSeed   = flag.Uint64("cluster.seed", 0, "seed of the first of them; 0: any")
)

// logsPerFault is how many logs, each with a history of its own, one fault meets.
const logsPerFault = 4

// A history is what several would-be coordinators did to one log.
type history struct {
	job     string
	began   time.Time
	writers atomic.Int64

	mu   sync.Mutex
	acts []done
}

// A done is an act as its caller knows it.
type done struct {
	act
	id        [16]byte // of the Log
	number    uint64   // of the entry
	call, ret int64
	err       error
	text      string // of a read
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(d done) {
	d.ret = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acts = append(h.acts, d)
}

// work has one coordinator take the log over, again and again, until ctx ends.
func (h *history) work(ctx context.Context, c *Cluster, r *rand.Rand) {
	for ctx.Err() == nil {
		h.term(ctx, c, r)
		pause(ctx, time.Duration(r.IntN(400))*time.Millisecond)
	}
}

// term is the time in which a coordinator leads, from the first try to the last.
func (h *history) term(ctx context.Context, c *Cluster, r *rand.Rand) {
	l, err := c.Log(ctx, h.job)
	if err != nil {
		return
	}
	w := int(h.writers.Add(1))
	a := done{act: act{kind: "lead", writer: w, epoch: l.Epoch() + 1 + r.Uint64N(2)}, id: l.writer, call: h.now()}
	a.err = l.Lead(ctx, a.epoch)
	a.number = l.number
	h.add(a)
	if a.err != nil {
		return
	}
	read := func() bool {
		d := done{act: act{kind: "read", writer: w, epoch: a.epoch}, call: h.now()}
		for rec, err := range l.Read(ctx) {
			switch {
			case err != nil:
				return false // it found nothing out
			case rec.Lead:
				d.text += fmt.Sprintf("%d! ", rec.Epoch)
			default:
				d.text += string(rec.Data)
			}
		}
		h.add(d)
		return true
	}
	if !read() {
		return
	}
	for i := range 1 + r.IntN(6) {
		text := fmt.Sprintf("w%d.%d ", w, i)
		d := done{act: act{kind: "append", writer: w, epoch: a.epoch, text: text}, id: l.writer, call: h.now()}
		d.err = l.Append(ctx, a.epoch, []byte(text[:2]), []byte(text[2:])) // both or none
		d.number = l.number
		h.add(d)
		if d.err != nil {
			return
		}
		pause(ctx, time.Duration(r.IntN(60))*time.Millisecond)
	}
	if r.IntN(2) == 0 {
		read()
	}
}

// check ends the history with a coordinator that finds everything, and says what is wrong with it.
func (h *history) check(ctx context.Context, c *Cluster) error {
	l, err := c.Log(ctx, h.job)
	if err != nil {
		return err
	}
	last := done{act: act{kind: "lead", writer: int(h.writers.Add(1)), epoch: l.Epoch() + 100}, id: l.writer, call: h.now()}
	if err := l.Lead(ctx, last.epoch); err != nil {
		return err
	}
	last.number = l.number
	h.add(last)
	// Now nobody can append: what landed is known, and by whom.
	landed := map[string]bool{}
	log := ""
	name := func(id [16]byte, number uint64) string { return fmt.Sprintf("%x %d", id, number) }
	for at := uint64(1); at <= l.last; {
		seq, data, err := l.next(ctx, at, l.last)
		if err != nil {
			return err
		}
		e, err := parseEntry(seq, data)
		if err != nil {
			return err
		}
		landed[name(e.writer, e.number)] = true
		e.yield(func(r Record, _ error) bool {
			if r.Lead {
				log += fmt.Sprintf("%d! ", r.Epoch)
			}
			log += string(r.Data)
			return true
		})
		at = seq + 1
	}
	h.add(done{act: act{kind: "read", writer: last.writer, epoch: last.epoch}, call: h.now(), text: log})
	var ops []porcupine.Operation
	for _, d := range h.acts {
		there := d.kind == "read" || landed[name(d.id, d.number)]
		switch {
		case d.err == nil && !there:
			return fmt.Errorf("%+v was acknowledged and is lost; the log is %s", d, log)
		case d.err == nil, errors.Is(d.err, ErrFenced) && there:
			ops = append(ops, op(d.call, d.ret, d.act, outcome{text: d.text}))
		case errors.Is(d.err, ErrFenced):
			ops = append(ops, op(d.call, d.ret, d.act, outcome{fenced: true}))
		case errors.Is(d.err, ErrUnknown) && there:
			ops = append(ops, op(d.call, math.MaxInt64, d.act, outcome{}))
		case there:
			return fmt.Errorf("%+v is there, though its error says that it is not", d)
		}
	}
	switch porcupine.CheckOperationsTimeout(logModel, ops, time.Minute) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%d operations take more than a minute to check", len(ops))
	}
	file := filepath.Join(os.TempDir(), "millrace-"+h.job+".html")
	_, info := porcupine.CheckOperationsVerbose(logModel, ops, time.Minute)
	return fmt.Errorf("not linearizable; drawn in %s, %v", file, porcupine.VisualizePath(logModel, info, file))
}

// faults are what happens to the servers while the log is worked on. Each leaves them well.
var faults = []struct {
	name string
	do   func(th *three, r *rand.Rand, leader int) error
}{
	{"leader hands over and comes back", func(th *three, _ *rand.Rand, leader int) error { return th.children[leader].again("restart") }},
	{"leader killed", func(th *three, r *rand.Rand, leader int) error { return th.killed(r, leader) }},
	{"follower killed", func(th *three, r *rand.Rand, leader int) error { return th.killed(r, (leader+1)%3) }},
	{"two killed", func(th *three, r *rand.Rand, leader int) error { return th.killed(r, leader, (leader+1)%3) }},
	{"all killed", func(th *three, r *rand.Rand, _ int) error { return th.killed(r, 0, 1, 2) }},
	{"leader stopped and continued", func(th *three, r *rand.Rand, leader int) error {
		th.children[leader].signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(1+r.IntN(12)) * time.Second)
		th.children[leader].signal(syscall.SIGCONT)
		return nil
	}},
	{"leader cut off", func(th *three, r *rand.Rand, leader int) error {
		th.cut(leader, true)
		time.Sleep(time.Duration(1+r.IntN(15)) * time.Second)
		th.cut(leader, false)
		return nil
	}},
	{"leader cut off from one", func(th *three, r *rand.Rand, leader int) error {
		to := (leader + 1 + r.IntN(2)) % 3
		for _, off := range []bool{true, false} {
			th.lines[leader][to].set(off)
			th.lines[to][leader].set(off)
			time.Sleep(time.Duration(1+r.IntN(8)) * time.Second)
		}
		return nil
	}},
	{"each cut off in turn", func(th *three, r *rand.Rand, _ int) error {
		for i := range th.children {
			th.cut(i, true)
			time.Sleep(time.Duration(1+r.IntN(5)) * time.Second)
			th.cut(i, false)
		}
		return nil
	}},
	{"leader cut off, then another killed", func(th *three, r *rand.Rand, leader int) error {
		th.cut(leader, true)
		time.Sleep(time.Duration(r.IntN(8)) * time.Second)
		err := th.killed(r, (leader+1)%3)
		th.cut(leader, false)
		return err
	}},
}

// killed kills servers at once, and starts them again a while later.
func (th *three) killed(r *rand.Rand, which ...int) error {
	for _, i := range which {
		th.children[i].kill()
	}
	time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
	errs := make([]error, len(which))
	var wg sync.WaitGroup
	for n, i := range which {
		wg.Go(func() { errs[n] = th.children[i].start() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// leader returns which server leads the logs, by what c hears.
func (th *three) leader(ctx context.Context, c *Cluster) (int, error) {
	var name string
	err := persist(ctx, c.elsewhere, func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, logStream)
		if err == nil && (s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "") {
			err = errors.New("nobody leads the logs")
		}
		if err == nil {
			name = s.CachedInfo().Cluster.Leader
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	var i int
	_, err = fmt.Sscanf(name, "s-%d", &i)
	return i, err
}

// TestHistories has would-be coordinators work on the same logs of three servers that fail, and checks that nobody could tell.
func TestHistories(t *testing.T) {
	t.Parallel()
	first := *logSeed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("first seed %d", first)
	th := newThree(t, [3]int{})
	var clients []*Cluster
	for i := range 3 {
		clients = append(clients, connect(t, &Remote{URLs: th.urls(), Identity: issue(t, th.ca, identity.Coordinator, fmt.Sprintf("c-%d", i))}))
	}
	if err := clients[0].Prepare(soon(t)); err != nil {
		t.Fatal(err)
	}
	rounds := max(1, (*histories+logsPerFault-1)/logsPerFault)
	total, ops, unknown := 0, 0, 0
	for round := range rounds {
		seed := first + uint64(round)
		r := rand.New(rand.NewPCG(seed, 0))
		fault := faults[0]
		if *histories > 0 {
			fault = faults[r.IntN(len(faults))]
		}
		began := time.Now()
		leader, err := th.leader(soon(t), clients[0])
		if err != nil {
			t.Fatal(err)
		}
		all, err := disturb(clients, r, seed, func() error { return fault.do(th, r, leader) })
		if err != nil {
			t.Fatalf("seed %d, %s: %v", seed, fault.name, err)
		}
		for _, h := range all {
			total++
			ops += len(h.acts)
			for _, a := range h.acts {
				if errors.Is(a.err, ErrUnknown) {
					unknown++
				}
			}
		}
		if *histories > 0 {
			t.Logf("seed %d: %s: %v; so far %d histories, %d operations, %d of them unknown", seed, fault.name, time.Since(began).Round(time.Millisecond), total, ops, unknown)
		}
	}
	t.Logf("%d histories with %d operations are linearizable", total, ops)
}

// disturb has a fault while clients work on the logs of a few jobs, and checks these.
func disturb(clients []*Cluster, r *rand.Rand, seed uint64, fault func() error) ([]*history, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all []*history
	var wg sync.WaitGroup
	for n := range logsPerFault {
		h := &history{job: fmt.Sprintf("j-%d-%d", seed, n), began: time.Now()}
		all = append(all, h)
		for i, c := range clients {
			own := rand.New(rand.NewPCG(seed, uint64(n*len(clients)+i)+1))
			wg.Go(func() { h.work(ctx, c, own) })
		}
	}
	time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
	err := fault()
	time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
	cancel()
	wg.Wait()
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		err := h.check(ctx, clients[r.IntN(len(clients))])
		cancel()
		if err != nil {
			return nil, fmt.Errorf("log of job %s: %w\n%s", h.job, err, h)
		}
	}
	return all, nil
}

func (h *history) String() string {
	var b strings.Builder
	for _, a := range h.acts {
		fmt.Fprintf(&b, "%12d %12d %s of %d in %d: %q%q, %v\n", a.call, a.ret, a.kind, a.writer, a.epoch, a.act.text, a.text, a.err)
	}
	return b.String()
}
