// Package ring reads the ring files of Swift, which say on which devices the objects of a storage policy lie, and swift.conf, which says how
// their names are hashed.
//
// A ring file is compressed by gzip. Version 1:
//
//	bytes  what
//	4      "R1NG"
//	2      version, 1
//	4      length of the JSON
//	…      JSON: devs, part_shift, replica_count, byteorder
//	…      for each replica the device of each partition, 2 bytes in byteorder; the last replica may have fewer partitions
//
// Version 2 holds sections, each a length of 8 bytes and as much content, and at the end an index of them:
//
//	4      "R1NG"
//	2      version, 2
//	…      swift/ring/metadata: JSON: part_shift, dev_id_bytes (2, 4 or 8)
//	…      swift/ring/devices: JSON: a list
//	…      swift/ring/assignments: as above, dev_id_bytes each
//	…      the index: JSON: for each section a list, of which the second is where it begins in what was compressed
//	8      where the index begins in what was compressed
//	8      where it begins in the file
//
// Integers but those of version 1's table are big-endian. A device of all ones, and one that is null in devs, is a hole. Rings that
// are pickles, as written before 2012, are refused.
package ring

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds on what is read.
const (
	maxRaw     = 1 << 30 // bytes of a ring before compression
	maxJSON    = 256 << 20
	maxDevices = 1 << 20
	maxRows    = 64
)

// ErrFormat says that a file is no ring that is known here. It is asked for with errors.Is.
var ErrFormat = errors.New("not a ring file of version 1 or 2")

// A Device is a disk of a node.
type Device struct {
	ID     int    `json:"id"`
	Region int    `json:"region"`
	Zone   int    `json:"zone"`
	IP     string `json:"ip"`
	Port   int    `json:"port"`
	Device string `json:"device"` // the directory of the disk below the node's devices
}

// A Ring says where the objects of a policy lie. It does not change and may be used concurrently. The zero Ring says nothing.
type Ring struct {
	devices []*Device  // by ID; nil where there is none
	shift   uint       // of the first 32 bits of a hash to its partition
	rows    [][]uint32 // for each replica, the device of each partition
}

// Open reads a ring file.
func Open(name string) (*Ring, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Read reads a ring. It takes no more memory than a small multiple of what it reads.
func Read(from io.Reader) (*Ring, error) {
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxRaw+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	case len(raw) > maxRaw:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, maxRaw)
	}
	return parse(raw)
}

// parse reads a ring that is not compressed.
func parse(raw []byte) (*Ring, error) {
	if len(raw) < 6 || string(raw[:4]) != "R1NG" {
		return nil, fmt.Errorf("%w: it does not begin with R1NG", ErrFormat)
	}
	switch version := binary.BigEndian.Uint16(raw[4:]); version {
	case 1:
		return parse1(raw[6:])
	case 2:
		return parse2(raw)
	default:
		return nil, fmt.Errorf("%w: version %d", ErrFormat, version)
	}
}

// A head is the JSON of either version.
type head struct {
	Devs     []*Device `json:"devs"`
	Shift    *int      `json:"part_shift"`
	Rows     int       `json:"replica_count"`
	Order    string    `json:"byteorder"`
	DevBytes int       `json:"dev_id_bytes"`
}

func (h *head) decode(text []byte) error {
	if len(text) > maxJSON {
		return fmt.Errorf("%w: JSON of %d bytes", ErrFormat, len(text))
	}
	if err := json.Unmarshal(text, h); err != nil {
		return fmt.Errorf("%w: malformed JSON", ErrFormat)
	}
	if h.Shift == nil || *h.Shift < 0 || *h.Shift > 32 {
		return fmt.Errorf("%w: part_shift is not one", ErrFormat)
	}
	return nil
}

func parse1(raw []byte) (*Ring, error) {
	text, table, err := cut(raw, 4)
	if err != nil {
		return nil, err
	}
	var h head
	if err := h.decode(text); err != nil {
		return nil, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if h.Order == "big" {
		order = binary.BigEndian
	}
	r, err := newRing(h.Devs, *h.Shift, table, 2, func(b []byte) uint64 { return uint64(order.Uint16(b)) })
	if err == nil && len(r.rows) != h.Rows {
		err = fmt.Errorf("%w: %d replicas, announced were %d", ErrFormat, len(r.rows), h.Rows)
	}
	return r, err
}

func parse2(raw []byte) (*Ring, error) {
	if len(raw) < 6+16 {
		return nil, fmt.Errorf("%w: no index", ErrFormat)
	}
	text, err := section(raw, binary.BigEndian.Uint64(raw[len(raw)-16:]))
	if err != nil {
		return nil, err
	}
	var index map[string][]any
	if len(text) > maxJSON || json.Unmarshal(text, &index) != nil {
		return nil, fmt.Errorf("%w: malformed index", ErrFormat)
	}
	find := func(name string) []byte {
		if err != nil {
			return nil
		}
		var at float64
		ok := false
		if e := index[name]; len(e) > 1 {
			at, ok = e[1].(float64)
		}
		if !ok || at < 0 || at > maxRaw {
			err = fmt.Errorf("%w: no section %s", ErrFormat, name)
			return nil
		}
		var body []byte
		body, err = section(raw, uint64(at))
		return body
	}
	meta, devices, table := find("swift/ring/metadata"), find("swift/ring/devices"), find("swift/ring/assignments")
	if err != nil {
		return nil, err
	}
	var h head
	if err := h.decode(meta); err != nil {
		return nil, err
	}
	if len(devices) > maxJSON || json.Unmarshal(devices, &h.Devs) != nil {
		return nil, fmt.Errorf("%w: malformed devices", ErrFormat)
	}
	read := map[int]func(b []byte) uint64{
		2: func(b []byte) uint64 { return uint64(binary.BigEndian.Uint16(b)) },
		4: func(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) },
		8: binary.BigEndian.Uint64,
	}[h.DevBytes]
	if read == nil {
		return nil, fmt.Errorf("%w: dev_id_bytes is %d", ErrFormat, h.DevBytes)
	}
	return newRing(h.Devs, *h.Shift, table, h.DevBytes, read)
}

// section returns the section that begins at a place of raw.
func section(raw []byte, at uint64) ([]byte, error) {
	if at > uint64(len(raw)) {
		return nil, fmt.Errorf("%w: a section beyond the end", ErrFormat)
	}
	body, _, err := cut(raw[at:], 8)
	return body, err
}

// cut takes off b what a length of size bytes announces.
func cut(b []byte, size int) (body, rest []byte, err error) {
	if len(b) < size {
		return nil, nil, fmt.Errorf("%w: it ends early", ErrFormat)
	}
	var padded [8]byte
	copy(padded[8-size:], b[:size])
	n := binary.BigEndian.Uint64(padded[:])
	if n > uint64(len(b)-size) {
		return nil, nil, fmt.Errorf("%w: it ends early", ErrFormat)
	}
	return b[size : size+int(n)], b[size+int(n):], nil
}

// newRing makes a ring of its table, whose devices have width bytes.
func newRing(devices []*Device, shift int, table []byte, width int, read func([]byte) uint64) (*Ring, error) {
	if len(devices) > maxDevices {
		return nil, fmt.Errorf("%w: %d devices", ErrFormat, len(devices))
	}
	for i, d := range devices {
		if d != nil && (d.ID != i || d.IP == "") {
			return nil, fmt.Errorf("%w: device %d has ID %d and address %.40q", ErrFormat, i, d.ID, d.IP)
		}
	}
	r := &Ring{devices: devices, shift: uint(shift)}
	parts := 1 << (32 - shift)
	if len(table)%width != 0 || len(table) == 0 {
		return nil, fmt.Errorf("%w: a table of %d bytes", ErrFormat, len(table))
	}
	for len(table) > 0 {
		if len(r.rows) == maxRows || len(r.rows) > 0 && len(r.rows[len(r.rows)-1]) < parts {
			return nil, fmt.Errorf("%w: too many replicas", ErrFormat)
		}
		n := min(parts, len(table)/width)
		row := make([]uint32, n)
		for i := range row {
			// What is too large for a device is a hole, as all ones are.
			row[i] = uint32(min(read(table[i*width:]), hole))
		}
		r.rows = append(r.rows, row)
		table = table[n*width:]
	}
	if len(r.rows[0]) < parts {
		return nil, fmt.Errorf("%w: a table of %d partitions, not %d", ErrFormat, len(r.rows[0]), parts)
	}
	return r, nil
}

const hole = 1<<32 - 1

// Partition returns the partition of a name, by its hash.
func (r *Ring) Partition(h Hash) uint32 {
	return uint32(uint64(binary.BigEndian.Uint32(h[:])) >> r.shift)
}

// Replicas appends to dst the devices that hold a partition, in the order of its replicas, each once. Holes are left out.
func (r *Ring) Replicas(dst []*Device, partition uint32) []*Device {
	first := len(dst)
next:
	for _, row := range r.rows {
		if int(partition) >= len(row) || int(row[partition]) >= len(r.devices) {
			continue
		}
		d := r.devices[row[partition]]
		if d == nil {
			continue
		}
		for _, have := range dst[first:] {
			if have == d {
				continue next
			}
		}
		dst = append(dst, d)
	}
	return dst
}

// Devices returns all devices of the ring.
func (r *Ring) Devices() []*Device {
	all := make([]*Device, 0, len(r.devices))
	for _, d := range r.devices {
		if d != nil {
			all = append(all, d)
		}
	}
	return all
}
