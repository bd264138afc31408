/* SPDX-License-Identifier: MIT */
/*
 * Makes maps while a timer keeps interrupting, with and without SA_RESTART, then counts what the
 * tenant has: every success must be one map, every EINTR none.
 *
 * usage: signals restart|plain
 */
#include <errno.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define WANTED 400

static volatile int ticks;

static void on_alarm(int sig)
{
	ticks++;
}

static int listed(void)
{
	uint32_t id = 0;
	int count = 0;

	for (;; count++) {
		union bpf_attr attr;

		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, &attr, sizeof(attr)) < 0)
			return count;
		id = attr.next_id;
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval every = {{0, 200}, {0, 200}}, off = {{0, 0}, {0, 0}};
	int made = 0, interrupted = 0, other = 0;

	if (argc > 1 && strcmp(argv[1], "restart") == 0)
		action.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	while (made < WANTED && other == 0) {
		union bpf_attr attr;

		memset(&attr, 0, sizeof(attr));
		attr.map_type = BPF_MAP_TYPE_ARRAY;
		attr.key_size = 4;
		attr.value_size = 8;
		attr.max_entries = 1;
		if (syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)) >= 0)
			made++;
		else if (errno == EINTR)
			interrupted++;
		else
			other = errno;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	printf("made %d, listed %d, other errors %d, signalled %s, EINTR %s\n", made, listed(),
	       other, ticks > 10 ? "often" : "rarely",
	       interrupted && action.sa_flags ? "in spite of SA_RESTART" : "as allowed");
	return 0;
}
