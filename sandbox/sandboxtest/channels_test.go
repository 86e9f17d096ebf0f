package sandboxtest

import (
	"testing"

	"github.com/millrace/millrace/sandbox"
)

func TestWasmChannels(t *testing.T) { TestChannels(t, open(t, Wasm, nil)) }

func TestNativeChannels(t *testing.T) {
	TestChannels(t, open(t, Native, &sandbox.Config{Channels: ChannelPaths()}))
}
