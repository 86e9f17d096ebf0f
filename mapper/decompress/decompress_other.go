//go:build !wasip1

package decompress

import (
	"errors"
	"sync"

	"github.com/millrace/millrace/internal/inflate"
)

var decoders = sync.Pool{New: func() any { return new(inflate.Decoder) }}

func decode(f Format, dst, src []byte) (int, error) {
	d := decoders.Get().(*inflate.Decoder)
	defer decoders.Put(d)
	n, err := d.Decode(inflate.Format(f), dst, src)
	switch {
	case errors.Is(err, inflate.ErrFormat):
		err = ErrFormat
	case errors.Is(err, inflate.ErrShort):
		err = errShort
	case err != nil:
		err = ErrCorrupt
	}
	return n, err
}
