package reducer

import (
	"bytes"
	"errors"

	"github.com/millrace/millrace/internal/guest"
)

// An Accumulator is that of a stock reducer which gathers more than a number, as it is encoded:
//
//	accumulator  0 reason        a value could not be taken; so is what this is merged with
//	             1 body          version 1 of what the reducer's comment says
//
// A uvarint in a body is as short as can be.
type Accumulator []byte

const (
	accFailed  = 0
	accVersion = 1
)

// failed appends the accumulator of a value that could not be taken.
func failed(dst []byte, reason string) []byte { return append(append(dst, accFailed), reason...) }

// A gatherer is a stock reducer on the bodies of Accumulators.
type gatherer struct {
	// merge appends the merge of two bodies to dst; ok is false if one of them is malformed. It is commutative and
	// associative to the byte.
	merge func(dst, a, b []byte) (_ []byte, ok bool)
	// reduce appends the encoded result.
	reduce func(dst, body []byte) ([]byte, error)
}

// Merge is that of Native.
func (g *gatherer) Merge(dst, a, b []byte) []byte {
	if len(a) == 0 || len(b) == 0 || a[0] > accVersion || b[0] > accVersion {
		return dst // which is malformed in turn
	}
	switch {
	case a[0] == accFailed && (b[0] != accFailed || bytes.Compare(a, b) <= 0):
		return append(dst, a...)
	case b[0] == accFailed:
		return append(dst, b...)
	}
	n := len(dst)
	dst, ok := g.merge(append(dst, accVersion), a[1:], b[1:])
	if !ok {
		return dst[:n]
	}
	return dst
}

// Reduce is that of Native.
func (g *gatherer) Reduce(dst, acc []byte) ([]byte, error) {
	switch {
	case len(acc) == 0 || acc[0] > accVersion:
		return dst, errMalformed
	case acc[0] == accFailed:
		return dst, errors.New(string(acc[1:]))
	}
	return g.reduce(dst, acc[1:])
}

// native returns g as a Native. lift appends the body of one value that was written as text.
func (g *gatherer) native(stock string, result guest.Type, lift func(dst, text []byte) ([]byte, error)) *Native {
	return &Native{
		Name: stock, Acc: guest.Bytes, Result: result, Merge: g.Merge, Reduce: g.Reduce,
		Lift: func(dst, text []byte, _ int) ([]byte, error) { return lift(append(dst, accVersion), text) },
	}
}

// gather returns g as a Reducer. lift appends the body of one value; its error becomes the result's.
func gather[V, R any](stock string, g *gatherer, lift func(dst []byte, v V) ([]byte, error)) Reducer[V, Accumulator, R] {
	res, _ := guest.CodecOf[R]() // stock results have codecs, and whose has none is told so by package job
	return Reducer[V, Accumulator, R]{
		Lift: func(v V) Accumulator {
			acc, err := lift([]byte{accVersion}, v)
			if err != nil {
				acc = failed(nil, err.Error())
			}
			return acc
		},
		Merge: func(a, b Accumulator) Accumulator { return g.Merge(nil, a, b) },
		Result: func(a Accumulator) (r R, err error) {
			enc, err := g.Reduce(nil, a)
			if err != nil {
				return r, err
			}
			return res.Decode(enc)
		},
		stock: stock,
	}
}

// A Document is a result that is a JSON document.
type Document []byte

// MarshalJSON returns d.
func (d Document) MarshalJSON() ([]byte, error) { return d, nil }

// UnmarshalJSON makes d a copy of doc.
func (d *Document) UnmarshalJSON(doc []byte) error {
	*d = append((*d)[:0], doc...)
	return nil
}

// liftKind appends the encoding of a value of type t that stands in a line of text, where a string has escapes.
func liftKind(dst []byte, t guest.Type, text []byte) ([]byte, error) {
	if t == guest.String || t == guest.Bytes {
		return guest.AppendUnescaped(dst, text), nil
	}
	return guest.ParseText(dst, t, text)
}
