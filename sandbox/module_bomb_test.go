package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wide is a type section: () -> (), one of a thousand parameters and results, () -> a thousand, a thousand -> ().
func wide() string {
	thousand := number(maxArity) + strings.Repeat("\x7f", maxArity)
	return list("\x60\x00\x00", "\x60"+thousand+thousand, "\x60\x00"+thousand, "\x60"+thousand+"\x00")
}

// functions makes a module of an imported function that takes a thousand values and gives as many, and n functions of another type of wide
// with the same body.
func functions(n int, kind, body string) []byte {
	return assemble(1, wide(), 2, list(sized("m")+sized("f")+"\x00\x01"), 3, number(n)+strings.Repeat(kind, n), 10, number(n)+strings.Repeat(body, n))
}

// moduleBombs are modules that cost a validator much which looks at each value that an instruction carries.
var moduleBombs = []struct {
	name, says string // "" passes
	code       func() []byte
}{
	{"blocks of a thousand values", "carry more than", func() []byte {
		return functions(1, "\x01", body(strings.Repeat("\x20\x00", maxArity)+strings.Repeat("\x02\x01\x0b", 300_000)+"\x0f"))
	}},
	{"calls of a thousand values", "carry more than", func() []byte {
		return functions(1, "\x02", body("\x00"+strings.Repeat("\x10\x00", 400_000)))
	}},
	{"br_table of a thousand values in dead code", "carry more than", func() []byte {
		return functions(1, "\x02", body("\x00\x1b\x02\x02\x00\x0b\x1a\x41\x00\x0e"+number(60_000)+strings.Repeat("\x00", 60_001)))
	}},
	{"small functions with wide blocks", "", func() []byte {
		return functions(100_000, "\x00", body("\x00\x02\x01\x0b\x0f"))
	}},
	{"functions of a thousand parameters", "locals in all functions", func() []byte { return functions(100_000, "\x03", body("")) }},
	{"a tall stack", "values too many", func() []byte { return functions(1, "\x00", body(strings.Repeat("\x41\x00", 500_000))) }},
	{"a long function", "", func() []byte { return functions(1, "\x00", body(strings.Repeat("\x41\x00\x1a", 300_000))) }},
	{"branches out of deep blocks", "", func() []byte {
		deep := maxNesting - 1
		return functions(1, "\x00", body(strings.Repeat("\x02\x40", deep)+"\x41\x00\x0e"+number(60_000)+strings.Repeat(number(deep), 60_001)+strings.Repeat("\x0b", deep)))
	}},
	{"exports", "", func() []byte {
		var names []string
		for i := range maxExports {
			names = append(names, sized(strconv.Itoa(i))+"\x00\x00")
		}
		return assemble(1, wide(), 3, list("\x00"), 7, list(names...), 10, list(body("")))
	}},
}

func TestModuleBombs(t *testing.T) {
	for _, b := range moduleBombs {
		code := b.code()
		took, _, err := validation(code)
		if b.says == "" && err != nil || b.says != "" && (err == nil || !strings.Contains(err.Error(), b.says)) {
			t.Errorf("%s: error %v; want %q", b.name, err, b.says)
		}
		t.Logf("%s: %d bytes in %v", b.name, len(code), took)
		if took > 2*time.Second {
			t.Errorf("%s: %v for %d bytes", b.name, took, len(code))
		}
	}
}

// validation validates code and returns the CPU time that it took.
func validation(code []byte) (time.Duration, *module, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadUsage().user
	m, err := validateModule(code)
	return threadUsage().user - begin, m, err
}

// BenchmarkModule validates a program of the Go compiler, and the worst of what passes.
func BenchmarkModule(b *testing.B) {
	name := filepath.Join(b.TempDir(), "program")
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", name, "github.com/millrace/millrace/examples/wordcount")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	program, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	// A block carries 4,000 values for 3 bytes; 250 bytes may.
	wideBlock := "\x02\x01\x0b" + strings.Repeat("\x01", 247)
	filled := body("\x00" + strings.Repeat(wideBlock, 4000) + "\x0f")
	for _, c := range []struct {
		name string
		code []byte
	}{{"go", program}, {"wide", functions(16, "\x00", filled)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.code)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := validateModule(c.code); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
