package reducer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
)

// A weight is a named type, as users have them.
type weight float32

// check reduces values by r in a random association and order, and by its native, and compares both with want; wantErr is the
// text of the error that both must give instead.
func check[V, A, R any](t *testing.T, rng *rand.Rand, r Reducer[V, A, R], values []V, want R, wantErr string) {
	t.Helper()
	n, err := Lookup(r.Stock())
	if err != nil {
		t.Fatalf("no native named %q", r.Stock())
	}
	if n.Name != r.Stock() && n.Name != "sum:float64" {
		t.Errorf("native of %q is named %q", r.Stock(), n.Name)
	}
	acc, err := guest.CodecOf[A]()
	if err != nil {
		t.Fatal(err)
	}
	res, err := guest.CodecOf[R]()
	if err != nil {
		t.Fatal(err)
	}
	if n.Acc != acc.Type || n.Result != res.Type {
		t.Errorf("%s: native has types %v, %v; want %v, %v", n.Name, n.Acc, n.Result, acc.Type, res.Type)
	}
	as := make([]A, len(values))
	encs := make([][]byte, len(values))
	for i, v := range values {
		as[i] = r.Lift(v)
		if encs[i], err = acc.Append(nil, as[i]); err != nil {
			t.Fatal(err)
		}
	}
	for len(as) > 1 {
		i, j := rng.IntN(len(as)), rng.IntN(len(as)-1)
		if j >= i {
			j++
		}
		as[i] = r.Merge(as[i], as[j])
		encs[i] = n.Merge([]byte("x"), encs[i], encs[j])[1:]
		last := len(as) - 1
		as[j], encs[j] = as[last], encs[last]
		as, encs = as[:last], encs[:last]
	}
	if enc, err := acc.Append(nil, as[0]); err != nil || !bytes.Equal(enc, encs[0]) {
		t.Errorf("%s: native accumulator %x, generic %x, %v", n.Name, encs[0], enc, err)
	}
	got, err := r.Result(as[0])
	gotErr := ""
	if err != nil {
		gotErr = err.Error()
	}
	if gotErr != wantErr || err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, %q; want %v, %q", n.Name, got, gotErr, want, wantErr)
	}
	enc, err := n.Reduce([]byte("x"), encs[0])
	gotErr = ""
	if err != nil {
		gotErr = err.Error()
	}
	if gotErr != wantErr {
		t.Errorf("%s: native error %q, want %q", n.Name, gotErr, wantErr)
	}
	if err == nil {
		wantEnc, err := res.Append([]byte("x"), want)
		if err != nil || !bytes.Equal(enc, wantEnc) {
			t.Errorf("%s: native result %x, want %x, %v", n.Name, enc, wantEnc, err)
		}
	}
}

func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestSum(t *testing.T) {
	rng := newRand(t)
	check(t, rng, Sum[int64](), []int64{1, -2, 300}, 299, "")
	check(t, rng, Sum[int64](), []int64{math.MaxInt64, math.MaxInt64, -math.MaxInt64}, math.MaxInt64, "")
	check(t, rng, Sum[int64](), []int64{math.MaxInt64, 1}, 0, "sum overflows int64")
	check(t, rng, Sum[int64](), []int64{math.MinInt64, math.MinInt64}, 0, "sum overflows int64")
	check(t, rng, Sum[int](), []int{7}, 7, "")
	check(t, rng, Sum[int8](), []int8{100, 100, -100}, 100, "")
	check(t, rng, Sum[int8](), []int8{100, 28}, 0, "sum overflows int8")
	check(t, rng, Sum[uint64](), []uint64{math.MaxUint64, 0}, math.MaxUint64, "")
	check(t, rng, Sum[uint64](), []uint64{math.MaxUint64, 1}, 0, "sum overflows uint64")
	check(t, rng, Sum[uint16](), []uint16{1, 2}, 3, "")
	check(t, rng, Sum[time.Duration](), []time.Duration{time.Second, 1}, time.Second+1, "")
}

func TestSumRandom(t *testing.T) {
	rng := newRand(t)
	for range 200 {
		values := make([]int64, 1+rng.IntN(20))
		sum := new(big.Int)
		for i := range values {
			values[i] = int64(rng.Uint64()) >> rng.IntN(64)
			sum.Add(sum, big.NewInt(values[i]))
		}
		if sum.IsInt64() {
			check(t, rng, Sum[int64](), values, sum.Int64(), "")
		} else {
			check(t, rng, Sum[int64](), values, 0, "sum overflows int64")
		}
	}
}

func TestOthers(t *testing.T) {
	rng := newRand(t)
	check(t, rng, Count[string](), []string{"a", "b", "a"}, 3, "")
	check(t, rng, Count[[]byte](), [][]byte{nil}, 1, "")
	check(t, rng, Min[string](), []string{"b", "ab", "abc", "b"}, "ab", "")
	check(t, rng, Max[string](), []string{"b", "ab", ""}, "b", "")
	check(t, rng, Min[int32](), []int32{3, -4, 0}, -4, "")
	check(t, rng, Max[uint](), []uint{3, math.MaxUint, 0}, math.MaxUint, "")
	check(t, rng, Min[weight](), []weight{2.5, -0.5, weight(math.Inf(1))}, -0.5, "")
	check(t, rng, Max[float64](), []float64{-2.5, -0.5}, -0.5, "")
	check(t, rng, Identity[string](), []string{"only"}, "only", "")
	check(t, rng, Identity[Total](), []Total{{hi: 5}}, Total{hi: 5}, "")
	if r := Identity[int](); r.Merge != nil {
		t.Error("Identity merges")
	}
	if n, _ := Lookup("identity:int64"); n.Merge != nil {
		t.Error("native identity merges")
	}
}

func TestSumFloat(t *testing.T) {
	inf := math.Inf(1)
	tests := []struct {
		values  []float64
		want    float64
		wantErr string
	}{
		{[]float64{0.1, 0.2, 0.3}, 0.6, ""}, // 0.6000000000000001 when rounded twice
		{[]float64{1e308, 1e308, -1e308}, 1e308, ""},
		{[]float64{1, 1e100, 1, -1e100}, 2, ""},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, 0, "sum overflows float64"},
		{[]float64{math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat64}, 2 * math.SmallestNonzeroFloat64, ""},
		{[]float64{1, math.SmallestNonzeroFloat64}, 1, ""},
		{[]float64{1, 0x1p-53}, 1, ""},                                                    // a tie, to even
		{[]float64{1 + 0x1p-52, 0x1p-53}, 1 + 0x1p-51, ""},                                // a tie, to even
		{[]float64{1, 0x1p-53, math.SmallestNonzeroFloat64}, 1 + 0x1p-52, ""},             // just above
		{[]float64{-1, -0x1p-53, -math.SmallestNonzeroFloat64}, -1 - 0x1p-52, ""},         // just below
		{[]float64{0x1p-1022, -math.SmallestNonzeroFloat64}, 0x0.fffffffffffffp-1022, ""}, // subnormal
		{[]float64{math.Copysign(0, -1), math.Copysign(0, -1)}, 0, ""},
		{[]float64{inf, 1, inf}, inf, ""},
		{[]float64{-inf, 1}, -inf, ""},
		{[]float64{-inf, inf}, 0, "sum of infinities of both signs"},
		{[]float64{1, math.NaN()}, 0, "sum of a NaN"},
	}
	rng := newRand(t)
	for _, tt := range tests {
		check(t, rng, SumFloat[float64](), tt.values, tt.want, tt.wantErr)
	}
	check(t, rng, SumFloat[weight](), []weight{0.5, 0.25}, 0.75, "")
}

// randomFloat returns a finite float of any exponent, often a small one.
func randomFloat(rng *rand.Rand) float64 {
	for {
		f := math.Float64frombits(rng.Uint64())
		if rng.IntN(2) == 0 {
			f = math.Ldexp(float64(rng.IntN(2000)-1000), rng.IntN(100)-50-1024*rng.IntN(2))
		}
		if f == f && !math.IsInf(f, 0) {
			return f
		}
	}
}

func TestFloatsRandom(t *testing.T) {
	rng := newRand(t)
	for range 300 {
		values := make([]float64, 1+rng.IntN(12))
		sum := new(big.Rat)
		for i := range values {
			values[i] = randomFloat(rng)
			sum.Add(sum, new(big.Rat).SetFloat64(values[i]))
		}
		if want, _ := sum.Float64(); math.IsInf(want, 0) {
			check(t, rng, SumFloat[float64](), values, 0, "sum overflows float64")
		} else {
			check(t, rng, SumFloat[float64](), values, want+0, "")
		}
		want, _ := new(big.Rat).Quo(sum, big.NewRat(int64(len(values)), 1)).Float64()
		check(t, rng, Mean[float64](), values, want+0, "")
	}
}

func TestMean(t *testing.T) {
	rng := newRand(t)
	check(t, rng, Mean[int64](), []int64{math.MaxInt64, math.MaxInt64, 1}, float64(6148914691236517205), "")
	check(t, rng, Mean[uint64](), []uint64{math.MaxUint64}, math.MaxUint64, "")
	check(t, rng, Mean[int8](), []int8{-1, -2}, -1.5, "")
	check(t, rng, Mean[float64](), []float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64, "")
	check(t, rng, Mean[float64](), []float64{0, math.SmallestNonzeroFloat64}, 0, "")
	check(t, rng, Mean[float64](), []float64{1, math.NaN()}, 0, "mean of a NaN")
}

func TestLift(t *testing.T) {
	tests := []struct {
		reducer string
		texts   []string
		want    string // as text
		wantErr string
	}{
		{"sum", []string{"1", "-5"}, "-4", ""},
		{"sum", []string{"1.5"}, "", "value is not of type int64"},
		{"sum", []string{"9223372036854775808"}, "", "value is out of the range of int64"},
		{"sum:uint64", []string{"18446744073709551615"}, "18446744073709551615", ""},
		{"sum:uint8", []string{"-1"}, "", "value is not of type uint64"},
		{"sum:float64", []string{"0.1", "0.2", "9007199254740993", "-9007199254740993", "0.3"}, "0.6", ""},
		{"sum:float64", []string{"nan"}, "", "value is not of type float64"},
		{"sum:float64", []string{"secret"}, "", "value is not of type float64"},
		{"mean", []string{"1", "2"}, "1.5", ""},
		{"mean", []string{""}, "", "value is not of type float64"},
		{"count", []string{"x", "", "y"}, "3", ""},
		{"min", []string{"10", "9"}, "9", ""},
		{"max", []string{"10", "9"}, "10", ""},
		{"max:string", []string{"10", "9"}, "9", ""},
		{"max:float64", []string{"-0.5", "-2"}, "-0.5", ""},
		{"max:float64", []string{"x"}, "", "value is not of type float"},
		{"identity", []string{"a\tb"}, `a\tb`, ""},
		{"identity:bool", []string{"true"}, `true`, ""},
	}
	for _, tt := range tests {
		n, err := LookupText(tt.reducer)
		if err != nil {
			t.Errorf("LookupText(%q) found nothing", tt.reducer)
			continue
		}
		var acc []byte
		for i, text := range tt.texts {
			var a []byte
			if a, err = n.Lift([]byte("x"), []byte(text), 0); err != nil {
				break
			}
			if a = a[1:]; i > 0 {
				a = n.Merge(nil, acc, a)
			}
			acc = a
		}
		var res []byte
		if err == nil {
			res, err = n.Reduce(nil, acc)
		}
		if err != nil {
			if err.Error() != tt.wantErr {
				t.Errorf("%s of %q: got error %q, want %q", tt.reducer, tt.texts, err, tt.wantErr)
			}
			continue
		}
		if got := string(guest.Text(nil, n.Result, res)); got != tt.want || tt.wantErr != "" {
			t.Errorf("%s of %q: got %s, want %s %s", tt.reducer, tt.texts, got, tt.want, tt.wantErr)
		}
	}
	for _, name := range []string{"", "sum:string", "min:bytes", "max:json", "count:int64", "mean:int64", "total", "sum:", "identity:x"} {
		if _, err := LookupText(name); err == nil {
			t.Errorf("LookupText(%q) found something", name)
		}
	}
}

// Accumulators of a lying guest must not crash a runner, and become errors, not results.
func FuzzMerge(f *testing.F) {
	names := []string{
		"sum:int64", "sum:uint8", "sum:float64", "mean", "count", "min:int64", "max:string", "top-k:int64(2)", "top-k-by:int64:string(2)",
		"first:string:string", "last:int64:string", "distinct-approx:string", "histogram(0, 1)", "quantiles(0, 0.5, 1)",
	}
	for i := range names {
		f.Add(uint8(i), []byte{2}, []byte{0, 0, 1, 0xff})
		f.Add(uint8(i), []byte(nil), []byte{1, 1})
		f.Add(uint8(i), []byte{1, 0, 0, 1, 2}, []byte{0xff, 0xff, 1})
		f.Add(uint8(i), []byte{1, 1, 'a', 1, 'b'}, []byte("\x00a reason"))
	}
	f.Fuzz(func(t *testing.T, which uint8, a, b []byte) {
		n, err := Lookup(names[int(which)%len(names)])
		if err != nil {
			t.Fatal("no such reducer")
		}
		ab, ba := n.Merge(nil, a, b), n.Merge(nil, b, a)
		if !bytes.Equal(ab, ba) {
			t.Errorf("%s: merge of %x and %x is %x and %x", n.Name, a, b, ab, ba)
		}
		_, errA := n.Reduce(nil, a)
		if _, err := n.Reduce(nil, ab); err == nil && errors.Is(errA, errMalformed) {
			t.Errorf("%s: malformed %x merged with %x is %x", n.Name, a, b, ab)
		}
		var to Total
		if to.UnmarshalBinary(a) == nil {
			if back := to.append(nil); !bytes.Equal(back, a) {
				t.Errorf("total %x encodes to %x", a, back)
			}
		}
		var av Average
		if av.UnmarshalBinary(a) == nil {
			if back, _ := av.AppendBinary(nil); !bytes.Equal(back, a) {
				t.Errorf("average %x encodes to %x", a, back)
			}
		}
	})
}

func ExampleSumFloat() {
	r := SumFloat[float64]()
	sum := r.Lift(0.1)
	for _, v := range []float64{1e100, 0.2, 0.3, -1e100} {
		sum = r.Merge(sum, r.Lift(v))
	}
	fmt.Println(r.Result(sum))
	fmt.Println(0.1 + 1e100 + 0.2 + 0.3 - 1e100) // constants are exact, too
	// Output:
	// 0.6 <nil>
	// 0.6
}

func BenchmarkMergeTotals(b *testing.B) {
	x, y, dst := totalOf(12345).append(nil), totalOf(77).append(nil), make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		dst = mergeTotals(dst[:0], x, y)
	}
}

func FuzzLift(f *testing.F) {
	names := []string{"sum", "sum:uint8", "sum:float64", "mean", "count", "min", "max:float64", "identity:bool", "identity", "distinct-approx", "histogram(0)", "quantile(0.5)", "top-k(3)"}
	for i := range names {
		f.Add(uint8(i), []byte("-12.5e3"))
		f.Add(uint8(i), []byte("7"))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		n, err := LookupText(names[int(which)%len(names)])
		if err != nil {
			t.Fatal("no such reducer")
		}
		acc, err := n.Lift(nil, text, 0)
		if err != nil {
			return
		}
		res, err := n.Reduce(nil, acc)
		if n.Name == "sum:uint8" && len(text) > 2 {
			return // may be out of range
		}
		if err != nil {
			t.Fatalf("%s of %q: %v", n.Name, text, err)
		}
		if n.Acc != guest.Binary || n.Name == "count" {
			return
		}
		// What is shown lifts to what is shown.
		shown := guest.Text(nil, n.Result, res)
		if acc, err = n.Lift(nil, shown, 0); err != nil {
			t.Fatalf("%s of %s: %v", n.Name, shown, err)
		}
		if again, err := n.Reduce(nil, acc); err != nil || !bytes.Equal(again, res) {
			t.Errorf("%s of %q is %x, of %s %x, %v", n.Name, text, res, shown, again, err)
		}
	})
}
