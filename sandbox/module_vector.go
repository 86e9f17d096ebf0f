package sandbox

// vectorOperators are those behind the byte 0xfd (Core Specification 2.0, section 5.4.8), except v128.const and i8x16.shuffle.
var vectorOperators = operatorTable([]run{
	// loads and stores
	{0, 0, "i:v", 16, 0}, {1, 6, "i:v", 8, 0},
	{7, 7, "i:v", 1, 0}, {8, 8, "i:v", 2, 0}, {9, 9, "i:v", 4, 0}, {10, 10, "i:v", 8, 0},
	{11, 11, "iv:", 16, 0}, {92, 92, "i:v", 4, 0}, {93, 93, "i:v", 8, 0},
	{84, 84, "iv:v", 1, 16}, {85, 85, "iv:v", 2, 8}, {86, 86, "iv:v", 4, 4}, {87, 87, "iv:v", 8, 2},
	{88, 88, "iv:", 1, 16}, {89, 89, "iv:", 2, 8}, {90, 90, "iv:", 4, 4}, {91, 91, "iv:", 8, 2},
	// swizzle, splats, lanes
	{first: 14, last: 14, types: "vv:v"},
	{first: 15, last: 17, types: "i:v"}, {first: 18, last: 18, types: "I:v"}, {first: 19, last: 19, types: "f:v"}, {first: 20, last: 20, types: "F:v"},
	{21, 22, "v:i", 0, 16}, {23, 23, "vi:v", 0, 16}, {24, 25, "v:i", 0, 8}, {26, 26, "vi:v", 0, 8},
	{27, 27, "v:i", 0, 4}, {28, 28, "vi:v", 0, 4}, {29, 29, "v:I", 0, 2}, {30, 30, "vI:v", 0, 2},
	{31, 31, "v:f", 0, 4}, {32, 32, "vf:v", 0, 4}, {33, 33, "v:F", 0, 2}, {34, 34, "vF:v", 0, 2},
	// comparisons, whole vectors
	{first: 35, last: 76, types: "vv:v"}, {first: 77, last: 77, types: "v:v"}, {first: 78, last: 81, types: "vv:v"},
	{first: 82, last: 82, types: "vvv:v"}, {first: 83, last: 83, types: "v:i"}, {first: 94, last: 95, types: "v:v"},
	// i8x16, with roundings of f32x4 and f64x2 in its gaps
	{first: 96, last: 98, types: "v:v"}, {first: 99, last: 100, types: "v:i"}, {first: 101, last: 102, types: "vv:v"},
	{first: 103, last: 106, types: "v:v"}, {first: 107, last: 109, types: "vi:v"}, {first: 110, last: 115, types: "vv:v"},
	{first: 116, last: 117, types: "v:v"}, {first: 118, last: 121, types: "vv:v"}, {first: 122, last: 122, types: "v:v"},
	{first: 123, last: 123, types: "vv:v"}, {first: 124, last: 127, types: "v:v"},
	// i16x8
	{first: 128, last: 129, types: "v:v"}, {first: 130, last: 130, types: "vv:v"}, {first: 131, last: 132, types: "v:i"},
	{first: 133, last: 134, types: "vv:v"}, {first: 135, last: 138, types: "v:v"}, {first: 139, last: 141, types: "vi:v"},
	{first: 142, last: 147, types: "vv:v"}, {first: 148, last: 148, types: "v:v"}, {first: 149, last: 153, types: "vv:v"},
	{first: 155, last: 159, types: "vv:v"},
	// i32x4
	{first: 160, last: 161, types: "v:v"}, {first: 163, last: 164, types: "v:i"}, {first: 167, last: 170, types: "v:v"},
	{first: 171, last: 173, types: "vi:v"}, {first: 174, last: 174, types: "vv:v"}, {first: 177, last: 177, types: "vv:v"},
	{first: 181, last: 186, types: "vv:v"}, {first: 188, last: 191, types: "vv:v"},
	// i64x2
	{first: 192, last: 193, types: "v:v"}, {first: 195, last: 196, types: "v:i"}, {first: 199, last: 202, types: "v:v"},
	{first: 203, last: 205, types: "vi:v"}, {first: 206, last: 206, types: "vv:v"}, {first: 209, last: 209, types: "vv:v"},
	{first: 213, last: 223, types: "vv:v"},
	// f32x4, f64x2, conversions
	{first: 224, last: 225, types: "v:v"}, {first: 227, last: 227, types: "v:v"}, {first: 228, last: 235, types: "vv:v"},
	{first: 236, last: 237, types: "v:v"}, {first: 239, last: 239, types: "v:v"}, {first: 240, last: 247, types: "vv:v"},
	{first: 248, last: 255, types: "v:v"},
})

// vector validates an instruction behind the byte 0xfd. Its number must be in its shortest form, though the specification
// allows others: wazero reads one byte of it and takes what follows for the next instructions.
func (c *codeChecker) vector() {
	begin := c.off
	op := c.u32()
	if length := c.off - begin; op < 0x80 && length > 1 || length > 2 {
		c.fail("number of a vector instruction is too long")
		return
	}
	switch op {
	case 12: // v128.const
		c.skip(16)
		c.push(v128)
	case 13: // i8x16.shuffle
		for _, lane := range c.bytes(16) {
			if lane >= 32 {
				c.fail("lane %d of 32", lane)
			}
		}
		c.pop(v128)
		c.pop(v128)
		c.push(v128)
	default:
		c.apply(vectorOperators, "0xfd ", op)
	}
}
