package jobtest_test

import (
	"bufio"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobtest"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// pairs emits the lines of an object, "key value", by f.
func pairs[V any](f func(obj *mapper.Object, value string) V) func(*mapper.Object, func(string, V)) error {
	return func(obj *mapper.Object, emit func(string, V)) error {
		sc := bufio.NewScanner(obj)
		for sc.Scan() {
			key, value, _ := strings.Cut(sc.Text(), " ")
			emit(key, f(obj, value))
		}
		return sc.Err()
	}
}

func TestJoin(t *testing.T) {
	type row = reducer.Row[string, int64]
	side := pairs(func(obj *mapper.Object, value string) row {
		if strings.HasPrefix(obj.Key, "orders/") {
			return reducer.LeftRow[string, int64](value)
		}
		return reducer.RightRow[string](int64(len(value)))
	})
	j := job.MapGroup(side, reducer.Join(reducer.Left, func(key string, order *string, n *int64) string {
		if n == nil {
			return *order + " alone"
		}
		return *order + " " + strings.Repeat("I", int(*n))
	}))
	r := jobtest.Run(t, j, map[string]string{"orders/1": "a apple\nb pear", "orders/2": "a plum", "names/1": "a xx\nc xxx"}, nil)
	if got, want := r.Lines(), []string{"a\tapple II", "a\tplum II", "b\tpear alone"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOwnGroup(t *testing.T) {
	text := pairs(func(_ *mapper.Object, value string) string { return value })
	halves := reducer.Reducer[string, string, string]{
		Lift: func(v string) string { return v + v },
		Group: func(values iter.Seq[string]) (string, error) {
			for v := range values {
				return v, nil // the first in order; the rest is passed over
			}
			return "", nil
		},
	}
	r := jobtest.Run(t, job.MapReduce(text, halves), map[string]string{"1": "a y\na x\nb z", "2": "b w\na z"}, nil)
	if got, want := r.Lines(), []string{"a\txx", "b\tww"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r = jobtest.Run(t, job.MapReduce(text, reducer.Distinct[string]()), map[string]string{"1": "a y\na x", "2": "a y"}, nil)
	if got := r.Lines(); !slices.Equal(got, []string{"a\t2"}) {
		t.Errorf("distinct: got %q", got)
	}
}

// What a stock reducer does natively, the reducer of the Go job does as well.
func TestReduceInGuest(t *testing.T) {
	text := pairs(func(_ *mapper.Object, value string) string { return value })
	for name, j := range map[string]*job.Job{
		"distinct": job.MapReduce(text, reducer.Distinct[string]()),
		"concat":   job.MapReduce(text, reducer.Concat("+")),
	} {
		records := [][2]string{{"a", "x"}, {"a", "x"}, {"a", "y"}, {"b", "x"}}
		next := func() (key, value []byte, ok bool, err error) {
			if len(records) == 0 {
				return nil, nil, false, nil
			}
			r := records[0]
			records = records[1:]
			return []byte(r[0]), []byte(r[1]), true, nil
		}
		got := map[string]string{}
		if err := j.Reduce(next, func(key, result []byte) error { got[string(key)] = string(result); return nil }); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"a": "x+x+y", "b": "x"}
		if name == "distinct" {
			want = map[string]string{"a": "\x80\x00\x00\x00\x00\x00\x00\x02", "b": "\x80\x00\x00\x00\x00\x00\x00\x01"}
		}
		if got["a"] != want["a"] || got["b"] != want["b"] {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Values come in the order of the second key, whatever that is, and then in their own.
func TestMapSorted(t *testing.T) {
	numbers := func(obj *mapper.Object, emit func(string, float64, string)) error {
		return fields(obj, func(f []string) error {
			order, err := strconv.ParseFloat(f[1], 64)
			emit(f[0], order, f[2])
			return err
		})
	}
	byNumber := job.MapSorted(numbers, func(k string, values iter.Seq2[float64, string], emit func(string, string)) error {
		for order, v := range values {
			emit(k, strconv.FormatFloat(order, 'g', -1, 64)+v)
		}
		return nil
	})
	texts := func(obj *mapper.Object, emit func(string, string, []byte)) error {
		return fields(obj, func(f []string) error { emit(f[0], strings.ReplaceAll(f[1], "0", "\x00"), []byte(f[2])); return nil })
	}
	first := job.MapSorted(texts, func(k string, values iter.Seq2[string, []byte], emit func(string, string)) error {
		for order, v := range values {
			emit(k, strings.ReplaceAll(order, "\x00", "0")+string(v))
			break
		}
		return nil
	})
	for name, tt := range map[string]struct {
		job  *job.Job
		want []string
	}{
		"numbers": {byNumber, []string{"a\t-2x", "a\t1v", "a\t1w", "a\t10u", "b\t0.5y"}},
		"first":   {first, []string{"a\t-2x", "b\t.5y"}},
	} {
		objects := map[string]string{"1": "a 10 u\na -2 x\nb .5 y", "2": "a 1 w\na 1 v"}
		for _, reducers := range []int{1, 2} {
			got := jobtest.Run(t, tt.job, objects, &jobtest.Options{Reducers: reducers}).Lines()
			if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(tt.want))) {
				t.Errorf("%s, %d: got %q, want %q", name, reducers, got, tt.want)
			}
			if reducers == 1 {
				got = jobtest.Run(t, tt.job, objects, nil).Lines()
				if !slices.Equal(got, tt.want) {
					t.Errorf("%s: got %q, want %q", name, got, tt.want)
				}
			}
		}
	}
}

// fields calls f with the fields of each line.
func fields(obj *mapper.Object, f func(fields []string) error) error {
	sc := bufio.NewScanner(obj)
	for sc.Scan() {
		if err := f(strings.Fields(sc.Text())); err != nil {
			return err
		}
	}
	return sc.Err()
}
