package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/sandbox"
)

// maxCompiled bounds a compiled module, in bytes.
const maxCompiled = 1 << 30

// seals make a file in memory that nobody can change.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// compile compiles a module and hands it to the agent. It is all that this runner does.
func (s *server) compile(ctx context.Context, code *os.File) error {
	if code == nil {
		return fmt.Errorf("%w: compile without code", ErrProtocol)
	}
	b, err := readCode(code)
	if err != nil {
		return s.refuse(err)
	}
	compiled, err := sandbox.CompileWasm(ctx, b)
	if err != nil {
		return s.refuse(err)
	}
	fd, err := unix.MemfdCreate("compiled", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return s.refuse(os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), "compiled")
	if err := writeCompiled(ctx, f, &preface{SDK: isSDK(b)}, compiled); err != nil {
		return errors.Join(s.refuse(err), f.Close())
	}
	return errors.Join(s.conn.Send(KindCompiled, nil, f), f.Close(), io.EOF)
}

// writeCompiled makes f the file of a compiled module, see preface.
func writeCompiled(ctx context.Context, f *os.File, p *preface, compiled []byte) error {
	if _, err := f.WriteAt(compiled, int64(prefaceSize)); err != nil {
		return err
	}
	if p.SDK {
		if err := p.describe(ctx, f); err != nil {
			return err
		}
	}
	page, err := p.encode()
	if err == nil {
		_, err = f.WriteAt(page, 0)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	return err
}

// Compile has the runner at the other end of conn, which serves nothing else, compile a module. What it returns is a file in memory that
// nobody can change any more; the caller closes it. A refusal is a [Refusal].
func Compile(conn *Conn, code *os.File) (*os.File, error) {
	if err := conn.Send(KindCompile, nil, code); err != nil {
		return nil, err
	}
	k, payload, f, err := conn.Recv()
	switch {
	case err != nil:
		return nil, err
	case k == KindAbort && f == nil:
		return nil, Refusal(payload)
	case k != KindCompiled || f == nil:
		err = fmt.Errorf("%w: frame %c after a module", ErrProtocol, k)
	default:
		err = checkSealed(f)
	}
	if err != nil && f != nil {
		err = errors.Join(err, f.Close())
	}
	return f, err
}

// checkSealed makes sure that a file from a runner is one that can be read without surprises.
func checkSealed(f *os.File) error {
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return fmt.Errorf("%w: a compiled module that can still change", ErrProtocol)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxCompiled {
		return fmt.Errorf("%w: compiled module of %s", ErrProtocol, bytesText(info.Size()))
	}
	return nil
}

// A Refusal is a runner's word that it cannot run or compile the program.
type Refusal string

func (r Refusal) Error() string { return string(r) }
