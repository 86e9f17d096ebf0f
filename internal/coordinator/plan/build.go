package plan

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// Options say what of the inputs is planned. A nil *Options means the zero value.
type Options struct {
	Include       []string  // globs over the key below its input; one must match
	Exclude       []string  // globs over the key below its input; none may match
	ModifiedSince time.Time // at or after

	Split int // most objects of a split; 0 means MaxObjects

	Locators []Locator // of each input; nil where nobody knows where its objects lie, or they lie everywhere
	// Ordered has the objects of all splits, one split after the other, stand in the order of inputs and keys, for jobs whose output is cut by it. Else a split
	// has the objects of one node: in that order too, but not one after the other.
	Ordered bool
	Memory  int64 // bytes for splits that are not full yet; 0 means 256 MiB

	Reducers int  // partitions, for the expected requests
	Output   bool // whether results go to a store, for the expected requests
}

// writers is how many blocks are on their way to the area at once, and so how many splits are held in memory.
const writers = 4

// Build lists the inputs, cuts them into splits, and writes the list of each to area.
//
// As soon as the list of a split can be read, sink is called with it: one call at a time, in order, on another
// goroutine than Build's, and never after Build has returned. While sink waits, the listing waits. An error of
// sink ends Build, which returns it.
//
// At last the headers of all splits are written to area as well, from where [Load] has them: the plan is sealed, and what its digest names is all there.
//
// Two inputs may name the same object, which then stands in the plan twice; two equal inputs are refused.
func Build(ctx context.Context, inputs []Input, area Area, o *Options, sink func(job.Split) error) (*Summary, error) {
	if o == nil {
		o = &Options{}
	}
	seen := map[store.URI]bool{}
	for _, in := range inputs {
		if seen[in.URI] {
			return nil, &job.Error{Op: "plan", Err: fmt.Errorf("input %s is given twice", in.URI)}
		}
		seen[in.URI] = true
	}
	whole := ctx
	g, ctx := errgroup.WithContext(ctx)
	b := &builder{
		area:   area,
		opts:   o,
		g:      g,
		queue:  make(chan *block, writers),
		digest: sha256.New(),
		sum:    Summary{Reducers: o.Reducers},
		places: newShelves(len(inputs), o),
	}
	g.Go(func() error {
		defer close(b.queue)
		return b.run(ctx, inputs)
	})
	g.Go(func() error {
		for bl := range b.queue {
			select {
			case <-bl.written:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			b.index.add(&bl.split)
			if err := sink(bl.split); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	index, err := b.index.seal(b.digest.Sum(nil))
	if err == nil {
		err = area.Seal(whole, index)
	}
	if err != nil {
		return nil, &job.Error{Op: "plan", Err: err}
	}
	return &b.sum, nil
}

// A block on its way to the area. Its split is complete when written is closed.
type block struct {
	split   job.Split
	written chan struct{}
}

// A builder is one call of Build.
type builder struct {
	area   Area
	opts   *Options
	g      *errgroup.Group
	queue  chan *block // in the order of the plan
	places *shelves
	raw    []byte // the last payload
	digest hash.Hash
	sum    Summary
	index  index // of splits that were announced
}

// run lists all inputs and queues their splits.
func (b *builder) run(ctx context.Context, inputs []Input) error {
	for _, in := range inputs {
		b.hash([]byte(in.URI.String()))
	}
	for i, in := range inputs {
		before := b.sum.Objects
		if err := b.list(ctx, i, in); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &job.Error{Op: "list", Err: err}
		}
		if b.sum.Objects == before {
			b.sum.Empty = append(b.sum.Empty, i)
		}
	}
	for len(b.places.open) > 0 {
		if err := b.flush(ctx, b.places.oldest()); err != nil {
			return err
		}
	}
	b.sum.Nodes, b.sum.Unlocated = b.places.summary()
	b.sum.Digest = hex.EncodeToString(b.digest.Sum(nil))
	b.sum.Requests += b.sum.Objects + outputRequests(b.opts, b.sum.Splits)
	return nil
}

// hash takes p into the digest, with its length.
func (b *builder) hash(p []byte) {
	b.digest.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p))))
	b.digest.Write(p)
}

// list plans what input i holds.
func (b *builder) list(ctx context.Context, i int, in Input) error {
	f, err := newFilter(in, b.opts)
	if err != nil {
		return err
	}
	m, prefix, err := readManifest(ctx, in)
	if err != nil {
		return err
	}
	b.sum.Requests++
	var objects iter.Seq2[store.Object, error]
	if m != nil {
		objects = parts(m, prefix)
	} else {
		objects = in.Bucket.List(ctx, in.URI.Prefix, "")
	}
	var listed int64
	var last store.Key
	for o, err := range objects {
		if err != nil {
			return err
		}
		if listed > 0 && o.Key <= last {
			return fmt.Errorf("%s: %w: it follows %q", store.Name(in.URI.Scheme, in.URI.Bucket, o.Key), store.ErrListing, last)
		}
		last = o.Key
		listed++
		if err := b.object(ctx, i, f, &o); err != nil {
			return fmt.Errorf("%s: %w", store.Name(in.URI.Scheme, in.URI.Bucket, o.Key), err)
		}
	}
	if m == nil {
		b.sum.Requests += listed/keysPerPage + 1
	}
	if err := b.place(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// object plans one listed object of input i, or counts why not.
func (b *builder) object(ctx context.Context, i int, f *filter, o *store.Object) error {
	switch {
	case !f.takes(o):
		b.sum.Filtered++
		return nil
	case o.Size == 0 && strings.HasSuffix(string(o.Key), "/"):
		b.sum.Markers++
		b.skip(i, o.Key)
		return nil
	case o.Archived:
		b.sum.Archived++
		b.skip(i, o.Key)
		return nil
	}
	if err := encodable(o); err != nil {
		return err
	}
	if !b.places.located(i) {
		return b.put(ctx, b.places.shelf(""), i, o, nil)
	}
	b.places.waiting = append(b.places.waiting, waiting{i, *o})
	if len(b.places.waiting) < lookUp {
		return nil
	}
	return b.place(ctx)
}

// place plans the objects that wait until it is known where they lie.
func (b *builder) place(ctx context.Context) error {
	p := b.places
	if len(p.waiting) == 0 {
		return nil
	}
	found := p.locate(ctx)
	for i := range p.waiting {
		w := &p.waiting[i]
		if err := b.put(ctx, p.choose(found[i]), w.input, &w.object, found[i]); err != nil {
			return err
		}
	}
	p.waiting = p.waiting[:0]
	return nil
}

// put takes an object of input i, which lies on those nodes, into the open split of a shelf.
func (b *builder) put(ctx context.Context, sh *shelf, i int, o *store.Object, nodes []string) error {
	if n := int64(len(b.places.byNode)); n > 1 {
		sh.cut.meanObjects, sh.cut.meanBytes = b.sum.Objects/n, b.sum.Bytes/n
	}
	if sh.enc != nil && sh.cut.before(o.Size) {
		if err := b.flush(ctx, sh); err != nil {
			return err
		}
	}
	b.places.add(sh, b.sum.Objects, i, o, nodes)
	b.sum.Objects++
	b.sum.Bytes += o.Size
	b.sum.Largest = max(b.sum.Largest, o.Size)
	if sh.cut.full() {
		return b.flush(ctx, sh)
	}
	if sh := b.places.crowded(); sh != nil {
		return b.flush(ctx, sh)
	}
	return nil
}

func (b *builder) skip(i int, key store.Key) {
	if len(b.sum.Skipped) < maxSkipped {
		b.sum.Skipped = append(b.sum.Skipped, Name{Input: i, Key: key})
	}
}

// flush closes the open split of a shelf and sends it on its way.
func (b *builder) flush(ctx context.Context, sh *shelf) error {
	n := b.sum.Splits
	var data []byte
	data, b.raw = sh.enc.seal(b.raw)
	b.hash(b.raw)
	bl := &block{
		split: job.Split{
			Task:    job.MapTask(n),
			Length:  int64(len(data)),
			Objects: int(sh.cut.openObjects),
			Bytes:   sh.cut.openBytes,
		},
		written: make(chan struct{}),
	}
	bl.split.Nodes = b.places.close(sh)
	b.sum.Splits++
	select {
	case b.queue <- bl:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.g.Go(func() error {
		var err error
		if bl.split.Shard, bl.split.Offset, err = b.area.Write(ctx, n, data); err != nil {
			return &job.Error{Op: "plan", Err: err}
		}
		close(bl.written)
		return nil
	})
	return nil
}

const keysPerPage = 1000 // of a listing, as S3 has it

// outputRequests is how many requests publishing takes at least: for each part its start, one piece and its end;
// for each upload a record of it that is written and removed; claim, decision, manifest and their like.
func outputRequests(o *Options, splits int) int64 {
	if !o.Output {
		return 0
	}
	parts := o.Reducers
	if parts == 0 {
		parts = splits
	}
	return 5*int64(parts) + 10
}
