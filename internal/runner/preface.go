package runner

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// A compiled module is a file:
//
//	0          4
//	| length n | n bytes of JSON: a preface | zeros, to the end of a page | what sandbox.CompileWasm returned |
//
// It is made in a runner of its own and trusted by the runners of jobs; an agent believes of the preface what it would believe a runner.
type preface struct {
	SDK bool `json:"sdk"` // written with the Go SDK
	// Description is what the guest says about itself, and Memory how much of it that took, in bytes. It is empty if the guest did not say it
	// within the limits that are in force where a job says nothing.
	Description string `json:"description,omitempty"`
	Memory      int64  `json:"memory,omitempty"`
}

// prefaceSize is that of the page, where what follows begins.
var prefaceSize = os.Getpagesize()

// encode returns the page.
func (p *preface) encode() ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	if 4+len(text) > prefaceSize {
		return nil, fmt.Errorf("%w: preface of %d bytes", ErrProtocol, len(text))
	}
	page := append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...)
	return append(page, make([]byte, prefaceSize-len(page))...), nil
}

func readPreface(f *os.File) (*preface, error) {
	page := make([]byte, prefaceSize)
	if _, err := f.ReadAt(page, 0); err != nil {
		return nil, fmt.Errorf("compiled module: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(page))
	if n > int64(len(page)-4) {
		return nil, fmt.Errorf("%w: preface of %d bytes", ErrProtocol, n)
	}
	p := new(preface)
	if err := json.Unmarshal(page[4:4+n], p); err != nil {
		return nil, fmt.Errorf("%w: preface: %w", ErrProtocol, err)
	}
	return p, nil
}

// description returns what the program says of itself, if it is known that it does so within a limit of memory.
func (p *preface) description(memory int64) (d guest.Description, ok bool) {
	if p.Description == "" || p.Memory > memory {
		return d, false
	}
	d, err := guest.ParseDescription([]byte(p.Description))
	return d, err == nil
}

// Described returns what a program that [Compile] compiled says of itself, if that is known: then nobody needs to wait until a runner
// has asked it. Else the runner's [Ready] says it.
func Described(compiled *os.File, h *Hello) (guest.Description, bool) {
	p, err := readPreface(compiled)
	if err != nil {
		return guest.Description{}, false
	}
	return p.description(withDefaults(h.Limits).Memory)
}

// describeTime bounds the time in which a guest must describe itself to have that kept.
const describeTime = 5 * time.Second

// describe has the guest of a compiled module describe itself.
func (p *preface) describe(ctx context.Context, compiled *os.File) error {
	g, err := sandbox.OpenCompiled(ctx, compiled, int64(prefaceSize))
	if err != nil {
		return err
	}
	e := guestProgram{guest: g}
	e.limits = job.Limits{Memory: defaultMemory, Wall: describeTime, CPU: describeTime}
	text, _, report, err := e.ask(ctx)
	if err == nil {
		p.Description, p.Memory = string(text), report.PeakMemory
	}
	return e.close()
}
