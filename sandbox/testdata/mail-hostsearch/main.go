// Mail-hostsearch has the host match each line of each object, and emits the first match of each.
package main

import (
	"io"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/mapper/search"
	"github.com/millrace/millrace/reducer"
)

var address = search.MustCompile(`[a-z]+@acme\.com`)

func main() {
	job.Main(job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) (err error) {
		text := obj.Data
		if text == nil {
			if text, err = io.ReadAll(obj); err != nil {
				return err
			}
		}
		var last *byte // of the line before
		for m := range address.Matches(text) {
			if &m.Line[0] != last {
				emit(string(m.Text()), 1)
				last = &m.Line[0]
			}
		}
		return nil
	}, reducer.Sum[int64]()))
}
