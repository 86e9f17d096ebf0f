package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/millrace/millrace/store"
)

// An Area is where the blocks of a plan lie. Its methods may be called concurrently.
type Area interface {
	// Write stores block as the n-th of its plan and returns where: the name of a shard and an offset within.
	// The block can be read when Write returns, and is not retained.
	Write(ctx context.Context, n int, block []byte) (shard string, offset int64, err error)

	// Read returns length bytes of a shard, exactly.
	Read(ctx context.Context, shard string, offset, length int64) ([]byte, error)

	// Seal stores the index, after which the plan does not change. It can be read, whole, when Seal returns.
	Seal(ctx context.Context, index []byte) error

	// Index returns what Seal has stored; one of more than limit bytes is an error. It returns store.ErrNotExist if the plan was not sealed.
	Index(ctx context.Context, limit int64) ([]byte, error)
}

const indexName = "plan-index"

// A DirArea keeps plans in a local directory, all blocks in one shard. It belongs to one process at a time.
type DirArea struct {
	dir string

	mu  sync.Mutex
	f   *os.File // opened by the first Write
	end int64
}

// NewDirArea returns the area in dir, which exists and is empty. Whoever made dir removes it after Close.
func NewDirArea(dir string) *DirArea { return &DirArea{dir: dir} }

const dirShard = "plan-00000"

// Write appends the block.
func (a *DirArea) Write(_ context.Context, _ int, block []byte) (string, int64, error) {
	f, off, err := a.reserve(int64(len(block)))
	if err != nil {
		return "", 0, err
	}
	_, err = f.WriteAt(block, off)
	return dirShard, off, err
}

func (a *DirArea) reserve(n int64) (*os.File, int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		f, err := os.OpenFile(filepath.Join(a.dir, dirShard), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, 0, err
		}
		a.f = f
	}
	off := a.end
	a.end += n
	return a.f, off, nil
}

// Read returns a piece of the shard.
func (a *DirArea) Read(_ context.Context, shard string, offset, length int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(a.dir, shard))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("%s at %d: %w", f.Name(), offset, short(err))
	}
	return b, nil
}

// Seal writes the index beside the shard.
func (a *DirArea) Seal(_ context.Context, index []byte) error {
	return os.WriteFile(filepath.Join(a.dir, indexName), index, 0o600)
}

// Index reads the index.
func (a *DirArea) Index(_ context.Context, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(a.dir, indexName))
	if err != nil {
		return nil, err
	}
	return all(f, limit)
}

// Close closes the shard for writing. Blocks can still be read.
func (a *DirArea) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		return nil
	}
	return a.f.Close()
}

// A bucketArea keeps each block as an object of its own.
type bucketArea struct {
	bucket store.Bucket
	prefix store.Key
}

// BucketArea returns the area under prefix in bucket, usually OUTPUT/_millrace/plan/.
func BucketArea(bucket store.Bucket, prefix store.Key) Area {
	return bucketArea{bucket, prefix}
}

func (a bucketArea) Write(ctx context.Context, n int, block []byte) (string, int64, error) {
	shard := fmt.Sprintf("plan-%05d", n)
	_, err := a.bucket.Put(ctx, a.prefix+store.Key(shard), block)
	return shard, 0, err
}

func (a bucketArea) Read(ctx context.Context, shard string, offset, length int64) ([]byte, error) {
	r, err := a.bucket.Open(ctx, a.prefix+store.Key(shard), "", offset, length)
	if err != nil {
		return nil, err
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	return b, errors.Join(short(err), r.Close())
}

func (a bucketArea) Seal(ctx context.Context, index []byte) error {
	_, err := a.bucket.Put(ctx, a.prefix+indexName, index)
	return err
}

func (a bucketArea) Index(ctx context.Context, limit int64) ([]byte, error) {
	r, err := a.bucket.Open(ctx, a.prefix+indexName, "", 0, limit+1)
	if err != nil {
		return nil, err
	}
	return all(r, limit)
}

// all reads r to its end, if that is not too far.
func all(r io.ReadCloser, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrCorrupt, limit)
	}
	return b, nil
}

// short names the end of a shard that ends too early.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: shard ends early", ErrCorrupt)
	}
	return err
}

// checkShard refuses names that lead out of an area.
func checkShard(shard string) error {
	if shard == "" || strings.ContainsAny(shard, "/\\\x00") || shard[0] == '.' {
		return fmt.Errorf("shard %q: not a name of one", shard)
	}
	return nil
}
