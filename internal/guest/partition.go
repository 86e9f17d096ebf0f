package guest

import (
	"encoding/binary"
	"io"
)

// partitionLen is the length of a number of partitions, and of the number of one.
const partitionLen = 4

// AppendPartitions appends the frame that tells a guest that partitions how many partitions there are. It goes behind the parameters.
func AppendPartitions(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, kindParts, partitionLen), uint32(n))
}

// AppendRepeats appends the frame that lets a guest answer equal records together. It goes behind the partitions.
func AppendRepeats(dst []byte) []byte { return appendHeader(dst, kindRepeat, 0) }

// readPartitions reads the n bytes of a frame of partitions.
func readPartitions(r io.Reader, n int) (int, error) {
	if n != partitionLen {
		return 0, protocolError("malformed number of partitions")
	}
	var b [partitionLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, noEOF(err)
	}
	return int(binary.BigEndian.Uint32(b[:])), nil
}

// AppendPartition appends what a guest that partitions puts before the value of a record.
func AppendPartition(dst []byte, p int) []byte { return binary.BigEndian.AppendUint32(dst, uint32(p)) }

// CutPartition returns the partition, in [0, n), that a guest has put before a value, and the value.
func CutPartition(value []byte, n int) (p int, rest []byte, err error) {
	if len(value) < partitionLen {
		return 0, nil, protocolError("record has no partition")
	}
	u := binary.BigEndian.Uint32(value)
	if uint64(u) >= uint64(n) {
		return 0, nil, protocolError("record is of a partition that there is not")
	}
	return int(u), value[partitionLen:], nil
}
