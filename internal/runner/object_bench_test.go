package runner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/internal/runner/testdata/invoices"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/sandbox"
)

// mailSize is the size of the mails of BenchmarkObject, in bytes.
const (
	mailSize  = 4096
	slabMails = 512 << 10 / mailSize // as the agent fills a slab
)

// One operation is one mail of 4 KB, searched for a pattern line by line, on one core: by a native program in the jail that keeps its
// process for a split or has one for each mail, and by the same function in a loop. Of a split, where they overlap, and of the loop, the
// mails of one slab are timed as one: percentiles are of the time per mail of such batches.
func BenchmarkObject(b *testing.B) {
	mails := benchMails()
	b.Run("native-split", func(b *testing.B) { benchNative(b, job.IsolateSplit, mails) })
	b.Run("native-object", func(b *testing.B) { benchNative(b, job.IsolateObject, mails) })
	b.Run("plain-go", func(b *testing.B) {
		oneCore(b)
		found := 0
		var took []time.Duration
		b.SetBytes(mailSize)
		began := time.Now()
		for i := 0; b.Loop(); i++ {
			if i%slabMails == slabMails-1 {
				now := time.Now()
				took = append(took, now.Sub(began)/slabMails)
				began = now
			}
			mail := mails[i%len(mails)]
			obj := &mapper.Object{Body: bytes.NewReader(mail), Data: mail}
			if err := invoices.Lines(obj, func(string) { found++ }); err != nil {
				b.Fatal(err)
			}
		}
		if b.N > len(mails) && found == 0 {
			b.Fatal("no mail names an invoice")
		}
		latency.Report(b, took)
	})
}

func benchMails() [][]byte {
	g := mailgen.New(1, &mailgen.Options{Mean: 2 * mailSize})
	var mails [][]byte
	for i := 0; len(mails) < Slabs*slabMails; i++ {
		if _, m := g.Mail(i); len(m) >= mailSize {
			mails = append(mails, m[:mailSize])
		}
	}
	return mails
}

// oneCore keeps this process, and what it starts from now on, on one core.
func oneCore(b *testing.B) {
	b.Helper()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	procs := runtime.GOMAXPROCS(1)
	set := func(cpus *unix.CPUSet) {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range tasks {
			tid, _ := strconv.Atoi(t.Name())
			_ = unix.SchedSetaffinity(tid, cpus) // it may be gone
		}
	}
	set(&one)
	b.Cleanup(func() { set(&all); runtime.GOMAXPROCS(procs) })
}

// A jailedRunner is a runner in a jail, and its agent's end.
type jailedRunner struct {
	tb   testing.TB
	conn *Conn
	mem  *Memory
}

// startJailed starts a runner of native programs and says h to it.
func startJailed(tb testing.TB, program string, h Hello) *jailedRunner {
	tb.Helper()
	mem, memory, err := NewMemory()
	if err != nil {
		tb.Fatal(err)
	}
	ours, theirs, err := Pair()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := sandbox.Start(&sandbox.Config{Native: true, Files: []*os.File{theirs, memory}})
	if _, ok := err.(*sandbox.LayerError); ok {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.Kill(); p.Wait(); _ = mem.Close() })
	_, _ = theirs.Close(), memory.Close()
	r := &jailedRunner{tb: tb, mem: mem}
	if r.conn, err = NewConn(ours); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.conn.Close() })
	code, err := os.Open(program)
	if err != nil {
		tb.Fatal(err)
	}
	defer code.Close()
	h.Version, h.Engine, h.Format, h.Inputs = Version, job.Native, job.Text, []Input{{Root: "mem:in/"}}
	if err := r.conn.SendJSON(KindHello, h, code); err != nil {
		tb.Fatal(err)
	}
	if k, p, _ := r.recv(); k != KindReady {
		tb.Fatalf("got %c %s", k, p)
	}
	return r
}

func (r *jailedRunner) recv() (Kind, []byte, uint32) {
	r.tb.Helper()
	k, p, _, err := r.conn.Recv()
	if err != nil {
		r.tb.Fatal(err)
	}
	var slab uint32
	if k == KindFree {
		if _, err := Uints(p, &slab); err != nil {
			r.tb.Fatal(err)
		}
	}
	return k, p, slab
}

func benchNative(b *testing.B, isolation job.Isolation, mails [][]byte) {
	program := filepath.Join(b.TempDir(), "program")
	build := exec.Command("go", "build", "-o", program, "./testdata/invoices/program")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	oneCore(b)
	r := startJailed(b, program, Hello{Isolation: isolation})
	if err := r.conn.SendJSON(KindMap, Map{Attempt: job.AttemptID{Task: "m-00000", Try: 1}}); err != nil {
		b.Fatal(err)
	}
	batch := 1
	if isolation == job.IsolateSplit {
		batch = slabMails
	}
	slabs := uint32(Slabs)
	if batch == 1 {
		slabs = 1
	}
	// Mails lie in the slabs from the start, as those of the loop lie in memory.
	size := 0
	for slab := range slabs {
		size = 0
		for n := range batch {
			i := int(slab)*batch + n
			p := Piece{Index: uint32(i), Size: mailSize, Key: fmt.Sprintf("2026/01/%06d.eml", i), ETag: "e", First: true, Last: true}
			copy(p.Put(r.mem.Slab(int(slab))[size:], mailSize), mails[i])
			size += p.HeadSize() + mailSize
		}
	}
	var took []time.Duration
	sent := 0
	fill := func(slab uint32) int {
		n := min(batch, b.N-sent)
		if n > 0 {
			if err := r.conn.SendUints(KindBatch, slab, uint32(size/batch*n)); err != nil {
				b.Fatal(err)
			}
		}
		sent += n
		return n
	}
	b.SetBytes(mailSize)
	b.ResetTimer()
	var pending []int // objects of the slabs under way
	last := time.Now()
	for slab := range slabs {
		pending = append(pending, fill(slab))
	}
	for pending[0] > 0 {
		k, p, slab := r.recv()
		switch k {
		case KindFree:
			now := time.Now()
			took = append(took, now.Sub(last)/time.Duration(pending[0]))
			last = now
			pending = append(pending[1:], fill(slab))
		case KindText, KindMore:
		default:
			b.Fatalf("got %c %s", k, p)
		}
	}
	if err := r.conn.Send(KindEnd, nil); err != nil {
		b.Fatal(err)
	}
	for k := Kind(0); k != KindDone; {
		var p []byte
		if k, p, _ = r.recv(); k == KindDone {
			var d Done
			if err := json.Unmarshal(p, &d); err != nil || d.Objects != int64(b.N) || batch > 1 && d.Output == 0 && b.N > len(mails) {
				b.Fatalf("%s: %v; want %d objects", p, err, b.N)
			}
		}
	}
	b.StopTimer()
	latency.Report(b, took)
}
