package guest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"testing"
	"testing/quick"
	"time"
)

type (
	name   string
	small  int8
	ratio  float32
	raw    []byte
	answer bool
)

// A level is a number that shows itself by a name: as a key or value it is a number.
type level int

func (level) MarshalJSON() ([]byte, error)   { return []byte(`"high"`), nil }
func (*level) UnmarshalJSON([]byte) error    { return errors.New("not to be called") }
func (level) MarshalBinary() ([]byte, error) { return nil, errors.New("not to be called") }
func (*level) UnmarshalBinary([]byte) error  { return errors.New("not to be called") }

type point struct{ X, Y int }

func (p point) MarshalJSON() ([]byte, error) { return json.Marshal([2]int{p.X, p.Y}) }

func (p *point) UnmarshalJSON(data []byte) error {
	var xy [2]int
	err := json.Unmarshal(data, &xy)
	*p = point{xy[0], xy[1]}
	return err
}

// ordered checks that T's encoding keeps values and, where less, their order.
func ordered[T cmp.Ordered](t *testing.T, want Type) {
	t.Helper()
	c, err := CodecOf[T]()
	if err != nil || c.Type != want {
		t.Fatalf("%T: got type %v, %v; want %v", *new(T), c.Type, err, want)
	}
	f := func(a, b T) bool {
		x, errA := c.Append([]byte("p"), a)
		y, errB := c.Append([]byte("p"), b)
		back, errC := c.Decode(x[1:])
		return errA == nil && errB == nil && errC == nil && back == a && bytes.Compare(x, y) == cmp.Compare(a, b)
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
}

func TestOrder(t *testing.T) {
	ordered[string](t, String)
	ordered[name](t, String)
	ordered[int](t, Int)
	ordered[int8](t, Int)
	ordered[level](t, Int)
	ordered[small](t, Int)
	ordered[int16](t, Int)
	ordered[int32](t, Int)
	ordered[int64](t, Int)
	ordered[time.Duration](t, Int)
	ordered[uint](t, Uint)
	ordered[uint8](t, Uint)
	ordered[uint16](t, Uint)
	ordered[uint32](t, Uint)
	ordered[uint64](t, Uint)
	ordered[uintptr](t, Uint)
	ordered[float32](t, Float)
	ordered[ratio](t, Float)
	ordered[float64](t, Float)
}

func TestFloatOrder(t *testing.T) {
	inf := math.Inf(1)
	rising := []float64{-inf, -math.MaxFloat64, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 0.5, 1, math.MaxFloat64, inf}
	var last []byte
	for _, f := range rising {
		enc, err := AppendFloat(nil, f)
		if err != nil || bytes.Compare(last, enc) >= 0 {
			t.Errorf("%v: %x is not above %x, %v", f, enc, last, err)
		}
		if back, err := DecodeFloat(enc); back != f || err != nil {
			t.Errorf("%v: decoded as %v, %v", f, back, err)
		}
		last = enc
	}
	zero, _ := AppendFloat(nil, 0)
	if minus, _ := AppendFloat(nil, math.Copysign(0, -1)); !bytes.Equal(zero, minus) {
		t.Errorf("zeros are %x and %x", zero, minus)
	}
	if _, err := AppendFloat(nil, math.NaN()); !errors.Is(err, ErrNaN) {
		t.Errorf("NaN: got %v", err)
	}
	if _, err := DecodeFloat(bytes.Repeat([]byte{0xff}, 8)); !errors.Is(err, ErrNaN) {
		t.Errorf("encoded NaN: got %v", err)
	}
}

// same checks that v is encoded as want and back.
func same[T any](t *testing.T, v T, want Type, enc string) {
	t.Helper()
	c, err := CodecOf[T]()
	if err != nil || c.Type != want {
		t.Errorf("%T: got type %v, %v; want %v", v, c.Type, err, want)
		return
	}
	p, err := c.Append(nil, v)
	if err != nil || string(p) != enc {
		t.Errorf("%v: got %q, %v; want %q", v, p, err, enc)
	}
	if back, err := c.Decode(p); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%v: decoded as %v, %v", v, back, err)
	}
}

func TestOtherTypes(t *testing.T) {
	same(t, []byte("a\x00"), Bytes, "a\x00")
	same(t, raw{}, Bytes, "")
	same(t, answer(true), Bool, "\x01")
	same(t, false, Bool, "\x00")
	same(t, netip.MustParseAddr("10.1.2.3"), Binary, "\x0a\x01\x02\x03")
	same(t, time.Unix(1, 0).UTC(), Binary, "\x01\x00\x00\x00\x0e\x77\x91\xf7\x01\x00\x00\x00\x00\xff\xff")
	same(t, json.RawMessage(`{"a":1}`), JSON, `{"a":1}`)
	same(t, point{1, 2}, JSON, "[1,2]")
}

func TestCodecErrors(t *testing.T) {
	_, errStruct := CodecOf[struct{ A int }]()
	_, errAny := CodecOf[any]()
	_, errPointer := CodecOf[*int]()
	for what, err := range map[string]error{"struct": errStruct, "any": errAny, "pointer": errPointer} {
		if err == nil {
			t.Errorf("%s has a codec", what)
		}
	}
	i8, _ := CodecOf[int8]()
	u16, _ := CodecOf[uint16]()
	b, _ := CodecOf[bool]()
	_, errRange := i8.Decode(AppendInt(nil, 128))
	_, errURange := u16.Decode(AppendUint(nil, 1<<16))
	_, errShort := i8.Decode([]byte{1})
	_, errBool := b.Decode([]byte{2})
	for what, err := range map[string]error{"range": errRange, "unsigned range": errURange, "short": errShort, "bool": errBool} {
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestCodecAllocs(t *testing.T) {
	c, _ := CodecOf[name]()
	dst := make([]byte, 0, 64)
	v := name("a word of some length")
	if n := testing.AllocsPerRun(100, func() { dst, _ = c.Append(dst[:0], v) }); n > 0 {
		t.Errorf("a string key takes %v allocations", n)
	}
}

// decoded checks that what T's codec takes, it gives back.
func decoded[T any](t *testing.T, enc []byte) {
	c, err := CodecOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Decode(enc)
	if err != nil {
		return
	}
	again, err := c.Append(nil, v)
	if err != nil {
		t.Errorf("%T: %x is %v, which cannot be encoded: %v", v, enc, v, err)
	}
	if back, err := c.Decode(again); err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%T: %x is %v, encoded as %x, which is %v, %v", v, enc, v, again, back, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("string"))
	f.Add(AppendInt(nil, 127))
	f.Add(AppendInt(nil, math.MinInt64))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, enc []byte) {
		decoded[string](t, enc)
		decoded[[]byte](t, enc)
		decoded[int8](t, enc)
		decoded[int](t, enc)
		decoded[uint16](t, enc)
		decoded[uint64](t, enc)
		decoded[float64](t, enc)
		decoded[bool](t, enc)
	})
}
