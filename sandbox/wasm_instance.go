package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// An instance is a guest in memory: it is run once from its start, and, if a snapshot could be taken on the way, again and
// again from there.
type instance struct {
	guest  *wasmGuest
	memory *memoryPlan
	module api.Module // the guest's
	entry  api.Module // that calls it
	run    api.Function
	stop   api.MutableGlobal // not 0: the guest traps
	state  []api.MutableGlobal

	// What it was started with. A snapshot serves no run that differs in something that the guest has looked at.
	rawArgs, rawEnv []string // as the run has them
	args, env       []string // as the guest sees them
	sawArgs, sawEnv bool
	channels        bool // it has channels

	engine   experimental.Snapshotter // of the call under way
	exit     experimental.Snapshot    // in the entry
	snapshot *snapshot                // nil: none yet
	unfit    bool                     // there will be none
	resume   *stack                   // where the call is to go on; nil: it does
}

// newInstance instantiates the module. None of its code runs yet.
func (g *wasmGuest) newInstance(limits Limits) (*instance, error) {
	x := &instance{guest: g, memory: &memoryPlan{limit: uint64(limits.Memory)}}
	if err := x.instantiate(); err != nil {
		text := firstLine(err.Error())
		asked := x.memory.asked
		x.close()
		if asked > 0 {
			return nil, memoryError(int64(asked), limits.Memory)
		}
		return nil, fmt.Errorf("%w: %s", ErrTrap, text)
	}
	return x, nil
}

func (x *instance) instantiate() (err error) {
	g := x.guest
	ctx := experimental.WithMemoryAllocator(context.Background(), x.memory)
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	if x.module, err = g.runtime.InstantiateModule(ctx, g.compiled, config); err != nil {
		return err
	}
	for _, d := range g.data {
		copy(x.memory.bytes()[d.begin:], d.content)
	}
	resolve := func(name string) api.Module {
		if name == "guest" {
			return x.module
		}
		return nil
	}
	ctx = experimental.WithImportResolver(context.Background(), resolve)
	if x.entry, err = g.runtime.InstantiateModule(ctx, g.entry, config); err != nil {
		return err
	}
	x.run = x.entry.ExportedFunction("run")
	global := func(name string) api.MutableGlobal {
		return x.module.ExportedGlobal(g.code.prefix + name).(api.MutableGlobal)
	}
	x.stop = global("stop")
	for i := range g.code.state {
		x.state = append(x.state, global(fmt.Sprint(i)))
	}
	return nil
}

func (x *instance) close() {
	ctx := context.Background()
	if x.entry != nil {
		x.entry.Close(ctx)
	}
	if x.module != nil {
		x.module.Close(ctx)
	}
	if x.snapshot != nil {
		x.snapshot.free()
	}
	x.memory.free()
}

// serves reports whether a run can begin at the instance's snapshot.
func (x *instance) serves(r *Run, limits Limits) bool {
	return x.snapshot != nil && x.memory.limit == uint64(limits.Memory) && x.channels == (len(r.Channels) > 0) && !x.differs(r)
}

// differs reports whether a run has other arguments or another environment than those that the guest had looked at before its snapshot.
func (x *instance) differs(r *Run) bool {
	return x.sawArgs && !slices.Equal(x.rawArgs, r.Args) || x.sawEnv && !slices.Equal(x.rawEnv, r.Env)
}

// tell sets the arguments and environment that the guest will see.
func (x *instance) tell(r *Run) (err error) {
	if x.args == nil || !slices.Equal(x.rawArgs, r.Args) {
		x.rawArgs = slices.Clone(r.Args)
		x.args = append([]string{"guest"}, r.Args...)
		err = withoutNUL("args", x.args)
	}
	if err == nil && !slices.Equal(x.rawEnv, r.Env) {
		x.rawEnv = slices.Clone(r.Env)
		x.env, err = environment(r.Env)
	}
	return err
}

// callContext enables snapshots.
var callContext = experimental.WithSnapshotter(context.Background())

// call runs the guest until it ends, from its start or from where resume is.
func (x *instance) call() error {
	if !x.guest.interpreted {
		return x.run.CallWithStack(callContext, nil)
	}
	err := x.run.CallWithStack(context.Background(), nil)
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// begin is called by the entry, below all frames of the guest. It returns what the entry is to do: 0 to call the guest.
func (x *instance) begin(ctx context.Context) uint64 {
	if x.engine == nil && !x.guest.interpreted {
		x.engine = experimental.GetSnapshotter(ctx)
		x.exit = x.engine.Snapshot()
	}
	if x.resume != nil {
		x.resume.restore()
	}
	return 0
}

// end goes back to the entry, which returns. It does not return itself.
//
// The stack of exit can be restored again and again as it is: it holds the entry's frame alone, which does nothing with it but return, and is made anew
// at the same place, with the same content, by the next call.
func (x *instance) end() {
	if x.guest.interpreted {
		panic(errEnd)
	}
	x.exit.Restore([]uint64{1})
}

// errEnd ends a call of the interpreter, whose snapshots cannot be restored from below another frame.
var errEnd = errors.New("the run is over")

// point is called where the guest is about to learn or do something that may be that of one run.
func (x *instance) point(p point) {
	switch {
	case x.resume != nil: // the call is that which took the snapshot, on a stack that was restored
		x.resume = nil
		x.snapshot.pages.begin()
		return
	case x.snapshot != nil || x.unfit || x.guest.code.fixed != "":
		return
	case p == atArgs && !x.guest.early:
		x.sawArgs = true
		return
	case p == atEnv && !x.guest.early:
		x.sawEnv = true
		return
	case p == atRandom && !x.guest.host.asked, p == atFile && !x.channels:
		return
	}
	s, err := x.take()
	x.snapshot, x.unfit = s, err != nil
	if x.guest.preparing && err == nil {
		x.guest.preparing = false
		x.end()
	}
}
