// Mail-address matches each line of each object, and emits what matched.
package main

import (
	"bufio"
	"regexp"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

var address = regexp.MustCompile(`[a-z]+@acme\.com`)

func main() {
	job.Main(job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
		sc := bufio.NewScanner(obj)
		for sc.Scan() {
			if m := address.Find(sc.Bytes()); m != nil {
				emit(string(m), 1)
			}
		}
		return sc.Err()
	}, reducer.Sum[int64]()))
}
