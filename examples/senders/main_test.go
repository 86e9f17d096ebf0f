package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/mapper"
)

func TestDomain(t *testing.T) {
	tests := []struct{ from, want string }{
		{"j.doe@Example.COM", "example.com"},
		{" J. Doe <j.doe@example.com>", "example.com"},
		{`"Doe, J. (j@old.example)" <j.doe@example.com> (at work)`, "example.com"},
		{`"a \" b@x.example" <j@example.com>`, "example.com"},
		{`"odd@local"@example.com`, "example.com"},
		{"j@example.com (Doe (the (second\\)) one))", "example.com"},
		{"a@one.example, b@two.example", "one.example"},
		{"a <a@one.example>, b <b@two.example>", "one.example"},
		{"Friends: a@one.example, b@two.example;", "one.example"},
		{"<@relay.example:j@example.com>", "example.com"},
		{"j@example.com.", "example.com"},
		{"j@[192.0.2.1]", "[192.0.2.1]"},
		{"j@münchen.example", "münchen.example"},
		{"Mail Delivery <>", ""},
		{"j at example.com", ""},
		{"j@two words", ""},
		{"j@", ""},
		{"(j@example.com", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := domain(tt.from); got != tt.want {
			t.Errorf("domain(%q) = %q, want %q", tt.from, got, tt.want)
		}
	}
}

func TestSender(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	tests := []struct{ name, mail, want string }{
		{"plain", "To: b@b.example\nFrom: a@a.example\n\nFrom: c@c.example\n", "a.example"},
		{"CRLF and case", "to: b@b.example\r\nFROM: a@a.example\r\n\r\nbody", "a.example"},
		{"folded", "From: A\r\n long name\r\n\t<a@a.example>\r\nTo: b\r\n\r\n", "a.example"},
		{"folded before", "Received: by x\n\tfrom: b@b.example\nFrom: a@a.example\n\n", "a.example"},
		{"mbox", "From b@b.example Thu Jan  1 00:00:00 1970\nFrom: a@a.example\n\n", "a.example"},
		{"first of two", "From: a@a.example\nFrom: b@b.example\n\n", "a.example"},
		{"no body", "From: a@a.example", "a.example"},
		{"long lines", "X: " + long + "\nFrom: " + long + " <a@a.example>\nTo: b@b.example\n\n", "a.example"},
		{"endless header", "From: a@a.example (" + strings.Repeat(long, 100), "a.example"},
		{"endless folding", "From: a@a.example (" + strings.Repeat("\n "+long, 100), "a.example"},
		{"missing", "To: b@b.example\n\nFrom: c@c.example\n", none},
		{"empty", "", none},
		{"bounce", "From: <>\n\n", none},
		{"other header", "From-Line: b@b.example\n\n", none},
	}
	for _, tt := range tests {
		for reader, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.mail), "bytewise": iotest.OneByteReader(strings.NewReader(tt.mail)),
		} {
			var got []string
			counted := int64(0)
			obj := &mapper.Object{Body: r, Counter: func(_ string, n int64) { counted += n }}
			err := sender(obj, func(d string, _ bool) { got = append(got, d) })
			if err != nil || len(got) != 1 || got[0] != tt.want {
				t.Errorf("%s, %s: got %q, %v; want %q", tt.name, reader, got, err, tt.want)
			}
			if (counted == 1) != (tt.want == none) {
				t.Errorf("%s, %s: counted %d mails without a sender", tt.name, reader, counted)
			}
		}
	}
	cut := errors.New("connection reset")
	r := io.MultiReader(strings.NewReader("From: a@a.ex"), iotest.ErrReader(cut))
	if err := sender(&mapper.Object{Body: r}, func(string, bool) { t.Error("emitted half a header") }); !errors.Is(err, cut) {
		t.Errorf("got %v, want %v", err, cut)
	}
}

func FuzzDomain(f *testing.F) {
	f.Add(`"Doe, J. (j@old.example)" <j.doe@example.com> (work)`)
	f.Fuzz(func(t *testing.T, from string) {
		if d := domain(from); d != strings.ToLower(d) || strings.ContainsAny(d, " \t<>@,;") {
			t.Errorf("domain(%q) = %q", from, d)
		}
	})
}
