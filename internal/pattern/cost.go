package pattern

import "math"

// rarity says how rare each byte is in mail: -8 log2 of its share, measured over some 40 MB of mail in many languages.
var rarity = [256]byte{
	139, 138, 140, 140, 140, 140, 140, 139, 139, 66, 44, 140, 139, 82, 140, 140,
	140, 139, 140, 139, 134, 140, 140, 140, 139, 140, 140, 120, 139, 140, 139, 139,
	26, 83, 54, 77, 90, 83, 81, 79, 66, 66, 76, 73, 62, 48, 45, 51,
	44, 50, 50, 55, 60, 59, 61, 63, 61, 61, 52, 68, 52, 52, 51, 80,
	65, 52, 64, 61, 58, 61, 62, 68, 69, 59, 72, 75, 66, 61, 65, 66,
	63, 75, 61, 60, 57, 71, 70, 68, 70, 72, 73, 78, 99, 78, 94, 63,
	93, 38, 51, 44, 46, 33, 50, 49, 46, 38, 67, 60, 42, 46, 39, 37,
	49, 72, 39, 39, 36, 48, 58, 54, 63, 54, 66, 89, 97, 86, 106, 139,
	138, 136, 129, 134, 138, 132, 138, 139, 138, 138, 136, 139, 138, 138, 136, 138,
	138, 137, 123, 125, 124, 137, 135, 133, 139, 137, 139, 139, 139, 139, 139, 138,
	123, 115, 132, 126, 124, 130, 129, 127, 131, 130, 129, 131, 130, 132, 132, 134,
	127, 128, 130, 131, 129, 124, 128, 128, 125, 128, 128, 126, 128, 130, 130, 129,
	127, 131, 127, 125, 128, 131, 132, 128, 132, 133, 130, 134, 131, 130, 130, 132,
	128, 134, 131, 129, 134, 134, 129, 130, 135, 135, 136, 137, 136, 134, 137, 133,
	133, 134, 128, 136, 131, 131, 136, 133, 134, 124, 136, 135, 135, 134, 135, 136,
	138, 137, 137, 135, 136, 138, 133, 134, 135, 132, 133, 137, 131, 135, 135, 130,
}

func frequency(b byte) float64 { return math.Exp2(-float64(rarity[b]) / 8) }

// What the search for texts costs, in nanoseconds: a byte passed over, a stop at a byte that may begin one, a line
// looked at because it holds one. A byte in the table of a dfa costs maxCost.
const (
	passCost = 0.05
	stopCost = 5
	lineCost = 120
	maxCost  = 1.2
)

// cost estimates what it costs per byte to search for a set of texts.
func cost(set []lit) float64 {
	sum := 0.0
	for _, l := range set {
		if l.text == "" {
			return math.Inf(1)
		}
		at := l.rarest()
		sum += passCost + stopCost*l.frequency(at)
		if l.fold[at] != 0 {
			sum += passCost
		}
		// Letters of a word do not stand together by chance alone: count half of their rarity.
		p := l.frequency(at)
		for i := range len(l.text) {
			if i != at {
				p *= math.Sqrt(l.frequency(i))
			}
		}
		sum += lineCost * p
	}
	return sum
}

// frequency returns the share of bytes that agree with byte i of l.
func (l lit) frequency(i int) float64 {
	f := frequency(l.text[i])
	if l.fold[i] != 0 {
		f += frequency(l.text[i] ^ 0x20)
	}
	return f
}

// rarest returns the index of the byte of l that the fewest bytes agree with.
func (l lit) rarest() int {
	best := 0
	for i := range len(l.text) {
		if l.frequency(i) < l.frequency(best) {
			best = i
		}
	}
	return best
}
