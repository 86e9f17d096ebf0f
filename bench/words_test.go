package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// wasmWords is how many bytes of words are counted as WebAssembly at most, which takes its time.
const wasmWords = 500e6

// BenchmarkWordCount counts words with the builtin program and with the same in Go, native and as WebAssembly, beside a plain Go loop; native also with
// keys that are the scanner's bytes. Compilation is not measured. All must find the same counts.
func BenchmarkWordCount(b *testing.B) {
	p := built(b)
	words := theScale(b).words
	dir, size := mailboxes(b, words)
	bin := b.TempDir()
	native, bytes, wasm := filepath.Join(bin, "words"), filepath.Join(bin, "bytewords"), filepath.Join(bin, "words.wasm")
	compile(b, native, "../examples/wordcount", "CGO_ENABLED=0")
	compile(b, bytes, "./bytewords", "CGO_ENABLED=0")
	compile(b, wasm, "../examples/wordcount", "GOOS=wasip1", "GOARCH=wasm")
	count := func(dir, program string) func() *exec.Cmd {
		return command(dir, nil, p.millrace, "run", "--progress", "none", program, "-i", ".")
	}
	contest(b, size, true,
		contender{"builtin", count(dir, "builtin:words")},
		contender{"native", count(dir, native)},
		contender{"native-bytes", count(dir, bytes)},
		contender{"plain-go", command(dir, nil, p.plainwords, ".")},
	)
	dir, size = mailboxes(b, min(words, wasmWords))
	contest(b, size, true, contender{"wasm", count(dir, wasm)}, contender{"plain-go-beside-wasm", command(dir, nil, p.plainwords, ".")})
}

// compile builds a program.
func compile(tb testing.TB, out, dir string, env ...string) {
	tb.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", out, dir)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
}

func writeFile(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		tb.Fatal(err)
	}
}
