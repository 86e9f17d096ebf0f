// Hostfn-c prints the addresses at acme.com in its input, each as a key with a one. The host finds them.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HOST(name) __attribute__((import_module("millrace"), import_name(#name)))

HOST(search_open_1) int32_t search_open(const char *pattern, uint32_t len, uint32_t flags, char *reason, uint32_t reason_len);
HOST(search_1) int32_t search(int32_t handle, uint32_t flags, const char *text, uint32_t len, uint32_t cursor[3], uint32_t found[][4], uint32_t most);

static int32_t address;
static char reason[200];

// Set up before main: this is part of every run's fresh state.
__attribute__((constructor)) static void init(void) {
	const char *pattern = "[a-z]+@acme\\.com";
	address = search_open(pattern, strlen(pattern), 0, reason, sizeof reason);
}

int main(void) {
	static char text[1 << 20];
	if (address < 0) {
		fprintf(stderr, "%s\n", reason);
		return 1;
	}
	size_t len = fread(text, 1, sizeof text, stdin);
	uint32_t cursor[3] = {0}, found[16][4];
	int32_t n;
	do {
		n = search(address, 0, text, len, cursor, found, 16);
		for (int32_t i = 0; i < n; i++)
			printf("%.*s\t1\n", (int)(found[i][3] - found[i][2]), text + found[i][2]);
	} while (n == 16);
	return 0;
}
