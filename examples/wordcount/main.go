// Wordcount counts words.
//
//	millrace run ./examples/wordcount -i s3://mail/ -o s3://out/words -r 8
package main

import (
	"bufio"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

func main() {
	job.Main(job.MapReduce(words, reducer.Sum[int64]()))
}

// words emits each word of the object with a 1.
func words(obj *mapper.Object, emit func(string, int64)) error {
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		emit(sc.Text(), 1)
	}
	return sc.Err()
}
