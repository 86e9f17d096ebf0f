package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// newCgroup2 makes a group of version 2 in the nearest group, from our own upwards, that hands memory and pids to its children.
func newCgroup2(own map[string]string, name string, memory int64, pids int) (*cgroup, error) {
	path, ok := own[""]
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); !ok || err != nil {
		return nil, fmt.Errorf("no cgroup controllers for memory and pids below %s", cgroupRoot)
	}
	var first error
	for {
		dir := filepath.Join(cgroupRoot, path)
		if err := delegate(dir); err == nil {
			sweep(dir)
			g, err := makeCgroup2(filepath.Join(dir, name), memory, pids)
			if err == nil {
				return g, nil
			}
			first = firstError(first, err)
		} else {
			first = firstError(first, err)
		}
		if path == "/" {
			return nil, first
		}
		path = filepath.Dir(path)
	}
}

// delegate makes dir hand memory and pids to its children. A group with processes of its own cannot; where they are only us, we move
// into a child of it first.
func delegate(dir string) error {
	control := filepath.Join(dir, "cgroup.subtree_control")
	b, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	if on := strings.Fields(string(b)); contains(on, "memory", "pids") {
		return nil
	}
	err = writeFile(control, "+memory +pids")
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	procs, readErr := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if readErr != nil || strings.TrimSpace(string(procs)) != strconv.Itoa(os.Getpid()) {
		return fmt.Errorf("%s has other processes of its own: %w", dir, err)
	}
	leaf := filepath.Join(dir, "agent")
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := writeFile(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return writeFile(control, "+memory +pids")
}

func contains(list []string, words ...string) bool {
	n := 0
	for _, w := range words {
		for _, l := range list {
			if l == w {
				n++
				break
			}
		}
	}
	return n == len(words)
}

func makeCgroup2(dir string, memory int64, pids int) (*cgroup, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	g := &cgroup{version: 2, memory: dir, dirs: []string{dir}}
	err := firstError(
		writeFile(filepath.Join(dir, "memory.max"), strconv.FormatInt(memory, 10)),
		writeFile(filepath.Join(dir, "pids.max"), strconv.Itoa(pids)))
	if err == nil {
		err = writeFile(filepath.Join(dir, "memory.swap.max"), "0")
		if errors.Is(err, fs.ErrNotExist) { // a kernel without swap accounting
			err = nil
		}
	}
	if err == nil {
		g.fd, err = os.Open(dir)
	}
	if err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}
