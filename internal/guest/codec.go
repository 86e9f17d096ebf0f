package guest

import (
	"encoding"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"unsafe"
)

// A Codec encodes and decodes values of one Go type.
type Codec[T any] struct {
	Type Type
	kind reflect.Kind // of T where it is a plain type; Invalid where T encodes itself
}

// ErrNaN says that a float is not a number and has no place in an order.
var ErrNaN = errors.New("NaN")

// CodecOf returns the codec of T: a type whose kind is string, bool, an integer or a float, encoded in order whatever methods it
// has; or one that encodes itself, an encoding.BinaryMarshaler or else a json.Marshaler whose pointer is the corresponding
// Unmarshaler; or a byte slice.
func CodecOf[T any]() (Codec[T], error) {
	t := reflect.TypeOf(*new(T))
	if t == nil {
		return Codec[T]{}, errors.New("an interface cannot be encoded: use a concrete type")
	}
	switch k := t.Kind(); {
	case k == reflect.String:
		return Codec[T]{String, k}, nil
	case k == reflect.Bool:
		return Codec[T]{Bool, k}, nil
	case k >= reflect.Int && k <= reflect.Int64:
		return Codec[T]{Int, k}, nil
	case k >= reflect.Uint && k <= reflect.Uintptr:
		return Codec[T]{Uint, k}, nil
	case k == reflect.Float32 || k == reflect.Float64:
		return Codec[T]{Float, k}, nil
	}
	var p any = new(T)
	_, app := p.(encoding.BinaryAppender)
	_, mar := p.(encoding.BinaryMarshaler)
	if _, ok := p.(encoding.BinaryUnmarshaler); ok && (app || mar) {
		return Codec[T]{Type: Binary}, nil
	}
	if _, ok := p.(jsonCodec); ok {
		return Codec[T]{Type: JSON}, nil
	}
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return Codec[T]{Bytes, reflect.Slice}, nil
	}
	return Codec[T]{}, errors.New("a " + t.String() + " cannot be encoded: make it a BinaryMarshaler and its pointer a " +
		"BinaryUnmarshaler, or wrap it in a jsonvalue.Of")
}

// jsonCodec is json.Marshaler and json.Unmarshaler, which are asked for without linking encoding/json.
type jsonCodec interface {
	MarshalJSON() ([]byte, error)
	UnmarshalJSON([]byte) error
}

// Append appends the encoding of v to dst.
func (c Codec[T]) Append(dst []byte, v T) ([]byte, error) {
	// Within a case T's kind is known, so that its memory is that of the plain type of this kind.
	p := unsafe.Pointer(&v)
	switch c.kind {
	case reflect.Invalid:
		return c.appendSelf(dst, v)
	case reflect.String:
		return append(dst, *(*string)(p)...), nil
	case reflect.Slice:
		return append(dst, *(*[]byte)(p)...), nil
	case reflect.Bool:
		return appendBool(dst, *(*bool)(p)), nil
	case reflect.Int:
		return AppendInt(dst, int64(*(*int)(p))), nil
	case reflect.Int8:
		return AppendInt(dst, int64(*(*int8)(p))), nil
	case reflect.Int16:
		return AppendInt(dst, int64(*(*int16)(p))), nil
	case reflect.Int32:
		return AppendInt(dst, int64(*(*int32)(p))), nil
	case reflect.Int64:
		return AppendInt(dst, *(*int64)(p)), nil
	case reflect.Uint:
		return AppendUint(dst, uint64(*(*uint)(p))), nil
	case reflect.Uint8:
		return AppendUint(dst, uint64(*(*uint8)(p))), nil
	case reflect.Uint16:
		return AppendUint(dst, uint64(*(*uint16)(p))), nil
	case reflect.Uint32:
		return AppendUint(dst, uint64(*(*uint32)(p))), nil
	case reflect.Uint64:
		return AppendUint(dst, *(*uint64)(p)), nil
	case reflect.Uintptr:
		return AppendUint(dst, uint64(*(*uintptr)(p))), nil
	case reflect.Float32:
		return AppendFloat(dst, float64(*(*float32)(p)))
	default:
		return AppendFloat(dst, *(*float64)(p))
	}
}

func (c Codec[T]) appendSelf(dst []byte, v T) ([]byte, error) {
	var self any = &v
	if c.Type == JSON {
		p, err := self.(jsonCodec).MarshalJSON()
		return append(dst, p...), err
	}
	if m, ok := self.(encoding.BinaryAppender); ok {
		return m.AppendBinary(dst)
	}
	p, err := self.(encoding.BinaryMarshaler).MarshalBinary()
	return append(dst, p...), err
}

// Decode returns the value that enc encodes. It keeps no part of enc.
func (c Codec[T]) Decode(enc []byte) (v T, err error) {
	p := unsafe.Pointer(&v)
	switch c.Type {
	case Binary, JSON:
		return c.decodeSelf(enc)
	case String:
		*(*string)(p) = string(enc)
	case Bytes:
		*(*[]byte)(p) = append([]byte{}, enc...)
	case Bool:
		if len(enc) != 1 || enc[0] > 1 {
			return v, protocolError("malformed bool")
		}
		*(*bool)(p) = enc[0] == 1
	case Int:
		n, err := DecodeInt(enc)
		if err != nil {
			return v, err
		}
		return v, setInt(p, c.kind, n)
	case Uint:
		n, err := DecodeUint(enc)
		if err != nil {
			return v, err
		}
		return v, setUint(p, c.kind, n)
	case Float:
		f, err := DecodeFloat(enc)
		if err != nil {
			return v, err
		}
		if c.kind == reflect.Float32 {
			*(*float32)(p) = float32(f)
		} else {
			*(*float64)(p) = f
		}
	}
	return v, nil
}

func (c Codec[T]) decodeSelf(enc []byte) (T, error) {
	v := new(T)
	if c.Type == JSON {
		err := any(v).(jsonCodec).UnmarshalJSON(enc)
		return *v, err
	}
	err := any(v).(encoding.BinaryUnmarshaler).UnmarshalBinary(enc)
	return *v, err
}

// An Encoder encodes one value after another, without finding a place for each that encodes itself.
type Encoder[T any] struct {
	codec Codec[T]
	value T
	self  encoding.BinaryAppender // value; nil: it does not encode itself so
}

// Encoder returns an Encoder of T.
func (c Codec[T]) Encoder() *Encoder[T] {
	e := &Encoder[T]{codec: c}
	if c.Type == Binary {
		e.self, _ = any(&e.value).(encoding.BinaryAppender)
	}
	return e
}

// Append appends the encoding of v to dst.
func (e *Encoder[T]) Append(dst []byte, v T) ([]byte, error) {
	if e.self == nil {
		return e.codec.Append(dst, v)
	}
	e.value = v
	return e.self.AppendBinary(dst)
}

// setInt stores n at p, which holds an integer of that kind.
func setInt(p unsafe.Pointer, kind reflect.Kind, n int64) error {
	var back int64
	switch kind {
	case reflect.Int8:
		*(*int8)(p) = int8(n)
		back = int64(int8(n))
	case reflect.Int16:
		*(*int16)(p) = int16(n)
		back = int64(int16(n))
	case reflect.Int32:
		*(*int32)(p) = int32(n)
		back = int64(int32(n))
	case reflect.Int:
		*(*int)(p) = int(n)
		back = int64(int(n))
	default:
		*(*int64)(p) = n
		back = n
	}
	if back != n {
		return protocolError("number out of the range of its type")
	}
	return nil
}

// setUint is setInt for unsigned integers.
func setUint(p unsafe.Pointer, kind reflect.Kind, n uint64) error {
	var back uint64
	switch kind {
	case reflect.Uint8:
		*(*uint8)(p) = uint8(n)
		back = uint64(uint8(n))
	case reflect.Uint16:
		*(*uint16)(p) = uint16(n)
		back = uint64(uint16(n))
	case reflect.Uint32:
		*(*uint32)(p) = uint32(n)
		back = uint64(uint32(n))
	case reflect.Uint:
		*(*uint)(p) = uint(n)
		back = uint64(uint(n))
	case reflect.Uintptr:
		*(*uintptr)(p) = uintptr(n)
		back = uint64(uintptr(n))
	default:
		*(*uint64)(p) = n
		back = n
	}
	if back != n {
		return protocolError("number out of the range of its type")
	}
	return nil
}

const signBit = 1 << 63

// AppendInt appends the Int encoding of n.
func AppendInt(dst []byte, n int64) []byte { return AppendUint(dst, uint64(n)^signBit) }

// AppendUint appends the Uint encoding of n.
func AppendUint(dst []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(dst, n) }

// AppendFloat appends the Float encoding of f. It returns ErrNaN for a NaN. Negative zero is made zero, so that equal keys
// have equal bytes.
func AppendFloat(dst []byte, f float64) ([]byte, error) {
	if f != f {
		return dst, ErrNaN
	}
	b := math.Float64bits(f + 0)
	if b == signBit {
		b = 0
	}
	if b&signBit != 0 {
		b = ^b
	} else {
		b |= signBit
	}
	return AppendUint(dst, b), nil
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// DecodeInt is the inverse of AppendInt.
func DecodeInt(enc []byte) (int64, error) {
	n, err := DecodeUint(enc)
	return int64(n ^ signBit), err
}

// DecodeUint is the inverse of AppendUint.
func DecodeUint(enc []byte) (uint64, error) {
	if len(enc) != 8 {
		return 0, protocolError("malformed number")
	}
	return binary.BigEndian.Uint64(enc), nil
}

// DecodeFloat is the inverse of AppendFloat.
func DecodeFloat(enc []byte) (float64, error) {
	b, err := DecodeUint(enc)
	if err != nil {
		return 0, err
	}
	if b&signBit != 0 {
		b ^= signBit
	} else {
		b = ^b
	}
	f := math.Float64frombits(b)
	if f != f {
		return 0, ErrNaN
	}
	return f, nil
}
