package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// A breakout tries to get out of jails, and out of the same jails without the layer that should have stopped it.
type breakout struct {
	targets  targets
	insecure []sandbox.Layer // given up
	program  string          // this one, to be a native guest
}

var allLayers = []sandbox.Layer{sandbox.UserNS, sandbox.Seccomp, sandbox.Landlock, sandbox.Cgroup, sandbox.UID}

// except returns all layers but these.
func except(keep ...sandbox.Layer) []sandbox.Layer {
	return slices.DeleteFunc(slices.Clone(allLayers), func(l sandbox.Layer) bool { return slices.Contains(keep, l) })
}

// breakOut returns a finding for each layer and for each engine.
func breakOut(ctx context.Context, insecure []string) ([]finding, error) {
	b := &breakout{}
	for _, name := range insecure {
		l := sandbox.Layer(name)
		if !slices.Contains(allLayers, l) {
			return nil, fmt.Errorf("unknown layer %q of the sandbox: one of userns, seccomp, landlock, cgroup, uid", name)
		}
		b.insecure = append(b.insecure, l)
	}
	dir, err := os.MkdirTemp("", "millrace-doctor-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b.targets = targets{File: filepath.Join(dir, "canary"), Create: filepath.Join(dir, "created"), Socket: "@" + filepath.Base(dir), Pid: os.Getpid()}
	err = errors.Join(os.WriteFile(b.targets.File, []byte("nobody reads this\n"), 0o666), os.Chmod(b.targets.File, 0o666), os.Chmod(dir, 0o777))
	if err != nil {
		return nil, err
	}
	for _, at := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", b.targets.Socket}} {
		l, err := new(net.ListenConfig).Listen(ctx, at.network, at.address) // who connects need not be accepted
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			b.targets.Port = a.Port
		}
	}
	if b.program, err = os.Executable(); err != nil {
		return nil, err
	}
	control, err := b.attempt(false, allLayers, tryAll)
	if err != nil {
		return nil, err
	}
	all := []finding{
		b.layer(sandbox.UserNS, control), b.layer(sandbox.Seccomp, control), b.layer(sandbox.Landlock, control), b.cgroup(), b.uid(),
		b.wasm(), b.native(),
	}
	return all, nil
}

// attempt carries out a verb in a jail without these layers.
func (b *breakout) attempt(native bool, insecure []sandbox.Layer, v verb) (account, error) {
	a, exit, err := b.carryOut(&sandbox.Config{Native: native, Insecure: insecure}, order{Verb: v})
	if err == nil && a.Tried == nil {
		err = fmt.Errorf("the child %v: %s %s", exit, a.Error, exit.Stderr)
	}
	return a, err
}

// patience is how long a child may take: on a machine that has nothing else to do, it takes a second.
const patience = time.Minute

// carryOut starts a jail, sends an order into it and returns what came of it. A child that ended without an account is no error.
func (b *breakout) carryOut(cfg *sandbox.Config, o order) (a account, exit sandbox.Exit, err error) {
	o.Targets, o.Native = b.targets, cfg.Native
	text, err := json.Marshal(o)
	if err != nil {
		return a, exit, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return a, exit, err
	}
	defer r.Close()
	cfg.Args, cfg.Files = []string{attemptArg, string(text)}, []*os.File{w}
	if cfg.Native {
		program, err := os.Open(b.program)
		if err != nil {
			w.Close()
			return a, exit, err
		}
		defer program.Close()
		cfg.Files = append(cfg.Files, program)
	}
	p, err := sandbox.Start(cfg)
	w.Close()
	if err != nil {
		return a, exit, err
	}
	deadline := time.AfterFunc(patience, p.Kill)
	said, err := io.ReadAll(io.LimitReader(r, 64<<10))
	late := !deadline.Stop()
	p.Kill() // it has said all, or it never will
	exit = p.Wait()
	if late && err == nil {
		err = fmt.Errorf("the child has not answered in %v", patience)
	}
	if err == nil && len(said) > 0 {
		err = json.Unmarshal(said, &a)
	}
	return a, exit, err
}

// given returns the finding of a layer that was given up, if it was.
func (b *breakout) given(l sandbox.Layer, control map[string]string) (f finding, ok bool) {
	if !slices.Contains(b.insecure, l) {
		return f, false
	}
	detail := "given up by --insecure-sandbox"
	var works []string
	for _, at := range attempts {
		if must, _ := at.against(l); must && control != nil && control[at.name] == "" {
			works = append(works, at.name)
		}
	}
	if works != nil {
		detail += "; what it would refuse: " + strings.Join(works, ", ")
	}
	return finding{name: string(l), optional: true, detail: detail}, true
}

// lacking makes a finding of an error, the layer's own fix with it.
func lacking(f finding, err error) finding {
	f.ok, f.detail = false, err.Error()
	if missing, ok := errors.AsType[*sandbox.LayerError](err); ok {
		f.detail, f.fix = fmt.Sprintf("%s: %v", missing.Layer, missing.Cause), missing.Fix
	}
	return f
}

// layer tries to get out of a jail that has this layer alone. Control is what came of the same attempts without any layer.
func (b *breakout) layer(l sandbox.Layer, control account) finding {
	if f, ok := b.given(l, control.Tried); ok {
		return f
	}
	f := finding{name: string(l)}
	got, err := b.attempt(false, except(l), tryAll)
	if err != nil {
		return lacking(f, err)
	}
	var refused, worked, unproven []string
	for _, at := range attempts {
		must, may := at.against(l)
		switch stopped := got.Tried[at.name] != ""; {
		case !may:
		case !stopped && must:
			worked = append(worked, at.name)
		case stopped && control.Tried[at.name] == "":
			refused = append(refused, at.name)
		case stopped && must:
			unproven = append(unproven, at.name)
		}
	}
	return verdict(f, refused, worked, unproven)
}

// verdict says whether a layer holds by what it refused, what worked all the same, and what would not have worked without it either.
func verdict(f finding, refused, worked, unproven []string) finding {
	switch {
	case worked != nil:
		f.optional = false
		f.detail = "does not hold: " + strings.Join(worked, ", ")
		f.fix = "do not run programs that you do not trust; this is a bug, please report it"
		return f
	case refused == nil:
		f.detail = "cannot be told: without it there is no way to " + strings.Join(unproven, ", ") + " either"
		return f
	}
	f.ok, f.detail = true, "refuses what works without it: "+strings.Join(refused, ", ")
	if unproven != nil {
		f.detail += " (refused without it too: " + strings.Join(unproven, ", ") + ")"
	}
	return f
}

// cgroup takes more memory and threads than a jail with this layer alone may have, and as much in one that may.
func (b *breakout) cgroup() finding {
	if f, ok := b.given(sandbox.Cgroup, nil); ok {
		return f
	}
	f := finding{name: string(sandbox.Cgroup), optional: true}
	for _, c := range sandbox.Probe() {
		if c.Layer == sandbox.Cgroup && !c.OK { // jails of wasm start without
			f.detail, f.fix = c.Detail, c.Fix
			return f
		}
	}
	var refused, worked, unproven []string
	for _, t := range []struct {
		name      string
		tight     sandbox.Config
		order     order
		stoppedBy func(sandbox.Exit) bool
	}{
		{"160 MiB of 64", sandbox.Config{Memory: 64 << 20}, order{Verb: tryMemory, N: 160}, func(e sandbox.Exit) bool { return e.OOM }},
		{"60 threads of 32", sandbox.Config{Pids: 32}, order{Verb: tryThreads, N: 60}, func(e sandbox.Exit) bool { return strings.Contains(e.Stderr, "thread") }},
	} {
		roomy := sandbox.Config{Insecure: except(sandbox.Cgroup)}
		t.tight.Insecure = roomy.Insecure
		free, _, err := b.carryOut(&roomy, t.order)
		if err != nil {
			return lacking(f, err)
		}
		got, exit, err := b.carryOut(&t.tight, t.order)
		if err != nil {
			return lacking(f, err)
		}
		switch {
		case got.Tried != nil || !t.stoppedBy(exit):
			worked = append(worked, t.name)
		case free.Tried == nil:
			unproven = append(unproven, t.name)
		default:
			refused = append(refused, t.name)
		}
	}
	return verdict(f, refused, worked, unproven)
}

// uid has a native guest signal its runner, with another uid and with the same.
func (b *breakout) uid() finding {
	if f, ok := b.given(sandbox.UID, nil); ok {
		return f
	}
	f := finding{name: string(sandbox.UID), optional: true}
	got, err := b.attempt(true, except(sandbox.UserNS, sandbox.Cgroup, sandbox.UID), tryRunner)
	if err != nil {
		return lacking(f, err)
	}
	control, err := b.attempt(true, except(sandbox.UserNS, sandbox.Cgroup), tryRunner)
	if err != nil {
		return lacking(f, err)
	}
	const what = "signal its runner"
	switch stopped, free := got.Tried[string(tryRunner)] != "", control.Tried[string(tryRunner)] == ""; {
	case !stopped:
		return verdict(f, nil, []string{what}, nil)
	case !free:
		return verdict(f, nil, nil, []string{what})
	}
	return verdict(f, []string{what}, nil, nil)
}

// whole tries everything in a jail as jobs have it and returns what worked although a layer is there that must refuse it.
func (b *breakout) whole(native bool) (tried int, worked []string, err error) {
	got, err := b.attempt(native, b.insecure, tryAll)
	for _, at := range attempts {
		answer, ok := got.Tried[at.name]
		kept := slices.ContainsFunc(at.layers, func(l sandbox.Layer) bool { return !slices.Contains(b.insecure, l) })
		if !ok || !kept {
			continue
		}
		tried++
		if answer == "" {
			worked = append(worked, at.name)
		}
	}
	return tried, worked, err
}

// wasm tries everything from within a runner, as if the engine had been overcome, and then the engine.
func (b *breakout) wasm() finding {
	f := finding{name: "wasm"}
	tried, worked, err := b.whole(false)
	if err != nil {
		return lacking(f, err)
	}
	limits := sandbox.Limits{Memory: 64 << 20, Wall: 200 * time.Millisecond}
	got, _, err := b.carryOut(&sandbox.Config{Insecure: b.insecure}, order{Verb: tryEngine, Limits: limits})
	if err != nil {
		return lacking(f, err)
	}
	for name := range engineAttempts {
		if answer, ok := got.Tried[name]; !ok || !strings.Contains(answer, "limit") {
			worked = append(worked, name+" ("+answer+")")
		}
	}
	return sum(f, tried+len(engineAttempts), worked)
}

// native tries everything from within a native guest, and to pass its limit of memory.
func (b *breakout) native() finding {
	f := finding{name: "native", optional: true}
	tried, worked, err := b.whole(true)
	if err != nil {
		return lacking(f, err)
	}
	got, exit, err := b.carryOut(&sandbox.Config{Native: true, Memory: 256 << 20, Insecure: b.insecure}, order{Verb: tryMemory, N: 400, Limits: sandbox.Limits{Memory: 100 << 20}})
	if err != nil {
		return lacking(f, err)
	}
	if !strings.Contains(got.Error, "memory limit") && (got.Tried != nil || !exit.OOM) { // the guest's, or the jail's
		worked = append(worked, fmt.Sprintf("400 MiB of 100 (%s)", got.Error))
	}
	return sum(f, tried+1, worked)
}

func sum(f finding, tried int, worked []string) finding {
	if worked != nil {
		return verdict(f, nil, worked, nil)
	}
	f.ok, f.detail = true, fmt.Sprintf("%d of %d ways out are closed", tried, tried)
	return f
}
