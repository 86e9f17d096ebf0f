package sandbox

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"syscall"
)

// A Channel is a stream that a guest has as a file: In as /dev/in/NAME to read, or Out as /dev/out/NAME and /dev/out/NAME.0, /dev/out/NAME.1, … to
// write, all but the first of them leading to one reader each.
//
// A guest may open what it writes as often as it likes, as a shell does with each redirection: the channel ends with the run. What it reads it
// may open once: when it closes that, or ends, it wants no more.
type Channel struct {
	Name string // letters, digits, hyphens

	// In is read on the guest's demand. Its io.EOF is the guest's; any other error ends the run, so that the guest never sees an end that is none.
	In io.Reader
	// Out are written to as the guest writes, by one goroutine each. syscall.EPIPE (asked with errors.Is) is passed on to the guest: nobody
	// reads any more. Any other error ends the run.
	Out []io.Writer

	// Stop, if not nil, interrupts what waits in In or Out, for good. It is called when the run was stopped and, of In, when the guest wants no
	// more; more than once, from any goroutine.
	Stop func()
	// Flush, if not nil, is called when the guest may come to wait for others: they are to get what it has written.
	Flush func()

	// Limits of one run; 0 means none.
	Calls int64
	Bytes int64
}

// A ChannelUse is the account of one channel in one run. Calls are counted as those of stdin and stdout are.
type ChannelUse struct{ Calls, Bytes int64 }

// A channelMeter stands between a guest and one of its channels.
type channelMeter struct {
	*Channel
	mu  sync.Mutex // a native guest's files are served side by side
	use ChannelUse
}

func meterChannels(channels []Channel) []*channelMeter {
	var ms []*channelMeter
	for i := range channels {
		ms = append(ms, &channelMeter{Channel: &channels[i]})
	}
	return ms
}

// count counts a call, and returns the error of a limit that was passed.
func (m *channelMeter) count(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.use.Calls++
	m.use.Bytes += int64(n)
	switch {
	case m.Calls > 0 && m.use.Calls > m.Calls:
		return fmt.Errorf("channel %s %w: more than %s", m.Name, ErrLimit, calls(m.Calls))
	case m.Bytes > 0 && m.use.Bytes > m.Bytes:
		return fmt.Errorf("channel %s %w: more than %s", m.Name, ErrLimit, byteText(m.Bytes))
	}
	return nil
}

// read reads for the guest. The error is io.EOF, or one that ends the run.
func (m *channelMeter) read(p []byte) (int, error) {
	n, err := m.In.Read(p)
	if n == 0 && err == io.EOF {
		return 0, io.EOF
	}
	if lerr := m.count(n); lerr != nil {
		return 0, lerr
	}
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("channel %s: %w", m.Name, err)
	}
	return n, nil
}

// write writes to one of the files. The error is syscall.EPIPE, or one that ends the run.
func (m *channelMeter) write(file int, p []byte) error {
	if err := m.count(len(p)); err != nil {
		return err
	}
	_, err := m.Out[file].Write(p)
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		err = fmt.Errorf("channel %s: %w", m.Name, err)
	}
	return err
}

func (m *channelMeter) stop() {
	if m.Stop != nil {
		m.Stop()
	}
}

func (m *channelMeter) flush() {
	if m.Flush != nil {
		m.Flush()
	}
}

// files returns the paths of c below /dev.
func (c *Channel) files() []string {
	if c.In != nil {
		return []string{"in/" + c.Name}
	}
	var names []string
	for i := range c.Out {
		name := "out/" + c.Name
		if i > 0 {
			name += "." + strconv.Itoa(i-1)
		}
		names = append(names, name)
	}
	return names
}

func channelUses(ms []*channelMeter) []ChannelUse {
	var uses []ChannelUse
	for _, m := range ms {
		m.mu.Lock()
		uses = append(uses, m.use)
		m.mu.Unlock()
	}
	return uses
}
