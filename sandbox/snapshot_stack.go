package sandbox

import (
	"errors"
	"reflect"
	"slices"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
)

// A stack is that of a guest when its snapshot was taken, to go on from there any number of times.
//
// The engine makes a copy of a stack for a snapshot and has the guest go on in that very copy, so that it serves once. To make a new one for each run takes
// longer than everything else that is restored but the memory, and leaves garbage. What is in it are numbers, and pointers
// into itself: with the same bytes at the same place it is the same stack again.
type stack struct {
	point experimental.Snapshot
	used  []byte // of the engine's copy, where the guest goes on
	free  []byte // of it, where the guest may have written later
	saved []byte // what was in used
}

const maxStack = 1 << 20 // bytes: what is larger is not copied for each run

var (
	errStack     = errors.New("the stack is too large")
	errNoStack   = errors.New("this version of the engine keeps its stacks in another way")
	typeOfBytes  = reflect.TypeFor[[]byte]()
	typeOfNumber = reflect.TypeFor[uintptr]()
)

// newStack takes a snapshot of the stack under way. The engine shows nothing of its own; what is needed is read from fields that are not exported.
func newStack(engine experimental.Snapshotter) (*stack, error) {
	s := &stack{point: engine.Snapshot()}
	v := reflect.Indirect(reflect.ValueOf(s.point))
	if v.Kind() != reflect.Struct {
		return nil, errNoStack
	}
	all, sp := v.FieldByName("stack"), v.FieldByName("sp")
	if !all.IsValid() || all.Type() != typeOfBytes || !sp.IsValid() || sp.Type() != typeOfNumber {
		return nil, errNoStack
	}
	b := all.Bytes()
	if len(b) > maxStack {
		return nil, errStack
	}
	at := sp.Uint() - uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	if at > uint64(len(b)) {
		return nil, errNoStack
	}
	s.free, s.used = b[:at:at], b[at:]
	s.saved = slices.Clone(s.used)
	return s, nil
}

// restore goes on with the stack as it was, in a call of the host by which the call of the guest begins. It does not return. That call may be on this very
// stack, if the last one ended by returning.
func (s *stack) restore() {
	clear(s.free)
	copy(s.used, s.saved)
	s.point.Restore([]uint64{again})
}
