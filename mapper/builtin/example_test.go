package builtin_test

import (
	"fmt"
	"os"

	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/mapper/builtin"
)

// A printer prints what is emitted.
type printer struct{}

func (printer) Record(key, value []byte) error { return nil }

func (printer) Text(p []byte) error {
	_, err := os.Stdout.Write(p)
	return err
}

func (printer) Count(name string, n int64) { fmt.Println(name, n) }

func Example() {
	grep, _ := builtin.Lookup("grep")
	m, err := grep.New(builtin.GrepParams{Patterns: []string{`invoice \d+`}, IgnoreCase: true, After: 1}.Encode())
	if err != nil {
		fmt.Println(err)
		return
	}
	mail := &mapper.Object{Key: "2026/01/17/000123.eml", Data: []byte("Dear all,\nInvoice 1234 is due.\nRegards\n\n")}
	if err := m.Map(mail, printer{}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// matching_lines 1
	// matching_objects 1
	// 2026/01/17/000123.eml:2:Invoice 1234 is due.
	// 2026/01/17/000123.eml-3-Regards
}
