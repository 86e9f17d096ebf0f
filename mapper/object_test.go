package mapper_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/millrace/millrace/mapper"
)

func TestObjectError(t *testing.T) {
	tests := []struct {
		err  mapper.ObjectError
		want string
	}{
		{mapper.ObjectError{URI: "s3://mail/x.eml", Err: io.ErrUnexpectedEOF}, "s3://mail/x.eml: unexpected EOF"},
		{mapper.ObjectError{URI: "s3://mail/2019/07.mbox", Offset: 8388608, Err: io.ErrUnexpectedEOF},
			"s3://mail/2019/07.mbox at 8388608: unexpected EOF"},
	}
	for _, tt := range tests {
		err := fmt.Errorf("map m-00042.1: %w", &tt.err)
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if oe := (*mapper.ObjectError)(nil); !errors.As(err, &oe) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v hides what it is", err)
		}
	}
}

// What is copied is what has not been read, whether the body can write itself or not.
func TestObjectWriteTo(t *testing.T) {
	for _, body := range []io.Reader{strings.NewReader("mills grind"), io.MultiReader(strings.NewReader("mills "), strings.NewReader("grind"))} {
		obj := &mapper.Object{Body: body}
		var out strings.Builder
		if _, err := io.ReadFull(obj, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(&out, obj); n != 9 || err != nil || out.String() != "lls grind" {
			t.Errorf("%T: got %q, %d, %v", body, out.String(), n, err)
		}
	}
}

func ExampleObject() {
	obj := &mapper.Object{
		Key:     "2026/a.eml",
		Params:  map[string]string{"header": "Subject"},
		Body:    strings.NewReader("From: a\nSubject: mills\n\nSubject: not a header\n"),
		Counter: func(name string, n int64) { fmt.Println("count", name, n) },
	}
	sc := bufio.NewScanner(obj)
	for sc.Scan() && sc.Text() != "" {
		if value, ok := strings.CutPrefix(sc.Text(), obj.Param("header")+": "); ok {
			fmt.Println(obj.Key, value)
			obj.Count("found", 1)
		}
	}
	// Output:
	// 2026/a.eml mills
	// count found 1
}
