package plan

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/s2"

	"github.com/millrace/millrace/job"
)

const (
	indexMagic  = "MRPI"
	indexHeader = 52

	maxSplits = 16 << 20  // of a plan
	maxIndex  = 512 << 20 // bytes of an index before compression
	maxNodes  = 64        // that are kept of those one split prefers
)

// An index gathers the headers of splits.
type index struct {
	raw   []byte
	shard string // of the last split
	nodes map[string]uint64
	count int
}

// add appends the header of the next split.
func (x *index) add(s *job.Split) {
	if x.nodes == nil {
		x.nodes = make(map[string]uint64)
	}
	x.count++
	nodes := s.Nodes[:min(len(s.Nodes), maxNodes)] // the best
	b := x.raw
	if s.Shard == x.shard {
		b = binary.AppendUvarint(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(len(s.Shard)))
		b = append(b, s.Shard...)
		x.shard = s.Shard
	}
	for _, v := range []int64{s.Offset, s.Length, int64(s.Objects), s.Bytes, int64(len(nodes))} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	for _, n := range nodes {
		at, ok := x.nodes[n]
		if !ok {
			at = uint64(len(x.nodes))
			x.nodes[n] = at
		}
		b = binary.AppendUvarint(b, at)
		if !ok {
			b = binary.AppendUvarint(b, uint64(len(n)))
			b = append(b, n...)
		}
	}
	x.raw = b
}

// seal returns the index as it lies in an area; digest is that of the plan, a SHA-256.
func (x *index) seal(digest []byte) ([]byte, error) {
	if x.count > maxSplits || len(x.raw) > maxIndex {
		return nil, fmt.Errorf("index of %d splits and %d bytes: more than %d or %d", x.count, len(x.raw), maxSplits, maxIndex)
	}
	b := make([]byte, indexHeader, indexHeader+s2.MaxEncodedLen(len(x.raw)))
	copy(b, indexMagic)
	b[4], b[5] = version, codecS2
	binary.LittleEndian.PutUint32(b[8:], uint32(x.count))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(x.raw)))
	copy(b[16:], digest)
	b = append(b, s2.Encode(nil, x.raw)...)
	binary.LittleEndian.PutUint32(b[48:], indexSum(b))
	return b, nil
}

func indexSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:48], castagnoli), castagnoli, b[indexHeader:])
}

// Load returns the headers of all splits of the sealed plan in area that has that digest, in their order. It returns ErrCorrupt if what lies there is
// another plan, or none.
func Load(ctx context.Context, area Area, digest string) ([]job.Split, error) {
	b, err := area.Index(ctx, indexHeader+int64(s2.MaxEncodedLen(maxIndex)))
	if err != nil {
		return nil, fmt.Errorf("index of the plan: %w", err)
	}
	splits, err := parseIndex(b, digest)
	if err != nil {
		return nil, fmt.Errorf("index of the plan: %w", err)
	}
	return splits, nil
}

func parseIndex(b []byte, digest string) ([]job.Split, error) {
	switch {
	case len(b) < indexHeader || string(b[:4]) != indexMagic:
		return nil, fmt.Errorf("%w: not an index", ErrCorrupt)
	case b[4] != version || b[5] != codecS2 || b[6] != 0 || b[7] != 0:
		return nil, fmt.Errorf("%w: index of version %d, compression %d is unknown", ErrCorrupt, b[4], b[5])
	case binary.LittleEndian.Uint32(b[48:]) != indexSum(b):
		return nil, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	if got := fmt.Sprintf("%x", b[16:48]); got != digest {
		return nil, fmt.Errorf("%w: it is of plan %s, not %s", ErrCorrupt, got, digest)
	}
	count, rawLen := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	n, err := s2.DecodedLen(b[indexHeader:])
	// The least that is said about a split is six bytes: no count makes us allocate more than it sent.
	if err != nil || n > maxIndex || uint32(n) != rawLen || count > maxSplits || 6*uint64(count) > uint64(n) {
		return nil, fmt.Errorf("%w: counts do not match", ErrCorrupt)
	}
	raw, err := s2.Decode(nil, b[indexHeader:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return parseHeaders(raw, int(count))
}

// parseHeaders reads the payload of an index.
func parseHeaders(raw []byte, count int) ([]job.Split, error) {
	f := fields{b: raw}
	splits := make([]job.Split, count)
	shard := ""
	var names []string
	for i := range splits {
		s := &splits[i]
		if n := f.uvarint(maxName); n > 0 {
			shard = f.text(n)
		}
		s.Task, s.Shard = job.MapTask(i), shard
		s.Offset, s.Length = int64(f.uvarint(math.MaxInt64)), int64(f.uvarint(maxPacked))
		s.Objects, s.Bytes = f.uvarint(MaxObjects), int64(f.uvarint(math.MaxInt64))
		if n := f.uvarint(maxNodes); n > 0 {
			s.Nodes = make([]string, n)
		}
		for k := range s.Nodes {
			at := f.uvarint(uint64(len(names)))
			if at == len(names) {
				names = append(names, f.text(f.uvarint(maxName)))
			}
			s.Nodes[k] = names[at]
		}
		if f.bad {
			return nil, fmt.Errorf("%w: the header of %s is cut short", ErrCorrupt, s.Task)
		}
	}
	if len(f.b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the last header", ErrCorrupt, len(f.b))
	}
	return splits, nil
}
