// Package digest computes digests of data that is in memory. A program that runs as WebAssembly has its runner do it, many times faster than
// it could itself; elsewhere the same functions are linked in.
package digest

// SHA256 returns the SHA-256 digest of b.
func SHA256(b []byte) [32]byte { return sum256(b) }

// CRC32C returns the checksum with Castagnoli's polynomial of what crc is the checksum of, followed by b. That of nothing is 0.
func CRC32C(crc uint32, b []byte) uint32 { return crc32c(crc, b) }

// XXH3 returns the 64-bit XXH3 hash of b, which is quick and no defence against people who look for collisions.
func XXH3(b []byte) uint64 { return xxh3(b) }
