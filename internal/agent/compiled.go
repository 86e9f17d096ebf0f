package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// machineCode returns that of a module, which it takes over.
func (k *Kit) machineCode(ctx context.Context, module *os.File) (*os.File, error) {
	k.then(module.Close)
	sum, err := digest(module)
	if err != nil {
		return nil, &job.Error{Op: "program", Err: err}
	}
	if k.spec.Program.Digest == "" { // nobody has read it yet
		k.spec.Program.Digest = sum
	}
	compiled, err := k.compiled(ctx, k.pool, module, sum)
	if err != nil {
		return nil, &job.Error{Op: "program", Err: err}
	}
	k.then(compiled.Close)
	if k.spec.Deterministic == job.Check {
		k.module = module
	}
	return compiled, nil
}

// compiled returns the machine code of the module with that digest, from the cache if it is there. A cache that does not work costs time only.
func (k *Kit) compiled(ctx context.Context, pool *Pool, module *os.File, digest string) (*os.File, error) {
	cache, name := k.o.Cache, ""
	if cache == nil {
		if cache = openCache(); cache != nil {
			defer cache.Close() //nolint:errcheck // files in memory have nothing to lose
		}
	}
	if cache != nil {
		var err error
		if name, err = codeName(digest); err != nil {
			return nil, err
		}
		if f, err := cache.Get(name); err == nil {
			return f, nil
		}
	}
	compiled, err := pool.Compile(ctx, module)
	if err != nil || cache == nil {
		return compiled, err
	}
	_ = cache.Put(name, compiled)
	pool.Fill(1) // the compiler took one
	return compiled, nil
}

// openCache opens the user's cache of compiled code, nil if there can be none.
func openCache() *codecache.Cache {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	c, err := codecache.Open(filepath.Join(dir, "millrace", "code"))
	if err != nil {
		return nil
	}
	return c
}

// codeName returns the name under which a module's machine code is kept: it says which module and which compiler.
func codeName(digest string) (string, error) {
	compiler, err := sandbox.Compiler()
	return fmt.Sprintf("%s-%.32s", digest, compiler), err
}

// digest returns the SHA-256 of a file, hexadecimal.
func digest(f *os.File) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(f, 0, math.MaxInt64))
	return hex.EncodeToString(h.Sum(nil)), err
}
