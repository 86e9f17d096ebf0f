// Visits reads lines "day user place" and says where each user was, in the order of days: users of one initial letter in one partition.
package main

import (
	"bufio"
	"errors"
	"iter"
	"strconv"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
)

func main() {
	job.Main(job.MapSorted(visits, journey, job.PartitionBy(func(user string, n int) int { return int(user[0]) % n })))
}

func visits(obj *mapper.Object, emit func(user string, day int, place string)) error {
	lines := bufio.NewScanner(obj)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			return errors.New("line has no three fields")
		}
		day, err := strconv.Atoi(f[0])
		if err != nil {
			return err
		}
		emit(f[1], day, f[2])
	}
	return lines.Err()
}

func journey(user string, visits iter.Seq2[int, string], emit func(string, string)) error {
	var all []string
	for day, place := range visits {
		all = append(all, strconv.Itoa(day)+" "+place)
	}
	emit(user, strings.Join(all, ", "))
	return nil
}
