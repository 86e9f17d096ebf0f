package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/shuffle"
)

// FuzzRunner lets runners say whatever to an agent that has a split mapped and reduced, and write whatever to the memory and the files that they share: the agent
// comes to an end, blames objects that are there, and takes no more memory than what it was sent accounts for.
func FuzzRunner(f *testing.F) {
	const well = "\x00\x00\x00\x00" // a status, and a Ready
	f.Add([]byte("\x00"+well+"\x00\x00\x01\x05hello\x06\x00"), false)
	f.Add([]byte("\x02"+well+"\x09\x00\x00\x00\x00\x06\x01\x00\x00\x00"+well+"\x01\x05hello\x06\x00"), true)
	f.Add([]byte("\x00"+well+"\x03\x01\x04why?\x00\x07\x03\x02no"), false)
	f.Add([]byte("\x00"+well+strings.Repeat("\x00\x01", 8)), false) // slab 1 is given back, which was not lent
	f.Fuzz(func(t *testing.T, b []byte, verify bool) {
		s := &lies{b: b}
		partitions := s.pick(3)
		const objects = 3
		l := newLab(t, objects, func(i int) string { return fmt.Sprint("object ", i) })
		l.verify = verify
		l.launch = s.launch
		if s.pick(4) == 3 {
			l.arrivals = []coordinator.Arrivals{{}, {All: s.pick(2) == 0, Gone: s.pick(2) == 0}}
		}
		before := allocated()
		l.start(t, 0)
		for try := range 2 {
			l.lease(try+1, "m-00000", partitions)
		}
		if partitions > 0 {
			l.lease(1, "r-00000", 0)
		}
		leases := len(l.leases)
		ended := make(chan error, 1)
		go func() { ended <- l.agent.Run(t.Context()) }()
		select {
		case <-ended: // with an error if no runner can be started
		case <-time.After(30 * time.Second):
			t.Fatal("the agent goes on without runners")
		}
		if n := len(l.commits) + len(l.failures); n > leases {
			t.Errorf("%d leases came to %d ends", leases, n)
		}
		for _, x := range l.failures {
			if x.Object < -1 || x.Object >= objects || (x.Object < 0) != (x.URI == "") || x.Fault == coordinator.FaultObject && x.Object < 0 {
				t.Errorf("blamed: %+v", x)
			}
		}
		for _, c := range l.commits {
			if n := c.Result.Counters.Failed; n > objects || int64(len(c.Result.Names)) != n {
				t.Errorf("%d failed objects, %d by name", n, len(c.Result.Names))
			}
		}
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

// Lies are what runners say. Each takes from the same bytes, and gets zeros once there are none left.
type lies struct {
	mu sync.Mutex
	b  []byte
}

func (s *lies) take(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.b))
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *lies) pick(n int) int {
	if b := s.take(1); len(b) > 0 {
		return int(b[0]) % n
	}
	return 0
}

// A liar is a runner that lies. It ends when it has no more to say or its agent hangs up.
type liar struct {
	*lies
	fd   int // of the socket
	conn *runner.Conn
	mem  *runner.Memory
	done chan struct{}
	asks chan struct{} // attempts that the agent asks for

	mu         sync.Mutex
	file       *os.File // what came with the last of them
	partitions int
}

// launch is a Launcher of liars.
func (s *lies) launch(_ context.Context, socket, memory *os.File) (Process, error) {
	fd, err := unix.FcntlInt(socket.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	mem, err := runner.MapMemory(memory)
	if err != nil {
		return nil, err
	}
	conn, err := runner.NewConn(os.NewFile(uintptr(fd), "agent"))
	if err != nil {
		return nil, err
	}
	x := &liar{lies: s, conn: conn, mem: mem, done: make(chan struct{}), asks: make(chan struct{}, 16)}
	if x.fd, err = unix.FcntlInt(socket.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, err
	}
	go x.run()
	return x, nil
}

func (x *liar) Kill() { x.conn.Hang() }

func (x *liar) Wait() Exit {
	<-x.done
	return Exit{OOM: x.pick(4) == 3, Text: "the liar has ended"}
}

func (x *liar) run() {
	defer close(x.done)
	var listening sync.WaitGroup
	listening.Go(x.listen)
	st := x.mem.Status()
	st.Current.Store(uint64(x.pick(6)) * uint64(x.pick(3)))
	st.Objects.Store(int64(x.pick(256)) - 100)
	alive := x.greet()
	for alive {
		if _, ok := <-x.asks; !ok {
			break
		}
		for alive = x.step(); alive && len(x.asks) == 0; alive = x.step() {
		}
	}
	x.conn.Hang()
	listening.Wait()
	if x.file != nil {
		_ = x.file.Close()
	}
	_ = unix.Close(x.fd)
	_ = x.conn.Close()
	_ = x.mem.Close()
}

// listen hears what the agent asks for, until it hangs up.
func (x *liar) listen() {
	defer close(x.asks)
	for {
		k, p, file, err := x.conn.Recv()
		if err != nil {
			return
		}
		x.mu.Lock()
		if file != nil {
			if x.file != nil {
				_ = x.file.Close()
			}
			x.file = file
		}
		var m runner.Map
		if k == runner.KindMap && json.Unmarshal(p, &m) == nil {
			x.partitions = m.Partitions
		}
		x.mu.Unlock()
		if k == runner.KindMap || k == runner.KindReduce {
			select {
			case x.asks <- struct{}{}:
			default: // more than there can be leases
			}
		}
	}
}

// greet answers the Hello, which need not have come.
func (x *liar) greet() bool {
	var err error
	switch x.pick(8) {
	case 0, 1, 2, 3, 4:
		err = x.conn.SendJSON(runner.KindReady, runner.Ready{Description: guest.Description{ABI: guest.ABI}})
	case 5:
		err = x.conn.Send(runner.KindReady, x.take(x.pick(64)))
	case 6:
		err = x.conn.Send(runner.KindAbort, x.take(x.pick(64)))
	case 7:
		err = x.conn.Send(runner.Kind(x.pick(256)), x.take(x.pick(64)))
	}
	return err == nil
}

var tooLong [runner.MaxFrame + 1]byte

// step says the next thing of an attempt, and reports whether there is more.
func (x *liar) step() bool {
	x.lies.mu.Lock()
	over := len(x.b) == 0
	x.lies.mu.Unlock()
	if over {
		return false
	}
	var err error
	st := x.mem.Status()
	switch x.pick(14) {
	case 0:
		err = x.conn.SendUints(runner.KindFree, uint32(x.pick(6)))
	case 1:
		err = x.conn.Send(runner.KindText, x.take(x.pick(256)))
	case 2:
		err = x.conn.Send(runner.KindMore, x.take(x.pick(256)))
	case 3:
		err = x.conn.Send(runner.KindFailed, append([]byte{byte(x.pick(5)), 0, 0, byte(x.pick(40) / 39)}, x.take(x.pick(64))...))
	case 4:
		err = x.conn.SendJSON(runner.KindSum, runner.Sum{Object: uint32(x.pick(5)), Exit: x.pick(3), Digest: string(x.take(x.pick(20)))})
	case 5:
		err = x.conn.Send([]runner.Kind{runner.KindDone, runner.KindSum, runner.KindReady}[x.pick(3)], x.take(x.pick(256)))
	case 6:
		err = x.conn.SendJSON(runner.KindDone, x.report())
	case 7:
		err = x.conn.Send(runner.KindAbort, x.take(x.pick(256)))
	case 8:
		err = x.conn.Send(runner.Kind(x.pick(256)), x.take(x.pick(256)))
	case 9:
		x.write(x.take(x.pick(256)), int64(x.pick(256))*int64(x.pick(256)))
	case 10:
		st.Current.Store(uint64(x.pick(6)))
		st.Started.Add(uint64(x.pick(3)))
		st.Bytes.Store(int64(x.pick(256)) << 56)
	case 11:
		x.mu.Lock()
		if x.file != nil {
			err = x.conn.Send(runner.KindText, []byte("x"), x.file, x.file)
		}
		x.mu.Unlock()
	case 12: // as long as a frame may be, or longer
		_ = unix.Sendmsg(x.fd, tooLong[x.pick(2):], nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	case 13:
		copy(x.mem.Slab(x.pick(runner.Slabs)), x.take(x.pick(256)))
	}
	return err == nil
}

// report returns a report, for which there may be a table of sections in the run.
func (x *liar) report() runner.Done {
	d := runner.Done{Objects: int64(x.pick(5)), Emitted: int64(x.pick(256)) - 50, User: map[string]int64{string(x.take(x.pick(8))): 1}}
	x.mu.Lock()
	sections := make([]shuffle.Section, x.partitions+x.pick(16)/15)
	x.mu.Unlock()
	for i := range sections {
		sections[i] = shuffle.Section{Offset: int64(x.pick(200)) - 10, Length: int64(x.pick(200)) - 10, Emitted: int64(x.pick(3)), Digest: uint64(x.pick(3))}
	}
	table, err := json.Marshal(sections)
	if err != nil {
		panic(err)
	}
	if x.pick(4) < 3 {
		d.IndexOffset, d.IndexLength = int64(x.pick(256)), int64(len(table))
		x.write(table, d.IndexOffset)
	} else {
		d.IndexOffset, d.IndexLength = int64(x.pick(256))-20, int64(x.pick(256))<<(x.pick(8)*8)-20
	}
	return d
}

// write writes to what came with the attempt.
func (x *liar) write(b []byte, at int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file != nil {
		_, _ = x.file.WriteAt(b, at) // it may be sealed, or a netpipe
	}
}
