/* SPDX-License-Identifier: MIT */
/*
 * Unusual ways into a probed file. Exit status: as the file's, 1 on failure.
 *
 *	dlopen FILE	load it in a second thread while others work
 *	thread FILE	exec it from a thread that is not the leader
 *	fail FILE ERRNO	exec must fail with that error; then 7
 *	spawn FILE N	run it N times; SIGCHLD comes once per exit, wait() sees no stop
 *	hold FILE	open it, and nothing further
 *	late FILE	read it into memory, map it only after many other calls; then 7
 *	remap FILE	map it for reading, close, make the mapping executable; with signals
 *			to itself meanwhile; with a further argument SIGSTOP too
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/programs/late_answer.h"

static const char *file;
static atomic_bool stop;
static atomic_int exits, others;

static void *work(void *arg)
{
	long *turns = arg;

	while (!atomic_load(&stop)) {
		(void)getppid();
		++*turns;
	}
	return NULL;
}

static void *load(void *arg)
{
	int *status = arg;
	void *lib = dlopen(file, RTLD_NOW);
	int (*get)(void) = lib ? (int (*)(void))dlsym(lib, "late_lib_status") : NULL;

	*status = get ? get() : 1;
	return NULL;
}

static int do_dlopen(void)
{
	pthread_t workers[3], loader;
	long turns[3] = {0};
	int status = 1;

	for (int i = 0; i < 3; i++)
		pthread_create(&workers[i], NULL, work, &turns[i]);
	pthread_create(&loader, NULL, load, &status);
	pthread_join(loader, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(workers[i], NULL);
	return status;
}

static void *exec_it(void *arg)
{
	execl(file, file, NULL);
	exit(1);
}

static int do_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, exec_it, NULL);
	pthread_join(thread, NULL);
	return 1;
}

static int do_fail(int error)
{
	execl(file, file, NULL);
	return errno == error ? LATE_PLAIN : 1;
}

static void on_child(int sig, siginfo_t *info, void *context)
{
	atomic_fetch_add(info->si_code == CLD_EXITED ? &exits : &others, 1);
}

static int do_spawn(int cnt)
{
	struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
	int status, first = 0;

	sigaction(SIGCHLD, &action, NULL);
	for (int i = 0; i < cnt; i++) {
		char *const argv[] = {(char *)file, NULL};
		pid_t pid;

		if (i % 2 == 0 && posix_spawn(&pid, file, NULL, NULL, argv, environ) != 0)
			return 1;
		if (i % 2 != 0)
			pid = fork();
		if (pid == 0) {
			execv(file, argv);
			_exit(1);
		}
		if (waitpid(pid, &status, WUNTRACED | WCONTINUED) != pid || !WIFEXITED(status))
			return 1;
		if (i == 0)
			first = WEXITSTATUS(status);
		if (WEXITSTATUS(status) != first)
			return 2;
	}
	return atomic_load(&exits) == cnt && atomic_load(&others) == 0 ? first : 3;
}

static int do_late(void)
{
	int fd = open(file, O_RDONLY);
	char byte;

	for (int i = 0; i < 400; i++)
		if (pread(fd, &byte, 1, i) != 1)
			return 1;
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED
		       ? 1
		       : LATE_PLAIN;
}

static void on_user(int sig)
{
	atomic_fetch_add(&others, 1);
}

/* The file's whole text, wherever it is: the answer is found by its marker. */
static int do_remap(bool stopping)
{
	int fd = open(file, O_RDONLY), (*answer)(void);
	struct stat st;
	char *base, *marker;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 1;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	signal(SIGUSR1, on_user);
	for (int i = 0; i < 10; i++)
		raise(SIGUSR1);
	if (atomic_load(&others) != 10)
		return 2;
	if (stopping)
		raise(SIGSTOP);
	if (base == MAP_FAILED || mprotect(base, (size_t)st.st_size, PROT_READ | PROT_EXEC) < 0)
		return 1;
	marker = memmem(base, (size_t)st.st_size, LATE_MARKER, strlen(LATE_MARKER));
	if (!marker)
		return 1;
	answer = (int (*)(void))(void *)(marker - 6);
	return answer();
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 1;
	file = argv[2];
	if (strcmp(argv[1], "dlopen") == 0)
		return do_dlopen();
	if (strcmp(argv[1], "thread") == 0)
		return do_thread();
	if (strcmp(argv[1], "fail") == 0)
		return do_fail(atoi(argv[3]));
	if (strcmp(argv[1], "spawn") == 0)
		return do_spawn(atoi(argv[3]));
	if (strcmp(argv[1], "late") == 0)
		return do_late();
	if (strcmp(argv[1], "hold") == 0 && open(file, O_RDONLY) >= 0)
		pause();
	if (strcmp(argv[1], "remap") == 0)
		return do_remap(argc > 3);
	return 1;
}
