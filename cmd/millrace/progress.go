package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/millrace/millrace/job"
)

// A progress shows how a job goes on, from start to stop, by asking for snapshots.
type progress struct {
	screen *screen
	mode   string // bar, plain, json or none
	noun   string
	quit   chan struct{}
	gone   chan struct{}
}

func newProgress(mode string, scr *screen, noun string) *progress {
	if mode == "auto" {
		mode = "plain"
		if scr.width > 0 && !scr.piped {
			mode = "bar"
		}
	}
	return &progress{screen: scr, mode: mode, noun: noun}
}

// intervals between two looks at the job.
const (
	barInterval   = 100 * time.Millisecond
	plainInterval = 5 * time.Second
	jsonInterval  = time.Second
)

// start begins to show what snapshot returns. It is called at most once.
func (p *progress) start(snapshot func() job.Progress) {
	var interval time.Duration
	var show func(job.Progress)
	switch p.mode {
	case "bar":
		interval, show = barInterval, p.bar()
	case "plain":
		interval, show = plainInterval, func(s job.Progress) { p.screen.print("millrace: " + p.plain(s)) }
	case "json":
		interval, show = jsonInterval, p.json
	default:
		return
	}
	p.quit, p.gone = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.gone)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show(snapshot())
			case <-p.quit:
				if p.mode == "json" {
					show(snapshot())
				}
				p.screen.done()
				return
			}
		}
	}()
}

// stop ends the display.
func (p *progress) stop() {
	if p.quit != nil {
		close(p.quit)
		<-p.gone
	}
}

func (p *progress) json(s job.Progress) {
	line, err := json.Marshal(s)
	if err == nil {
		p.screen.print(string(line))
	}
}

// committed shows the report of an attempt, between the snapshots: a line {"committed": …}.
func (p *progress) committed(r job.AttemptReport) {
	if p.mode != "json" {
		return
	}
	if line, err := json.Marshal(struct {
		Report job.AttemptReport `json:"committed"`
	}{r}); err == nil {
		p.screen.print(string(line))
	}
}

// share returns how much of its phase a job has behind it, and of how much; total is negative while it is unknown.
func share(s job.Progress) (done, total int64) {
	switch s.Phase {
	case job.Reducing:
		return int64(s.Reduces), int64(s.ReduceTotal)
	case job.Committing:
		return int64(s.Published), int64(s.PublishTotal)
	case job.Mapping:
		if s.ListDone {
			return s.Objects, s.Listed
		}
	}
	return s.Objects, -1
}

// plain describes a snapshot in words.
func (p *progress) plain(s job.Progress) string {
	var b strings.Builder
	b.WriteString(string(s.Phase))
	switch s.Phase {
	case job.Reducing:
		fmt.Fprintf(&b, "  %d/%d partitions, %s shuffled", s.Reduces, s.ReduceTotal, bytes(s.ShuffleBytes))
	case job.Committing:
		if s.PublishTotal > 0 {
			fmt.Fprintf(&b, "  %d/%d parts published", s.Published, s.PublishTotal)
		}
	default:
		of := ""
		if !s.ListDone {
			of = "+"
		}
		fmt.Fprintf(&b, "  %s/%s%s objects, %s, %s objects/s, %s/s, %s", count(s.Objects), count(s.Listed), of,
			bytes(s.Bytes), count(rate(s.Objects, s.Elapsed)), bytes(rate(s.Bytes, s.Elapsed)), plural(s.Records, p.noun))
	}
	if s.Failed > 0 {
		fmt.Fprintf(&b, ", %s failed", count(s.Failed))
	}
	if left, ok := eta(s); ok {
		fmt.Fprintf(&b, ", ETA %s", duration(left))
	}
	return b.String()
}

// eta guesses how long the map phase still takes, from how long it took so far.
func eta(s job.Progress) (time.Duration, bool) {
	if s.Phase != job.Mapping || !s.ListDone || s.Objects == 0 || s.Objects >= s.Listed || s.Elapsed < time.Second {
		return 0, false
	}
	return time.Duration(float64(s.Elapsed) * float64(s.Listed-s.Objects) / float64(s.Objects)).Round(time.Second), true
}

// bar returns a function that shows snapshots as a bar, one per phase.
func (p *progress) bar() func(job.Progress) {
	var bar *progressbar.ProgressBar
	var phase job.Phase
	return func(s job.Progress) {
		done, total := share(s)
		text := p.plain(s)
		if total > 0 {
			if bar == nil || s.Phase != phase {
				phase = s.Phase
				bar = newBar(total)
			}
			bar.ChangeMax64(total)
			// A bar that is full is finished and renders no more: the last step is left out.
			_ = bar.Set64(min(done, total-1))
			text = strings.TrimSpace(bar.String()) + " " + text
		}
		p.screen.line(cut(text, p.screen.width-3)) // the terminal echoes ^C behind it
	}
}
