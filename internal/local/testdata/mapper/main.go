// Mapper is a program of the Go SDK that writes to a channel.
package main

import (
	"bufio"
	"errors"
	"os"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
)

func main() { job.Main(job.MapOnly(words)) }

func words(obj *mapper.Object, _ func(string)) error {
	f, err := os.Create("/dev/out/word")
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(obj)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		if _, err := f.WriteString(sc.Text() + "\t1\n"); err != nil {
			return err
		}
	}
	return errors.Join(sc.Err(), f.Close())
}
