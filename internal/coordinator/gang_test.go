package coordinator

import (
	"slices"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A task that is all of the plan begins all over again for each object that brings its runner down, and so does not do so for ever.
func TestObjectsEndAGang(t *testing.T) {
	for _, tt := range []struct {
		gang []job.Split
		want int
	}{{nil, 100}, {make([]job.Split, 2), maxFailures}} {
		x, on := &task{split: &job.Split{Gang: tt.gang}}, &host{}
		tries := 1
		for tries < 100 && x.blame(&Failure{Fault: FaultObject, Object: tries, Reason: "it loops"}, on) {
			tries++
		}
		if tries != tt.want || len(x.skip()) != min(tries, 99) {
			t.Errorf("%d splits: %d tries, %d objects left out; want %d", len(tt.gang), tries, len(x.skip()), tt.want)
		}
	}
}

// What members have made is discarded with the attempt.
func TestHandlesOfMembers(t *testing.T) {
	p := func(id string) *store.Pending { return &store.Pending{Handle: store.Handle{ID: id}} }
	r := &Result{Members: []Made{{Part: p("a")}, {Part: p("b"), Failed: p("c")}, {Failed: p("d")}}}
	var ids []string
	for _, h := range r.handles() {
		ids = append(ids, h.ID)
	}
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(ids, want) {
		t.Errorf("got %q, want %q", ids, want)
	}
}
