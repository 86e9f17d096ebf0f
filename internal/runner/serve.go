package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// A server serves one agent for one job.
type server struct {
	conn       *Conn
	mem        *Memory
	hello      Hello
	program    program
	stage      stage
	out        output
	sorter     *shuffle.Sorter // kept from one attempt to the next, for its memory
	partitions int             // of the sorter
	checking   bool            // nothing that the attempt under way emits counts
	intake     *intake         // of the last reduce; nil: the last attempt was none
	sample     *sample         // takes what the attempt under way emits; nil: it is no sampling
	done       Done            // of the attempt under way
	ends       *ends           // of a member; nil: it is none
}

// Serve answers the agent at the other end of conn until it hangs up. A program in process takes the place of what Hello names
// if inProcess is not nil.
func Serve(ctx context.Context, conn *Conn, mem *Memory, inProcess *job.Job) error {
	s := &server{conn: conn, mem: mem, out: output{conn: conn}}
	err := s.greet(ctx, inProcess)
	if err == nil {
		err = s.serve(ctx)
	}
	s.release()
	if s.program != nil {
		err = errors.Join(err, s.program.close())
	}
	if errors.Is(err, io.EOF) || errors.Is(err, errRefused) {
		return nil
	}
	return err
}

// release gives back the memory of the sorter.
func (s *server) release() {
	if s.sorter != nil {
		s.sorter.Close()
	}
}

// errRefused says that the program cannot run and that the agent knows why.
var errRefused = errors.New("program refused")

// refuse tells the agent why.
func (s *server) refuse(why error) error {
	return errors.Join(errRefused, s.conn.Send(KindAbort, []byte(clip(why.Error()))))
}

func (s *server) greet(ctx context.Context, inProcess *job.Job) error {
	k, payload, code, err := s.conn.Recv()
	if err != nil {
		return err
	}
	if code != nil {
		defer code.Close()
	}
	if k == KindCompile {
		return s.compile(ctx, code)
	}
	if k != KindHello {
		return fmt.Errorf("%w: frame %c before a hello", ErrProtocol, k)
	}
	if err := json.Unmarshal(payload, &s.hello); err != nil {
		return fmt.Errorf("%w: hello: %w", ErrProtocol, err)
	}
	if s.hello.Version != Version {
		return fmt.Errorf("%w: version %d, not %d", ErrProtocol, s.hello.Version, Version)
	}
	s.hello.Limits = withDefaults(s.hello.Limits)
	s.out.compress = s.hello.Compress
	s.program, err = load(ctx, &s.hello, code, inProcess)
	if err == nil {
		err = s.enlist()
	}
	if err != nil {
		return s.refuse(err)
	}
	s.stage = stage{limits: s.hello.Limits, types: s.program.describe(), format: s.hello.Format, counts: make(map[string]int64)}
	if m := s.hello.Member; m != nil && !m.Writes {
		s.stage.silent = m.silent()
	}
	if err := s.conn.SendJSON(KindReady, Ready{s.program.describe()}); err != nil {
		return err
	}
	if p, ok := s.program.(*sdkProgram); ok {
		st := s.mem.Status()
		st.Current.Store(1)               // what takes too long would do so with the first object
		p.prepare(ctx, s.hello.Isolation) // the agent may not have work yet
		st.Current.Store(0)
	}
	return nil
}

// serve runs attempts, one after another.
func (s *server) serve(ctx context.Context) error {
	for {
		k, payload, file, err := s.conn.Recv()
		if err != nil {
			return err
		}
		if k == KindLink {
			if err := s.link(payload, file); err != nil {
				return err
			}
			continue
		}
		s.done, s.intake = Done{User: make(map[string]int64)}, nil
		s.out.reset()
		began, user, system, _ := clocks()
		st := s.mem.Status()
		st.Objects.Store(0)
		st.Bytes.Store(0)
		st.Records.Store(0)
		st.Failed.Store(0)
		switch k {
		case KindMap:
			err = s.mapSplit(ctx, payload, file)
			if file != nil {
				err = errors.Join(err, file.Close())
			}
		case KindReduce:
			err = s.reduce(ctx, payload, file)
			if file != nil {
				err = errors.Join(err, file.Close())
			}
		case KindRun:
			err = s.runMember(ctx)
		case KindLast:
			err = s.endMember(ctx)
		default:
			err = fmt.Errorf("%w: frame %c between attempts", ErrProtocol, k)
		}
		var failed *attemptError
		switch {
		case errors.As(err, &failed):
			err = s.lost(failed)
			if err == nil {
				k := KindAbort
				if _, other := errors.AsType[*otherError](failed); other {
					k = KindOther
				}
				err = s.conn.Send(k, []byte(clip(failed.Error())))
			}
			if err == nil && s.intake != nil {
				err = s.intake.drain()
			}
		case err == nil:
			ended, u, sys, peak := clocks()
			s.done.Wall, s.done.CPUUser, s.done.CPUSystem, s.done.Peak = int64(ended.Sub(began)), u-user, sys-system, peak
			err = s.conn.SendJSON(KindDone, s.done)
		}
		if err != nil {
			return err
		}
	}
}

// clocks returns the time, the CPU time of this process and of its children that ended, and its peak memory in bytes.
func clocks() (now time.Time, user, system, peak int64) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			user += u.Utime.Nano()
			system += u.Stime.Nano()
			peak = max(peak, u.Maxrss<<10)
		}
	}
	return time.Now(), user, system, peak
}

// An attemptError ends the attempt, not the runner.
type attemptError struct{ err error }

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// Defaults of what a job leaves open.
const (
	defaultMemory  = 256 << 20
	defaultOutput  = 256 << 20
	defaultShuffle = 256 << 20
)

func withDefaults(l job.Limits) job.Limits {
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	if l.Output == 0 {
		l.Output = defaultOutput
	}
	if l.Records == 0 {
		l.Records = math.MaxInt64
	}
	if l.Shuffle == 0 {
		l.Shuffle = defaultShuffle
	}
	return l
}

// clip bounds a reason.
func clip(s string) string {
	const most = 4096
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// account adds the report of one run of a guest.
func (s *server) account(r *usage) {
	d := &s.done
	d.GuestUser += int64(r.user)
	d.GuestSystem += int64(r.system)
	d.GuestWall += int64(r.wall)
	d.GuestPeak = max(d.GuestPeak, r.peak)
	d.Reads += r.reads
	d.ReadBytes += r.readBytes
	d.Writes += r.writes
	d.WriteBytes += r.writeBytes
	d.LogLines += r.logLines
	d.LogDropped += r.logDropped
	if r.restored {
		d.Restored++
	}
	if s.ends != nil {
		s.ends.account(r.channels)
	}
}

// A usage is what one run of a guest used.
type usage struct {
	user, system, wall                   time.Duration
	peak                                 int64
	exit                                 int
	reads, readBytes, writes, writeBytes int64
	logLines, logDropped                 int64
	restored                             bool
	channels                             []sandbox.ChannelUse
}
