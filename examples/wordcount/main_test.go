package main

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/mapper"
)

func Example() {
	mail := &mapper.Object{Body: strings.NewReader("the mill\nthe race\n")}
	err := words(mail, func(word string, n int64) { fmt.Println(word, n) })
	fmt.Println(err)
	// Output:
	// the 1
	// mill 1
	// the 1
	// race 1
	// <nil>
}
