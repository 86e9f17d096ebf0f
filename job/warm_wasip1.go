package job

import (
	"bytes"
	"io"
	"runtime"
	"unsafe"

	"github.com/millrace/millrace/mapper"
)

// warm is called before the first object is read, where a runner takes the snapshot from which each object is mapped. What is done here is
// done once, and not for each of them: the heap has grown, there is a span with room for objects of each size, and the runtime has found
// out about types what it asks when they are first used.
func warm() {
	sink = make([]byte, 1<<20)
	sink = nil
	runtime.GC() // an object has the more to allocate before the next
	runtime.Gosched()
	for size := 8; size <= 32<<10; size += max(8, size/8) {
		for n := 0; n < 2 || n < 8 && size >= 1<<10 && !isFirst(unsafe.Pointer(&sink[0])); n++ {
			sink = make([]byte, size)
		}
		for n := 0; n < 2 || n < 8 && size >= 1<<10 && !isFirst(unsafe.Pointer(&refs[0])); n++ {
			refs = make([]*byte, size/8)
		}
	}
	sink, refs = nil, nil
	_, _ = io.Copy(io.Discard, &mapper.Object{Body: bytes.NewReader(nil)}) // cannot fail
}

// isFirst reports whether an object is the first in its span, so that there is room for others.
func isFirst(object unsafe.Pointer) bool {
	const page, header = 8 << 10, 8
	return uintptr(object)%page <= header
}

var sink []byte
var refs []*byte
