package brief

// What an attempt prints travels by a netpipe, in pieces:
//
//	more:u8 length:u32 bytes[length]
//
// little-endian; more is 1 if the next piece goes on with the text of the same object.
const (
	TextHeader = 5
	MaxText    = 1 << 20 // bytes of a piece
)
