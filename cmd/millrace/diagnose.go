package main

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// A finding is one line of the doctor's report.
type finding struct {
	name     string
	ok       bool
	optional bool // most jobs do without
	detail   string
	fix      string // what to do, "" if nothing must be done
}

func (f finding) print(w io.Writer) {
	mark := "ok  "
	switch {
	case !f.ok && f.optional:
		mark = "no  "
	case !f.ok:
		mark = "FAIL"
	}
	line := fmt.Sprintf("%s  %-10s %s", mark, f.name, visible(f.detail))
	fmt.Fprintln(w, strings.TrimRight(line, " "))
	if f.fix != "" {
		fmt.Fprintf(w, "      %-10s fix: %s\n", "", f.fix)
	}
}

// diagnose looks at the machine and at the stores that were named.
func (a *app) diagnose(c *doctorCmd) error {
	findings := append([]finding{kernel(), goTool(a)}, layers()...)
	findings = append(findings, a.tryEngines()...)
	var access job.Store
	c.storeFlags.apply(&access)
	for _, uri := range c.URI {
		findings = append(findings, a.tryStore(uri, access))
	}
	return a.tell(findings)
}

// tell prints findings and returns an error if something failed that jobs need.
func (a *app) tell(findings []finding) error {
	failed := false
	for _, f := range findings {
		f.print(a.stdout)
		failed = failed || !f.ok && !f.optional
	}
	if failed {
		return exit(exitError)
	}
	return nil
}

func kernel() finding {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return finding{name: "kernel", detail: err.Error()}
	}
	var b strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return finding{name: "kernel", ok: true, detail: b.String()}
}

// layers tries each layer of the sandbox by itself. Those that only native programs need may be missing.
func layers() []finding {
	var all []finding
	for _, c := range sandbox.Probe() {
		f := finding{name: string(c.Layer), ok: c.OK, detail: c.Detail, fix: c.Fix}
		f.optional = c.Layer == sandbox.Cgroup || c.Layer == sandbox.UID
		all = append(all, f)
	}
	return all
}

// goTool looks for the go command, without which only Go programs cannot be built.
func goTool(a *app) finding {
	out, err := exec.CommandContext(a.ctx, "go", "version").Output()
	if err != nil {
		return finding{name: "go", ok: true, detail: "not found; needed only to run Go package directories", fix: "install Go from https://go.dev/dl"}
	}
	return finding{name: "go", ok: true, detail: strings.TrimSpace(string(out))}
}

// tryStore lists the first object below uri and reads its first byte.
func (a *app) tryStore(uri string, access job.Store) finding {
	f := finding{name: "store"}
	b, u, err := a.open(uri, access)
	if err != nil {
		f.detail = err.Error()
		f.fix = hint(err)
		return f
	}
	defer b.Close()
	f.ok, f.detail = true, uri+": nothing there"
	for o, err := range b.List(a.ctx, u.Prefix, "") {
		if err == nil && !o.Archived && o.Size > 0 {
			err = readSome(a.ctx, b, o, 1)
		}
		if err != nil {
			f.ok, f.detail, f.fix = false, err.Error(), hint(err)
		} else {
			f.detail = uri + ": lists and reads"
		}
		break
	}
	return f
}
