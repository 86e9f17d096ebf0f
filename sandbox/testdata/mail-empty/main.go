// Mail-empty reads each object and emits nothing.
package main

import (
	"io"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

func main() {
	job.Main(job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
		_, err := io.Copy(io.Discard, obj)
		return err
	}, reducer.Sum[int64]()))
}
