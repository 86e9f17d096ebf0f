package sandbox_test

import (
	"fmt"

	"github.com/millrace/millrace/sandbox"
)

// A main function (or TestMain) makes way for the jail first: see IsChild. Then any part of the program can start one.
func Example() {
	p, err := sandbox.Start(&sandbox.Config{Args: []string{"exit", "7"}, Memory: 256 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Wait())
	// Output: exited 7
}
