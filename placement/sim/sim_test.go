package sim_test

import (
	"testing"

	"github.com/millrace/millrace/placement/sim"
)

func TestSmall(t *testing.T) {
	o := sim.Standard()
	o.Nodes, o.Objects = 200, 2_000_000
	for _, sets := range []bool{false, true} {
		o.Sets = sets
		r, err := sim.Run(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", *r)
		t.Logf("local %.3f ratio %.3f rate %.0f", r.LocalObjects, r.Ratio(), r.Rate())
	}
}
