// Package programs holds the programs whose jobs package chaos disturbs and varies. Several do the same by other means: a stock reducer that
// combines, a reducer of their own, a function of all values of a key.
package programs

import (
	"bufio"
	"errors"
	"strconv"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// Bounds of the histogram, and the quantiles, that programs of those names make.
var (
	Bounds    = []float64{-1e3, 0, 0.5, 1e3}
	Quantiles = []float64{0, 0.5, 0.99}
)

// Top is how many values the programs top and top-group keep.
const Top = 3

// Lookup returns the program of that name.
func Lookup(name string) (*job.Job, error) {
	switch name {
	case "lines":
		return job.MapOnly(lines), nil
	case "words":
		return job.MapReduce(words, reducer.Sum[int64]()), nil
	case "words-own":
		return job.MapReduce(words, add()), nil
	case "words-group":
		return job.MapGroup(words, total), nil
	case "sort":
		return job.MapReduce(pairs(text), reducer.Identity[string]()), nil
	case "sort-group":
		return job.MapGroup(pairs(text), all), nil
	case "top":
		return job.MapReduce(pairs(whole), reducer.TopK[int64](Top)), nil
	case "top-group":
		return job.MapGroup(pairs(whole), top), nil
	case "sum":
		return job.MapReduce(pairs(decimal), reducer.SumFloat[float64]()), nil
	case "mean":
		return job.MapReduce(pairs(decimal), reducer.Mean[float64]()), nil
	case "histogram":
		return job.MapReduce(pairs(decimal), reducer.Histogram[float64](Bounds...)), nil
	case "quantiles":
		return job.MapReduce(pairs(decimal), reducer.Quantiles[float64](Quantiles...)), nil
	case "distinct":
		return job.MapReduce(pairs(text), reducer.Distinct[string]()), nil
	case "distinct-group":
		return job.MapGroup(pairs(text), distinct), nil
	case "first":
		return job.MapReduce(pairs(entry), reducer.First[int64, string]()), nil
	case "last":
		return job.MapReduce(pairs(entry), reducer.Last[int64, string]()), nil
	case "misbehave":
		return job.MapGroup(pairs(text), misbehave), nil
	case "join":
		return job.MapGroup(sides, reducer.Join(reducer.Outer, pair)), nil
	}
	return nil, errors.New("no program " + strconv.Quote(name))
}

// lines emits the lines that hold an a.
func lines(obj *mapper.Object, emit func(string)) error {
	sc := bufio.NewScanner(obj)
	for sc.Scan() {
		if strings.Contains(sc.Text(), "a") {
			emit(sc.Text())
		}
	}
	return sc.Err()
}

// words emits each word with a 1.
func words(obj *mapper.Object, emit func(string, int64)) error {
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		emit(sc.Text(), 1)
	}
	return sc.Err()
}

// pairs emits what lines of key, tab and value say.
func pairs[V any](parse func(string) (V, error)) func(*mapper.Object, func(string, V)) error {
	return func(obj *mapper.Object, emit func(string, V)) error {
		sc := bufio.NewScanner(obj)
		for sc.Scan() {
			key, value, _ := strings.Cut(sc.Text(), "\t")
			v, err := parse(value)
			if err != nil {
				return err
			}
			emit(key, v)
		}
		return sc.Err()
	}
}

func text(s string) (string, error)     { return s, nil }
func whole(s string) (int64, error)     { return strconv.ParseInt(s, 10, 64) }
func decimal(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

// entry takes apart what a value is sorted by, and the value.
func entry(s string) (e reducer.Entry[int64, string], err error) {
	order, value, _ := strings.Cut(s, "\t")
	e.Value = value
	e.Order, err = whole(order)
	return e, err
}

type row = reducer.Row[string, string]

// sides emits the lines of objects under a/ as those of the first input, others as those of the second.
func sides(obj *mapper.Object, emit func(string, row)) error {
	side := func(s string) (row, error) { return reducer.RightRow[string](s), nil }
	if strings.Contains(obj.URI, "/a/") {
		side = func(s string) (row, error) { return reducer.LeftRow[string, string](s), nil }
	}
	return pairs(side)(obj, emit)
}
