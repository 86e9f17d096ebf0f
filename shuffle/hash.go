package shuffle

import (
	"math/bits"

	"github.com/zeebo/xxh3"
)

// PartitionVersion names the function that Partition is. Another function would get another version: runs and outputs of
// two versions do not mix.
const PartitionVersion = 1

// Partition returns the partition, in [0, n), that a key belongs to: the high 64 bits of XXH3-64(key, seed 0) × n.
// It is the same on every machine, for ever.
func Partition(key []byte, n int) int {
	hi, _ := bits.Mul64(xxh3.Hash(key), uint64(n))
	return int(hi)
}

// Digest returns the keyed hash of one record: XXH3-64(value, seed XXH3-64(key, seed secret)). The digest of a set of records is the sum
// of theirs modulo 2^64, which does not depend on their order. It finds accidents and nondeterminism, it is no signature.
func Digest(secret uint64, key, value []byte) uint64 {
	return xxh3.HashSeed(value, xxh3.HashSeed(key, secret))
}
