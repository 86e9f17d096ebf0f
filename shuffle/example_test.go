package shuffle_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"strings"

	"github.com/millrace/millrace/shuffle"
)

// Two runs, counted while they are made, are merged into one count.
func Example() {
	sum := func(dst, a, b []byte) []byte {
		return binary.BigEndian.AppendUint64(dst, binary.BigEndian.Uint64(a)+binary.BigEndian.Uint64(b))
	}
	one := binary.BigEndian.AppendUint64(nil, 1)

	var runs []*shuffle.RunReader
	for _, text := range []string{"to be or not to be", "to do is to be"} {
		sorter := shuffle.NewSorter(&shuffle.SorterOptions{Combine: sum})
		defer sorter.Close()
		var file bytes.Buffer
		sorter.Start(&file, 0)
		for word := range strings.FieldsSeq(text) {
			if err := sorter.Add([]byte(word), one); err != nil {
				log.Fatal(err)
			}
		}
		sections, err := sorter.Seal()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d records for %d words\n", sections[0].Records, sections[0].Emitted)
		runs = append(runs, shuffle.NewRunReader(&file, nil))
	}

	m := shuffle.Merge(runs, sum)
	for word, counts := range m.Groups() {
		for n := range counts {
			fmt.Printf("%s %d\n", word, binary.BigEndian.Uint64(n))
		}
	}
	if err := m.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 4 records for 6 words
	// 4 records for 5 words
	// be 3
	// do 1
	// is 1
	// not 1
	// or 1
	// to 4
}
