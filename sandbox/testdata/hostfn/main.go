// Hostfn does what it is told on stdin with the SDK's packages that use host functions, and prints what comes of it. Built for WebAssembly or
// not, it prints the same.
//
//	kind | option | u32 length | bytes | u32 length | bytes
//
// of kind s: search for the first bytes in the second; kind d: decompress the second, of which the first say how much may come; h: digests.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/mapper/decompress"
	"github.com/millrace/millrace/mapper/digest"
	"github.com/millrace/millrace/mapper/search"
)

// Compiled at the start, so that it is part of a snapshot.
var early = search.MustCompile(`invoice \d+`)

func main() {
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err == io.EOF {
			break
		}
		a, b := field(in), field(in)
		fmt.Fprintf(out, "%c %d %.40q %.40q\n", head[0], head[1], a, b)
		switch head[0] {
		case 's':
			find(out, early, b)
			p, err := search.Compile(string(a), &search.Options{Fixed: head[1]&1 != 0, Fold: head[1]&2 != 0, Word: head[1]&4 != 0})
			if err != nil {
				fmt.Fprintln(out, err)
				continue
			}
			find(out, p, b)
		case 'd':
			got, err := decompress.Bytes(decompress.Format(head[1]), b, int(binary.LittleEndian.Uint32(a)))
			fmt.Fprintf(out, "%d %x %v\n", len(got), digest.SHA256(got), err)
		case 'h':
			fmt.Fprintf(out, "%x %x %x\n", digest.SHA256(b), digest.XXH3(b), digest.CRC32C(digest.CRC32C(0, a), b))
		}
	}
	if err := out.Flush(); err != nil {
		panic(err)
	}
}

func find(out io.Writer, p *search.Pattern, text []byte) {
	for line := range p.Lines(text) {
		fmt.Fprintf(out, "%q\n", line)
	}
	for m := range p.Matches(text) {
		fmt.Fprintf(out, "%d-%d of %q\n", m.Start, m.End, m.Line)
		if p.Match(m.Text()) { // a search within another
			fmt.Fprintln(out, "again")
		}
	}
}

func field(r io.Reader) []byte {
	size := make([]byte, 4)
	if _, err := io.ReadFull(r, size); err != nil {
		panic(err)
	}
	b := make([]byte, binary.LittleEndian.Uint32(size))
	if _, err := io.ReadFull(r, b); err != nil {
		panic(err)
	}
	return b
}
