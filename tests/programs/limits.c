/* SPDX-License-Identifier: MIT */
/*
 * Traced processes that count their address space.
 *
 *	limits as SECONDS	under an RLIMIT_AS of 100 MB, of which it takes 80 at the end
 *	limits tight SECONDS	under one that leaves it 1 MB, which it takes at the end
 *	limits lock SECONDS	mlockall() at the end, under an RLIMIT_MEMLOCK of 8 MB
 *	limits hole SECONDS	takes pages of its own between what others have mapped into it, and
 *				looks at the end whether they are as they were
 *
 * Calls limits_work() meanwhile. Prints "limits ok".
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MB   (1ul << 20)
#define PAGE 4096ul

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

long limits_work(long n);

__attribute__((noinline, noipa)) long limits_work(long n)
{
	return n * 3;
}

static unsigned char *holes[16];
static int hole_cnt;

/* Behind every mapping of a memory file that is not ours; at most once each. */
static void take_holes(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	while (maps && hole_cnt < 16 && fgets(line, sizeof(line), maps)) {
		uint64_t end;
		unsigned char *at;

		if (!strstr(line, "memfd:") || sscanf(line, "%*x-%" SCNx64, &end) != 1)
			continue;
		at = mmap((void *)end, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (at != (void *)end)
			continue;
		memset(at, 0xa5, PAGE);
		holes[hole_cnt++] = at;
	}
	if (maps)
		fclose(maps);
}

static int holes_are_whole(void)
{
	for (int i = 0; i < hole_cnt; i++)
		for (unsigned long k = 0; k < PAGE; k++)
			if (holes[i][k] != 0xa5)
				return 0;
	return hole_cnt > 0;
}

static void call_for(double seconds, int with_holes)
{
	const struct timespec nap = {.tv_nsec = 2000000};
	struct timespec t;
	double end;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = (double)t.tv_sec + (double)t.tv_nsec / 1e9 + seconds;
	for (long n = 0;; n++) {
		if (limits_work(n) != n * 3)
			abort();
		if (with_holes && !hole_cnt)
			take_holes();
		nanosleep(&nap, NULL);
		clock_gettime(CLOCK_MONOTONIC, &t);
		if ((double)t.tv_sec + (double)t.tv_nsec / 1e9 > end)
			return;
	}
}

static unsigned long address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (file && fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * PAGE;
}

static void set_limit(int which, unsigned long bytes)
{
	struct rlimit limit = {bytes, bytes};

	setrlimit(which, &limit);
}

/* Return: whether so much can be had. */
static int take(unsigned long bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

int main(int argc, char **argv)
{
	double seconds;
	int ok;

	if (argc < 3)
		return 2;
	seconds = atof(argv[2]);
	if (strcmp(argv[1], "as") == 0)
		set_limit(RLIMIT_AS, 100 * MB);
	if (strcmp(argv[1], "tight") == 0)
		set_limit(RLIMIT_AS, address_space() + MB + MB / 2);
	if (strcmp(argv[1], "lock") == 0)
		set_limit(RLIMIT_MEMLOCK, 8 * MB);
	call_for(seconds, strcmp(argv[1], "hole") == 0);
	if (strcmp(argv[1], "as") == 0)
		ok = take(80 * MB);
	else if (strcmp(argv[1], "tight") == 0)
		ok = take(MB);
	else if (strcmp(argv[1], "lock") == 0)
		ok = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
	else
		ok = holes_are_whole();
	printf("limits %s\n", ok ? "ok" : "FAILED");
	return !ok;
}
