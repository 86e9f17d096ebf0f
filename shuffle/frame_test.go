package shuffle

import "encoding/binary"

// frames cuts a stream into its frames.
func frames(data []byte) (all [][]byte) {
	for len(data) > 0 {
		n := frameHeader + int(binary.LittleEndian.Uint32(data[8:]))
		all = append(all, data[:n])
		data = data[n:]
	}
	return all
}
