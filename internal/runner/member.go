package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// A Member is what a runner learns of its place in a job of several groups.
type Member struct {
	Group    string       `json:"group"`
	Index    int          `json:"index"` // among those of its group
	Of       int          `json:"of"`
	Maps     bool         `json:"maps,omitempty"`   // it maps objects; else its program is run once
	Writes   bool         `json:"writes,omitempty"` // what it prints is output of the job
	Channels []ChannelEnd `json:"channels,omitempty"`
}

// A ChannelEnd is what a member has of one channel.
type ChannelEnd struct {
	Name   string            `json:"name"`
	Reads  bool              `json:"reads,omitempty"` // else it writes
	Peers  int               `json:"peers"`           // members at the other end
	Limits job.ChannelLimits `json:"limits,omitzero"` // of one run
}

// Lines reports whether a channel carries lines, each whole; else it has one member at each end, and carries any bytes.
func (m *Member) Lines(e *ChannelEnd) bool { return m.Of > 1 || e.Peers > 1 }

// A Link hands over one socket of a netpipe.
type Link struct {
	Channel int `json:"channel"` // index in Member.Channels
	Peer    int `json:"peer"`    // the member at the other end, in its group
}

// enlist makes the program that of a member.
func (s *server) enlist() error {
	m := s.hello.Member
	if m == nil {
		return nil
	}
	if d := s.program.describe(); !d.MapOnly {
		return errors.New("the program reduces: in a group it can only map, and write to channels")
	}
	p, ok := s.program.(interface{ join(*ends) })
	if !ok {
		return fmt.Errorf("%w: a member that is no guest", ErrProtocol)
	}
	if _, command := s.program.(*commandProgram); !command && !m.Maps {
		return errors.New("the program maps objects: a group that reads channels runs a command, which reads them as files")
	}
	s.ends = newEnds(&s.hello)
	p.join(s.ends)
	return nil
}

// link takes a socket of a netpipe.
func (s *server) link(payload []byte, socket *os.File) error {
	var l Link
	if err := json.Unmarshal(payload, &l); err != nil || socket == nil || s.ends == nil {
		return fmt.Errorf("%w: link", ErrProtocol)
	}
	return s.ends.take(l, socket)
}

// runMember runs the program once, as a member that reads channels.
func (s *server) runMember(ctx context.Context) error {
	p, ok := s.program.(*commandProgram)
	if !ok || s.ends == nil {
		return fmt.Errorf("%w: a run of what is no member", ErrProtocol)
	}
	if err := s.ends.open(ctx); err != nil {
		return &attemptError{err}
	}
	st := s.mem.Status()
	st.Current.Store(1)
	st.Started.Add(1)
	use, err := p.runMember(ctx, s.hello.Member, writerFunc(s.print))
	s.account(&use)
	err = s.ends.finish(err)
	st.Current.Store(0)
	if err != nil {
		return &attemptError{err}
	}
	s.done.Channels = s.ends.uses()
	return s.out.end()
}

// endMember ends the channels of a member that has mapped all its objects.
func (s *server) endMember(ctx context.Context) error {
	if s.ends == nil {
		return fmt.Errorf("%w: the end of what is no member", ErrProtocol)
	}
	err := s.ends.open(ctx) // it may have had no objects
	if err = s.ends.finish(err); err != nil {
		return &attemptError{err}
	}
	s.done.Channels = s.ends.uses()
	return nil
}

// print takes what a member prints that is run once.
func (s *server) print(p []byte) (int, error) {
	if !s.hello.Member.Writes && len(p) > 0 {
		return 0, s.hello.Member.silent()
	}
	n := int64(bytes.Count(p, []byte{'\n'}))
	s.done.Output += n
	s.mem.Status().Records.Add(n)
	return s.out.Write(p)
}

// silent is the error of a print that goes nowhere.
func (m *Member) silent() error {
	return fmt.Errorf("it prints, and what group %s prints is no output: it writes to channels", m.Group)
}

// env tells a program where it is.
func (m *Member) env() []string {
	return []string{
		"MILLRACE_GROUP=" + m.Group,
		"MILLRACE_MEMBER=" + strconv.Itoa(m.Index),
		"MILLRACE_MEMBERS=" + strconv.Itoa(m.Of),
	}
}

func (g *guestProgram) join(e *ends) { g.ends = e }

func (p *commandProgram) runMember(ctx context.Context, m *Member, out io.Writer) (usage, error) {
	purpose := "member " + m.Group + " " + strconv.Itoa(m.Index)
	report, err := p.run(ctx, purpose, p.args, m.env(), bytes.NewReader(nil), out)
	return usageOf(&report), withLog(p.verdict(err), &report)
}

// verdict holds how a run ended against the exit codes that mean success.
func (p *commandProgram) verdict(err error) error {
	var e *sandbox.ExitError
	switch {
	case errors.As(err, &e) && exits(p.ok, e.Code), err == nil && exits(p.ok, 0):
		return nil
	case err == nil:
		return errors.New("guest exited 0, which is not among the exit codes that mean success")
	}
	return err
}
