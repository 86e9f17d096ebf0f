package main

import (
	stdbytes "bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/internal/tempdir"
	"github.com/millrace/millrace/job"
	builtins "github.com/millrace/millrace/mapper/builtin"
)

const builtinPrefix = "builtin:"

// program makes what the user named ready to be run: a builtin, a Go package (which it builds for the engine), a
// module or an executable. said is what a job file says about it. cleanup removes what was built.
func (a *app) program(name string, engine job.Engine, said job.Program) (p job.Program, cleanup func(), err error) {
	cleanup = func() {}
	if err := exists(name); err != nil {
		return p, nil, err
	}
	if builtin, ok := strings.CutPrefix(name, builtinPrefix); ok {
		if engine != "" {
			return p, nil, fmt.Errorf("--engine %s: %s is compiled into millrace", engine, name)
		}
		return job.Program{Engine: job.Builtin, Name: builtin}, cleanup, nil
	}
	override(&said.Engine, engine)
	info, err := os.Stat(name)
	if err != nil {
		return p, nil, fmt.Errorf("program %s: %w", name, cause(err))
	}
	path := name
	if info.IsDir() {
		if said.Engine == "" {
			said.Engine = job.Wasm
		}
		if path, cleanup, err = a.build(name, said.Engine); err != nil {
			return p, nil, err
		}
	}
	remove := cleanup
	defer func() {
		if err != nil {
			remove()
		}
	}()
	kind, digest, err := examine(path)
	if err != nil {
		return p, nil, fmt.Errorf("program %s: %w", name, cause(err))
	}
	if said.Engine != "" && said.Engine != kind {
		return p, nil, fmt.Errorf("program %s is of the engine %s, not %s", name, kind, said.Engine)
	}
	if path, err = filepath.Abs(path); err != nil {
		return p, nil, err
	}
	if said.Name == "" {
		abs, _ := filepath.Abs(name)
		said.Name = filepath.Base(abs)
	}
	return job.Program{Engine: kind, Name: said.Name, Path: path, Digest: digest, Args: said.Args}, cleanup, nil
}

// exists returns an error if there is no program of that name.
func exists(name string) error {
	if builtin, ok := strings.CutPrefix(name, builtinPrefix); ok {
		if _, ok := builtins.Lookup(builtin); !ok {
			return fmt.Errorf("program %s: there is no such builtin", name)
		}
		return nil
	}
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("program %s: %w", name, cause(err))
	}
	return nil
}

// cause returns an error of the operating system without the operation and the path.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// maxCode is how much of a program a runner takes: bytes.
const maxCode = 256 << 20

// examine tells by its first bytes which engine runs the file at path, and returns its SHA-256.
func examine(path string) (engine job.Engine, digest string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", "", err
	}
	switch {
	case string(magic) == "\x00asm":
		engine = job.Wasm
	case string(magic) == "\x7fELF", string(magic[:2]) == "#!":
		engine = job.Native
	case string(magic) == "!<ar":
		return "", "", errors.New("not a main package")
	default:
		return "", "", errors.New("neither a WebAssembly module nor a Linux executable")
	}
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	if info.Size() > maxCode {
		return "", "", fmt.Errorf("%d bytes are over the limit of %d", info.Size(), maxCode)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", "", err
	}
	return engine, hex.EncodeToString(h.Sum(nil)), nil
}

// A buildError is a Go package that does not build. Output is what the compiler said.
type buildError struct {
	Dir    string
	Output string
	Err    error
}

func (e *buildError) Error() string { return "build " + e.Dir + ": " + e.Err.Error() }
func (e *buildError) Unwrap() error { return e.Err }

// build builds the main package in dir for the engine, into a temporary file that cleanup removes. Go's own cache makes
// it quick the next time.
func (a *app) build(dir string, engine job.Engine) (path string, cleanup func(), err error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", nil, fmt.Errorf("build %s: no go command in PATH: install Go, or give a .wasm file or an executable", dir)
	}
	temp, err := tempdir.New("millrace-build-")
	if err != nil {
		return "", nil, err
	}
	cleanup = func() { _ = temp.Close() }
	path = filepath.Join(temp.Path, "program")
	cmd := exec.CommandContext(a.ctx, goTool, "build", "-trimpath", "-ldflags=-s", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PWD="+dir, "CGO_ENABLED=0", "GOOS=linux")
	if engine == job.Wasm {
		cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	var output stdbytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		cleanup()
		return "", nil, &buildError{Dir: dir, Output: output.String(), Err: err}
	}
	return path, cleanup, nil
}
