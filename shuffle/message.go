package shuffle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// maxMetadata bounds what a message says of itself, in bytes; ours say some hundred.
const maxMetadata = 64 << 10

// schemaMessage is the start of every Arrow stream with our schema.
var schemaMessage = func() []byte {
	var b bytes.Buffer
	_ = ipc.NewWriter(&b, ipc.WithSchema(schema)).Close() // a buffer takes everything
	return b.Bytes()[:b.Len()-8]                          // without the end of the stream
}()

// A messageReader gives the messages of an Arrow stream to the decoder. The decoder allocates what a message tells it to, so that
// nothing reaches it that no message of ours says: metadata are bounded here, bodies by their allocator, and in the place of the
// stream's schema it gets ours, which the version of the section stands for.
type messageReader struct {
	ipc.MessageReader // reads rest
	in                *payloadReader
	rest              io.Reader
	begun             bool
}

func newMessageReader(in *payloadReader) *messageReader {
	m := &messageReader{in: in}
	m.MessageReader = ipc.NewMessageReader(m, ipc.WithAllocator(bounded{}))
	return m
}

func (m *messageReader) Read(p []byte) (int, error) { return m.rest.Read(p) }

// Message returns the next message, valid until the next call; at the end of the stream the error is io.EOF.
func (m *messageReader) Message() (*ipc.Message, error) {
	h := make([]byte, 8)
	if _, err := io.ReadFull(m.in, h); err != nil {
		return nil, err
	}
	mark, n := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
	if mark != 0xffffffff || n > maxMetadata {
		return nil, fmt.Errorf("message %#x with metadata of %d bytes", mark, n)
	}
	m.rest = io.MultiReader(bytes.NewReader(h), m.in)
	if !m.begun {
		m.begun = true
		if _, err := io.CopyN(io.Discard, m.in, int64(n)); err != nil {
			return nil, err
		}
		m.rest = bytes.NewReader(schemaMessage)
	}
	return m.MessageReader.Message()
}

// bounded is an Arrow allocator that refuses what no batch of ours needs. The decoder turns the panic into an error.
type bounded struct{}

func (bounded) Allocate(n int) []byte {
	if n < 0 || n > MaxRecord+maxPayload {
		panic(fmt.Sprintf("a buffer of %d bytes", n))
	}
	return memory.DefaultAllocator.Allocate(n)
}

func (b bounded) Reallocate(n int, old []byte) []byte {
	if n >= 0 && n <= cap(old) {
		return old[:n]
	}
	grown := b.Allocate(n)
	copy(grown, old)
	return grown
}

func (bounded) Free(b []byte) { memory.DefaultAllocator.Free(b) }
