package reducer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/guest"
)

// doc is the JSON of v.
func doc(v any) Document {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestTopK(t *testing.T) {
	rng := newRand(t)
	check(t, rng, TopK[int64](3), []int64{5, -1, 9, 5, 7}, Document("[9,7,5]"), "")
	check(t, rng, TopK[int64](3), []int64{5, 5}, Document("[5,5]"), "")
	check(t, rng, TopK[string](2), []string{"b", "", "ab"}, Document(`["b","ab"]`), "")
	check(t, rng, TopK[float64](2), []float64{1, math.NaN()}, nil, "NaN")
	check(t, rng, TopK[string](2), []string{"b", strings.Repeat("a", maxEntry+1)}, nil, errEntry.Error())
	check(t, rng, TopK[string](1), []string{strings.Repeat("b", 200), "a"}, Document(`["`+strings.Repeat("b", 200)+`"]`), "")
	check(t, rng, TopKBy[int64, string](2), []Entry[int64, string]{{1, "z"}, {7, "b"}, {7, "a"}, {7, "c"}}, Document(`[[7,"a"],[7,"b"]]`), "")
	for range 100 {
		values := make([]int64, 1+rng.IntN(40))
		for i := range values {
			values[i] = rng.Int64N(20) - 10
		}
		k := 1 + rng.IntN(12)
		want := slices.Clone(values)
		slices.SortFunc(want, func(a, b int64) int { return cmp.Compare(b, a) })
		check(t, rng, TopK[int64](k), values, doc(want[:min(k, len(want))]), "")
	}
}

func TestFirstLast(t *testing.T) {
	rng := newRand(t)
	values := []Entry[string, float64]{{"2026-02", 5}, {"2026-01", 9}, {"2026-01", 8}, {"2026-02", 6}}
	check(t, rng, First[string, float64](), values, 8, "")
	check(t, rng, Last[string, float64](), values, 6, "")
	check(t, rng, Last[int, string](), []Entry[int, string]{{-2, "b"}, {-10, "a"}}, "b", "")
	check(t, rng, First[float64, string](), []Entry[float64, string]{{math.NaN(), "b"}, {1, "a"}}, "", "NaN")
}

func TestHistogram(t *testing.T) {
	rng := newRand(t)
	values := []float64{-1, 0, 0, 9.5, 10, math.Inf(1), math.Inf(-1)}
	check(t, rng, Histogram[float64](0, 10), values, Document("[2,3,2]"), "")
	check(t, rng, Histogram[int](5), []int{4, 5, 6}, Document("[1,2]"), "")
	check(t, rng, Histogram[float64](0), []float64{math.NaN(), 1}, nil, "histogram of a NaN")
}

func TestQuantile(t *testing.T) {
	rng := newRand(t)
	check(t, rng, Quantile[int](0.5), []int{7}, 7, "")
	check(t, rng, Quantile[float64](0), []float64{3.3, -1.7, 9}, -1.7, "")
	check(t, rng, Quantile[float64](1), []float64{3.3, -1.7, 9}, 9, "")
	check(t, rng, Quantile[float64](0.5), []float64{math.Inf(-1), 0, math.Inf(1)}, 0, "")
	check(t, rng, Quantile[float64](0.6), []float64{math.Inf(-1), math.Inf(1), math.Inf(1)}, math.Inf(1), "")
	check(t, rng, Quantiles[float64](0, 1), []float64{2, 4}, Document(`{"0":2,"1":4}`), "")
	check(t, rng, Quantile[float64](0.5), []float64{math.NaN()}, 0, "quantile of a NaN")
}

// Each quantile is within 0.8 % of the value that has its rank, and the same for every tree of merges.
func TestQuantileError(t *testing.T) {
	rng := newRand(t)
	for range 60 {
		values := make([]float64, 1+rng.IntN(60))
		for i := range values {
			for values[i] = 0; math.Abs(values[i]) < 0x1p-1022; {
				values[i] = randomFloat(rng)
			}
		}
		sorted := slices.Sorted(slices.Values(values))
		q := float64(rng.IntN(101)) / 100
		r := Quantile[float64](q)
		var accs []Accumulator
		for _, v := range values {
			accs = append(accs, r.Lift(v))
		}
		got, err := r.Result(mergeAll(rng, r, accs))
		want := sorted[int(q*float64(len(values)-1))]
		if err != nil || math.Abs(got-want) > 0.008*math.Abs(want) {
			t.Errorf("%v of %v: got %v, %v; want %v", q, sorted, got, err, want)
		}
		check(t, rng, r, values, got, "")
	}
}

// mergeAll merges accumulators in a random tree.
func mergeAll[V, A, R any](rng *rand.Rand, r Reducer[V, A, R], accs []A) A {
	accs = slices.Clone(accs)
	for len(accs) > 1 {
		i := rng.IntN(len(accs) - 1)
		last := len(accs) - 1
		j := i + 1 + rng.IntN(last-i)
		accs[i] = r.Merge(accs[i], accs[j])
		accs[j] = accs[last]
		accs = accs[:last]
	}
	return accs[0]
}

func TestDistinctApprox(t *testing.T) {
	rng := newRand(t)
	check(t, rng, DistinctApprox[string](), []string{"a", "b", "a"}, 2, "")
	check(t, rng, DistinctApprox[int64](), []int64{1, 1}, 1, "")
	check(t, rng, DistinctApprox[float64](), []float64{1, math.NaN()}, 0, "NaN")
	r := DistinctApprox[string]()
	sizes := []int{100, 1000, 1200, 5000}
	if !testing.Short() {
		sizes = append(sizes, 20_000)
	}
	for _, n := range sizes {
		var parts []Accumulator
		for i := range n + n/2 { // a third of them twice
			acc := r.Lift("value " + strconv.Itoa(i%n))
			if i < 100 {
				parts = append(parts, acc)
				continue
			}
			k := i % len(parts)
			parts[k] = r.Merge(parts[k], acc)
		}
		first := mergeAll(rng, r, parts)
		if second := mergeAll(rng, r, parts); string(first) != string(second) {
			t.Errorf("%d: two trees of merges differ", n)
		}
		got, err := r.Result(first)
		if err != nil || math.Abs(float64(got-int64(n))) > 0.03*float64(n) {
			t.Errorf("%d: got %d, %v", n, got, err)
		}
	}
}

// checkGroup gives values to a reducer with a Group and to its native, and compares both with want.
func checkGroup[V, R any](t *testing.T, r Reducer[V, V, R], values []V, want R) {
	t.Helper()
	n, err := Lookup(r.Stock())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.CodecOf[V]()
	if err != nil {
		t.Fatal(err)
	}
	res, _ := guest.CodecOf[R]()
	if n.Acc != c.Type || n.Result != res.Type || n.Merge != nil || n.Name != r.Stock() {
		t.Errorf("native %s of %s: types %v, %v", n.Name, r.Stock(), n.Acc, n.Result)
	}
	var encs [][]byte
	for _, v := range values {
		enc, err := c.Append(nil, r.Lift(v))
		if err != nil {
			t.Fatal(err)
		}
		encs = append(encs, enc)
	}
	slices.SortFunc(encs, func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
	got, err := r.Group(func(yield func(V) bool) {
		for _, enc := range encs {
			v, _ := c.Decode(enc)
			if !yield(v) {
				return
			}
		}
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s of %v: got %v, %v; want %v", r.Stock(), values, got, err, want)
	}
	wantEnc, _ := res.Append(nil, want)
	if enc := groupAll(t, n, encs); len(enc) != 1 || enc[0] != string(wantEnc) {
		t.Errorf("native %s of %v: got %q, want %q", r.Stock(), values, enc, wantEnc)
	}
}

// groupAll returns what n emits for a group. The memory of each value is used again for the next, as in a merge.
func groupAll(t *testing.T, n *Native, encs [][]byte) (all []string) {
	t.Helper()
	var seq iter.Seq[[]byte] = func(yield func([]byte) bool) {
		var buf []byte
		for _, enc := range encs {
			buf = append(buf[:0], enc...)
			if !yield(buf) {
				return
			}
			for i := range buf {
				buf[i] = '?'
			}
		}
	}
	if err := n.Group(seq, func(result []byte) error { all = append(all, string(result)); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDistinct(t *testing.T) {
	checkGroup(t, Distinct[string](), []string{"b", "a", "", "b", "", "ab"}, 4)
	checkGroup(t, Distinct[string](), []string{""}, 1)
	checkGroup(t, Distinct[float64](), []float64{0, math.Copysign(0, -1), 2, -1}, 3)
	checkGroup(t, Distinct[int](), []int{3, 3, 3}, 1)
}

func TestConcat(t *testing.T) {
	checkGroup(t, Concat(", "), []string{"b", "a", "", "b"}, ", a, b, b")
	checkGroup(t, Concat("\n\"ü"), []string{"b", "a"}, "a\n\"üb")
	checkGroup(t, Concat(""), []string{"x"}, "x")
	_, err := concat("", slices.Values([]string{strings.Repeat("a", maxConcat), "", "b"}))
	if err != errConcat {
		t.Errorf("over the limit: got %v", err)
	}
}

func TestJoin(t *testing.T) {
	rows := map[int][]string{0: {"l2", "l1"}, 1: {"r1", "r2"}}
	tests := []struct {
		kind  JoinKind
		sides []int
		want  string
	}{
		{Inner, []int{0, 1}, `["l1","r1"]["l1","r2"]["l2","r1"]["l2","r2"]`},
		{Left, []int{0, 1}, `["l1","r1"]["l1","r2"]["l2","r1"]["l2","r2"]`},
		{Outer, []int{0, 1}, `["l1","r1"]["l1","r2"]["l2","r1"]["l2","r2"]`},
		{Inner, []int{0}, ``}, {Inner, []int{1}, ``},
		{Left, []int{0}, `["l1",null]["l2",null]`}, {Left, []int{1}, ``},
		{Outer, []int{0}, `["l1",null]["l2",null]`}, {Outer, []int{1}, `[null,"r1"][null,"r2"]`},
	}
	for _, tt := range tests {
		n, err := Lookup("join(" + string(tt.kind) + ")")
		if err != nil {
			t.Fatal(err)
		}
		type row = Row[string, string]
		var encs [][]byte
		for _, side := range tt.sides {
			for _, text := range rows[side] {
				enc, err := n.Lift(nil, []byte(text), side)
				if err != nil {
					t.Fatal(err)
				}
				encs = append(encs, enc)
			}
		}
		slices.SortFunc(encs, func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
		if got := strings.Join(groupAll(t, n, encs), ""); got != tt.want {
			t.Errorf("%s of %v: got %s, want %s", tt.kind, tt.sides, got, tt.want)
		}
		show := func(s *string) string {
			if s == nil {
				return "null"
			}
			return strconv.Quote(*s)
		}
		join := Join(tt.kind, func(key string, l, r *string) string { return "[" + show(l) + "," + show(r) + "]" })
		decode := func(yield func(row) bool) {
			for _, enc := range encs {
				var r row
				if err := r.UnmarshalBinary(enc); err != nil {
					t.Fatal(err)
				}
				if back, err := r.AppendBinary(nil); err != nil || string(back) != string(enc) {
					t.Errorf("row %q is encoded as %q, %v", enc, back, err)
				}
				if !yield(r) {
					return
				}
			}
		}
		got := ""
		if err := join("k", decode, func(_ string, out string) { got += out }); err != nil || got != tt.want {
			t.Errorf("Join %s of %v: got %s, %v; want %s", tt.kind, tt.sides, got, err, tt.want)
		}
	}
	long := []byte("\x00more than is held")
	if err := groupJoin(Inner, 30)(slices.Values([][]byte{long, long}), nil); err != errJoin {
		t.Errorf("over the limit: got %v", err)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"sum": "sum:int64", "min": "min:int64", "identity": "identity:string", "top-k( 10 )": "top-k:int64(10)", "top-k:string(1)": "top-k:string(1)",
		"top-k-by(3)": "top-k-by:int64:string(3)", "first:float64": "first:float64:string", "last:string:int64": "last:string:int64",
		"quantiles(.5,1e0)": "quantiles(0.5, 1)", "quantile(0.50)": "quantile(0.5)", "histogram(-1, 0,10)": "histogram(-1, 0, 10)",
		"distinct": "distinct:string", "distinct-approx:int64": "distinct-approx:int64", "concat": `concat(",")`, "concat(;)": `concat(";")`,
		`concat("a\tb)")`: `concat("a\tb)")`, "join": "join(inner)", "join(outer)": "join(outer)",
	} {
		n, err := LookupText(text)
		if err != nil {
			t.Errorf("LookupText(%q): %v", text, err)
			continue
		}
		if n.Name != want {
			t.Errorf("LookupText(%q) is named %q, want %q", text, n.Name, want)
		}
		if again, err := Lookup(n.Name); err != nil || again.Name != n.Name {
			t.Errorf("Lookup(%q): %v", n.Name, err)
		}
	}
	for text, want := range map[string]string{
		"sun": "none of sum, count", "first": "say of what type", "last": "say of what type", "first:bytes": "no order", "sum(1)": "no arguments",
		"top-k": "from 1 to 1000", "top-k(0)": "from 1 to 1000", "top-k(1001)": "from 1 to 1000", "top-k(1,2)": "from 1 to 1000", "top-k(x": "arguments",
		"top-k()": "arguments", "top-k(1))": "arguments", "top-k(1)x": "arguments", "top-k:int64:int64(1)": "more types", "top-k:json(1)": "no order",
		"quantile(2)": "not between", "quantile(nan)": "not a number", "quantile(1,1)": "2 arguments", "quantiles": "0 arguments", "histogram(2,1)": "ascending",
		"histogram(1,1)": "ascending", "join(left, right)": "join(outer)", "join(full)": "join(outer)", `concat("a", "b")`: "one separator",
		`concat("a)`: "arguments", "count:int64": "none for values of type", strings.Repeat("x", 1000): "more than 900 bytes",
		"concat(" + strings.Repeat("x", 101) + ")": "more than 100 bytes", "distinct:x": "no type", "distinct(1)": "no arguments",
	} {
		if _, err := LookupText(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("LookupText(%.40q): got %v, want an error with %q", text, err, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"sum", "top-k:int64(10)", `concat("\"")`, "quantiles(0.1, 1)", "a:b:c(,)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := LookupText(s)
		if err != nil {
			return
		}
		again, err := Lookup(n.Name)
		if err != nil || again.Name != n.Name || strings.Contains(n.Name, "\n") {
			t.Errorf("%q is %q, and that %v, %v", s, n.Name, again, err)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	for _, name := range []string{"top-k(10)", "top-k(1000)", "quantile(0.5)", "distinct-approx:int64", "histogram(0, 1, 10, 100)", "first:int64"} {
		n, err := LookupText(name)
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		text := func() []byte {
			if strings.HasPrefix(name, "first") {
				return fmt.Appendf(nil, "%d\tx", rng.Int64N(1e6))
			}
			return strconv.AppendInt(nil, rng.Int64N(1e6), 10)
		}
		acc, _ := n.Lift(nil, text(), 0)
		for range 100_000 {
			one, err := n.Lift(nil, text(), 0)
			if err != nil {
				b.Fatal(err)
			}
			acc = n.Merge(nil, acc, one)
		}
		one, _ := n.Lift(nil, text(), 0)
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(float64(len(acc)), "bytes")
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst = n.Merge(dst[:0], acc, one)
			}
		})
	}
}

func ExampleTopKBy() {
	r := TopKBy[int, string](2)
	acc := r.Lift(Entry[int, string]{3, "bread"})
	for _, e := range []Entry[int, string]{{9, "milk"}, {3, "apples"}} {
		acc = r.Merge(acc, r.Lift(e))
	}
	top, err := r.Result(acc)
	fmt.Println(string(top), err)
	// Output: [[9,"milk"],[3,"apples"]] <nil>
}
