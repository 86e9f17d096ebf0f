package placement_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/placement"
)

func Example() {
	q := placement.New(3 * time.Second)
	q.Push(placement.Task{ID: "m-00000", Nodes: []string{"b"}})
	q.Push(placement.Task{ID: "m-00001", Nodes: []string{"a"}})
	now := time.Unix(0, 0)
	t, _ := q.Take("a", now)
	fmt.Println(t.ID)
	_, ok := q.Take("a", now.Add(time.Second))
	fmt.Println(ok)
	t, _ = q.Take("a", now.Add(3*time.Second))
	fmt.Println(t.ID)
	// Output:
	// m-00001
	// false
	// m-00000
}

func TestTake(t *testing.T) {
	now := time.Unix(100, 0)
	tests := []struct {
		name  string
		tasks []placement.Task
		node  string
		want  string
	}{
		{"empty", nil, "a", ""},
		{"anywhere in order", []placement.Task{{ID: "1"}, {ID: "2"}}, "a", "1"},
		{"near before first", []placement.Task{{ID: "1", Nodes: []string{"b"}}, {ID: "2", Nodes: []string{"c", "a"}}}, "a", "2"},
		{"anywhere before far", []placement.Task{{ID: "1", Nodes: []string{"b"}}, {ID: "2"}}, "a", "2"},
		{"far waits", []placement.Task{{ID: "1", Nodes: []string{"b"}}}, "a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := placement.New(time.Second)
			for _, task := range tt.tasks {
				q.Push(task)
			}
			got, _ := q.Take(tt.node, now)
			if string(got.ID) != tt.want {
				t.Errorf("Take(%q) = %q, want %q", tt.node, got.ID, tt.want)
			}
			if want := len(tt.tasks); tt.want != "" && q.Len() != want-1 {
				t.Errorf("Len = %d, want %d", q.Len(), want-1)
			}
		})
	}
}

func TestPushFront(t *testing.T) {
	q := placement.New(0)
	q.Push(placement.Task{ID: "1"})
	q.PushFront(placement.Task{ID: "0"})
	if got, _ := q.Take("a", time.Time{}); got.ID != "0" {
		t.Errorf("Take = %q, want the task pushed to the front", got.ID)
	}
}
