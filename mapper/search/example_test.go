package search_test

import (
	"fmt"

	"github.com/millrace/millrace/mapper/search"
)

func ExamplePattern_Matches() {
	address := search.MustCompile(`[a-z]+@acme\.com`)
	text := []byte("From: ann@acme.com\nTo: bob@acme.com, eve@example.org\n")
	for m := range address.Matches(text) {
		fmt.Printf("%s in %q\n", m.Text(), m.Line)
	}
	// Output:
	// ann@acme.com in "From: ann@acme.com"
	// bob@acme.com in "To: bob@acme.com, eve@example.org"
}

func ExampleCompile() {
	_, err := search.Compile("a(b", nil)
	fmt.Println(err)
	// Output: pattern "a(b" at 1: unclosed group
}
