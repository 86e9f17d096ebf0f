package netlab

import "fmt"

// Unplug pulls the wire of the host out of the switch, or puts it in again. Nobody is told: what is sent is lost.
func (h *Host) Unplug(out bool) {
	h.lab.tb.Helper()
	state := "up"
	if out {
		state = "down"
	}
	h.lab.must(h.lab.middle.ip(fmt.Sprintf("link set %s %s", h.port, state)))
}

// Deafen has the host no longer reach another, or reach it again. The other way goes on.
func (h *Host) Deafen(to *Host, off bool) {
	h.lab.tb.Helper()
	if off { // an address of the wire that nobody has
		h.lab.must(h.hold.ip(fmt.Sprintf("neigh replace %s lladdr 02:00:00:00:00:01 dev eth0 nud permanent", to.IP)))
		return
	}
	h.lab.must(h.hold.ip(fmt.Sprintf("neigh del %s dev eth0", to.IP)))
}

// Part cuts two hosts off from each other, or ends that.
func (h *Host) Part(from *Host, off bool) {
	h.lab.tb.Helper()
	h.Deafen(from, off)
	from.Deafen(h, off)
}

// Slow lets the host send no more than so many kbit/s, and receive no more; 0: as many as it can.
func (h *Host) Slow(kbit int) {
	h.lab.tb.Helper()
	for _, end := range []struct {
		hold *holder
		dev  string
	}{{h.hold, "eth0"}, {h.lab.middle, h.port}} {
		if kbit > 0 {
			h.lab.must(end.hold.run("", "tc", "qdisc", "replace", "dev", end.dev, "root", "tbf", "rate", fmt.Sprintf("%dkbit", kbit), "burst", "16kb", "latency", "400ms"))
		} else {
			h.lab.must(end.hold.run("", "tc", "qdisc", "del", "dev", end.dev, "root"))
		}
	}
}
