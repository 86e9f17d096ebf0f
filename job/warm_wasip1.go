package job

// warm is called before the first object is read, where a runner takes the snapshot from which each object is mapped. What is done
// here is done once, and not for each of them.
func warm() {
	sink = make([]byte, 1<<20)
	for size := 8; size <= 32<<10; size += max(8, size/8) {
		for range 2 {
			sink = make([]byte, size)
			refs = make([]*byte, size/8)
		}
	}
	sink, refs = nil, nil
}

var sink []byte
var refs []*byte
