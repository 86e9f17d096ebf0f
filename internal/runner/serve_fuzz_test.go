package runner

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
	"github.com/millrace/millrace/shuffle"
)

// A script is what the other end of a channel does: each step takes bytes, and gets zeros once there are none left.
type script []byte

func (s *script) take(n int) []byte {
	n = min(n, len(*s))
	b := (*s)[:n]
	*s = (*s)[n:]
	return b
}

func (s *script) pick(n int) int {
	if b := s.take(1); len(b) > 0 {
		return int(b[0]) % n
	}
	return 0
}

// FuzzServe lets an agent say whatever to a runner, with whatever in the slabs and in the runs: the runner ends when its agent is gone, says only
// what the channel knows, and takes no more memory than what it was sent accounts for.
func FuzzServe(f *testing.F) {
	const plain = 1 // a Hello and a Map come first
	f.Add([]byte{plain, 3, 0, 2, 3, 4, 3, 'a', 'b', 'c', 'd', 'a', 't', 'a', 5})
	f.Add([]byte{plain | 2, 3, 1, 1, 3, 4, 3, 'a', 'b', 'c', 'd', 'a', 't', 'a', 5, 6, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0, 0, 0, 2, 1, 0, 7, 0, 1, 8, 'X', 4})
	mem, file, err := NewMemory()
	if err != nil {
		f.Fatal(err)
	}
	_ = file.Close()
	f.Cleanup(func() { _ = mem.Close() })
	programs := []*job.Job{echo(), job.MapReduce(func(o *mapper.Object, emit func(string, int64)) error {
		for i := range o.Data {
			emit(string(o.Data[i:]), 1)
		}
		return nil
	}, reducer.Sum[int64]())}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := script(b)
		flags := s.pick(4)
		clear(mem.b[:statusSize])
		ours, theirs := pair(t)
		before := allocated()
		ended := make(chan error, 1)
		go func() {
			err := Serve(context.Background(), theirs, mem, programs[flags>>1])
			theirs.Hang()
			ended <- err
		}()
		h := &hearing{t: t, conn: ours, mem: mem}
		var heard sync.WaitGroup
		heard.Go(h.listen)
		if flags&plain != 0 {
			h.hello(0)
			h.begin(flags >> 1)
		}
		for range 60 {
			if len(s) == 0 || h.step(&s) != nil {
				break
			}
		}
		if len(b)%2 == 0 { // it need not have said all that it has to say
			_ = h.conn.Send(KindEnd, nil)
		}
		ours.Hang()
		select {
		case err := <-ended:
			if err != nil && len(err.Error()) > 3*4096 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the runner goes on without its agent")
		}
		heard.Wait()
		if grown := allocated() - before; grown > 64<<20 {
			t.Errorf("%d MiB were allocated", grown>>20)
		}
	})
}

// allocated returns the bytes that this process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A hearing is an agent's end of the channel that says whatever, and checks what it hears.
type hearing struct {
	t    *testing.T
	conn *Conn
	mem  *Memory

	mu   sync.Mutex
	lent [Slabs]int // B frames of each, less F frames
}

// listen checks the frames of the runner until it is gone.
func (h *hearing) listen() {
	for {
		k, p, file, err := h.conn.Recv()
		if err != nil {
			if errors.Is(err, ErrProtocol) {
				h.t.Error(err)
			}
			return
		}
		if file != nil {
			h.t.Errorf("a descriptor with frame %c", k)
			_ = file.Close()
		}
		var slab, object uint32
		switch k {
		case KindReady:
			err = json.Unmarshal(p, &Ready{})
		case KindDone:
			err = json.Unmarshal(p, &Done{})
		case KindSum:
			err = json.Unmarshal(p, &Sum{})
		case KindFree:
			if _, err = Uints(p, &slab); err == nil {
				h.mu.Lock()
				if slab >= Slabs || h.lent[slab] == 0 {
					h.t.Errorf("slab %d is given back", slab)
				} else {
					h.lent[slab]--
				}
				h.mu.Unlock()
			}
		case KindFailed:
			_, err = Uints(p, &object)
		case KindAbort:
			if len(p) > 4096+len("…") {
				err = errors.New("a long reason")
			}
		case KindText, KindMore, KindLost:
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			h.t.Errorf("frame %c of %d bytes: %v", k, len(p), err)
		}
	}
}

// hello sends a Hello, of which bits of variant are other than usual.
func (h *hearing) hello(variant int) {
	m := Hello{
		Version: Version + variant&1, Format: job.Text, Inputs: []Input{{Root: "mem:in/"}},
		Limits: job.Limits{Output: 1 << 16, Records: 200, Shuffle: 1 << 20, ReadBytes: int64(variant & 8)},
	}
	if variant&2 != 0 {
		m.Format = job.JSONL
	}
	if variant&4 != 0 {
		m.Isolation = job.IsolateSplit
	}
	_ = h.conn.SendJSON(KindHello, m)
}

// begin sends a Map.
func (h *hearing) begin(partitions int) {
	m := Map{Attempt: job.AttemptID{Task: "m-00000", Try: 1}, Partitions: partitions}
	_ = h.conn.SendJSON(KindMap, m, runFile(h.t, partitions > 0)...)
}

// runFile returns a file for a run, which is closed with the test.
func runFile(t *testing.T, wanted bool) []*os.File {
	if !wanted {
		return nil
	}
	fd, err := unix.MemfdCreate("run", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "run")
	t.Cleanup(func() { _ = f.Close() })
	return []*os.File{f}
}

// step does the script's next step.
func (h *hearing) step(s *script) error {
	switch s.pick(10) {
	case 0:
		h.hello(s.pick(16))
	case 1:
		return h.conn.Send([]Kind{KindHello, KindMap, KindReduce}[s.pick(3)], s.take(s.pick(256)), runFile(h.t, s.pick(2) == 1)...)
	case 2:
		h.begin(s.pick(4))
	case 3, 4:
		return h.batch(s)
	case 5:
		return h.conn.Send(KindEnd, nil)
	case 6:
		return h.reduce(s)
	case 7:
		slab, n := uint32(s.pick(256)), uint32(s.pick(256))*uint32(s.pick(256))*uint32(s.pick(256))
		if slab < Slabs {
			h.lend(slab)
		}
		return h.conn.SendUints(KindBatch, slab, n)
	case 8:
		return h.conn.Send(Kind(s.pick(256)), s.take(s.pick(256)), runFile(h.t, s.pick(2) == 1)...)
	case 9: // change what the runner may be reading
		copy(h.mem.Slab(s.pick(Slabs))[s.pick(256):], s.take(s.pick(256)))
	}
	return nil
}

func (h *hearing) lend(slab uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lent[slab]++
}

// batch lays pieces into a slab and sends it.
func (h *hearing) batch(s *script) error {
	slab, n := uint32(s.pick(Slabs)), 0
	for range 1 + s.pick(4) {
		flags := s.pick(32)
		data := s.take(s.pick(200))
		p := Piece{
			Index: uint32(s.pick(8)), Input: uint32(s.pick(16) / 15), Size: int64(len(data)) + int64(s.pick(3)), Key: string(s.take(s.pick(20))), ETag: string(s.take(s.pick(4))),
			First: flags&1 == 0, Last: flags&2 == 0, Unread: flags&12 == 12, Sum: flags&16 != 0,
		}
		copy(p.Put(h.mem.Slab(int(slab))[n:], len(data)), data)
		n += p.HeadSize() + len(data)
	}
	h.lend(slab)
	return h.conn.SendUints(KindBatch, slab, uint32(n+s.pick(20)/19))
}

// reduce sends a Reduce and the runs that it is to merge, or others, and says at some time how many there are.
func (h *hearing) reduce(s *script) error {
	r := Reduce{Attempt: job.AttemptID{Task: "r-00000", Try: 1}, Spill: int64(s.pick(2)) << 10}
	if err := h.conn.SendJSON(KindReduce, r, runFile(h.t, s.pick(16) < 15)...); err != nil {
		return err
	}
	for range s.pick(8) {
		switch s.pick(4) {
		case 0:
			if err := h.conn.SendUints(KindTotal, uint32(s.pick(8))); err != nil {
				return err
			}
			continue
		case 1:
			if s.pick(4) == 0 {
				return h.conn.Send(KindGone, nil)
			}
		}
		runs := Runs{Name: "m-00000.1"}
		for range s.pick(4) {
			runs.Sections = append(runs.Sections, shuffle.Section{
				Partition: s.pick(2), Offset: int64(s.pick(8)) - 1, Length: int64(s.pick(256)), Records: int64(s.pick(4)), Emitted: int64(s.pick(4)),
				Digest: uint64(s.pick(2)), Sum: uint64(s.pick(2)), Block: int64(s.pick(256)) << s.pick(64),
			})
		}
		file := runFile(h.t, s.pick(16) < 15)
		for _, f := range file {
			_, _ = f.Write(s.take(s.pick(256)))
		}
		if err := h.conn.SendJSON(KindRuns, runs, file...); err != nil {
			return err
		}
	}
	return nil
}
