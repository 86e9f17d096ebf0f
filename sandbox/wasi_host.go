package sandbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/millrace/millrace/internal/inflate"
)

// A host is the outside of a wasm guest: what the functions of WASI show and change. There are standard streams, arguments, an
// environment, a clock and randomness, and nothing else; beside them, functions that compute (see millraceCalls).
//
// All that comes from the guest is hostile: each pointer and length is held against the memory's size at that moment.
type host struct {
	hostState
	instance *instance // that runs
	run      *Run
	meter    *meter
	late     *rand.ChaCha8 // randomness of the run; nil: not asked for yet
	buf      []byte        // between stdin and the guest
	decoder  *inflate.Decoder
	channels openChannels

	exited bool
	code   uint32
	failed error // why the host ended the run
}

// A hostState is what a guest can have changed of its host before a snapshot is taken; a snapshot has a copy.
type hostState struct {
	now      int64 // of the monotonic clock, nanoseconds
	closed   [3]bool
	asked    bool         // for arguments, environment or input
	early    rand.ChaCha8 // randomness until then, the same in all runs
	patterns patterns
}

// reset makes h ready for a run from a state.
func (h *host) reset(x *instance, r *Run, m *meter, s *hostState) {
	h.hostState = *s
	h.instance, h.run, h.meter, h.late = x, r, m, nil
	h.exited, h.code, h.failed = false, 0, nil
	h.channels = newOpenChannels(r.Channels)
}

// An errno is an error number of WASI.
type errno uint32

// Those that the host answers.
const (
	success      errno = 0
	noAccess     errno = 2
	badFile      errno = 8
	exists       errno = 20
	fault        errno = 21 // a pointer or length goes beyond the memory
	invalid      errno = 28
	tooManyFiles errno = 33
	nameTooLong  errno = 37
	noEntry      errno = 44
	notHere      errno = 52
	notDir       errno = 54
	unsupported  errno = 58
	forbidden    errno = 63
	brokenPipe   errno = 64
	noSeek       errno = 70
)

// A wasiCall is a function of WASI. Types are those of its parameters, i for i32 and I for i64; all but proc_exit return an errno.
type wasiCall struct {
	name  string
	args  string
	call  func(h *host, p []uint64) errno
	point point
}

// A point says why a snapshot may have to be taken before a call: the guest is to learn, or to do, something that may be that of one run.
type point int

// Points.
const (
	nowhere  point = iota
	atArgs         // the arguments are what the guest was started with; if they change often, the snapshot is taken before
	atEnv          // the same of the environment
	atStream       // the input differs, and the output is to be written each time
	atFile         // if the guest has channels, it may open one of them
	atRandom       // once the guest has asked for one of the above, it gets randomness that the run's seed decides
)

var wasiCalls = []wasiCall{
	{"args_get", "ii", (*host).argsGet, atArgs},
	{"args_sizes_get", "ii", (*host).argsSizesGet, atArgs},
	{"environ_get", "ii", (*host).environGet, atEnv},
	{"environ_sizes_get", "ii", (*host).environSizesGet, atEnv},
	{"clock_res_get", "ii", (*host).clockResGet, nowhere},
	{"clock_time_get", "iIi", (*host).clockTimeGet, nowhere},
	{"fd_advise", "iIIi", (*host).fdAdvise, nowhere},
	{"fd_allocate", "iII", (*host).fdAllocate, nowhere},
	{"fd_close", "i", (*host).fdClose, nowhere},
	{"fd_datasync", "i", (*host).fdSync, nowhere},
	{"fd_fdstat_get", "ii", (*host).fdFdstatGet, nowhere},
	{"fd_fdstat_set_flags", "ii", (*host).fdFdstatSetFlags, nowhere},
	{"fd_fdstat_set_rights", "iII", noCall, nowhere},
	{"fd_filestat_get", "ii", (*host).fdFilestatGet, nowhere},
	{"fd_filestat_set_size", "iI", (*host).fdNoCall, nowhere},
	{"fd_filestat_set_times", "iIIi", (*host).fdNoCall, nowhere},
	{"fd_pread", "iiiIi", (*host).fdPread, nowhere},
	{"fd_prestat_get", "ii", (*host).fdPrestatGet, nowhere},
	{"fd_prestat_dir_name", "iii", (*host).fdPrestatDirName, nowhere},
	{"fd_pwrite", "iiiIi", (*host).fdPread, nowhere},
	{"fd_read", "iiii", (*host).fdRead, atStream},
	{"fd_readdir", "iiiIi", (*host).fdReaddir, nowhere},
	{"fd_renumber", "ii", (*host).fdRenumber, nowhere},
	{"fd_seek", "iIii", (*host).fdNoSeek, nowhere},
	{"fd_sync", "i", (*host).fdSync, nowhere},
	{"fd_tell", "ii", (*host).fdNoSeek, nowhere},
	{"fd_write", "iiii", (*host).fdWrite, atStream},
	{"path_create_directory", "iii", pathAt(0, 1), nowhere},
	{"path_filestat_get", "iiiii", (*host).pathFilestatGet, atFile},
	{"path_filestat_set_times", "iiiiIIi", pathAt(0, 2), nowhere},
	{"path_link", "iiiiiii", pathAt(0, 2), nowhere},
	{"path_open", "iiiiiIIii", (*host).pathOpen, atFile},
	{"path_readlink", "iiiiii", pathAt(0, 1), nowhere},
	{"path_remove_directory", "iii", pathAt(0, 1), nowhere},
	{"path_rename", "iiiiii", pathAt(0, 1), nowhere},
	{"path_symlink", "iiiii", pathAt(2, 3), nowhere},
	{"path_unlink_file", "iii", pathAt(0, 1), nowhere},
	{"poll_oneoff", "iiii", (*host).pollOneoff, nowhere},
	{"proc_exit", "i", (*host).procExit, nowhere},
	{"proc_raise", "i", noCall, nowhere},
	{"random_get", "ii", (*host).randomGet, atRandom},
	{"sched_yield", "", func(*host, []uint64) errno { return success }, nowhere},
	{"sock_accept", "iii", (*host).noSocket, nowhere},
	{"sock_recv", "iiiiii", (*host).noSocket, nowhere},
	{"sock_send", "iiiii", (*host).noSocket, nowhere},
	{"sock_shutdown", "ii", (*host).noSocket, nowhere},
}

// signature is the type in the short form of parseSignature.
func (c *wasiCall) signature() string {
	if c.name == "proc_exit" {
		return c.args + ":"
	}
	return c.args + ":i"
}

func (c *wasiCall) types() (params, results []api.ValueType) {
	s := parseSignature(c.signature())
	return s.params, s.results
}

// instantiate makes the host's functions known to the engine, and the shim that guests import.
func (h *host) instantiate(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder("host")
	export := func(name string, f api.GoFunc, params, results []api.ValueType) {
		b.NewFunctionBuilder().WithGoFunction(f, params, results).Export(name)
	}
	export("begin", func(ctx context.Context, stack []uint64) { stack[0] = h.instance.begin(ctx) }, nil, []api.ValueType{api.ValueTypeI32})
	for _, c := range wasiCalls {
		params, results := c.types()
		f := func(ctx context.Context, stack []uint64) { stack[0] = uint64(c.call(h, stack)) }
		switch {
		case c.point != nowhere:
			f = func(ctx context.Context, stack []uint64) {
				h.instance.point(c.point)
				stack[0] = uint64(c.call(h, stack))
			}
		case results == nil:
			f = func(ctx context.Context, stack []uint64) { c.call(h, stack) }
		}
		export(c.name, f, params, results)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		return err
	}
	if err := h.instantiateMillrace(ctx, r); err != nil {
		return err
	}
	_, err := r.InstantiateWithConfig(ctx, shim(), wazero.NewModuleConfig().WithName("wasi_snapshot_preview1").WithStartFunctions())
	return err
}

// end ends the run. It does not return.
func (h *host) end() { h.instance.end() }

// fail ends the run because of err, unless something else has ended it before.
func (h *host) fail(err error) {
	if h.failed == nil {
		h.failed = err
	}
}

// bytes returns n bytes of the guest's memory from p on; nil if it does not have them.
func (h *host) bytes(p, n uint64) []byte {
	m := h.instance.memory.bytes()
	if n > uint64(len(m)) || p > uint64(len(m))-n {
		return nil
	}
	return m[p : p+n : p+n]
}

// put32 and put64 store a number in the guest's memory.
func (h *host) put32(p uint64, v uint32) errno {
	b := h.bytes(uint64(uint32(p)), 4)
	if b == nil {
		return fault
	}
	binary.LittleEndian.PutUint32(b, v)
	return success
}

func (h *host) put64(p uint64, v uint64) errno {
	b := h.bytes(uint64(uint32(p)), 8)
	if b == nil {
		return fault
	}
	binary.LittleEndian.PutUint64(b, v)
	return success
}

func (h *host) argsGet(p []uint64) errno         { return h.putList(p, h.instance.args) }
func (h *host) argsSizesGet(p []uint64) errno    { return h.putSizes(p, h.instance.args) }
func (h *host) environGet(p []uint64) errno      { return h.putList(p, h.instance.env) }
func (h *host) environSizesGet(p []uint64) errno { return h.putSizes(p, h.instance.env) }

// putList stores strings, each with a NUL behind it, and where each begins.
func (h *host) putList(p []uint64, list []string) errno {
	h.asked = true
	pointers, at := uint64(uint32(p[0])), uint64(uint32(p[1]))
	for i, s := range list {
		b := h.bytes(at, uint64(len(s)+1))
		if b == nil || h.put32(pointers+4*uint64(i), uint32(at)) != success {
			return fault
		}
		copy(b, s)
		b[len(s)] = 0
		at += uint64(len(b))
	}
	return success
}

// putSizes stores the number of strings, and the bytes that all of them take.
func (h *host) putSizes(p []uint64, list []string) errno {
	h.asked = true
	size := 0
	for _, s := range list {
		size += len(s) + 1
	}
	if e := h.put32(p[0], uint32(len(list))); e != success {
		return e
	}
	return h.put32(p[1], uint32(size))
}

func (h *host) clockResGet(p []uint64) errno {
	if uint32(p[0]) > 1 {
		return invalid
	}
	return h.put64(p[1], uint64(tick))
}

func (h *host) clockTimeGet(p []uint64) errno {
	switch uint32(p[0]) {
	case 0:
		return h.put64(p[2], epoch*1e9)
	case 1:
		h.now += tick
		return h.put64(p[2], uint64(h.now))
	}
	return invalid
}

func (h *host) randomGet(p []uint64) errno {
	b := h.bytes(uint64(uint32(p[0])), uint64(uint32(p[1])))
	if b == nil {
		return fault
	}
	if !h.asked {
		_, _ = h.early.Read(b) // never fails
		return success
	}
	if h.late == nil {
		h.late = seeded(h.run.Seed)
	}
	_, _ = h.late.Read(b)
	return success
}

func (h *host) procExit(p []uint64) errno {
	h.exited, h.code = true, uint32(p[0])
	h.end()
	return success
}

func noCall(*host, []uint64) errno { return notHere }

// seeded returns an endless stream of random bytes that seed decides.
func seeded(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	copy(key[:], "millrace guest randomness")
	binary.LittleEndian.PutUint64(key[24:], seed)
	return rand.NewChaCha8(key)
}

// freshHost is the state in which every guest begins.
func freshHost() hostState {
	var key [32]byte
	copy(key[:], "millrace, before the guest asks")
	return hostState{early: *rand.NewChaCha8(key)}
}

// environment returns env as a guest sees it: what has no "=" has an empty value, and of two values of a name the later one counts.
// Arguments and environment end with a NUL in the guest's memory, so that they cannot hold one.
func environment(env []string) ([]string, error) {
	var out []string
	places := make(map[string]int)
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		if k == "" {
			return nil, fmt.Errorf("%w: environ invalid: empty key", ErrTrap)
		}
		if i, ok := places[k]; ok {
			out[i] = k + "=" + v
			continue
		}
		places[k] = len(out)
		out = append(out, k+"="+v)
	}
	return out, withoutNUL("environ", out)
}

func withoutNUL(what string, list []string) error {
	for _, s := range list {
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("%w: %s invalid: contains NUL character", ErrTrap, what)
		}
	}
	return nil
}
