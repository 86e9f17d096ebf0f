package job

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"github.com/millrace/millrace/internal/guest"
)

// shared returns the memory in which the runner lays objects, nil if there is none.
func shared() ([]byte, error) {
	size := os.Getenv(guest.EnvMemory)
	if size == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(size)
	if err != nil {
		return nil, errors.New("malformed " + guest.EnvMemory)
	}
	memory, err := syscall.Mmap(guest.MemoryFile, 0, n, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, errors.New("map the runner's memory: " + err.Error())
	}
	return memory, syscall.Close(guest.MemoryFile)
}
