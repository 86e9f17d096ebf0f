// Command bytewords counts words as the word count example does, but emits them as the scanner has them.
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

func words(obj *mapper.Object, emit func([]byte, int64)) error {
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		emit(sc.Bytes(), 1)
	}
	return sc.Err()
}
