// Writes the words of a mail's subject, in small letters, to the channel "word".
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

int main(void) {
	static char line[1000];
	FILE *out = fopen("/dev/out/word", "w");
	if (!out) {
		perror("/dev/out/word");
		return 1;
	}
	while (fgets(line, sizeof line, stdin) && line[0] != '\n' && line[0] != '\r') {
		if (strncasecmp(line, "subject:", 8))
			continue;
		int within = 0;
		for (const char *c = line + 8; *c; c++) {
			if (isalpha((unsigned char)*c))
				within = putc(tolower((unsigned char)*c), out) != EOF;
			else if (within)
				within = putc('\n', out) == EOF;
		}
		break;
	}
	return fclose(out) ? 1 : 0;
}
