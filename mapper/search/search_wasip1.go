package search

import (
	"bytes"
	"errors"
	"strconv"
	"unsafe"

	"github.com/millrace/millrace/internal/hostfn"
)

//go:wasmimport millrace search_open_1
//go:noescape
func searchOpen(pattern unsafe.Pointer, size, flags uint32, reason unsafe.Pointer, reasonSize uint32) int32

//go:wasmimport millrace search_1
//go:noescape
func search(handle int32, flags uint32, text unsafe.Pointer, size uint32, c, found unsafe.Pointer, most uint32) int32

type offset = uint32 // as the host writes them

// A platform is how a pattern is searched with here: by the host, which knows it by its handle.
type platform struct{ handle int32 }

func (p *platform) compile(text string, o *Options) error {
	flags := uint32(0)
	if o.Fixed {
		flags |= hostfn.Fixed
	}
	if o.Fold {
		flags |= hostfn.Fold
	}
	if o.Word {
		flags |= hostfn.Word
	}
	var reason [1 << 10]byte
	code := searchOpen(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)), flags, unsafe.Pointer(&reason), uint32(len(reason)))
	if code < 0 {
		cause, _, _ := bytes.Cut(reason[:], []byte{0})
		return errors.New(string(cause))
	}
	p.handle = code
	return nil
}

func (p *platform) find(text []byte, lines bool, c *cursor, out *[batch]found) int {
	flags := uint32(0)
	if lines {
		flags = hostfn.Lines
	}
	n := search(p.handle, flags, unsafe.Pointer(unsafe.SliceData(text)), uint32(len(text)), unsafe.Pointer(c), unsafe.Pointer(out), batch)
	if n < 0 {
		panic("search: the host answers " + strconv.Itoa(int(n)))
	}
	return int(n)
}
