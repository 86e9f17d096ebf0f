package job

import (
	"bytes"
	"errors"
	"iter"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/reducer"
)

// records is the sorted input of a reduction, of which it holds the current one.
type records struct {
	next  func() (key, value []byte, ok bool, err error)
	key   []byte
	value []byte
	ok    bool
}

// advance goes to the next record.
func (r *records) advance() (err error) {
	r.key, r.value, r.ok, err = r.next()
	if err != nil {
		r.ok = false
	}
	return err
}

// inKey goes to the next record and reports whether it has the given key. Keys that go back are an error.
func (r *records) inKey(key []byte) (bool, error) {
	if err := r.advance(); err != nil || !r.ok {
		return false, err
	}
	c := bytes.Compare(r.key, key)
	if c < 0 {
		return false, errors.New("records are not ordered by key")
	}
	return c == 0, nil
}

// reduceMerged merges the accumulators of each key by r.
func reduceMerged[V, A, R any](in *records, accs guest.Codec[A], results guest.Codec[R], r reducer.Reducer[V, A, R],
	emit func(key, result []byte) error) error {
	var key, enc []byte
	if err := in.advance(); err != nil {
		return err
	}
	one := reduceGroup(in, accs, r)
	for in.ok {
		key = append(key[:0], in.key...)
		result, err := one(key)
		if err != nil {
			return err
		}
		if enc, err = results.Append(enc[:0], result); err != nil {
			return &emitError{"result", err}
		}
		if err := emit(key, enc); err != nil {
			return err
		}
	}
	return nil
}

// reduceGroup returns what reduces the group of a key, the current record being its first one, by r, and goes past it.
func reduceGroup[V, A, R any](in *records, accs guest.Codec[A], r reducer.Reducer[V, A, R]) func(key []byte) (R, error) {
	if r.Group != nil {
		return func(key []byte) (R, error) {
			g := &group[A]{in: in, key: key, decode: accs.Decode, more: true}
			result, err := r.Group(g.all)
			return result, first(g.err, first(err, g.skip()))
		}
	}
	return func(key []byte) (result R, err error) {
		acc, err := accs.Decode(in.value)
		if err != nil {
			return result, err
		}
		for {
			same, err := in.inKey(key)
			if err != nil {
				return result, err
			}
			if !same || r.Merge == nil {
				return r.Result(acc)
			}
			next, err := accs.Decode(in.value)
			if err != nil {
				return result, err
			}
			acc = r.Merge(acc, next)
		}
	}
}

// reduceGroups calls r for each key, with the values that decode returns.
func reduceGroups[K Key, V, R any](in *records, keys guest.Codec[K], decode func(enc []byte) (V, error), results guest.Codec[R],
	r func(K, iter.Seq[V], func(K, R)) error, emit func(key, result []byte) error) error {
	var key []byte
	out := &emitter[K, R]{keys: keys, values: results.Encoder(), out: resultsOnly(emit)}
	if err := in.advance(); err != nil {
		return err
	}
	for in.ok {
		key = append(key[:0], in.key...)
		k, err := keys.Decode(key)
		if err != nil {
			return err
		}
		g := &group[V]{in: in, key: key, decode: decode, more: true}
		err = r(k, g.all, out.emit)
		if err = first(g.err, first(err, out.err)); err != nil {
			return err
		}
		if err := g.skip(); err != nil {
			return err
		}
	}
	return out.end(nil)
}

// A group is the values of one key.
type group[V any] struct {
	in     *records
	key    []byte
	decode func(enc []byte) (V, error)
	more   bool // the current record is of this key
	err    error
}

// all is the iterator over the values. A broken stream ends it, and is an error afterwards.
func (g *group[V]) all(yield func(V) bool) {
	for g.more && g.err == nil {
		var v V
		if v, g.err = g.decode(g.in.value); g.err != nil {
			return
		}
		if g.more, g.err = g.in.inKey(g.key); !yield(v) {
			return
		}
	}
}

// skip goes past what is left of the group.
func (g *group[V]) skip() error {
	for g.more && g.err == nil {
		g.more, g.err = g.in.inKey(g.key)
	}
	return g.err
}

// resultsOnly is an Output for results.
type resultsOnly func(key, result []byte) error

func (f resultsOnly) Record(key, value []byte) error { return f(key, value) }
func (f resultsOnly) Text([]byte) error              { return errors.New("a reduction emits no text") }
func (f resultsOnly) Count(string, int64)            {}
