package job_test

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jsonvalue"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

func words(obj *mapper.Object, emit func(string, int64)) error {
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		emit(sc.Text(), 1)
	}
	return sc.Err()
}

// An extent is an accumulator of a user's own reducer.
type extent struct{ min, max int }

func (e extent) MarshalBinary() ([]byte, error) { return []byte{byte(e.min), byte(e.max)}, nil }

func (e *extent) UnmarshalBinary(p []byte) error {
	if len(p) != 2 {
		return errors.New("malformed extent")
	}
	*e = extent{int(p[0]), int(p[1])}
	return nil
}

// lengths is the job that shows the lengths of words for each initial.
func lengths() *job.Job {
	return job.MapReduce(func(obj *mapper.Object, emit func(string, int)) error {
		for w := range strings.FieldsSeq(string(obj.Data)) {
			emit(w[:1], len(w))
		}
		return nil
	}, reducer.Reducer[int, extent, string]{
		Lift:  func(n int) extent { return extent{n, n} },
		Merge: func(a, b extent) extent { return extent{min(a.min, b.min), max(a.max, b.max)} },
		Result: func(e extent) (string, error) {
			if e.max > 9 {
				return "", errors.New("a word is too long")
			}
			return strconv.Itoa(e.min) + "-" + strconv.Itoa(e.max), nil
		},
	})
}

// latest is a user's own reducer.
func latest[V any]() reducer.Reducer[V, V, V] {
	return reducer.Reducer[V, V, V]{
		Lift: func(v V) V { return v }, Merge: func(_, b V) V { return b }, Result: func(v V) (V, error) { return v, nil },
	}
}

type vote = jsonvalue.Of[map[string]int]

// top is the job that lists the words of each length, shortest first, with where they were found.
func top() *job.Job {
	return job.MapGroup(func(obj *mapper.Object, emit func(uint16, string)) error {
		for w := range strings.FieldsSeq(string(obj.Data)) {
			emit(uint16(len(w)), w)
		}
		return nil
	}, func(n uint16, ws iter.Seq[string], emit func(uint16, vote)) error {
		counts := map[string]int{}
		for w := range ws {
			if w == "stop" {
				break // the rest is skipped
			}
			counts[w]++
		}
		emit(n, vote{V: counts})
		return nil
	})
}

func object(text string) *mapper.Object {
	return &mapper.Object{Key: "k", URI: "mem:k", Size: int64(len(text)), Data: []byte(text), Body: strings.NewReader(text)}
}

// An output keeps what a job emits.
type output struct {
	records [][2]string
	text    strings.Builder
	counts  map[string]int64
	err     error // of Record and Text
}

func (o *output) Record(k, v []byte) error {
	o.records = append(o.records, [2]string{string(k), string(v)})
	return o.err
}
func (o *output) Text(p []byte) error { o.text.Write(p); return o.err }
func (o *output) Count(name string, n int64) {
	if o.counts == nil {
		o.counts = make(map[string]int64)
	}
	o.counts[name] += n
}

// next sorts the records and returns them one by one.
func (o *output) next() func() ([]byte, []byte, bool, error) {
	slices.SortFunc(o.records, func(a, b [2]string) int {
		return slices.Compare(a[:], b[:])
	})
	i := 0
	return func() ([]byte, []byte, bool, error) {
		if i == len(o.records) {
			return nil, nil, false, nil
		}
		i++
		return []byte(o.records[i-1][0]), []byte(o.records[i-1][1]), true, nil
	}
}

// run maps texts and reduces what they give, and returns the output as text.
func run(j *job.Job, texts ...string) (string, error) {
	d, err := j.Describe()
	if err != nil {
		return "", err
	}
	var out output
	for _, text := range texts {
		if err := j.Map(object(text), &out); err != nil {
			return "", err
		}
	}
	var p []byte
	err = j.Reduce(out.next(), func(k, r []byte) error {
		p = append(guest.Text(p, d.Key, k), '\t')
		p = append(guest.Text(p, d.Result, r), '\n')
		return nil
	})
	return string(p), err
}

func TestRun(t *testing.T) {
	tests := []struct {
		name  string
		job   *job.Job
		texts []string
		want  string
		err   string
	}{
		{"words", job.MapReduce(words, reducer.Sum[int64]()), []string{"to be or", "not to be", ""}, "be\t2\nnot\t1\nor\t1\nto\t2\n", ""},
		{"identity", job.MapReduce(words, reducer.Identity[int64]()), []string{"a b", "a"}, "a\t1\na\t1\nb\t1\n", ""},
		{"own reducer", lengths(), []string{"aa b accc", "a bbb"}, "a\t1-4\nb\t1-3\n", ""},
		{"own reducer's error", lengths(), []string{"abcdefghijklm"}, "", "a word is too long"},
		{"group", top(), []string{"be to be", "not stop wxyz also"}, "2\t{\"be\":2,\"to\":1}\n3\t{\"not\":1}\n4\t{\"also\":1}\n", ""},
		{"nothing", top(), nil, "", ""},
		{"unknown type", job.MapReduce(func(*mapper.Object, func(string, struct{ A int })) error { return nil }, reducer.Count[struct{ A int }]()),
			nil, "", ""}, // a count does not look at its values
		{"type without encoding", job.MapReduce(func(*mapper.Object, func(string, chan int)) error { return nil }, reducer.Identity[chan int]()),
			nil, "", "value: a chan int cannot be encoded: make it a BinaryMarshaler and its pointer a BinaryUnmarshaler, or wrap it in a jsonvalue.Of"},
		{"map only", job.MapOnly(func(*mapper.Object, func(string)) error { return nil }), nil, "", "a map-only job does not reduce"},
	}
	for _, tt := range tests {
		got, err := run(tt.job, tt.texts...)
		gotErr := ""
		if err != nil {
			gotErr = err.Error()
		}
		if gotErr != tt.err || err == nil && got != tt.want {
			t.Errorf("%s: got %q, %q; want %q, %q", tt.name, got, gotErr, tt.want, tt.err)
		}
	}
}

func TestCombinerIsBounded(t *testing.T) {
	j := job.MapReduce(func(_ *mapper.Object, emit func(int, int)) error {
		for i := range 100_000 {
			emit(i/5, i%5)
		}
		return nil
	}, reducer.Reducer[int, int, int]{
		Lift: func(v int) int { return v }, Merge: func(a, b int) int { return max(a, b) }, Result: func(a int) (int, error) { return a, nil },
	})
	var out output
	if err := j.Map(object(""), &out); err != nil {
		t.Fatal(err)
	}
	if n := len(out.records); n < 20_000 || n > 20_010 {
		t.Errorf("%d records came of 100,000 with 20,000 keys", n)
	}
	keys := 0
	err := j.Reduce(out.next(), func(k, r []byte) error {
		keys++
		if n, err := guest.DecodeInt(r); n != 4 || err != nil {
			t.Fatalf("key %x: got %d, %v; want 4", k, n, err)
		}
		return nil
	})
	if err != nil || keys != 20_000 {
		t.Errorf("got %d keys, %v; want 20,000", keys, err)
	}
}

func TestMapErrors(t *testing.T) {
	own := errors.New("bad header")
	var late func(string, float64)
	mapReduce := func(f func(*mapper.Object, func(string, float64)) error) *job.Job {
		return job.MapReduce(f, reducer.Max[float64]())
	}
	tests := []struct {
		name string
		job  *job.Job
		out  output
		want string
	}{
		{"own", mapReduce(func(*mapper.Object, func(string, float64)) error { return own }), output{}, "bad header"},
		{"NaN", mapReduce(func(_ *mapper.Object, emit func(string, float64)) error {
			emit("k", math.NaN())
			emit("k", 1)
			return nil
		}),
			output{}, "emitted value: NaN"},
		{"full", mapReduce(func(_ *mapper.Object, emit func(string, float64)) error { emit("k", 1); emit("k", 2); return nil }),
			output{err: errors.New("limit: 1 record")}, "limit: 1 record"},
		{"full text", job.MapOnly(func(_ *mapper.Object, emit func(string)) error { emit("k"); emit("l"); return nil }),
			output{err: errors.New("limit: 1 byte")}, "limit: 1 byte"},
		{"panic", mapReduce(func(*mapper.Object, func(string, float64)) error { panic(own) }), output{}, "panic: bad header"},
		{"panic of the language", mapReduce(func(o *mapper.Object, emit func(string, float64)) error { emit(o.Params["x"][:3], 1); return nil }),
			output{}, "panic: runtime error: slice bounds out of range [:3] with length 0"},
		{"panic of a number", mapReduce(func(*mapper.Object, func(string, float64)) error { panic(7) }), output{},
			"panic: a value that is not an error or a string"},
		{"NaN key, combined", job.MapReduce(func(_ *mapper.Object, emit func(float64, int)) error { emit(math.NaN(), 1); return nil },
			latest[int]()), output{}, "emitted key: NaN"},
		{"NaN value, combined", job.MapReduce(func(_ *mapper.Object, emit func(string, float64)) error { emit("k", math.NaN()); return nil },
			latest[float64]()), output{}, "emitted value: NaN"},
		{"full, combined", job.MapReduce(func(_ *mapper.Object, emit func(string, int)) error { emit("k", 1); emit("k", 2); return nil },
			latest[int]()), output{err: errors.New("limit: 0 records")}, "limit: 0 records"},
		{"late emission", mapReduce(func(_ *mapper.Object, emit func(string, float64)) error { late = emit; return nil }), output{}, ""},
	}
	for _, tt := range tests {
		err := tt.job.Map(object("x"), &tt.out)
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if tt.name == "panic" && !errors.Is(err, own) {
			t.Error("a panic hides its error")
		}
		if late != nil {
			late("k", 1)
		}
		if len(tt.out.records) > 1 || tt.out.text.Len() > 2 || tt.out.err == nil && len(tt.out.records) > 0 {
			t.Errorf("%s: emitted %q %q", tt.name, tt.out.records, tt.out.text.String())
		}
	}
}

func TestMapOnly(t *testing.T) {
	j := job.MapOnly(func(obj *mapper.Object, emit func(string)) error {
		sc := bufio.NewScanner(obj)
		for sc.Scan() {
			if strings.Contains(sc.Text(), obj.Param("pattern")) {
				emit(sc.Text())
				obj.Count("lines", 1)
			}
		}
		return sc.Err()
	})
	if d, err := j.Describe(); err != nil || !d.MapOnly {
		t.Errorf("got %+v, %v", d, err)
	}
	obj := object("a mill\nno\nmillrace\n")
	obj.Params = map[string]string{"pattern": "mill"}
	var out output
	if err := j.Map(obj, &out); err != nil || out.text.String() != "a mill\nmillrace\n" || out.counts["lines"] != 2 {
		t.Errorf("got %q, %v, %v", out.text.String(), out.counts, err)
	}
}

func TestReduceErrors(t *testing.T) {
	boom := errors.New("corrupt")
	pairs := func(last error, kv ...string) func() ([]byte, []byte, bool, error) {
		return func() ([]byte, []byte, bool, error) {
			if len(kv) == 0 {
				return nil, nil, false, last
			}
			k, v := kv[0], kv[1]
			kv = kv[2:]
			return []byte(k), []byte(v), true, nil
		}
	}
	two := string(guest.AppendUint(nil, 2))[6:] // a uint16 is encoded in 8 bytes: this is malformed
	key := string(guest.AppendUint(nil, 2))
	tests := []struct {
		name string
		job  *job.Job
		next func() ([]byte, []byte, bool, error)
		want string
	}{
		{"stream", lengths(), pairs(boom), "corrupt"},
		{"stream in a key", lengths(), pairs(boom, "a", "\x01\x01"), "corrupt"},
		{"stream in a group", top(), pairs(boom, key, "x"), "corrupt"},
		{"order", lengths(), pairs(nil, "b", "\x01\x01", "a", "\x01\x01"), "records are not ordered by key"},
		{"order of groups", top(), pairs(nil, key, "x", string(guest.AppendUint(nil, 1)), "x"), "records are not ordered by key"},
		{"accumulator", lengths(), pairs(nil, "b", "\x01"), "malformed extent"},
		{"second accumulator", lengths(), pairs(nil, "b", "\x01\x01", "b", ""), "malformed extent"},
		{"key", top(), pairs(nil, two, "x"), "guest protocol: malformed number"},
	}
	for _, tt := range tests {
		err := tt.job.Reduce(tt.next, func(_, _ []byte) error { return nil })
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	full := errors.New("disk full")
	for name, j := range map[string]*job.Job{"merged": lengths(), "grouped": top()} {
		kv := []string{"a", "\x01\x01"}
		if name == "grouped" {
			kv = []string{key, "x"}
		}
		if err := j.Reduce(pairs(nil, kv...), func(_, _ []byte) error { return full }); err != full {
			t.Errorf("%s: got %v, want %v", name, err, full)
		}
	}
}

func Example() {
	j := job.MapReduce(words, reducer.Sum[int64]())
	out, err := run(j, "the mill grinds", "the race of the mill")
	fmt.Print(out, err)
	// Output:
	// grinds	1
	// mill	2
	// of	1
	// race	1
	// the	3
	// <nil>
}
