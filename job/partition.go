package job

import (
	"errors"
	"strconv"

	"github.com/millrace/millrace/internal/guest"
)

// An Option changes something about a job whose keys are of type K.
type Option[K Key] struct{ partition func(key K, n int) int }

// PartitionBy has p decide which of n partitions a key belongs to, from 0 to n-1, in place of a hash of the key. It must depend on its
// arguments alone; a key that it puts into two partitions is reduced in each of them. Any other number is an error of the object.
func PartitionBy[K Key](p func(key K, n int) int) Option[K] { return Option[K]{partition: p} }

// A partitioner puts the partition of a record before its value, where the job has one of its own.
type partitioner[K Key] struct {
	by  func(key K, n int) int // nil: there is none
	out interface{ Partitions() int }
}

// partitionerOf returns that of a job with these options, of which the last one counts.
func partitionerOf[K Key](opts []Option[K], out Output) (p partitioner[K]) {
	for _, o := range opts {
		p.by = o.partition
	}
	p.out, _ = out.(interface{ Partitions() int })
	return p
}

// partitions reports whether a job with these options partitions its records.
func partitions[K Key](opts []Option[K]) bool { return partitionerOf(opts, nil).by != nil }

// append appends what goes before a value of k.
func (p *partitioner[K]) append(dst []byte, k K) ([]byte, error) {
	if p.by == nil {
		return dst, nil
	}
	if p.out == nil || p.out.Partitions() == 0 {
		return dst, errors.New("nobody has said how many partitions there are")
	}
	n := p.out.Partitions()
	i := p.by(k, n)
	if i < 0 || i >= n {
		return dst, &emitError{"key", errors.New("partition " + strconv.Itoa(i) + " of " + strconv.Itoa(n))}
	}
	return guest.AppendPartition(dst, i), nil
}
