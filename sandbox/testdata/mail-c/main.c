// Mail-c matches each line of its input and writes what matched as a key, with a one.
#include <regex.h>
#include <stdio.h>
#include <string.h>

static regex_t invoice;

// Set up before main: this is part of every run's fresh state.
__attribute__((constructor)) static void init(void) {
	regcomp(&invoice, "invoice [0-9]+", REG_EXTENDED);
}

int main(void) {
	char line[4096];
	regmatch_t m;
	while (fgets(line, sizeof line, stdin)) {
		if (strstr(line, "invoice ") && regexec(&invoice, line, 1, &m, 0) == 0)
			printf("%.*s\t1\n", (int)(m.rm_eo - m.rm_so), line + m.rm_so);
	}
	return 0;
}
