package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/sandbox"
)

// compiled returns a module's machine code, from the cache if it is there. A cache that does not work costs time only.
func (r *running) compiled(ctx context.Context, module *os.File) (*os.File, error) {
	cache, name := r.opts.Cache, ""
	if cache == nil {
		if cache = openCache(); cache != nil {
			defer cache.Close() //nolint:errcheck // files in memory have nothing to lose
		}
	}
	if cache != nil {
		var err error
		if name, err = codeName(module); err != nil {
			return nil, err
		}
		if f, err := cache.Get(name); err == nil {
			return f, nil
		}
	}
	compiled, err := r.pool.Compile(ctx, module)
	if err != nil || cache == nil {
		return compiled, err
	}
	_ = cache.Put(name, compiled)
	r.pool.Fill(1) // the compiler took one
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
func codeName(module *os.File) (string, error) {
	compiler, err := sandbox.Compiler()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(module, 0, math.MaxInt64)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x-%.32s", h.Sum(nil), compiler), nil
}
