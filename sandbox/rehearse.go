package sandbox

import (
	"context"
	"io"
	"strings"
)

// Rehearse opens and runs a small wasm guest. What a process does for the first time takes longer, since the kernel has yet to find the code and memory
// for it; one that waits for its guest may as well do that meanwhile. From then on the garbage collector runs when guests allow it.
func Rehearse(ctx context.Context) error {
	holdCollector()
	g, err := OpenWasm(ctx, rehearsal())
	if err != nil {
		return err
	}
	for range 2 { // from its start, and from a snapshot
		r := &Run{Streams: Streams{Stdin: strings.NewReader(""), Stdout: io.Discard}}
		if _, err = g.Run(ctx, r); err != nil {
			break
		}
	}
	return firstError(err, g.Close())
}

// rehearsal returns a module that reads nothing from its stdin:
//
//	(module
//	  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 1)
//	  (func (export "_start")
//	    (drop (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 0)))))
func rehearsal() []byte {
	return newAssembled().
		section(1, []byte{0x60, 0, 0}, []byte{0x60, 4, i32, i32, i32, i32, 1, i32}).
		section(2, external(1, "wasi_snapshot_preview1", "fd_read")).
		section(3, []byte{0}).
		section(5, []byte{0, 1}).
		section(7, append(prefixed([]byte("memory")...), 2, 0), external(1, "_start")).
		section(10, prefixed(0, 0x41, 0, 0x41, 8, 0x41, 1, 0x41, 0, 0x10, 0, 0x1a, 0x0b))
}
