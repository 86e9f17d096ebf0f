package cluster

import (
	"encoding/binary"
	"fmt"
)

// Kinds of entries.
const (
	kindLead    = 1
	kindRecords = 2
	kindTenure  = 3 // who leads
	entryHeader = 34
)

// An entry is one message of a log.
type entry struct {
	seq    uint64 // given by the engine
	kind   byte
	epoch  uint64
	writer [16]byte
	number uint64
	body   []byte // the records, each behind its length
}

func (e *entry) append(b []byte) []byte {
	b = append(b, version, e.kind)
	b = binary.BigEndian.AppendUint64(b, e.epoch)
	b = append(b, e.writer[:]...)
	b = binary.BigEndian.AppendUint64(b, e.number)
	return append(b, e.body...)
}

func parseEntry(seq uint64, b []byte) (entry, error) {
	if len(b) < entryHeader {
		return entry{}, fmt.Errorf("%w: entry %d has %d bytes", ErrCorrupt, seq, len(b))
	}
	if b[0] != version {
		return entry{}, fmt.Errorf("%w: entry %d is of version %d, known is %d", ErrCorrupt, seq, b[0], version)
	}
	e := entry{seq: seq, kind: b[1], epoch: binary.BigEndian.Uint64(b[2:]), number: binary.BigEndian.Uint64(b[26:]), body: b[entryHeader:]}
	copy(e.writer[:], b[10:26])
	if e.kind != kindLead && e.kind != kindRecords || e.kind == kindLead && len(e.body) > 0 {
		return entry{}, fmt.Errorf("%w: entry %d is of kind %d with %d bytes", ErrCorrupt, seq, e.kind, len(e.body))
	}
	for rest := e.body; len(rest) > 0; {
		_, next, ok := cutRecord(rest)
		if !ok {
			return entry{}, fmt.Errorf("%w: a record of entry %d is longer than it", ErrCorrupt, seq)
		}
		rest = next
	}
	return e, nil
}

func appendRecord(b, record []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(record))), record...)
}

// cutRecord returns the first record of a body and what follows it.
func cutRecord(b []byte) (record, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	end := size + int(n)
	return b[size:end:end], b[end:], true
}
