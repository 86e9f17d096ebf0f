package replica

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

// pickle writes a dictionary as Python 2 does for protocol 2.
func pickle(d map[string]string) []byte {
	b := []byte("\x80\x02}q\x01(")
	for k, v := range d {
		for _, s := range []string{k, v} {
			b = append(append(b, 'T', byte(len(s)), byte(len(s)>>8), 0, 0), s...)
		}
	}
	return append(b, "u."...)
}

// What Python writes is read as Python would: as text, and as bytes, in the protocols since 2.
func TestAgainstPython(t *testing.T) {
	const script = `
import base64, json, pickle, sys
out = []
for d in json.load(sys.stdin):
    b = {k.encode(): v.encode() for k, v in d.items()}
    for protocol in (2, 3, 4, 5):
        for x in (d, b):
            out.append(base64.b64encode(pickle.dumps(x, protocol)).decode())
json.dump(out, sys.stdout)
`
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skipf("no Python: %v", err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var dicts []map[string]string
	for i := range 60 {
		d := map[string]string{}
		for range i {
			var value strings.Builder
			for range rnd.IntN(8) * rnd.IntN(50) {
				value.WriteRune([]rune("aé日\x00\n€ÿ\U0001f600")[rnd.IntN(8)])
			}
			d[fmt.Sprintf("X-Ключ-%d", rnd.IntN(1000))] = value.String()
		}
		dicts = append(dicts, d)
	}
	text, err := json.Marshal(dicts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", script)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(text)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var pickles []string
	if err := json.Unmarshal(out, &pickles); err != nil || len(pickles) != 8*len(dicts) {
		t.Fatalf("%d pickles, %v", len(pickles), err)
	}
	for i, p := range pickles {
		raw, err := base64.StdEncoding.DecodeString(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(raw); err != nil || !reflect.DeepEqual(got, dicts[i/8]) {
			t.Fatalf("pickle %d, %q: got %q, %v, want %q", i, raw, got, err, dicts[i/8])
		}
	}
}

func TestPicklesRefused(t *testing.T) {
	for name, p := range map[string]string{
		"empty":              "",
		"call":               "\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
		"call in protocol 0": "cos\nsystem\n(S'id'\ntR.",
		"encode elsewhere":   "\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00rot1\x86R.",
		"a string":           "\x80\x02X\x01\x00\x00\x00a.",
		"a number":           "\x80\x02}X\x01\x00\x00\x00aK\x01s.",
		"more behind":        "\x80\x02}.x",
		"more on the stack":  "\x80\x02}}.",
		"no end":             "\x80\x02}",
		"odd items":          "\x80\x02}(X\x01\x00\x00\x00au.",
		"no dictionary":      "\x80\x02X\x01\x00\x00\x00a(X\x01\x00\x00\x00aX\x01\x00\x00\x00au.",
		"long string":        "\x80\x02}X\xff\xff\xff\xffa",
		"many marks":         "\x80\x02" + strings.Repeat("(", 10*maxStack),
		"many items":         "\x80\x02}(" + strings.Repeat("U\x00U\x00", maxStack) + "u.",
		"not UTF-8":          "\x80\x02}X\x01\x00\x00\x00\xffX\x01\x00\x00\x00as.",
		"too long":           string(make([]byte, maxPickle+1)),
	} {
		if d, err := decode([]byte(p)); !errors.Is(err, errPickle) {
			t.Errorf("%s: got %q, %v, want an error", name, d, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(pickle(map[string]string{"name": "/a/c/o", "ETag": "x"}))
	f.Add([]byte("\x80\x02}q\x00(c_codecs\nencode\nq\x01X\x04\x00\x00\x00nameq\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04Rq\x05c__builtin__\nbytes\nq\x06)Rq\x07u."))
	f.Add([]byte("\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x01b\x94s."))
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := decode(p)
		if err != nil && !errors.Is(err, errPickle) {
			t.Errorf("decode = %v", err)
		}
		if len(d) > maxEntries {
			t.Errorf("%d entries", len(d))
		}
	})
}
