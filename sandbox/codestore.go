package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"
)

// A codeStore takes the place of the directory in which the engine keeps machine code. Modules are compiled and opened in the same order,
// so it needs no keys. It is for one of the two: opening, nothing may be compiled, since there is no code.
type codeStore struct {
	added [][]byte // compiling

	file   *os.File // opening
	mapped []byte   // all of the file
	code   []part   // of the file
}

var errNoCode = errors.New("compiled by another version of the engine")

// Get implements the engine's cache.
func (s *codeStore) Get([sha256.Size]byte) (io.ReadCloser, bool, error) {
	if s.file == nil {
		return nil, false, nil
	}
	if len(s.code) == 0 {
		return nil, false, errNoCode
	}
	p := s.code[0]
	s.code = s.code[1:]
	return io.NopCloser(&codeReader{s, p}), true, nil
}

// Add implements the engine's cache.
func (s *codeStore) Add(_ [sha256.Size]byte, content io.Reader) error {
	if s.file != nil {
		return errNoCode
	}
	b, err := io.ReadAll(content)
	s.added = append(s.added, b)
	return err
}

// Delete implements the engine's cache, which calls it for code that it cannot use.
func (s *codeStore) Delete([sha256.Size]byte) error { return errNoCode }

// cache makes the engine use the store. It offers only directories, which a jailed process has none of; so the store is put in place of
// one, in a field that is not exported.
func (s *codeStore) cache() (c wazero.CompilationCache, err error) {
	c = wazero.NewCompilationCache()
	field := reflect.Indirect(reflect.ValueOf(c)).FieldByName("fileCache")
	store := reflect.ValueOf(s)
	if !field.IsValid() || !field.CanAddr() || !store.Type().AssignableTo(field.Type()) {
		return nil, errors.New("this version of the engine keeps its code in another way")
	}
	reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Set(store)
	return c, nil
}

// machineCode returns where the machine code begins in what the engine adds to its cache:
//
//	| 6 bytes | length n | version, n bytes | functions f, 32 bits | an offset for each, 64 bits | size of the code, 64 bits | code | …
//
// If that is not what it is any more, code is copied instead of mapped, see codeReader.
func machineCode(added []byte) int {
	const magic = 6
	if len(added) <= magic {
		return 0
	}
	functions := magic + 1 + int(added[magic])
	if len(added) < functions+4 {
		return 0
	}
	return functions + 4 + 8*int(binary.LittleEndian.Uint32(added[functions:])) + 8
}

// memoryFile returns a file in memory.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// A codeReader reads a part of the file of a codeStore.
type codeReader struct {
	store *codeStore
	rest  part
}

func (r *codeReader) Read(p []byte) (int, error) {
	n := min(len(p), r.rest.Size)
	if n == 0 {
		return 0, io.EOF
	}
	at := r.rest.At
	r.rest.At, r.rest.Size = at+n, r.rest.Size-n
	if n == len(p) && r.store.lay(p, at) {
		return n, nil
	}
	return copy(p, part{at, n}.of(r.store.mapped)), nil
}

// lay maps the file, from at on, in place of memory that was mapped for its content, as the engine does it for machine code: that is as good as
// reading it, and neither takes memory nor the time to fill it. It reports whether it could.
func (s *codeStore) lay(memory []byte, at int) bool {
	if len(memory) < os.Getpagesize() || toPage(at) != 0 {
		return false
	}
	// This changes nothing, but fails if the memory is not a whole mapping of its own: nothing else may share its pages.
	if same, err := unix.Mremap(memory[:len(memory):len(memory)], len(memory), 0); err != nil || &same[0] != &memory[0] {
		return false
	}
	_, err := unix.MmapPtr(int(s.file.Fd()), int64(at), unsafe.Pointer(&memory[0]), uintptr(len(memory)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		return false
	}
	_ = unix.Madvise(memory, unix.MADV_POPULATE_READ) // older kernels do not have it
	return true
}
