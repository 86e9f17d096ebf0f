package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// shownFailures is how many failed objects a summary names.
const shownFailures = 5

// summarize says in a few lines how a job ended. limit is how many lines it was to print, 0 if all; found, what it found.
func summarize(stderr io.Writer, r *job.Result, limit int64, found string) {
	c := r.Counters
	var b strings.Builder
	if limit > 0 && r.Printed >= limit {
		// What was under way when the last line was printed is not counted.
		fmt.Fprintf(&b, "stopped after %s in %s, as --limit says", plural(r.Printed, "line"), duration(r.Elapsed))
	} else {
		fmt.Fprintf(&b, "%s, %s, %s in %s (%s objects/s, %s/s)", plural(c.Objects, "object"), bytes(c.Bytes), found,
			duration(r.Elapsed), count(rate(c.Objects, r.Elapsed)), bytes(rate(c.Bytes, r.Elapsed)))
	}
	if r.Resumed {
		b.WriteString("; an earlier job had decided to commit and was finished")
	}
	warn(stderr, b.String())
	if c.Archived > 0 {
		warn(stderr, plural(c.Archived, "object")+" not read: must be restored from an archive class first")
	}
	if c.Markers > 0 {
		warn(stderr, plural(c.Markers, `"directory" marker`)+` not read: empty, key ends in "/"`)
	}
	if c.Checked > 0 {
		warn(stderr, plural(c.Checked, "object")+" mapped again to check the program: no difference")
	}
	if c.Unchecked > 0 {
		warn(stderr, plural(c.Unchecked, "object")+" not compared: too slow, too deep or no longer there")
	}
	if s := nearness(r); s != "" {
		warn(stderr, s)
	}
	if s := skew(r.Partitions); s != "" {
		warn(stderr, s)
	}
	if c.Failed == 0 {
		return
	}
	warn(stderr, plural(c.Failed, "object")+" failed:")
	for i, f := range r.FailedNames {
		if i == shownFailures {
			break
		}
		warn(stderr, "  "+f.URI+": "+f.Reason)
	}
	switch {
	case len(r.Failed) > 0:
		warn(stderr, "  all of them are listed below the output in "+keys(r.Failed))
	case c.Failed > shownFailures:
		warn(stderr, fmt.Sprintf("  and %s more", count(c.Failed-shownFailures)))
	}
}

// nearness says how much was read where it lies, of a job for which that is a question; else "".
func nearness(r *job.Result) string {
	in := r.Counters.Input
	elsewhere := slices.ContainsFunc(r.Inputs, func(uri string) bool {
		u, err := store.ParseURI(uri)
		return err == nil && u.Scheme != "file" && u.Scheme != "mem"
	})
	text := ""
	if elsewhere && in.Local > 0 {
		text = fmt.Sprintf("%s (%s) read from disks of their nodes, %s (%s) over the network", plural(in.Local, "object"), bytes(in.LocalBytes), count(in.Remote), bytes(in.RemoteBytes))
	}
	if in.Placed > 0 {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("%s of %s done on a node that has their objects", count(in.Near), plural(in.Placed, "map task"))
	}
	return text
}

// A partition is told of if it has so many times its share of at least so many records.
const (
	skewShare   = 2
	skewRecords = 10_000
)

// skew says which partition got much more than its share, and whether one key is why; "" if none did.
func skew(parts []job.Partition) string {
	total, most := int64(0), 0
	for i, p := range parts {
		total += p.Records
		if p.Records > parts[most].Records {
			most = i
		}
	}
	if len(parts) < 2 || total < skewRecords || parts[most].Records <= skewShare*total/int64(len(parts)) {
		return ""
	}
	p := parts[most]
	share := float64(p.Records) / float64(total)
	text := fmt.Sprintf("partition %d of %d got %.0f%% of the records, %.1f times its share", most, len(parts), 100*share, share*float64(len(parts)))
	if p.HotRecords > 0 {
		text += fmt.Sprintf(": %.0f%% of its records have the key %q", 100*float64(p.HotRecords)/float64(p.Records), p.HotKey)
	}
	return text
}

// accountFor says what the attempts of a job took. They run side by side, so that their times add up to more than the job's.
func accountFor(stderr io.Writer, r *job.Result) {
	c := r.Counters
	text := fmt.Sprintf("%s ran %s (%s of CPU) and waited %s for a slot; at most %s of memory in one", plural(c.Attempts, "attempt"),
		duration(c.Run), duration(c.CPU), duration(c.Queue), bytes(c.PeakMemory))
	if c.Retries > 0 {
		text += fmt.Sprintf("; %s failed or lost", count(c.Retries))
	}
	if c.Beaten > 0 {
		text += fmt.Sprintf("; %s beaten by another", count(c.Beaten))
	}
	if c.Restored > 0 {
		text += fmt.Sprintf("; program restored %s times", count(c.Restored))
	}
	if c.LogDropped > 0 {
		text += fmt.Sprintf("; %s of %s of log dropped", count(c.LogDropped), plural(c.LogLines, "line"))
	}
	warn(stderr, text)
}

// keys names parts: all, or the first and the last.
func keys(parts []job.Part) string {
	switch n := len(parts); n {
	case 1:
		return parts[0].Key
	case 2:
		return parts[0].Key + " and " + parts[1].Key
	default:
		return parts[0].Key + " to " + parts[n-1].Key
	}
}
