package reducer

import (
	"errors"
	"iter"
	"strconv"
)

// maxConcat bounds the result of Concat, in bytes.
const maxConcat = 16 << 20

var errConcat = errors.New("concat: more than 16 MiB")

// Concat returns the values in their order, those that are equal as often as they come, with sep between them. More than 16 MiB are
// an error. Values are not combined on their way, for they come sorted. It panics if sep is longer than 100 bytes.
func Concat(sep string) Reducer[string, string, string] {
	stock, err := concatName(sep)
	if err != nil {
		panic(err.Error())
	}
	return Reducer[string, string, string]{
		Lift: same[string],
		Group: func(values iter.Seq[string]) (string, error) {
			all, err := concat(sep, values)
			return string(all), err
		},
		stock: stock,
	}
}

func concatName(sep string) (string, error) {
	if len(sep) > 100 {
		return "", errors.New("concat: a separator of more than 100 bytes")
	}
	return stockName("concat", nil, strconv.QuoteToASCII(sep)), nil
}

func concat[S ~string | ~[]byte](sep string, values iter.Seq[S]) ([]byte, error) {
	var all []byte
	first := true
	for v := range values {
		if !first {
			all = append(all, sep...)
		}
		if first = false; len(all)+len(v) > maxConcat {
			return nil, errConcat
		}
		all = append(all, v...)
	}
	return all, nil
}
