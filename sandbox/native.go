package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// NativeOptions are what [OpenNative] may be told. nil means defaults.
type NativeOptions struct {
	// Pids are the processes and threads that a guest may have at once; 0 means as many as the jail may have.
	Pids int
}

// A nativeGuest is an executable in the jail.
type nativeGuest struct {
	jail *plan
	path string
	pids int
	spawner
}

// OpenNative writes code, a Linux executable or a script that names its interpreter, into the jail, where its guests can run but not change
// it. It works in a process that was started with Native and has entered its jail. Guests ask the kernel for time and randomness: Seed means
// nothing to them.
func OpenNative(code []byte, opts *NativeOptions) (Guest, error) {
	if opts == nil {
		opts = &NativeOptions{}
	}
	p := jail.Load()
	if p == nil || !p.Native {
		return nil, errors.New("native guests run only in a jail that was started for them")
	}
	if err := checkProgram(code); err != nil {
		return nil, err
	}
	path := filepath.Join(p.Program, "guest")
	if err := firstError(os.RemoveAll(path), os.WriteFile(path, code, 0o500), os.Chmod(path, 0o555)); err != nil {
		return nil, fmt.Errorf("write the program: %w", err)
	}
	g := &nativeGuest{jail: p, path: path, pids: opts.Pids}
	if err := g.spawner.open(p); err != nil {
		return nil, err
	}
	return g, nil
}

// checkProgram refuses what the kernel of this machine would not run.
func checkProgram(code []byte) error {
	switch {
	case len(code) > maxProgram:
		return fmt.Errorf("%w: program of %s; at most %s", ErrModule, byteText(int64(len(code))), byteText(maxProgram))
	case len(code) > 2 && code[0] == '#' && code[1] == '!':
		return nil
	case len(code) < 64 || string(code[:4]) != "\x7fELF":
		return fmt.Errorf("%w: neither an ELF executable nor a script that names its interpreter", ErrModule)
	}
	if machine := binary.LittleEndian.Uint16(code[18:]); machine != elfMachine {
		return fmt.Errorf("%w: executable for another processor (ELF machine %d), not %s", ErrModule, machine, runtime.GOARCH)
	}
	return nil
}

// Close removes the program.
func (g *nativeGuest) Close() error {
	g.spawner.close()
	return os.RemoveAll(g.path)
}

// clean empties the work directory and makes it the guest's own.
func (g *nativeGuest) clean() error {
	dir := g.jail.Work
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = firstError(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return firstError(err, os.Chmod(dir, 0o755))
}

// oomKills returns how many processes of the jail the kernel has killed for memory.
func (g *nativeGuest) oomKills() int64 {
	if g.jail.Events == 0 {
		return 0
	}
	var buf [4096]byte
	n, err := unix.Pread(g.jail.Events, buf[:], 0)
	if err != nil {
		return 0
	}
	return parseOOMKills(string(buf[:n]))
}

// Run executes the program once, in an empty work directory. When it ends, everything that it has started is killed.
func (g *nativeGuest) Run(ctx context.Context, r *Run) (Report, error) {
	if err := g.jail.checkChannels(r.Channels); err != nil {
		return Report{}, err
	}
	if err := g.clean(); err != nil {
		return Report{}, fmt.Errorf("clean the work directory: %w", err)
	}
	x := &execution{guest: g, limits: r.Limits.withDefaults(), kills: g.oomKills()}
	return x.run(ctx, r)
}
