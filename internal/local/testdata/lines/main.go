// Command lines prints how many lines each object has.
package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
)

func main() { job.Main(job.MapOnly(lines)) }

func lines(obj *mapper.Object, emit func(string)) error {
	b, err := io.ReadAll(obj)
	emit(fmt.Sprintf("%s %d", obj.Key, bytes.Count(b, []byte{'\n'})))
	return err
}
