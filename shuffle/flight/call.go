package flight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	arrow "github.com/apache/arrow/go/v17/arrow/flight/gen/flight"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/shuffle"
)

// A caller makes the links of an end to another node.
type caller struct {
	n              *Node
	address, token string
	stamp          []byte
	question       []byte // behind the token, which is a name then
	alive          func() // if not nil, called whenever something comes

	mu   sync.Mutex
	life life
	good time.Time     // when there was a link last, or something came
	wait time.Duration // before the next try
	last error
}

// A life says whether a node has to wait for an end.
type life struct{ begun, over bool }

// begin counts the end, at the first call. The error says why there will be no link.
func (l *life) begin(n *Node) error {
	if l.over || !l.begun && !n.enter() {
		return errNodeClosed
	}
	l.begun = true
	return nil
}

func (l *life) end(n *Node) {
	if l.begun && !l.over {
		n.ends.Done()
	}
	l.over = true
}

// pause lets some time pass since the last link was made, and gives up when nothing has come for too long.
func (c *caller) pause(ctx context.Context) error {
	c.mu.Lock()
	if !c.life.begun {
		c.good = time.Now()
	}
	if err := c.life.begin(c.n); err != nil {
		c.mu.Unlock()
		return err
	}
	wait, since, last := c.wait, time.Since(c.good), c.last
	c.wait = min(max(2*c.wait, 10*time.Millisecond), time.Second)
	c.mu.Unlock()
	if since > c.n.o.Patience && last != nil {
		return fmt.Errorf("nothing heard of %s for %v: %w: %w", c.address, c.n.o.Patience, syscall.EPIPE, last)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.n.ctx.Done():
		return errNodeClosed
	}
}

// linked counts the time without a link from now on.
func (c *caller) linked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good = time.Now()
}

// heard counts a link as good, or as failed with err.
func (c *caller) heard(err error) {
	if err == nil && c.alive != nil {
		c.alive()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.good, c.wait = time.Now(), 0
	} else {
		c.last = err
	}
}

func (c *caller) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life.end(c.n)
}

// client returns a client of the other node.
func (c *caller) client() (arrow.FlightServiceClient, error) {
	conn, err := c.n.conn(c.address)
	if err != nil {
		return nil, err
	}
	return arrow.NewFlightServiceClient(conn), nil
}

// refusal is the status of a call that is refused with err.
func refusal(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return status.Error(codes.NotFound, "no such reader")
	}
	return status.Error(codes.FailedPrecondition, err.Error())
}

// meaning returns what a status means to an end of a netpipe.
func meaning(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", shuffle.ErrStale, s.Message())
	case codes.NotFound:
		return fmt.Errorf("%s: %w", s.Message(), syscall.EPIPE)
	}
	return unexpected(err) // only frames end a netpipe
}

// A deadline cancels a link whose Send takes too long.
type deadline struct {
	cancel context.CancelFunc

	mu      sync.Mutex
	sending bool
	passed  bool
	timer   *time.Timer
}

// begin and end stand around a Send.
func (d *deadline) begin() { d.set(true) }
func (d *deadline) end()   { d.set(false) }

func (d *deadline) set(sending bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sending = sending
	d.check()
}

func (d *deadline) check() {
	if d.sending && d.passed {
		d.cancel()
	}
}

func (d *deadline) SetSendDeadline(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.passed = false
	if t.IsZero() {
		return
	}
	d.timer = time.AfterFunc(time.Until(t), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.passed = true
		d.check()
	})
}

func (d *deadline) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.cancel()
	return nil
}
