package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Errors, asked for with errors.Is.
var (
	// ErrLimit says that a guest passed one of its limits; the text says which, and both figures.
	ErrLimit = errors.New("limit")
	// ErrTime is the ErrLimit of a guest that took too long, by either of its clocks: another machine may be quick enough.
	ErrTime error = timeLimit{}
	// ErrTrap says that a guest crashed: a trap, a signal.
	ErrTrap = errors.New("guest crashed")
	// ErrStack is the ErrTrap of a guest that needs more stack than its engine gives.
	ErrStack = errors.New("stack overflow")
	// ErrExit says that a guest ended with an exit code that does not mean success. See [ExitError].
	ErrExit = errors.New("guest exited")
	// ErrModule says that a program was refused before it ran: malformed, too large, unknown imports.
	ErrModule = errors.New("program refused")
	// ErrLayer says that a required layer of the jail is missing. See [LayerError].
	ErrLayer = errors.New("sandbox layer missing")
)

type timeLimit struct{}

func (timeLimit) Error() string { return ErrLimit.Error() }

// Is makes an ErrTime an ErrLimit.
func (timeLimit) Is(target error) bool { return target == ErrLimit }

func timeError(clock string, limit time.Duration) error {
	return fmt.Errorf("guest %s %w: %v", clock, ErrTime, limit)
}

// An ExitError is the exit of a guest with a code other than 0. Tail holds the end of what it printed to stderr.
type ExitError struct {
	Code int
	Tail string
}

func (e *ExitError) Error() string {
	if e.Tail == "" {
		return fmt.Sprintf("guest exited %d", e.Code)
	}
	return fmt.Sprintf("guest exited %d: %s", e.Code, e.Tail)
}

// Is makes an ExitError an ErrExit.
func (e *ExitError) Is(target error) bool { return target == ErrExit }

// Limits bound one run of a guest. Zero fields mean the defaults.
type Limits struct {
	Memory int64         // bytes of guest memory; default 256 MiB
	Wall   time.Duration // default 60 s
	CPU    time.Duration // default 60 s
	Output int64         // bytes written to stdout; default 256 MiB

	Reads     int64 // calls that read stdin; default: no limit
	ReadBytes int64 // bytes read from stdin; default: no limit
	Writes    int64 // calls that write stdout; default: no limit

	// What is beyond these is dropped, not an error; the end is kept.
	Log      int64 // bytes of stderr; default 64 KiB
	LogLines int64 // lines of stderr; default 1,000
}

// Streams are the channels of one run. Stdin is read on the guest's demand; what the guest writes is passed on as it
// comes. An error of Stdout ends the run.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Laps   *Laps // if not nil, the run does several pieces of work; see [RunLaps]
}

// A Run is one execution of a guest from fresh state.
type Run struct {
	Args []string // without the program's name, which is always "guest"
	Env  []string // "K=V"; the guest sees no other
	Seed uint64   // of everything random the guest can ask for
	// Files are what a native guest inherits as descriptors 3, 4, …, beside its streams; other guests get none of them.
	Files []*os.File
	// Channels are further streams. Those of a native guest are among the Channels of its jail's Config.
	Channels []Channel
	Streams
	Limits
}

// A Report is the account of one run, also of one that ended in an error.
type Report struct {
	Wall       time.Duration
	User       time.Duration // CPU
	System     time.Duration // CPU
	PeakMemory int64         // bytes
	Exit       int
	Restored   bool  // the guest was brought back to a snapshot, not started
	Reads      int64 // calls and bytes: of wasm those that the guest made, of a native program those by which its pipes were served
	ReadBytes  int64
	Writes     int64
	WriteBytes int64
	LogLines   int64        // written to stderr
	LogDropped int64        // of those, lines of which nothing is in Log
	Channels   []ChannelUse // of each of the run's
	Log        string       // the end of what the guest wrote to stderr, control characters kept; begins with "…" if that is not all
}

// A Guest is a program made ready to be run many times, each time from fresh state: nothing that one run did
// can be seen by the next. It runs inside the jail and is not safe for concurrent use.
type Guest interface {
	// Run executes the program once. Errors wrap ErrLimit, ErrTrap, ErrExit, or are errors of the streams.
	Run(ctx context.Context, r *Run) (Report, error)
	Close() error
}

// A Layer names one layer of the jail.
type Layer string

// Layers.
const (
	UserNS   Layer = "userns"   // user, mount, pid, ipc, uts and net namespaces, an empty root
	Seccomp  Layer = "seccomp"  // allow-list of system calls
	Landlock Layer = "landlock" // no file access beyond what is named
	Cgroup   Layer = "cgroup"   // memory and process count; required for native
	UID      Layer = "uid"      // the guest's uid differs from its runner's; required for native
)

// A LayerError is a required layer that this machine does not give. It names the fix.
type LayerError struct {
	Layer Layer
	Cause error
	Fix   string
}

func (e *LayerError) Error() string {
	return fmt.Sprintf("sandbox layer %s missing: %v (%s; or give it up with --insecure-sandbox=%s)", e.Layer, e.Cause, e.Fix, e.Layer)
}

// Unwrap returns the cause.
func (e *LayerError) Unwrap() error { return e.Cause }

// Is makes a LayerError an ErrLayer.
func (e *LayerError) Is(target error) bool { return target == ErrLayer }

// A Config describes a jailed child process: this very executable, run again.
type Config struct {
	Args     []string   // its arguments, after argv[0]
	Files    []*os.File // it inherits these as descriptors 3, 4, …; no others but a null stdin and stdout, and a bounded stderr
	Native   bool       // it will run native guests: read-only system directories, a work directory, a second uid
	Memory   int64      // bytes for the whole process tree, held by the cgroup where there is one; 0 means 1 GiB
	Pids     int        // processes and threads, held by the cgroup; 0 means 256
	Insecure []Layer    // layers given up by name

	FileSize  int64 // bytes of any file that the child writes, also through inherited descriptors; 0 means no limit
	WorkBytes int64 // of the work directory of native guests; 0 means 64 MiB
	WorkFiles int   // inodes of it; 0 means 4,096

	Channels []string // of native guests: the paths of their files below /dev, see ChannelFiles
}
