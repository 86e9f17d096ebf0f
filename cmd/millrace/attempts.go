package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// An attempt is one way out of the jail, tried for real. It does no harm when it works.
type attempt struct {
	name   string
	layers []sandbox.Layer // each must refuse it by itself
	others []sandbox.Layer // these do on some kernels
	native bool            // native guests are refused it too
	try    func(*targets) error
}

// Targets are what attempts go for: of the doctor, outside.
type targets struct {
	File   string // everybody may read and write it
	Create string // everybody may create it
	Port   int    // of 127.0.0.1
	Socket string // unix, abstract
	Pid    int
}

var attempts = []attempt{
	{"read a file", []sandbox.Layer{sandbox.UserNS, sandbox.Landlock}, nil, true, func(t *targets) error {
		_, err := os.ReadFile(t.File)
		return err
	}},
	{"write a file", []sandbox.Layer{sandbox.UserNS, sandbox.Landlock}, nil, true, func(t *targets) error {
		f, err := os.OpenFile(t.File, os.O_WRONLY, 0)
		if err == nil {
			err = f.Close()
		}
		return err
	}},
	{"create a file", []sandbox.Layer{sandbox.UserNS, sandbox.Landlock}, nil, true, func(t *targets) error {
		f, err := os.Create(t.Create)
		if err == nil {
			err = errors.Join(f.Close(), os.Remove(t.Create))
		}
		return err
	}},
	{"connect to a port", []sandbox.Layer{sandbox.UserNS, sandbox.Seccomp}, []sandbox.Layer{sandbox.Landlock}, true, func(t *targets) error {
		return dial("tcp", fmt.Sprintf("127.0.0.1:%d", t.Port))
	}},
	{"connect to a socket", []sandbox.Layer{sandbox.UserNS, sandbox.Seccomp}, []sandbox.Layer{sandbox.Landlock}, true, func(t *targets) error {
		return dial("unix", t.Socket)
	}},
	{"see a process", []sandbox.Layer{sandbox.UserNS}, []sandbox.Layer{sandbox.Landlock}, true, func(t *targets) error {
		_, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", t.Pid))
		return err
	}},
	{"signal a process", []sandbox.Layer{sandbox.UserNS}, []sandbox.Layer{sandbox.Seccomp, sandbox.Landlock}, true, func(t *targets) error {
		return unix.Kill(t.Pid, 0)
	}},
	{"start a process", []sandbox.Layer{sandbox.Seccomp}, nil, false, func(*targets) error {
		p, err := os.StartProcess("/proc/self/exe", []string{"millrace", "version"}, &os.ProcAttr{})
		if err == nil {
			_, err = p.Wait()
		}
		return err
	}},
	{"unshare", []sandbox.Layer{sandbox.Seccomp}, nil, true, func(*targets) error { return unix.Unshare(0) }},
	{"io_uring", []sandbox.Layer{sandbox.Seccomp}, nil, true, func(*targets) error {
		var params [120]byte
		return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)))
	}},
	{"read another's memory", []sandbox.Layer{sandbox.Seccomp}, nil, true, func(*targets) error {
		return call(unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid()), 0)
	}},
	{"personality", []sandbox.Layer{sandbox.Seccomp}, nil, true, func(*targets) error { return call(unix.SYS_PERSONALITY, 0xffffffff, 0) }},
}

func dial(network, address string) error {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(context.Background(), network, address)
	if err == nil {
		err = c.Close()
	}
	return err
}

func call(nr, a, b uintptr) error {
	if _, _, errno := unix.Syscall6(nr, a, b, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// against reports whether layer must, or may, refuse the attempt.
func (a *attempt) against(l sandbox.Layer) (must, may bool) {
	must = slices.Contains(a.layers, l)
	return must, must || slices.Contains(a.others, l)
}

// An order is what the doctor sends into a jail.
type order struct {
	Targets targets
	Verb    verb
	N       int            // MiB or threads
	Native  bool           // for a native guest; else for the runner itself
	Limits  sandbox.Limits // of the guest
}

// A verb is what to try.
type verb string

const (
	tryAll     verb = "all"     // attempts
	tryMemory  verb = "memory"  // touch N MiB
	tryThreads verb = "threads" // have N threads
	tryRunner  verb = "runner"  // signal the process that started this one
	tryEngine  verb = "engine"  // run the modules of enginesAttempts
)

// An account is what came of an order.
type account struct {
	Tried map[string]string // what refused each attempt; "": it worked
	Error string            // what ended a guest; "": nothing
}

// attemptArg makes this program, in a jail, carry out the order that follows.
const attemptArg = "doctor-attempt"

// inside carries out an order, and never returns, if this process was started for one in a jail: as a runner or as a native guest.
func inside() {
	if len(os.Args) != 3 || os.Args[1] != attemptArg {
		return
	}
	out := os.Stdout
	switch {
	case sandbox.IsChild():
		if err := sandbox.Enter(); err != nil {
			os.Exit(1) // who started it is told why
		}
		out = os.NewFile(3, "account")
	case os.Args[0] != "guest":
		return
	}
	var o order
	err := json.Unmarshal([]byte(os.Args[2]), &o)
	var a account
	if err == nil {
		a, err = o.carryOut()
	}
	if err == nil {
		err = json.NewEncoder(out).Encode(a)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o *order) carryOut() (a account, err error) {
	if o.Native {
		return o.passOn()
	}
	a.Tried = map[string]string{}
	note := func(name string, err error) {
		a.Tried[name] = ""
		if err != nil {
			a.Tried[name] = err.Error()
		}
	}
	switch o.Verb {
	case tryAll:
		for _, at := range attempts {
			if at.native || sandbox.IsChild() {
				note(at.name, at.try(&o.Targets))
			}
		}
	case tryMemory:
		b := make([]byte, o.N<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		note(string(tryMemory), nil)
	case tryThreads:
		ready, done := make(chan bool), make(chan bool)
		for range o.N {
			go func() {
				runtime.LockOSThread()
				ready <- true
				<-done
			}()
			<-ready
		}
		note(string(tryThreads), nil)
	case tryRunner:
		note(string(tryRunner), unix.Kill(os.Getppid(), 0))
	case tryEngine:
		for name, module := range engineAttempts {
			note(name, runModule(module, o.Limits))
		}
	}
	return a, nil
}

// passOn has a native guest, this very program, carry out the order.
func (o *order) passOn() (a account, err error) {
	code, err := io.ReadAll(os.NewFile(4, "program"))
	if err != nil {
		return a, err
	}
	g, err := sandbox.OpenNative(code, nil)
	if err != nil {
		return a, err
	}
	defer g.Close()
	inner := *o
	inner.Native = false
	text, err := json.Marshal(inner)
	if err != nil {
		return a, err
	}
	r, w := io.Pipe()
	decoded := make(chan error, 1)
	go func() {
		decoded <- json.NewDecoder(r).Decode(&a)
		_, _ = io.Copy(io.Discard, r)
	}()
	_, err = g.Run(context.Background(), &sandbox.Run{Args: []string{attemptArg, string(text)}, Limits: o.Limits, Streams: sandbox.Streams{Stdout: w}})
	_ = w.Close() // it has no error
	if decodeErr := <-decoded; err == nil {
		return a, decodeErr
	}
	return account{Error: err.Error()}, nil
}

// engineAttempts are modules that succeed if the engine of wasm does not hold them.
var engineAttempts = map[string][]byte{
	"4 GiB of memory": wasmCommand("\x41\xff\xff\x03\x40\x00\x41\x7f\x46\x04\x40\x00\x0b"), // unreachable if memory.grow 65535 answers -1
	"an endless loop": wasmCommand("\x03\x40\x0c\x00\x0b"),
}

// wasmCommand returns a WASI command of this code.
func wasmCommand(code string) []byte {
	const head = len("\x0a\x04\x01\x02\x00\x0b")
	m := append([]byte{}, emptyModule[:len(emptyModule)-head]...)
	m = append(m, 0x0a, byte(len(code)+4), 0x01, byte(len(code)+2), 0x00)
	return append(append(m, code...), 0x0b)
}

func runModule(module []byte, l sandbox.Limits) error {
	g, err := sandbox.OpenWasm(context.Background(), module)
	if err != nil {
		return err
	}
	defer g.Close()
	_, err = g.Run(context.Background(), &sandbox.Run{Limits: l})
	return err
}
