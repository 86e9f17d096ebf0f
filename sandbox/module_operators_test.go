package sandbox

import (
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// constants give one value of each type of numbers and vectors.
var constants = []string{
	"\x41\x00", "\x42\x00", "\x43\x00\x00\x00\x00", "\x44\x00\x00\x00\x00\x00\x00\x00\x00", "\xfd\x0c" + strings.Repeat("\x00", 16),
}

// everyOperator returns all instructions with fixed operands, with immediates that are right and that are just wrong, and those between them that are none.
func everyOperator() []string {
	var ops []string
	add := func(op string, width uint32, lanes byte) {
		if width > 0 {
			align := byte(0)
			for 1<<align < width {
				align++
			}
			if lanes > 0 {
				ops = append(ops, op+string([]byte{align, 0, lanes}))
				ops = append(ops, op+string([]byte{align, 0, lanes - 1}))
			} else {
				ops = append(ops, op+string([]byte{align, 0}))
			}
			ops = append(ops, op+string([]byte{align + 1, 0, 0}), op+string([]byte{align + 1, 0}))
		} else if lanes > 0 {
			ops = append(ops, op+string([]byte{lanes}), op+string([]byte{lanes - 1}))
		} else {
			ops = append(ops, op)
		}
	}
	for op := 0x28; op <= 0xc5; op++ {
		if op < 0x3f || op > 0x44 { // those are no operators
			add(string([]byte{byte(op)}), operators[op].width, 0)
		}
	}
	for op := range 8 {
		add(string([]byte{0xfc, byte(op)}), 0, 0)
	}
	for op, o := range vectorOperators {
		number := string([]byte{byte(op)})
		if op >= 0x80 {
			number += "\x01"
		}
		if op != 12 && op != 13 { // v128.const, i8x16.shuffle
			add("\xfd"+number, o.width, o.lanes)
		}
	}
	return ops
}

// TestModuleOperators tries each operator on stacks of all types, with each type of result: wazero must be of the same opinion. So our
// tables are compared with code that was written by others from the same specification.
func TestModuleOperators(t *testing.T) {
	if raced {
		t.Skip("a hundred thousand modules take the race detector a minute, and there is nothing that races")
	}
	stacks := []string{"", strings.Repeat(constants[4], 3)}
	for _, a := range constants {
		stacks = append(stacks, a)
		for _, b := range constants {
			stacks = append(stacks, a+b)
		}
	}
	results := []string{"", "\x7f", "\x7e", "\x7d", "\x7c", "\x7b"}
	ctx := context.Background()
	engine := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer engine.Close(ctx)
	accepted, refused := 0, 0
	for _, op := range everyOperator() {
		for _, stack := range stacks {
			for _, result := range results {
				code := assemble(1, list("\x60\x00"+sized(result)), 3, list("\x00"), 5, oneMemory, 10, list(body(stack+op)))
				_, err := validateModule(code)
				compiled, theirs := compile(ctx, engine, code)
				if theirs == nil {
					compiled.Close(ctx)
				}
				if (err == nil) != (theirs == nil) {
					t.Fatalf("%x on %x with result %x: ours %v, theirs %v", op, stack, result, err, theirs)
				}
				if err == nil {
					accepted++
				} else {
					refused++
				}
			}
		}
	}
	if accepted < 300 || refused == 0 {
		t.Errorf("%d accepted; there are more operators than that", accepted)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}
