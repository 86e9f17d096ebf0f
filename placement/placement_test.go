package placement_test

import (
	"fmt"
	"time"

	"github.com/millrace/millrace/placement"
)

func Example() {
	q := placement.New(3 * time.Second)
	q.Present("a", "north", 1)
	q.Present("b", "south", 1)
	q.Push(placement.Task{ID: "m-00000", Nodes: []string{"b"}})
	q.Push(placement.Task{ID: "m-00001", Nodes: []string{"a"}})
	now := time.Unix(0, 0)
	t, _ := q.Take("a", now)
	fmt.Println(t)
	_, ok := q.Take("a", now.Add(time.Second))
	fmt.Println(ok)
	t, _ = q.Take("a", now.Add(7*time.Second)) // from its zone it could have had it after three
	fmt.Println(t)
	// Output:
	// m-00001
	// false
	// m-00000
}
