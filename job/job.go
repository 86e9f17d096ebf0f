// Package job is the SDK and the words of Millrace: what a program is made of ([MapReduce], [MapGroup], [MapSorted], [MapOnly], [Main]), and what
// its users, coordinator and agents call things ([Spec], [Split], [TaskID], [Manifest]).
//
// Guests link it: it imports nothing heavy.
package job

import (
	"errors"
	"iter"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// A Job is a program: a mapper and what becomes of its records. [Main] runs it; package job/jobtest runs it in a test.
// Its methods keep no state and may be called concurrently.
type Job struct {
	desc   guest.Description
	err    error // why it cannot be run
	mapper func(out Output) func(*mapper.Object) error
	reduce func(in *records, emit func(key, result []byte) error) error
}

// A Key is what records may be grouped by. Keys are ordered as <, strings and bytes bytewise. A NaN is refused. A []byte that is emitted is
// copied, so that it may be a part of what the mapper has read, which saves making a string of it.
type Key interface {
	[]byte | ~string | ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// An Output takes what the mapping of one object emits. Slices passed to it are copied before it returns. An error stops
// nothing at once, but fails the object.
type Output interface {
	// Record is a record, key and value encoded as the job's description says. An Output of a job with [PartitionBy] has another method,
	// Partitions() int: how many there are.
	Record(key, value []byte) error
	// Text is output of a map-only job: whole lines.
	Text(p []byte) error
	// Count adds n to the job's counter of that name.
	Count(name string, n int64)
}

// MapReduce returns the job that calls m for each object and reduces by r what m emits with its second argument, which
// is not safe for concurrent use and does nothing after m returned. Values and results are strings, []byte, numbers, bools,
// encoding.BinaryMarshalers whose pointers are BinaryUnmarshalers, or jsonvalue.Ofs.
//
// Each object is mapped from fresh state: what m leaves in variables is not there for the next one. An error of m, or
// a panic, fails its object, and nothing that it emitted counts.
func MapReduce[K Key, V, A, R any](m func(*mapper.Object, func(K, V)) error, r reducer.Reducer[V, A, R], opts ...Option[K]) *Job {
	j := new(Job)
	keys, accs, results := codec[K](j, "key"), codec[A](j, "value"), codec[R](j, "result")
	j.desc = guest.Description{ABI: guest.ABI, Key: keys.Type, Acc: accs.Type, Result: results.Type, Stock: r.Stock(), Partitions: partitions(opts)}
	j.mapper = func(out Output) func(*mapper.Object) error {
		if r.Stock() != "" || r.Merge == nil || r.Group != nil {
			e := &emitter[K, A]{keys: keys, values: accs.Encoder(), out: out, parts: partitionerOf(opts, out)}
			emit := func(k K, v V) { e.emit(k, r.Lift(v)) }
			return func(obj *mapper.Object) error { return e.end(m(obj, emit)) }
		}
		c := &combiner[K, A]{keys: keys, accs: accs, merge: r.Merge, out: out, parts: partitionerOf(opts, out), index: make(map[string]int)}
		emit := func(k K, v V) { c.add(k, r.Lift(v)) }
		return func(obj *mapper.Object) error { return c.end(m(obj, emit)) }
	}
	j.reduce = func(in *records, emit func(key, result []byte) error) error {
		return reduceMerged(in, accs, results, r, emit)
	}
	return j
}

// MapGroup is MapReduce for a reduction that wants to see all values of a key: r is called for each key, in order, with its
// values in the order of their encodings, which can be ranged over once and need not be ranged to the end. The whole work fails
// if r returns an error.
func MapGroup[K Key, V, R any](m func(*mapper.Object, func(K, V)) error, r func(K, iter.Seq[V], func(K, R)) error, opts ...Option[K]) *Job {
	j := new(Job)
	keys, values, results := codec[K](j, "key"), codec[V](j, "value"), codec[R](j, "result")
	j.desc = guest.Description{ABI: guest.ABI, Key: keys.Type, Acc: values.Type, Result: results.Type, Partitions: partitions(opts)}
	j.mapper = func(out Output) func(*mapper.Object) error {
		e := &emitter[K, V]{keys: keys, values: values.Encoder(), out: out, parts: partitionerOf(opts, out)}
		emit := e.emit
		return func(obj *mapper.Object) error { return e.end(m(obj, emit)) }
	}
	j.reduce = func(in *records, emit func(key, result []byte) error) error {
		return reduceGroups(in, keys, values.Decode, results, r, emit)
	}
	return j
}

// MapOnly returns the job whose output are the lines that m emits with its second argument, without their line ends. They are written as
// they are: a line that contains a line end becomes several.
func MapOnly(m func(*mapper.Object, func(line string)) error) *Job {
	return &Job{
		desc: guest.Description{ABI: guest.ABI, MapOnly: true},
		mapper: func(out Output) func(*mapper.Object) error {
			l := &lines{out: out}
			emit := l.emit
			return func(obj *mapper.Object) error { return l.end(m(obj, emit)) }
		},
	}
}

// codec returns the codec of T. If it has none, j cannot be run, because of what T is there.
func codec[T any](j *Job, what string) guest.Codec[T] {
	c, err := guest.CodecOf[T]()
	if err != nil && j.err == nil {
		j.err = errors.New(what + ": " + err.Error())
	}
	return c
}

// Describe returns the shape of the job's records. An error says that a type cannot be encoded, and that no other method
// can be called.
func (j *Job) Describe() (guest.Description, error) { return j.desc, j.err }

// Map maps one object. Records come as emitted: only a reducer that is not a stock one has been combined. After an
// error everything that out got for the object must be dropped. A panic of the mapper becomes a [*PanicError].
func (j *Job) Map(obj *mapper.Object, out Output) error {
	o := *obj
	o.Counter = out.Count
	return j.begin(out)(&o)
}

// begin returns the function that maps the next object; it is called once.
func (j *Job) begin(out Output) func(*mapper.Object) error {
	run := j.mapper(out)
	return func(obj *mapper.Object) (err error) {
		defer recoverTo(&err)
		return run(obj)
	}
}

// Reduce reduces the records that next returns, until its ok is false, and passes on the results in order. Key and value are used until
// next is called again; records must come ordered by key, then value, as encoded. A panic of the reducer becomes a [*PanicError].
func (j *Job) Reduce(next func() (key, value []byte, ok bool, err error), emit func(key, result []byte) error) (err error) {
	if j.reduce == nil {
		return errors.New("a map-only job does not reduce")
	}
	defer recoverTo(&err)
	return j.reduce(&records{next: next}, emit)
}

// first returns the first of its arguments that is not nil.
func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
