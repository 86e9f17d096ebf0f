package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// A screen keeps what a job prints and the line of its progress apart where both go to one terminal: the line is taken
// away before lines are printed and comes back later. Its methods may be called concurrently.
type screen struct {
	stderr io.Writer
	width  int  // columns of stderr; 0 if it is no terminal
	shared bool // stdout is a terminal as well
	piped  bool // somebody reads stdout, who may print to the same terminal when it likes

	mu     sync.Mutex
	stdout io.Writer
	shown  bool // the line stands there
	paused bool // a question is being asked
	column bool // what was printed last did not end its line
}

// newScreen returns a screen. Unless raw, what goes to a terminal cannot act on it.
func newScreen(stdout, stderr io.Writer, raw bool) *screen {
	s := &screen{stdout: stdout, stderr: stderr}
	s.width, _ = terminal(stderr)
	_, s.shared = terminal(stdout)
	s.piped = isPipe(stdout)
	if s.shared && !raw {
		s.stdout = &visibleWriter{w: stdout}
	}
	return s
}

// isPipe reports whether w is a pipe or a socket.
func isPipe(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
}

// Write prints output of the job.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared {
		s.clear()
		if len(p) > 0 {
			s.column = p[len(p)-1] != '\n'
		}
	}
	return s.stdout.Write(p)
}

// line shows text as the line of progress, in place of the one before. It must not be wider than the screen.
func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused || s.column {
		return
	}
	_, _ = io.WriteString(s.stderr, "\r"+text+"\x1b[K")
	s.shown = true
}

// print writes a whole line to stderr.
func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	_, _ = io.WriteString(s.stderr, text+"\n")
}

// done takes the line of progress away.
func (s *screen) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
}

func (s *screen) clear() {
	if s.shown {
		_, _ = io.WriteString(s.stderr, "\r\x1b[K")
		s.shown = false
	}
}

// ask asks a question of yes or no; an error means no.
func (s *screen) ask(ctx context.Context, stdin io.Reader, question string) error {
	s.mu.Lock()
	s.clear()
	s.paused = true
	_, _ = io.WriteString(s.stderr, question)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.paused = false
		s.mu.Unlock()
	}()
	answers := make(chan string, 1)
	go func() { // ends with the answer or, as reads from a terminal cannot be cancelled, with the process
		answer, _ := bufio.NewReader(stdin).ReadString('\n')
		answers <- answer
	}()
	select {
	case answer := <-answers:
		if a := strings.ToLower(strings.TrimSpace(answer)); a == "y" || a == "yes" {
			return nil
		}
		return errors.New("not started: too many requests for your taste")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
