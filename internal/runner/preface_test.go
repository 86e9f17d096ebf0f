package runner

import (
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
)

func prefaceFile(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPreface(t *testing.T) {
	d := guest.Description{ABI: guest.ABI, MapOnly: true}
	tests := []struct {
		name   string
		p      preface
		memory int64 // limit of the job
		want   bool
	}{
		{"known", preface{SDK: true, Description: d.String(), Memory: 5 << 20}, 0, true},
		{"just enough memory", preface{SDK: true, Description: d.String(), Memory: 5 << 20}, 5 << 20, true},
		{"too little memory", preface{SDK: true, Description: d.String(), Memory: 5 << 20}, 5<<20 - 1, false},
		{"unknown", preface{SDK: true}, 0, false},
		{"a command", preface{}, 0, false},
		{"another version", preface{SDK: true, Description: "millrace-guest-abi/0\nmaponly\n"}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page, err := tt.p.encode()
			if err != nil || len(page) != prefaceSize {
				t.Fatalf("%d bytes, %v; want %d", len(page), err, prefaceSize)
			}
			f := prefaceFile(t, append(page, "code"...))
			p, err := readPreface(f)
			if err != nil || *p != tt.p {
				t.Fatalf("read %+v, %v; want %+v", p, err, tt.p)
			}
			got, ok := Described(f, &Hello{Limits: job.Limits{Memory: tt.memory}})
			if ok != tt.want || ok && got != d {
				t.Errorf("described %+v, %t; want %t", got, ok, tt.want)
			}
		})
	}
	if _, err := (&preface{Description: strings.Repeat("x", prefaceSize)}).encode(); err == nil {
		t.Error("a preface that is larger than its page")
	}
}

func TestBadPreface(t *testing.T) {
	page := func(head string) []byte { return append([]byte(head), make([]byte, prefaceSize-len(head))...) }
	for name, content := range map[string][]byte{
		"empty":            nil,
		"less than a page": page("\x02\x00\x00\x00{}")[:prefaceSize-1],
		"too long":         page("\xff\xff\xff\xff{}"),
		"longer than it":   page("\xfd\x0f\x00\x00{}"),
		"no JSON":          page("\x03\x00\x00\x00{}}"),
		"zeros":            page(""),
	} {
		f := prefaceFile(t, content)
		if p, err := readPreface(f); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
		if d, ok := Described(f, &Hello{}); ok {
			t.Errorf("%s: described as %+v", name, d)
		}
	}
}
