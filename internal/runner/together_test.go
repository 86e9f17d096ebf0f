package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// An actor is a guest that does with each object what its body says.
type actor struct{ starts, stale int }

func (a *actor) Close() error { return nil }

func (a *actor) Run(ctx context.Context, r *sandbox.Run) (report sandbox.Report, err error) {
	a.starts++
	out := guest.NewAnswers(r.Stdout)
	in := guest.NewObjects(r.Stdin, out)
	if len(r.Files) > 0 {
		memory, err := unix.Mmap(int(r.Files[0].Fd()), 0, SlabSize, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return report, err
		}
		defer unix.Munmap(memory)
		in.Share(memory)
	}
	for first := true; ; first = false {
		m, err := in.Next()
		if err != nil || ctx.Err() != nil {
			if err == io.EOF {
				err = nil
			}
			return report, errors.Join(context.Cause(ctx), err)
		}
		if !first {
			a.stale++
		}
		body, err := io.ReadAll(io.LimitReader(in, 16))
		if err != nil {
			return report, err
		}
		line := []byte(m.Key + "\n")
		switch verb := strings.TrimSpace(string(body)); verb {
		case "crash":
			return report, sandbox.ErrTrap
		case "crash later": // what those before left in memory is its undoing
			if !first {
				return report, sandbox.ErrTrap
			}
			err = errors.Join(out.Text(line), out.OK())
		case "vanish":
			return report, nil
		case "exit after": // having answered
			err = errors.Join(out.Text(line), out.OK(), out.Flush())
			if err == nil {
				return report, nil
			}
		case "loop":
			<-ctx.Done()
			return report, context.Cause(ctx)
		case "flood":
			for err == nil {
				err = out.Text(line)
			}
		case "garbage":
			_, err = r.Stdout.Write([]byte("garbage")) // ahead of what is held back
			if err == nil {
				err = out.OK()
			}
		case "bad":
			err = errors.Join(out.Text(line), out.Fail("bad object"))
		case "many": // answers for objects that it was not given
			for range 1000 {
				if err = out.OK(); err != nil {
					break
				}
			}
			err = errors.Join(err, out.Flush())
		default:
			err = errors.Join(out.Text(line), out.OK())
		}
		if err != nil {
			return report, err
		}
	}
}

// togetherTest serves a program in split isolation that is not in a jail. What it prints is text.
func togetherTest(t *testing.T, engine job.Engine, g sandbox.Guest, limits job.Limits) *agentEnd {
	t.Helper()
	mem, f, err := NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	ours, theirs := pair(t)
	a := &agentEnd{t, ours, mem, make(chan error, 1)}
	params, err := guest.EncodeParams(map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	l := withDefaults(limits)
	d := guest.Description{ABI: guest.ABI, MapOnly: true}
	s := &server{
		conn: theirs, mem: mem, out: output{conn: theirs},
		hello:   Hello{Engine: engine, Isolation: job.IsolateSplit, Limits: l, Inputs: []Input{{Root: "mem:in/"}}},
		program: &sdkProgram{guestProgram: guestProgram{guest: g, limits: l}, reducing: reducing{desc: d}, params: params},
		stage:   stage{limits: l, types: d, format: job.Text, counts: make(map[string]int64)},
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := s.serve(context.Background())
		theirs.Hang()
		a.done <- err
	}()
	t.Cleanup(func() { ours.Hang(); <-ended })
	return a
}

var engines = []job.Engine{job.Wasm, job.Native}

// Whatever objects do to their instance, each comes out as it would in one of its own.
func TestTogether(t *testing.T) {
	verbs := map[string]string{ // with the reason that the object fails for
		"good": "", "exit after": "", "crash later": "", "": "",
		"crash": "crashed", "vanish": "without saying that it was done", "bad": "bad object", "garbage": "guest protocol", "flood": "output limit",
	}
	names := []string{"good", "good", "good", "good", "good", "good", "exit after", "crash later", "", "crash", "vanish", "bad", "garbage", "flood"}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 3))
	for range 60 {
		for _, engine := range engines {
			g := new(actor)
			a := togetherTest(t, engine, g, job.Limits{Output: 1000, ReadBytes: 1 << 20})
			a.begin()
			want, wantText, i := map[uint32]string{}, "", uint32(0)
			slab := uint32(0)
			for range 1 + r.IntN(4) {
				var ps []Piece
				var bodies []string
				n := 0
				for range 1 + r.IntN(60) {
					verb := names[r.IntN(len(names))]
					p := piece(i, fmt.Sprintf("%04d", i), int64(len(verb)), true, true)
					switch {
					case r.IntN(50) == 0:
						p.Unread = true
					case r.IntN(50) == 0:
						p.Size = 2 << 20
						want[i] = "guest stdin limit: 2 MiB of 1 MiB"
					case verbs[verb] != "":
						want[i] = verbs[verb]
					default:
						wantText += p.Key + "\n"
					}
					i++
					ps, bodies = append(ps, p), append(bodies, verb)
				}
				for i := range ps {
					copy(ps[i].Put(a.mem.Slab(int(slab))[n:], len(bodies[i])), bodies[i])
					n += ps[i].HeadSize() + len(bodies[i])
				}
				if err := a.conn.SendUints(KindBatch, slab, uint32(n)); err != nil {
					t.Fatal(err)
				}
				slab++
			}
			h := a.end()
			if h.abort != "" || h.text != wantText {
				t.Fatalf("seed %d, %s: %s\ngot  %q\nwant %q", seed, engine, h.abort, h.text, wantText)
			}
			for i, reason := range want {
				if got := h.failed[i]; !strings.Contains(got, reason) {
					t.Errorf("seed %d, %s: object %d: got %q, want %q", seed, engine, i, got, reason)
				}
			}
			if len(h.failed) != len(want) || h.done.Objects != int64(len(want)+strings.Count(wantText, "\n")) {
				t.Errorf("seed %d, %s: %d of %d objects failed, want %d", seed, engine, len(h.failed), h.done.Objects, len(want))
			}
		}
	}
}

// An instance is kept as long as nothing is wrong with it.
func TestTogetherKeepsItsInstance(t *testing.T) {
	for _, engine := range engines {
		g := new(actor)
		a := togetherTest(t, engine, g, job.Limits{})
		for range 2 {
			a.begin()
			for slab := range uint32(Slabs) {
				var ps []Piece
				for i := range uint32(30) {
					ps = append(ps, piece(slab*30+i, "k", 4, true, true))
				}
				a.batch(slab, "good", ps...)
			}
			if h := a.end(); strings.Count(h.text, "\n") != 120 || h.done.Objects != 120 {
				t.Errorf("%s: got %q, %+v", engine, h.text, h.done)
			}
		}
		a.conn.Hang()
		<-a.done
		if g.starts != 2 || g.stale != 2*119 {
			t.Errorf("%s: %d instances for 2 splits, %d objects were not the first of theirs", engine, g.starts, g.stale)
		}
	}
}

// An object over its time fails alone, also if others were given ahead; the time of others is not its own.
func TestTogetherTime(t *testing.T) {
	for _, engine := range engines {
		a := togetherTest(t, engine, new(actor), job.Limits{Wall: 50 * time.Millisecond})
		a.begin()
		var ps []Piece
		var failed []uint32
		for i := range uint32(40) {
			p := piece(i, fmt.Sprintf("%02d", i), 4, true, true)
			if i == 3 || i == 37 {
				failed = append(failed, i)
			}
			ps = append(ps, p)
		}
		n := 0
		for i, p := range ps {
			body := "good"
			if i == 3 || i == 37 {
				body = "loop"
			}
			copy(p.Put(a.mem.Slab(0)[n:], 4), body)
			n += p.HeadSize() + 4
		}
		if err := a.conn.SendUints(KindBatch, 0, uint32(n)); err != nil {
			t.Fatal(err)
		}
		h := a.end()
		want := map[uint32]string{}
		for _, i := range failed {
			want[i] = "guest wall clock limit: 50ms"
		}
		if !maps.Equal(h.failed, want) || strings.Count(h.text, "\n") != 38 {
			t.Errorf("%s: got %v and %q, want %v", engine, h.failed, h.text, want)
		}
	}
}

// A large object comes in pieces; one that cannot be read to its end is forgotten, and its instance with it.
func TestTogetherPieces(t *testing.T) {
	for _, engine := range engines {
		a := togetherTest(t, engine, new(actor), job.Limits{})
		a.begin()
		gone := piece(2, "gone", 12, false, true)
		gone.Unread = true
		a.batch(0, "good", piece(0, "first", 4, true, true), piece(1, "large", 12, true, false))
		a.batch(1, "    ", piece(1, "large", 12, false, false), piece(1, "large", 12, false, true), piece(2, "gone", 12, true, false))
		a.batch(2, "    ", gone, piece(3, "last", 4, true, true))
		if h := a.end(); h.text != "first\nlarge\nlast\n" || len(h.failed) != 0 || h.done.Objects != 3 {
			t.Errorf("%s: got %q, failed %v, %+v", engine, h.text, h.failed, h.done)
		}
	}
}

// A guest that answers for objects that it was not given fails the attempt: nobody knows what its other answers were for.
func TestTogetherLies(t *testing.T) {
	for _, engine := range engines {
		a := togetherTest(t, engine, new(actor), job.Limits{})
		a.begin()
		a.batch(0, "many", piece(0, "a", 4, true, true), piece(1, "b", 4, true, true))
		if h := a.end(); !strings.Contains(h.abort, "not given") {
			t.Errorf("%s: got %+v, want the attempt to fail", engine, h)
		}
	}
}

func TestIsolationRefused(t *testing.T) {
	h := Hello{Engine: job.Builtin, Name: "words", Isolation: job.IsolateSplit}
	if _, err := load(context.Background(), &h, nil, nil); err == nil || !strings.Contains(err.Error(), "--isolation split") {
		t.Errorf("got %v", err)
	}
	if b, err := json.Marshal(Hello{}); err != nil || strings.Contains(string(b), "isolation") {
		t.Errorf("the default is said: %s, %v", b, err)
	}
}
