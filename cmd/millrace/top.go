package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/millrace/millrace/internal/server"
)

// A topCmd watches a cluster.
type topCmd struct {
	clusterFlag
	Interval time.Duration `default:"1s" placeholder:"TIME" help:"Between two looks (default ${default})."`
	Count    int           `short:"n" placeholder:"N" help:"Look N times (default: in a terminal until interrupted, else once)."`
}

func (c *topCmd) Help() string {
	return `In a terminal the table is drawn anew every second, until q or Ctrl-C; else it is printed once.`
}

func (c *topCmd) Run(a *app) error {
	if c.Interval < 100*time.Millisecond {
		return fmt.Errorf("--interval %v: at least 100ms", c.Interval)
	}
	return c.with(a, func(k *connection) error {
		width, live := terminal(a.stdout)
		if !live {
			return c.plain(a, k)
		}
		return c.live(a, k, width)
	})
}

// plain prints tables, one below the other.
func (c *topCmd) plain(a *app, k *connection) error {
	var before *look
	for i := 0; ; i++ {
		l, err := c.look(a, k)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(a.stdout, l.text(before)); err != nil {
			return err
		}
		if before = l; i+1 >= c.Count {
			return nil
		}
		if err := sleep(a.ctx, c.Interval); err != nil {
			return err
		}
	}
}

// live draws tables over each other, on a page of the terminal of their own.
func (c *topCmd) live(a *app, k *connection, width int) (err error) {
	out := a.stdout
	_, _ = io.WriteString(out, "\x1b[?1049h\x1b[?25l")
	defer func() { _, _ = io.WriteString(out, "\x1b[?25h\x1b[?1049l") }()
	quit := readKeys(a.stdin)
	defer quit.close()
	var before *look
	for i := 1; ; i++ {
		l, err := c.look(a, k)
		if err != nil {
			return err
		}
		if w, ok := terminal(a.stdout); ok {
			width = w
		}
		if err := draw(out, l.text(before), width, height(a.stdout)); err != nil || i == c.Count {
			return err
		}
		before = l
		t := time.NewTimer(c.Interval)
		select {
		case <-t.C:
		case <-quit.pressed:
			t.Stop()
			return nil
		case <-a.ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// draw puts a text onto the page, cut to its size.
func draw(w io.Writer, text string, width, height int) error {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, width) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(w, b.String())
	return err
}

func height(w any) int {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil && h > 0 {
			return h
		}
	}
	return 24
}

// A look is a cluster at one moment.
type look struct {
	at    time.Time
	name  string
	nodes server.Overview
	jobs  []server.Status
}

func (c *topCmd) look(a *app, k *connection) (*look, error) {
	o, err := k.Nodes(a.ctx)
	if err != nil {
		return nil, told(err)
	}
	jobs, err := k.Jobs(a.ctx)
	if err != nil {
		return nil, told(err)
	}
	return &look{time.Now(), k.home.Identity.Cluster, o, jobs}, nil
}

// shownEnded is how long a job stays in the table after its end.
const shownEnded = 5 * time.Minute

// text draws the table. Rates are those since before, which may be nil: then those since the job began.
func (l *look) text(before *look) string {
	var b strings.Builder
	slots, busy, running := 0, 0, 0
	for _, n := range l.nodes.Nodes {
		slots += n.Slots
		busy += l.nodes.Busy[n.Node]
	}
	for _, j := range l.jobs {
		if !j.State.Ended() {
			running++
		}
	}
	fmt.Fprintf(&b, "%s  %s leads in epoch %d  %s, %d of %s busy  %s  %s\n\n", l.name, l.nodes.Leader, l.nodes.Epoch, plural(int64(len(l.nodes.Nodes)), "node"), busy, plural(int64(slots), "slot"),
		plural(int64(running), "job"), l.at.Format(time.TimeOnly))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tSTATE\tDONE\tMAPS\tREDUCES\tOBJECTS\tOBJECTS/s\tBYTES/s\tFAILED\tTIME\tNAME")
	for _, j := range l.jobs {
		if j.State.Ended() && l.at.Sub(j.Began.Add(time.Duration(j.Took))) > shownEnded {
			continue
		}
		l.row(w, &j, before)
	}
	_ = w.Flush() // into a Builder
	b.WriteByte('\n')
	_ = printNodes(&b, &l.nodes) // likewise
	return b.String()
}

// row writes the line of a job.
func (l *look) row(w io.Writer, j *server.Status, before *look) {
	took := time.Duration(j.Took)
	if j.State.Ended() || j.Progress.Job == "" {
		objects := ""
		if j.Result != nil {
			objects = count(j.Result.Counters.Objects)
		}
		fmt.Fprintf(w, "%s\t%s\t\t\t\t%s\t\t\t\t%s\t%s\n", j.Job, j.State, objects, duration(took), visible(j.Name))
		return
	}
	p := j.Progress
	done := ""
	if n, ok := progressOf(p); ok {
		done = fmt.Sprintf("%d%%", n)
	}
	objects, read, over := p.Objects, p.Bytes, took
	if was := before.progress(j.Job); was != nil {
		objects, read, over = max(p.Objects-was.Progress.Objects, 0), max(p.Bytes-was.Progress.Bytes, 0), time.Duration(j.Took-was.Took)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%d/%d\t%s\t%s\t%s\t%s\t%s\t%s\n", j.Job, p.Phase, done, p.Maps, p.MapTotal, p.Reduces, p.ReduceTotal, count(p.Objects),
		count(rate(objects, over)), bytes(rate(read, over)), count(p.Failed), duration(took), visible(j.Name))
}

// progress returns a job as it was, nil if it was not there.
func (l *look) progress(id string) *server.Status {
	if l == nil {
		return nil
	}
	for i := range l.jobs {
		if l.jobs[i].Job == id && l.jobs[i].Progress.Job != "" {
			return &l.jobs[i]
		}
	}
	return nil
}
