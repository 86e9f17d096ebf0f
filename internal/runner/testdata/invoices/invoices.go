// Package invoices finds lines with invoice numbers: the work of an object in benchmarks.
package invoices

import (
	"bufio"
	"io"
	"regexp"

	"github.com/millrace/millrace/mapper"
)

var invoice = regexp.MustCompile(`invoice \d+`)

// Lines emits the lines of the object that name an invoice.
func Lines(obj *mapper.Object, emit func(string)) error {
	return Each(obj, func(line []byte) { emit(string(line)) })
}

// Each calls found with the lines of r that name an invoice.
func Each(r io.Reader, found func(line []byte)) error {
	in := bufio.NewScanner(r)
	for in.Scan() {
		if invoice.Match(in.Bytes()) {
			found(in.Bytes())
		}
	}
	return in.Err()
}
