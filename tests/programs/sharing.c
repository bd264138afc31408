/* SPDX-License-Identifier: MIT */
/*
 * Processes that share their memory run the same function: a child made by clone(CLONE_VM), and
 * children of vfork() before they exit. Its instructions are two bytes long, so that threads stand
 * in the middle of what a probe displaces all the time.
 *
 * usage: sharing [-s SECONDS] [-g] [-n CALLS] [-p SECONDS]
 * -s  call it for that long (parent and child), with a child of vfork() now and then
 * -g  wait for a line on standard input first
 * -n  call it so often, each of the two, and once in each of CALLS / 100 children of vfork()
 * -p  instead, call posix_spawn() of this program for that long
 * Prints how often it was called. The status is 1 if a child ended otherwise than it should have.
 */
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void sharing_work(void);
__asm__(".text\n"
	".balign 64\n"
	".globl sharing_work\n"
	".type sharing_work, @function\n"
	"sharing_work:\n"
	"	pause\n	pause\n	pause\n	pause\n	ret\n"
	".size sharing_work, .-sharing_work\n");

#define CHUNK 1000

/* The child has the parent's thread-local memory as well, so it calls no function of the library.
 */
static volatile bool go, stop;
static volatile unsigned long child_calls, calls;
static unsigned long vforked;

static int child(void *arg)
{
	while (!go)
		__builtin_ia32_pause();
	while (!stop && (calls == 0 || child_calls < calls)) {
		sharing_work();
		child_calls++;
	}
	return 0;
}

static bool call_in_vfork(void)
{
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		sharing_work();
		_exit(0);
	}
	vforked++;
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool run(long seconds)
{
	time_t end = time(NULL) + seconds;
	unsigned long done = 0;
	bool right = true;

	while (right && (seconds ? time(NULL) < end : done < calls)) {
		unsigned long left = seconds ? CHUNK : calls - done;

		for (unsigned long i = 0; i < CHUNK && i < left; i++, done++)
			sharing_work();
		for (unsigned long i = 0; i < (seconds ? 1 : CHUNK / 100) && right; i++)
			right = call_in_vfork();
	}
	stop = seconds;
	calls = seconds ? done : calls;
	return right;
}

/* One after the other; they call the function once. */
static int spawn_all(long seconds)
{
	char *const argv[] = {"sharing", "-n", "1", NULL};
	time_t end = time(NULL) + seconds;
	unsigned long spawned = 0;
	int status = 0;
	pid_t pid;

	while (time(NULL) < end && status == 0) {
		if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, NULL) ||
		    waitpid(pid, &status, 0) != pid)
			return 1;
		spawned++;
	}
	printf("spawned %lu\n", spawned);
	return status != 0;
}

int main(int argc, char **argv)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	long seconds = 0;
	int option, status;
	bool gate = false, right;
	char line[8];
	pid_t pid;

	while ((option = getopt(argc, argv, "s:gn:p:")) != -1)
		switch (option) {
		case 's':
			seconds = atol(optarg);
			break;
		case 'g':
			gate = true;
			break;
		case 'n':
			calls = strtoul(optarg, NULL, 10);
			break;
		case 'p':
			return spawn_all(atol(optarg));
		default:
			return 2;
		}
	pid = clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
	if (pid < 0 || (gate && !fgets(line, sizeof(line), stdin)))
		return 3;
	go = true;
	right = run(seconds);
	right = waitpid(pid, &status, 0) == pid && status == 0 && right;
	printf("calls %lu\n", calls + child_calls + vforked);
	return !right;
}
