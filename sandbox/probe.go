package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Check is what [Probe] found out about one layer.
type Check struct {
	Layer  Layer
	OK     bool
	Detail string // what was found
	Fix    string // what to do if it is not OK
}

// Probe tries each layer on this machine, for people who ask why there is no sandbox. It starts jailed children that end at once, so it works only in programs
// that look at [IsChild] first. The layers come in the order of their constants.
func Probe() []Check {
	return []Check{probeJail(UserNS), probeJail(Seccomp), probeLandlock(), probeCgroup(), probeUID()}
}

// try starts a jail without the other layers than those named and ends it.
func try(native bool, layers ...Layer) error {
	cfg := &Config{Native: native}
	for _, l := range []Layer{UserNS, Seccomp, Landlock, Cgroup, UID} {
		if !contains(names(layers), string(l)) {
			cfg.Insecure = append(cfg.Insecure, l)
		}
	}
	p, err := Start(cfg)
	if err != nil {
		return err
	}
	p.Kill()
	p.Wait()
	return nil
}

func names(layers []Layer) []string {
	var s []string
	for _, l := range layers {
		s = append(s, string(l))
	}
	return s
}

// check makes a Check of the error of a try.
func check(l Layer, detail string, err error) Check {
	if err == nil {
		return Check{Layer: l, OK: true, Detail: detail}
	}
	c := Check{Layer: l, Detail: err.Error()}
	var layer *LayerError
	if errors.As(err, &layer) {
		c.Detail, c.Fix = layer.Cause.Error(), layer.Fix
	}
	return c
}

func probeJail(l Layer) Check {
	var u unix.Utsname
	detail := "works"
	if err := unix.Uname(&u); err == nil {
		detail = "kernel " + unix.ByteSliceToString(u.Release[:])
	}
	if l == UserNS && os.Geteuid() != 0 {
		detail += ", as an ordinary user"
	}
	return check(l, detail, try(false, l))
}

func probeLandlock() Check {
	abi, err := landlockABI()
	if err != nil {
		return check(Landlock, "", landlockError(err))
	}
	detail := fmt.Sprintf("ABI %d", abi)
	if abi < 6 {
		detail += " (6 and later also hold signals and abstract sockets; namespaces and seccomp do)"
	}
	return check(Landlock, detail, try(false, Landlock))
}

func probeCgroup() Check {
	g, err := newCgroup(1<<30, defaultPids)
	if err != nil {
		return check(Cgroup, "", cgroupError(err))
	}
	detail := fmt.Sprintf("version %d: memory and pids below %s", g.version, strings.TrimSuffix(g.memory, "/"+g.name()))
	g.remove()
	return check(Cgroup, detail, try(false, Cgroup))
}

func probeUID() Check {
	return check(UID, "native guests have a uid of their own", try(true, UserNS, UID, Cgroup))
}
