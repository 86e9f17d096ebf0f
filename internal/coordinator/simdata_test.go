package coordinator

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

const (
	objects  = 2 // of a split; each is spilled by itself
	contents = 24
	variants = 3
	digestBy = 7 // the secret of digests
)

// A record is what a mapper of the simulation emits.
type record struct{ key, value string }

// mapped returns the records of one object. They depend on nothing else, unless the program goes by chance: then each variant has
// other values.
func mapped(content, object, variant int) []record { return allMapped[content][object][variant] }

var allMapped = func() (all [contents][objects][variants][]record) {
	for c := range all {
		for o := range all[c] {
			for v := range all[c][o] {
				all[c][o][v] = emitted(c, o, v)
			}
		}
	}
	return all
}()

func emitted(content, object, variant int) (rs []record) {
	for i := range 1 + (content+object)%3 {
		h := uint(content*7+object*5+i*3) * 2654435761 >> 7
		r := record{string("abcdefgh"[h%8]), fmt.Sprintf("%d.%d.%d", content, object, i)}
		if variant > 0 {
			r.value += strings.Repeat("~", variant)
		}
		rs = append(rs, r)
	}
	return rs
}

// A spill is what a sorter made of one object: its bytes, and where each partition lies.
type spill struct {
	file     []byte
	sections []shuffle.Section
}

type spillKey struct{ content, object, variant, partitions int }

var spills sync.Map // of *spill, by spillKey

func spilled(k spillKey) *spill {
	if sp, ok := spills.Load(k); ok {
		return sp.(*spill)
	}
	s := shuffle.NewSorter(&shuffle.SorterOptions{Partitions: k.partitions, DigestKey: digestBy, Budget: 4 << 20})
	defer s.Close()
	var file bytes.Buffer
	s.Start(&file, 1<<20)
	for _, r := range mapped(k.content, k.object, k.variant) {
		if err := s.Add([]byte(r.key), []byte(r.value)); err != nil {
			panic(err)
		}
	}
	sections, err := s.Seal()
	if err != nil {
		panic(err)
	}
	byPartition := make([]shuffle.Section, k.partitions) // at most one each: nothing was spilled before
	for _, s := range sections {
		byPartition[s.Partition] = s
	}
	sp, _ := spills.LoadOrStore(k, &spill{file.Bytes(), byPartition})
	return sp.(*spill)
}

// A keptRun is what a node keeps of a map attempt.
type keptRun struct {
	spills []*spill
	table  []expect // by partition
	rotten bool     // it is not read as it was written
}

func newKeptRun(content, variant, partitions int, skip map[int]string) *keptRun {
	k := &keptRun{table: make([]expect, partitions)}
	if partitions == 0 {
		return k // the output is text
	}
	for o := range objects {
		if _, ok := skip[o]; ok {
			continue
		}
		sp := spilled(spillKey{content, o, variant, partitions})
		k.spills = append(k.spills, sp)
		for p, s := range sp.sections {
			k.table[p].Emitted += s.Emitted
			k.table[p].Digest += s.Digest
		}
	}
	return k
}

// vectorOf is the hash that a commit names a table by.
func vectorOf(table []expect) uint64 {
	var b []byte
	for _, e := range table {
		b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, uint64(e.Emitted)), e.Digest)
	}
	return xxh3.Hash(b)
}

// piece returns a section as it goes through a netpipe. The caller must not change it.
func (sp *spill) piece(tag string, partition int) []byte {
	k := pieceKey{sp, tag, partition}
	if b, ok := pieces.Load(k); ok {
		return b.([]byte)
	}
	s := sp.sections[partition]
	head, err := json.Marshal(pieceHead{tag, s})
	if err != nil {
		panic(err)
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
	b = append(b, head...)
	b = binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
	b = append(b, sp.file[s.Offset:s.Offset+s.Length]...)
	pieces.Store(k, b)
	return b
}

// piece returns a section of k as its keeper reads it.
func (k *keptRun) piece(sp *spill, a job.AttemptID, partition int) []byte {
	b := sp.piece(a.String(), partition)
	if k.rotten {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
	}
	return b
}

// A head says what follows it in a netpipe.
type pieceHead struct {
	Tag     string
	Section shuffle.Section
}

// An expect is what the sections of a run come to, in one partition.
type expect struct {
	Emitted int64
	Digest  uint64
}

type pieceKey struct {
	*spill
	tag       string
	partition int
}

var pieces sync.Map // of []byte, by pieceKey

// An inbox is where a reducer has its sections, by tag.
type inbox struct{ in map[string][]received }

type received struct {
	section shuffle.Section
	data    []byte
}

func newInbox() inbox { return inbox{make(map[string][]received)} }

func (b inbox) take(stream []byte) error {
	if len(stream) < 12 {
		return io.ErrUnexpectedEOF
	}
	n := 4 + int(binary.LittleEndian.Uint32(stream))
	if n < 4 || len(stream) < n+8 {
		return io.ErrUnexpectedEOF
	}
	var h pieceHead
	if xxh3.Hash(stream[:n]) != binary.LittleEndian.Uint64(stream[n:]) {
		return shuffle.ErrCorrupt
	}
	if err := json.Unmarshal(stream[4:n], &h); err != nil {
		return err
	}
	b.in[h.Tag] = append(b.in[h.Tag], received{h.Section, stream[n+8:]})
	return nil
}

// reduce returns the records of the wanted runs as a reducer lists them, and how many there are.
func (b inbox) reduce(want map[string]expect) (string, int64, error) {
	var runs []*shuffle.RunReader
	for _, tag := range slices.Sorted(maps.Keys(want)) {
		var got expect
		for _, r := range b.in[tag] {
			got.Emitted += r.section.Emitted
			got.Digest += r.section.Digest
			runs = append(runs, shuffle.NewRunReader(bytes.NewReader(r.data), &shuffle.RunOptions{Name: tag, Expect: &r.section, DigestKey: digestBy}))
		}
		if got != want[tag] {
			return "", 0, &shuffle.RunError{Run: tag, Err: fmt.Errorf("%w: received %v, wanted %v", shuffle.ErrCorrupt, got, want[tag])}
		}
	}
	m := shuffle.Merge(runs, nil)
	var out strings.Builder
	n := int64(0)
	for key, value, ok := m.Next(); ok; key, value, ok = m.Next() {
		listed(&out, string(key), string(value))
		n++
	}
	return out.String(), n, m.Err()
}

func listed(out *strings.Builder, key, value string) {
	out.WriteString(key)
	out.WriteByte('\t')
	out.WriteString(value)
	out.WriteByte('\n')
}

// reduced returns what a reducer should list of these records: those of one partition, in order.
func reduced(rs []record, partition, partitions int) string {
	rs = slices.DeleteFunc(slices.Clone(rs), func(r record) bool {
		return shuffle.Partition([]byte(r.key), partitions) != partition
	})
	slices.SortFunc(rs, func(a, b record) int {
		return strings.Compare(a.key+"\x00"+a.value, b.key+"\x00"+b.value)
	})
	var out strings.Builder
	for _, r := range rs {
		listed(&out, r.key, r.value)
	}
	return out.String()
}
