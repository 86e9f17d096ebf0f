package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
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
	return []Check{probeUserNS(), probeSeccomp(), probeLandlock(), probeCgroup(), probeUID()}
}

// try starts a jail without the other layers than those named and ends it. See start for look, which may be nil.
func try(native bool, look func(pid int), layers ...Layer) error {
	cfg := &Config{Native: native}
	for _, l := range []Layer{UserNS, Seccomp, Landlock, Cgroup, UID} {
		if !contains(names(layers), string(l)) {
			cfg.Insecure = append(cfg.Insecure, l)
		}
	}
	p, err := start(cfg, look)
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

func probeUserNS() Check {
	detail := ""
	err := try(false, func(pid int) { detail = namespacesOf(pid) }, UserNS)
	return check(UserNS, detail, err)
}

// namespacesOf tells which namespaces of a process are others than ours, and who its root is here.
func namespacesOf(pid int) string {
	var own, shared []string
	for _, kind := range []string{"user", "mnt", "pid", "ipc", "uts", "net", "cgroup"} {
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		theirs, theirErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err == nil && theirErr == nil && ours != theirs {
			own = append(own, kind)
		} else {
			shared = append(shared, kind)
		}
	}
	detail := "its own: " + strings.Join(own, ", ")
	if shared != nil {
		detail += "; not seen to be: " + strings.Join(shared, ", ")
	}
	if ids, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid)); err == nil {
		if f := strings.Fields(string(ids)); len(f) >= 3 {
			detail += "; uid " + f[0] + " inside is " + f[1] + " here"
		}
	}
	return detail
}

func probeSeccomp() Check {
	detail := fmt.Sprintf("a filter of %d instructions is taken", len(*filterFor(roleEngine)))
	return check(Seccomp, detail, try(false, nil, Seccomp))
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
	return check(Landlock, detail, try(false, nil, Landlock))
}

func probeCgroup() Check {
	g, err := newCgroup(1<<30, defaultPids)
	if err != nil {
		return check(Cgroup, "", cgroupError(err))
	}
	detail := fmt.Sprintf("version %d: memory and pids below %s", g.version, strings.TrimSuffix(g.memory, "/"+g.name()))
	g.remove()
	return check(Cgroup, detail, try(false, nil, Cgroup))
}

func probeUID() Check {
	return check(UID, "native guests have a uid of their own", try(true, nil, UserNS, UID, Cgroup))
}
