package runner

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
)

// A sample keeps every n-th of the keys that it is given, n growing so that there are never more than twice as many as wanted. The same keys
// give the same sample.
type sample struct {
	most  int
	every int64
	seen  int64
	keys  [][]byte
}

// maxSampled bounds a key of a sample; a longer one is cut off there.
const maxSampled = 256

func (s *sample) add(key []byte) error {
	if s.seen++; (s.seen-1)%s.every != 0 {
		return nil
	}
	if len(s.keys) == 2*s.most {
		for i := range s.most {
			s.keys[i] = s.keys[2*i]
		}
		s.keys = s.keys[:s.most]
		s.every *= 2
		if (s.seen-1)%s.every != 0 {
			return nil
		}
	}
	s.keys = append(s.keys, bytes.Clone(key[:min(len(key), maxSampled)]))
	return nil
}

// send sends the keys to the agent.
func (s *sample) send(c *Conn) error {
	var b []byte
	for _, key := range s.keys {
		if len(b)+2+len(key) >= MaxFrame {
			if err := c.Send(KindKeys, b); err != nil {
				return err
			}
			b = b[:0]
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
		b = append(b, key...)
	}
	if len(b) == 0 {
		return nil
	}
	return c.Send(KindKeys, b)
}

// Keys returns the keys of a frame of a sample.
func Keys(payload []byte) (keys [][]byte, err error) {
	for len(payload) > 0 {
		if len(payload) < 2 || len(payload)-2 < int(binary.LittleEndian.Uint16(payload)) {
			return nil, fmt.Errorf("%w: keys of %d bytes", ErrProtocol, len(payload))
		}
		n := int(binary.LittleEndian.Uint16(payload))
		keys = append(keys, bytes.Clone(payload[2:2+n]))
		payload = payload[2+n:]
	}
	return keys, nil
}

// ranges returns the function that partitions keys by cuts, the first keys of all partitions but the first, in order; nil without cuts.
func ranges(cuts [][]byte) func(key []byte) int {
	if len(cuts) == 0 {
		return nil
	}
	return func(key []byte) int {
		return sort.Search(len(cuts), func(i int) bool { return bytes.Compare(cuts[i], key) > 0 })
	}
}
