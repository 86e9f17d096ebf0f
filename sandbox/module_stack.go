package sandbox

import "bytes"

// Values that instructions with lists of types (blocks, branches, calls) may carry over the operand stack in one function: so many for each
// byte of its body, and some more. Else three bytes could cost a thousand steps, here and worse in the compiler.
const (
	carriedPerByte = 16
	carriedFree    = 4 * maxArity
)

// bodyFrame is the kind of the outermost frame; the others have the instruction that opened them.
const bodyFrame = 0

// A frame is an open block.
type frame struct {
	kind            byte
	params, results []valueType
	height          int  // of the operand stack below its operands
	dead            bool // what follows in it cannot be reached: its stack has whatever is asked for
}

// enter opens a block whose parameters are on the stack.
func (c *codeChecker) enter(kind byte, s signature) {
	if len(c.frames) > maxNesting {
		c.fail("blocks nested more than %d deep", maxNesting)
		return
	}
	c.floor = len(c.operands)
	c.frames = append(c.frames, frame{kind: kind, params: s.params, results: s.results, height: c.floor})
	c.pushAll(s.params)
}

// leave closes the innermost block, which must have its results on the stack and nothing else.
func (c *codeChecker) leave() frame {
	last := len(c.frames) - 1
	f := c.frames[last]
	c.popAll(f.results)
	if len(c.operands) != c.floor {
		c.fail("%d values too many at the end of a block", len(c.operands)-c.floor)
	}
	c.frames = c.frames[:last]
	c.floor = 0
	if last > 0 {
		c.floor = c.frames[last-1].height
	}
	return f
}

// unreachable says that nothing reaches what follows in this block.
func (c *codeChecker) unreachable() {
	c.operands = c.operands[:c.floor]
	c.frames[len(c.frames)-1].dead = true
}

func (c *codeChecker) push(t valueType) { c.operands = append(c.operands, t) }

func (c *codeChecker) pop(want valueType) {
	if last := len(c.operands) - 1; last >= c.floor && c.operands[last] == want {
		c.operands = c.operands[:last]
		return
	}
	if got := c.popAny(); got != want && got != unknown {
		c.fail("%s on the stack; want %s", typeNames[got], typeNames[want])
	}
}

func (c *codeChecker) popAny() valueType {
	last := len(c.operands) - 1
	if last >= c.floor {
		t := c.operands[last]
		c.operands = c.operands[:last]
		return t
	}
	if !c.frames[len(c.frames)-1].dead {
		c.fail("nothing on the stack")
	}
	return unknown
}

func (c *codeChecker) pushAll(types []valueType) {
	c.carry(len(types))
	c.operands = append(c.operands, types...)
}

func (c *codeChecker) popAll(types []valueType) {
	c.operands = c.operands[:len(c.operands)-c.peekAll(types)]
}

// peekAll checks that types are on top of the stack and says how many of them really are there, which may be fewer in dead code.
func (c *codeChecker) peekAll(types []valueType) int {
	c.carry(len(types))
	have := min(len(c.operands)-c.floor, len(types))
	if have < len(types) && !c.frames[len(c.frames)-1].dead {
		c.fail("%d values on the stack; want %d", have, len(types))
		return 0
	}
	want, got := types[len(types)-have:], c.operands[len(c.operands)-have:]
	if bytes.Equal(got, want) {
		return have
	}
	for i, t := range got {
		if t != want[i] && t != unknown {
			c.fail("%s on the stack; want %s", typeNames[t], typeNames[want[i]])
			break
		}
	}
	return have
}

// carry counts what keeps the work for a function in proportion to its length.
func (c *codeChecker) carry(n int) {
	if c.carried += n; c.carried > c.mayCarry {
		c.fail("its blocks, branches and calls carry more than %d values", c.mayCarry)
	}
}
