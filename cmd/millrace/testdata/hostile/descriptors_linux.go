package main

import (
	"strconv"
	"syscall"
)

// inherited are the descriptors that were open when the program began, before the SDK has used any.
var inherited = open()

// open lists the descriptors that are open, with their kind and size.
func open() (list []string) {
	kinds := map[uint32]string{syscall.S_IFIFO: "pipe", syscall.S_IFREG: "file", syscall.S_IFSOCK: "socket", syscall.S_IFCHR: "device", syscall.S_IFDIR: "directory"}
	for fd := range 1024 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT != 0 { // the runtime's own have no type
			list = append(list, strconv.Itoa(fd)+" "+kinds[st.Mode&syscall.S_IFMT]+" "+strconv.FormatInt(st.Size, 10))
		}
	}
	return list
}

// descriptors counts those that the program began with, and those that it has now.
func descriptors(emit func(string, int64)) {
	for _, d := range inherited {
		emit("INHERITED "+d, 1)
	}
	for _, d := range open() {
		emit("OPEN "+d, 1)
	}
}
