package builtin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

const (
	grepBlock = 256 << 10 // bytes of a streamed object that are searched together
	maxLine   = 64 << 20  // bytes of a line of a streamed object
)

// stream searches an object that is not in memory, in blocks of whole lines. Lines that later context may
// need stay in the block.
func (g *grepper) stream(r io.Reader, s *search) error {
	br := bufio.NewReader(r)
	mark, err := br.Peek(3)
	if err != nil && err != io.EOF {
		return err
	}
	r = br
	if enc := encodingOf(mark); enc != utf8Plain {
		r = newDecoder(br, enc)
	}
	if g.block == nil {
		g.block = make([]byte, grepBlock)
	}
	defer func() {
		if len(g.block) > 4*grepBlock {
			g.block = nil // it was for one long line
		}
	}()
	have, from, base := 0, 0, int64(0) // bytes in the block, searched in it, dropped before it
	for {
		if have == len(g.block) {
			if have-from >= maxLine {
				return fmt.Errorf("line at %d: longer than %d bytes", base+int64(from), maxLine)
			}
			g.block = append(g.block, make([]byte, have)...)
		}
		n, err := io.ReadFull(r, g.block[have:])
		eof := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !eof {
			return err
		}
		end := have + n
		if !eof { // what is in the block from before has no line feed
			i := bytes.LastIndexByte(g.block[have:end], '\n')
			if i < 0 {
				have += n
				continue
			}
			end = have + i + 1
		}
		have += n
		keep, err := s.scan(g.block[:end], from, eof)
		if err != nil || eof {
			return err
		}
		base += int64(keep)
		have = copy(g.block, g.block[keep:have])
		from = end - keep
	}
}
