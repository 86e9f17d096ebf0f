// Subjects counts the subjects of mails, without "Re:" and "Fwd:". It is a plain command: an object on stdin, lines
// "key TAB value" on stdout, nothing of Millrace in it. See the Makefile for how it is built and run.

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// Longest subject that is told apart from others, in bytes.
enum { MAX = 1000 };

static char subject[MAX + 1];
static size_t length;

// append adds c to the subject, but no space at its start.
static void append(int c) {
	if (length < MAX && (length > 0 || (c != ' ' && c != '\t'))) {
		subject[length++] = (char)c;
	}
}

// read_header reads one header line with its continuation lines; those of Subject go to subject. It returns false at the end of the headers.
static bool read_header(void) {
	static const char name[] = "subject:";
	size_t at = 0; // how much of name was seen
	bool matches = true;
	int c;
	if ((c = getchar()) == EOF || c == '\n') {
		return false;
	}
	if (c == '\r' && (c = getchar()) == '\n') {
		return false;
	}
	for (; c != EOF; c = getchar()) {
		if (c == '\n') {
			int next = getchar();
			if (next != ' ' && next != '\t') {
				ungetc(next, stdin);
				break;
			}
			c = ' '; // a folded line goes on
		}
		if (!matches || c == '\r') {
			continue;
		}
		if (at < sizeof name - 1) {
			matches = (c | 0x20) == (name[at] | 0x20);
			at++;
		} else {
			append(c);
		}
	}
	return c != EOF;
}

// strip returns s without leading spaces and reply marks, and cuts the spaces at its end.
static char *strip(char *s) {
	static const char *const marks[] = {"re:", "fw:", "fwd:", "aw:", "wg:"};
	for (size_t i = 0; i < sizeof marks / sizeof *marks;) {
		s += strspn(s, " \t");
		size_t n = strlen(marks[i]);
		if (strncasecmp(s, marks[i], n) == 0) {
			s += n;
			i = 0;
		} else {
			i++;
		}
	}
	for (size_t n = strlen(s); n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'); n--) {
		s[n - 1] = '\0';
	}
	return s;
}

int main(void) {
	while (length == 0 && read_header()) {
	}
	subject[length] = '\0';
	const char *s = strip(subject);
	for (s = *s ? s : "(none)"; *s; s++) {
		switch (*s) { // what separates keys, values and lines is escaped
		case '\t': fputs("\\t", stdout); break;
		case '\r': fputs("\\r", stdout); break;
		case '\\': fputs("\\\\", stdout); break;
		default: putchar(*s);
		}
	}
	fputs("\t1\n", stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
