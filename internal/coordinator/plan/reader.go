package plan

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/job"
)

// A Reader fetches the lists of splits. It may be used concurrently.
type Reader struct{ area Area }

// Open returns a Reader of the plan in area.
func Open(area Area) *Reader { return &Reader{area} }

// Split returns the objects of s in their order. The slice belongs to the caller. It returns ErrCorrupt if the
// list is not the one that was announced.
func (r *Reader) Split(ctx context.Context, s job.Split) ([]Object, error) {
	objects, err := r.read(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", s.Task, err)
	}
	return objects, nil
}

func (r *Reader) read(ctx context.Context, s job.Split) ([]Object, error) {
	if err := checkShard(s.Shard); err != nil {
		return nil, err
	}
	if s.Offset < 0 || s.Length < headerLen || s.Length > maxPacked {
		return nil, fmt.Errorf("%w: block of %d bytes at %d", ErrCorrupt, s.Length, s.Offset)
	}
	block, err := r.area.Read(ctx, s.Shard, s.Offset, s.Length)
	if err != nil {
		return nil, err
	}
	objects, err := decode(block)
	if err != nil {
		return nil, err
	}
	var bytes int64
	for i := range objects {
		bytes += objects[i].Size
	}
	if len(objects) != s.Objects || bytes != s.Bytes {
		return nil, fmt.Errorf("%w: %d objects of %d bytes, announced were %d of %d",
			ErrCorrupt, len(objects), bytes, s.Objects, s.Bytes)
	}
	return objects, nil
}
