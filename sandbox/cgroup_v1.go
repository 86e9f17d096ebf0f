package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// newCgroup1 makes a directory in the memory and pids hierarchies of version 1, below the groups of this process.
func newCgroup1(own map[string]string, name string, memory int64, pids int) (*cgroup, error) {
	g := &cgroup{version: 1}
	for _, controller := range []string{"memory", "pids"} {
		parent := filepath.Join(cgroupRoot, controller, own[controller])
		if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			parent = filepath.Join(cgroupRoot, controller) // a container that sees its own group as the root
		}
		sweep(parent)
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			g.remove()
			return nil, err
		}
		g.dirs = append(g.dirs, dir)
	}
	g.memory = g.dirs[0]
	err := firstError(
		writeFile(filepath.Join(g.memory, "memory.limit_in_bytes"), strconv.FormatInt(memory, 10)),
		writeFile(filepath.Join(g.dirs[1], "pids.max"), strconv.Itoa(pids)))
	if err == nil {
		// Swap is counted only by some kernels; without the file, swap is not limited, and memory is.
		err = writeFile(filepath.Join(g.memory, "memory.memsw.limit_in_bytes"), strconv.FormatInt(memory, 10))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}
