/* SPDX-License-Identifier: MIT */
/*
 * Feeds every file of the directories on the command line to the fuzz target it is linked with.
 * An empty directory is a failure: it would be a test that tests nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (16u << 20)

static int replay_file(int dirfd, const char *name)
{
	cleanup_free char *text = NULL;
	uint8_t *exact;
	size_t len;
	int r = read_file(dirfd, name, INPUT_MAX, &text, &len);

	if (r < 0) {
		fprintf(stderr, "%s: %s\n", name, strerror(-r));
		return r;
	}
	/* In a buffer of just that size, for the address sanitizer to see the end. */
	exact = malloc(len ? len : 1);
	if (!exact)
		return -1;
	memcpy(exact, text, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	return 0;
}

static int replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int cnt = 0;

	if (!dir) {
		perror(path);
		return -1;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (replay_file(dirfd(dir), entry->d_name) < 0) {
			cnt = -1;
			break;
		}
		cnt++;
	}
	closedir(dir);
	return cnt;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int cnt = replay_dir(argv[i]);

		if (cnt < 0)
			return 1;
		total += cnt;
	}
	printf("%d inputs\n", total);
	return total > 0 ? 0 : 1;
}
