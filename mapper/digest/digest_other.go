//go:build !wasip1

package digest

import (
	"crypto/sha256"
	"hash/crc32"

	hash "github.com/zeebo/xxh3"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum256(b []byte) [32]byte           { return sha256.Sum256(b) }
func crc32c(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }
func xxh3(b []byte) uint64               { return hash.Hash(b) }
