package shuffle

import (
	"bytes"
	"iter"
)

// A Merger merges sorted runs into the total order of records, (key bytes, value bytes). It is not for concurrent use.
type Merger struct {
	runs    []*RunReader
	combine Combine
	prefix  []uint64 // of each run's current key
	done    []bool   // runs that are read to their end
	tree    []int    // a tree of losers over the runs: tree[0] has the least record
	key     []byte   // of the group
	pre     uint64   // prefix of key
	within  bool     // the current record is of the group
	acc     [2][]byte
	read    Merged
	size    int64 // records of the group so far
	err     error
}

// A Merged says what a Merger has read so far.
type Merged struct {
	Keys    int64 // groups that were begun
	Records int64
	Bytes   int64  // of keys and values
	Emitted int64  // records before they were combined, of runs that are read to their end
	Largest int64  // records of the largest group
	Key     []byte // of that
}

// Merge returns a Merger over runs, whose records were not read yet. With combine, each group has a single value: all of
// its values combined. Runs are read as groups are asked for; nothing is read before.
func Merge(runs []*RunReader, combine Combine) *Merger {
	return &Merger{runs: runs, combine: combine}
}

// Groups yields each key once, in order, with its values in order. A key is valid until the next group, a value until the next value;
// values may be ranged over once, within their group, and need not be read to their end.
//
// After the last group, Err must be asked: an error ends the groups early, and also the values of the group that is
// current then. Groups may be ranged over once.
func (m *Merger) Groups() iter.Seq2[[]byte, iter.Seq[[]byte]] {
	return func(yield func([]byte, iter.Seq[[]byte]) bool) {
		if m.combine != nil {
			m.combined(yield)
			return
		}
		m.start()
		values := m.values
		for m.err == nil && m.more() {
			m.begin()
			if !yield(m.key, values) {
				return
			}
			for m.within {
				m.step()
			}
		}
	}
}

// values yields the values of the current group.
func (m *Merger) values(yield func([]byte) bool) {
	for m.within {
		more := yield(m.top().value)
		m.step()
		if !more {
			return
		}
	}
}

// combined yields groups of one value.
func (m *Merger) combined(yield func([]byte, iter.Seq[[]byte]) bool) {
	var acc []byte
	values := func(yield func([]byte) bool) { yield(acc) }
	for {
		key, v, ok := m.Next()
		if !ok {
			return
		}
		if acc = v; !yield(key, values) {
			return
		}
	}
}

// Next returns the records one by one, in place of Groups; with combine, one for each key. Key and value are valid until the next call. After the
// last record ok is false and Err must be asked. Unlike an iterator made of Groups, it may be called on any thread.
func (m *Merger) Next() (key, value []byte, ok bool) {
	if m.tree == nil {
		m.start()
	} else if m.combine == nil && m.err == nil && m.more() {
		m.step()
	}
	if m.err != nil || !m.more() {
		return nil, nil, false
	}
	if m.combine == nil {
		if !m.within {
			m.begin()
		}
		return m.top().key, m.top().value, true
	}
	m.begin()
	acc := m.fold()
	return m.key, acc, m.err == nil
}

// write writes all records to w.
func (m *Merger) write(w *sectionWriter) error {
	for key, value, ok := m.Next(); ok; key, value, ok = m.Next() {
		if err := w.add(key, value); err != nil {
			return err
		}
	}
	return m.Err()
}

// Err returns the first error of a run, which names it.
func (m *Merger) Err() error { return m.err }

// Merged returns what was read so far.
func (m *Merger) Merged() Merged {
	m.weigh()
	return m.read
}

// weigh remembers the current group if there was no larger one before.
func (m *Merger) weigh() {
	if m.size > m.read.Largest {
		m.read.Largest, m.read.Key = m.size, bytes.Clone(m.key)
	}
}

// begin begins the group of the current record.
func (m *Merger) begin() {
	m.weigh()
	m.size = 1
	m.key = append(m.key[:0], m.top().key...)
	m.pre = m.prefix[m.tree[0]]
	m.read.Keys++
	m.within = true
}

// step reads past the current record and sees whether the next is of the same group.
func (m *Merger) step() {
	m.within = m.advance() && m.prefix[m.tree[0]] == m.pre && bytes.Equal(m.top().key, m.key)
	if m.within {
		m.size++
	}
}

// fold combines the values of the current group.
func (m *Merger) fold() []byte {
	acc := append(m.acc[0][:0], m.top().value...)
	other := m.acc[1]
	for m.step(); m.within; m.step() {
		other = m.combine(other[:0], acc, m.top().value)
		acc, other = other, acc
	}
	m.acc = [2][]byte{acc, other}
	return acc
}

func (m *Merger) top() *RunReader { return m.runs[m.tree[0]] }

func (m *Merger) more() bool { return len(m.runs) > 0 && !m.done[m.tree[0]] }

// start reads the first record of each run and plays the first games.
func (m *Merger) start() {
	k := len(m.runs)
	m.prefix, m.done, m.tree = make([]uint64, k), make([]bool, k), make([]int, max(k, 1))
	for i := range m.runs {
		m.pull(i)
	}
	for i := range m.tree {
		m.tree[i] = k // a virtual run that wins every game
	}
	for i := k - 1; i >= 0; i-- {
		m.play(i)
	}
}

// advance reads past the current record and says whether there is another.
func (m *Merger) advance() bool {
	w := m.tree[0]
	m.pull(w)
	m.play(w)
	return m.err == nil && m.more()
}

// pull goes to the next record of run i.
func (m *Merger) pull(i int) {
	r := m.runs[i]
	if r.Next() {
		m.prefix[i] = prefix(r.key)
		m.read.Records++
		m.read.Bytes += int64(len(r.key) + len(r.value))
		return
	}
	m.done[i] = true
	m.read.Emitted += r.end.Emitted
	if err := r.Err(); err != nil && m.err == nil {
		m.err = err
	}
}

// play moves run s from its leaf to the root, or until it loses, when the winner goes on in its place.
func (m *Merger) play(s int) {
	for t := (s + len(m.runs)) / 2; t > 0; t /= 2 {
		if m.less(m.tree[t], s) {
			s, m.tree[t] = m.tree[t], s
		}
	}
	m.tree[0] = s
}

// less orders runs by their current records. One that is at its end comes last; equal records are in the order of the runs.
func (m *Merger) less(a, b int) bool {
	k := len(m.runs)
	switch {
	case a == k || b == k:
		return a == k
	case m.done[a] || m.done[b]:
		return !m.done[a]
	case m.prefix[a] != m.prefix[b]:
		return m.prefix[a] < m.prefix[b]
	}
	if c := bytes.Compare(m.runs[a].key, m.runs[b].key); c != 0 {
		return c < 0
	}
	if c := bytes.Compare(m.runs[a].value, m.runs[b].value); c != 0 {
		return c < 0
	}
	return a < b
}
