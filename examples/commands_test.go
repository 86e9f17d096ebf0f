// Package examples holds programs to copy, each in a directory of its own. See README.md.
package examples

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A command is a mail and the line that a command writes for it.
type command struct{ mail, want string }

func run(t *testing.T, program string, cases []command) {
	for _, tt := range cases {
		cmd := exec.Command(program)
		cmd.Stdin = strings.NewReader(tt.mail)
		out, err := cmd.Output()
		if string(out) != tt.want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", tt.mail, out, err, tt.want)
		}
	}
}

func TestHours(t *testing.T) {
	run(t, "awk-hours/hours", []command{
		{"From: a\nDate: Mon, 1 Jan 2024 23:05:00 +0100\n\n", "23\t1\n"},
		{"date: 1 Jan 2024 00:59 UT\r\n\r\n", "00\t1\n"},
		{"Date: 01:00\nDate: 02:00\n\n", "01\t1\n"},
		{"From: a\r\n\r\nDate: 10:00\r\n", "(none)\t1\n"},
		{"Date: never\n\n", "(none)\t1\n"},
		{"", "(none)\t1\n"},
	})
}

func TestSubjects(t *testing.T) {
	program := filepath.Join(t.TempDir(), "subjects")
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler here")
	}
	if out, err := exec.Command("cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, "c-subjects/subjects.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run(t, program, []command{
		{"Subject: mill\n\nSubject: no\n", "mill\t1\n"},
		{"From: a\r\nSUBJECT: Re: FWD:re: mill race \r\n\r\n", "mill race\t1\n"},
		{"Subject: mill\r\n race\r\n\there\r\nTo: b\r\n\r\n", "mill race here\t1\n"},
		{"Subject: a\tb\\c\n\n", "a\\tb\\\\c\t1\n"},
		{"Subject: Regen\n\n", "Regen\t1\n"},
		{"Subjects: no\nX-Subject: no\nSubject: yes", "yes\t1\n"},
		{"From: a\n\nSubject: body\n", "(none)\t1\n"},
		{"Subject: " + strings.Repeat("x", 5000) + "\n\n", strings.Repeat("x", 1000) + "\t1\n"},
		{"\r\n", "(none)\t1\n"},
		{"", "(none)\t1\n"},
	})
}
