package job

import (
	"github.com/millrace/millrace/internal/guest"
)

// An emitter encodes records on their way out. Its first error sticks; nothing is emitted after it.
type emitter[K Key, V any] struct {
	keys   guest.Codec[K]
	values *guest.Encoder[V]
	out    Output
	parts  partitioner[K]
	key    []byte
	value  []byte
	err    error
	done   bool
}

func (e *emitter[K, V]) emit(k K, v V) {
	if e.encodeKey(k) {
		e.record(v)
	}
}

// encodeKey encodes the key of the next record, if there may be one, and what goes before its value.
func (e *emitter[K, V]) encodeKey(k K) bool {
	if e.err != nil || e.done {
		return false
	}
	if e.key, e.err = e.keys.Append(e.key[:0], k); e.err != nil {
		e.err = &emitError{"key", e.err}
		return false
	}
	e.value, e.err = e.parts.append(e.value[:0], k)
	return e.err == nil
}

// record emits a record of the key that was encoded.
func (e *emitter[K, V]) record(v V) {
	if e.value, e.err = e.values.Append(e.value, v); e.err != nil {
		e.err = &emitError{"value", e.err}
		return
	}
	e.err = e.out.Record(e.key, e.value)
}

// end returns the error of the object's mapping, in which the mapper returned err.
func (e *emitter[K, V]) end(err error) error {
	e.done = true
	return first(err, e.err)
}

// Lines pass on the output of a map-only job as emitter does records.
type lines struct {
	out  Output
	buf  []byte
	err  error
	done bool
}

func (l *lines) emit(line string) {
	if l.err == nil && !l.done {
		l.buf = append(append(l.buf[:0], line...), '\n')
		l.err = l.out.Text(l.buf)
	}
}

// end returns the error of the object's mapping, in which the mapper returned err.
func (l *lines) end(err error) error {
	l.done = true
	return first(err, l.err)
}

// An emitError is a key or value that cannot be encoded.
type emitError struct {
	what string
	err  error
}

func (e *emitError) Error() string { return "emitted " + e.what + ": " + e.err.Error() }
func (e *emitError) Unwrap() error { return e.err }

// Bounds of a combiner.
const (
	combinerKeys  = 16 << 10
	combinerBytes = 4 << 20 // of keys
)

// A combiner merges the accumulators of equal keys within one object. When it is full it emits what it has.
type combiner[K Key, A any] struct {
	keys    guest.Codec[K]
	accs    guest.Codec[A]
	merge   func(a, b A) A
	out     Output
	parts   partitioner[K]
	index   map[string]int // of encoded keys in entries
	entries []entry[A]     // in the order of first emission
	bytes   int
	buf     []byte
	err     error
	done    bool
}

type entry[A any] struct {
	key    string
	before int // bytes at the end of key that go before the value
	acc    A
}

func (c *combiner[K, A]) add(k K, a A) {
	if c.err != nil || c.done {
		return
	}
	if c.buf, c.err = c.keys.Append(c.buf[:0], k); c.err != nil {
		c.err = &emitError{"key", c.err}
		return
	}
	if i, ok := c.index[string(c.buf)]; ok {
		c.entries[i].acc = c.merge(c.entries[i].acc, a)
		return
	}
	n := len(c.buf)
	if c.buf, c.err = c.parts.append(c.buf, k); c.err != nil {
		return
	}
	key := string(c.buf)
	c.index[key[:n]] = len(c.entries)
	c.entries = append(c.entries, entry[A]{key, len(key) - n, a})
	if c.bytes += len(key); c.bytes > combinerBytes || len(c.entries) >= combinerKeys {
		c.flush()
	}
}

func (c *combiner[K, A]) flush() {
	for _, e := range c.entries {
		c.buf = append(c.buf[:0], e.key...)
		var enc []byte
		if enc, c.err = c.accs.Append(c.buf, e.acc); c.err != nil {
			c.err = &emitError{"value", c.err}
			return
		}
		n := len(e.key) - e.before
		if c.err = c.out.Record(enc[:n], enc[n:]); c.err != nil {
			return
		}
		c.buf = enc
	}
	clear(c.index)
	clear(c.entries)
	c.entries, c.bytes = c.entries[:0], 0
}

// end emits what is left and returns the error of the object's mapping, in which the mapper returned err.
func (c *combiner[K, A]) end(err error) error {
	if err == nil && c.err == nil {
		c.flush()
	}
	c.done = true
	return first(err, c.err)
}
