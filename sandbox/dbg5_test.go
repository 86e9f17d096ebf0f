package sandbox

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

func TestV(t *testing.T) {
	bodies, _ := mails(1000)
	for _, v := range []string{"v1", "v2", "noop", "empty"} {
		var g Guest
		var err error
		if v == "noop" {
			g, err = OpenWasm(context.Background(), noop, nil)
		} else if v == "empty" {
			g = openMail(t, v, false)
		} else {
			code, _ := os.ReadFile("/tmp/mr/restore/" + v + ".wasm")
			g, err = OpenWasm(context.Background(), code, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			var ds, rs, cs []time.Duration
			for i := range 6000 {
				b := time.Now()
				if v == "empty" {
					mapMail(g, "x", bodies[i%1000])
				} else {
					mapCommand(g, "x", bodies[i%1000])
				}
				ds = append(ds, time.Since(b))
				rs = append(rs, dbgRestore)
				cs = append(cs, dbgCall)
			}
			slices.Sort(ds)
			slices.Sort(rs)
			slices.Sort(cs)
			fmt.Println(v, round, "p50", ds[len(ds)/2], "p99", ds[len(ds)*99/100], "restore", rs[len(rs)/2], "call", cs[len(cs)/2], g.(*wasmGuest).instance.snapshot.pages.hot)
		}
	}
}

// noop reads and returns
var noop = func() []byte {
	a := newAssembled().section(1, []byte{0x60, 0, 0}, []byte{0x60, 4, typeI32, typeI32, typeI32, typeI32, 1, typeI32}).
		section(2, external(1, "wasi_snapshot_preview1", "fd_read")).section(3, []byte{0}).section(5, []byte{0, 1}).
		section(7, external(1, "_start")).section(10, prefixed(0, 0x41, 0, 0x41, 0, 0x41, 1, 0x41, 32, 0x10, 0, 0x1a, 0x0b))
	return a
}()
