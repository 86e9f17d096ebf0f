package job

import (
	"iter"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
)

// MapSorted is MapGroup for a reduction that wants the values of a key in an order: m emits each value with what it is sorted by, and r is given
// both, sorted. Values that are sorted by the same come in the order of their encodings.
func MapSorted[K, S Key, V, R any](m func(*mapper.Object, func(K, S, V)) error, r func(K, iter.Seq2[S, V], func(K, R)) error, opts ...Option[K]) *Job {
	j := new(Job)
	keys, orders, values, results := codec[K](j, "key"), codec[S](j, "sort key"), codec[V](j, "value"), codec[R](j, "result")
	j.desc = guest.Description{ABI: guest.ABI, Key: keys.Type, Acc: guest.Bytes, Result: results.Type, Partitions: partitions(opts)}
	j.mapper = func(out Output) func(*mapper.Object) error {
		e := &sortedEmitter[K, S, V]{emitter: emitter[K, V]{keys: keys, values: values.Encoder(), out: out, parts: partitionerOf(opts, out)}, orders: orders}
		emit := e.emit
		return func(obj *mapper.Object) error { return e.end(m(obj, emit)) }
	}
	decode := func(enc []byte) (p sorted[S, V], err error) {
		order, value, err := guest.CutDelimited(orders.Type, enc)
		if err == nil {
			p.order, err = orders.Decode(order)
		}
		if err == nil {
			p.value, err = values.Decode(value)
		}
		return p, err
	}
	reduce := func(k K, all iter.Seq[sorted[S, V]], emit func(K, R)) error {
		return r(k, func(yield func(S, V) bool) {
			for p := range all {
				if !yield(p.order, p.value) {
					return
				}
			}
		}, emit)
	}
	j.reduce = func(in *records, emit func(key, result []byte) error) error {
		return reduceGroups(in, keys, decode, results, reduce, emit)
	}
	return j
}

// A sorted is a value with what it is sorted by. It is encoded as that, delimited, and the value.
type sorted[S Key, V any] struct {
	order S
	value V
}

// A sortedEmitter is an emitter of values with what they are sorted by.
type sortedEmitter[K, S Key, V any] struct {
	emitter[K, V]
	orders guest.Codec[S]
	order  []byte
}

func (e *sortedEmitter[K, S, V]) emit(k K, s S, v V) {
	if !e.encodeKey(k) {
		return
	}
	if e.order, e.err = e.orders.Append(e.order[:0], s); e.err != nil {
		e.err = &emitError{"sort key", e.err}
		return
	}
	e.value = guest.AppendDelimited(e.value, e.orders.Type, e.order)
	e.record(v)
}
