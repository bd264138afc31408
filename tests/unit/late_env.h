/* SPDX-License-Identifier: MIT */
/*
 * What the tests of late targets share: copies of the programs in a directory of their own, a
 * daemon's callbacks that patch late_answer(), and starting programs bounded in time. Needs root.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "shim/late.h"
#include "tests/programs/late_answer.h"

#define HUNG 1000 /* instead of an exit status: did not end in time */

struct late_env_file {
	char path[300];
	dev_t dev;
	ino_t ino;
	uint64_t answer; /* offset of late_answer() in the file; 0: there is none to patch */
};

/* @caught and the like are shared with forked daemons. */
struct late_env_counts {
	atomic_int caught, failed, behind, threaded, exec, missed[LATE_OFF + 1];
	atomic_int hang_ms;  /* wanted() takes that long, once */
	atomic_int pause_us; /* stopped() takes that long */
	atomic_int stop_all; /* stopped() stops the other threads too */
};

static char env_dir[] = "/tmp/bpfshim-test-late-XXXXXX";
static struct late_env_file env_files[8];
static uint32_t env_file_cnt;
static struct late_env_counts *env_counts;
static struct late *env_late;
static pid_t env_session; /* of the test and what it starts; helpers have their own */

static inline int64_t env_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline bool env_wanted(pid_t tid, dev_t dev, ino_t ino, void *data)
{
	int hang = atomic_exchange(&env_counts->hang_ms, 0);

	if (hang)
		usleep((useconds_t)hang * 1000);
	return getsid(tid) == env_session;
}

/* Address of a place in a file, in a process; 0: not mapped executable. */
static inline uint64_t env_address(pid_t pid, const struct late_env_file *file)
{
	char path[60], line[600];
	FILE *maps;
	uint64_t address = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps && !address && fgets(line, sizeof(line), maps)) {
		uint64_t start, end, offset, ino;
		char perms[5];

		if (sscanf(line, "%lx-%lx %4s %lx %*x:%*x %lu", &start, &end, perms, &offset,
			   &ino) == 5 &&
		    perms[2] == 'x' && ino == file->ino && file->answer >= offset &&
		    file->answer < offset + (end - start))
			address = start + file->answer - offset;
	}
	if (maps)
		fclose(maps);
	return address;
}

/* Whether all threads of a process are in ptrace stops. */
static inline bool env_all_stopped(pid_t pid)
{
	char path[300], text[512];
	struct dirent *entry;
	bool stopped = true;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		int fd, n;
		char *rest;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, entry->d_name);
		fd = entry->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : (int)read(fd, text, sizeof(text) - 1);
		close_fd(fd);
		if (n <= 0)
			continue;
		text[n] = '\0';
		rest = strrchr(text, ')');
		stopped = stopped && rest && rest[2] == 't';
	}
	if (dir)
		closedir(dir);
	return stopped;
}

static inline int env_patch(const struct late_env_file *file, pid_t pid, struct reason *reason)
{
	const unsigned char code[] = {0xb8, LATE_PATCHED, 0, 0, 0};
	uint64_t address = env_address(pid, file);
	char path[60];
	int fd, r;

	if (!address)
		return 1;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	r = fd < 0							     ? -errno
	    : pwrite(fd, code, sizeof(code), (off_t)address) == sizeof(code) ? 0
									     : -EIO;
	close_fd(fd);
	return r < 0 ? reason_set(reason, r, "cannot write") : 0;
}

/* In the helper: from now on late_answer() returns LATE_PATCHED. */
static inline int env_stopped(const struct late_stop *stop, struct reason *reason, void *data)
{
	const struct late_env_file *file = env_files;
	struct late_others *others = NULL;
	int r;

	usleep((useconds_t)atomic_load(&env_counts->pause_us));
	while (file->dev != stop->dev || file->ino != stop->ino)
		file++;
	if (!file->answer)
		return 0;
	if (stop->threaded && atomic_load(&env_counts->stop_all)) {
		r = late_stop_others(stop, &others);
		if (r < 0)
			return reason_set(reason, r, "cannot stop the others");
		if (!env_all_stopped(stop->pid))
			return reason_set(reason, -EIO, "others run");
	}
	r = env_patch(file, stop->pid, reason);
	late_release_others(others);
	return r;
}

static inline void env_caught(const struct late_stop *stop, int result, const char *reason,
			      void *data)
{
	atomic_fetch_add(result == 0 ? &env_counts->caught : &env_counts->failed, 1);
	atomic_fetch_add(&env_counts->behind, stop->behind);
	atomic_fetch_add(&env_counts->threaded, stop->threaded);
	atomic_fetch_add(&env_counts->exec, stop->exec);
}

static inline void env_missed(pid_t pid, dev_t dev, ino_t ino, enum late_miss why, void *data)
{
	atomic_fetch_add(&env_counts->missed[why], 1);
}

static const struct late_ops env_ops = {
	.wanted = env_wanted,
	.stopped = env_stopped,
	.caught = env_caught,
	.missed = env_missed,
};

static inline int env_total_missed(void)
{
	int sum = 0;

	for (int i = 0; i <= LATE_OFF; i++)
		sum += atomic_load(&env_counts->missed[i]);
	return sum;
}

/* Reports come from the reader a little after the process has ended. */
static inline void env_wait_for(atomic_int *count, int value)
{
	for (int64_t until = env_now_ms() + 1500; atomic_load(count) < value;) {
		assert_true(env_now_ms() < until);
		usleep(1000);
	}
}

/* A fresh copy of a program (inode of its own), under the same name or another. */
static inline struct late_env_file *env_copy(const char *name, const char *as)
{
	struct late_env_file *file = &env_files[env_file_cnt++];
	cleanup_free char *text = NULL;
	char from[300];
	struct stat st;
	size_t len;
	char *marker;
	int fd;

	snprintf(from, sizeof(from), "%s%s%s", strchr("/.", name[0]) ? "" : LATE_PROGRAMS,
		 strchr("/.", name[0]) ? "" : "/", name);
	snprintf(file->path, sizeof(file->path), "%s/%s", env_dir, as);
	assert_int_equal(read_file(AT_FDCWD, from, 1 << 26, &text, &len), 0);
	fd = open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	marker = memmem(text, len, LATE_MARKER, strlen(LATE_MARKER));
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	file->answer = marker ? (uint64_t)(marker - text) - 6 : 0;
	return file;
}

static inline void env_watch(const struct late_env_file *file)
{
	int fd = open(file->path, O_PATH | O_CLOEXEC);

	assert_int_equal(late_watch(env_late, fd), 0);
	close(fd);
}

static inline void env_unwatch(const struct late_env_file *file)
{
	int fd = open(file->path, O_PATH | O_CLOEXEC);

	late_unwatch(env_late, fd);
	close(fd);
}

/* Ends with the test, whatever happens. */
static inline pid_t env_start(const char *const *argv)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(argv[0], (char *const *)argv);
	_exit(99);
}

/* Return: exit status, 256 + signal, or HUNG. */
static inline int env_wait(pid_t pid, int timeout_ms)
{
	int pidfd = sys_pidfd_open(pid, 0), status;
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
	bool hung = poll(&pfd, 1, timeout_ms) != 1;

	close_fd(pidfd);
	if (hung)
		kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (hung)
		return HUNG;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static inline int env_run(const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = {a, b, c, d, NULL};

	return env_wait(env_start(argv), 20000);
}

static inline int env_setup(void **state)
{
	env_file_cnt = 0;
	env_session = getsid(0);
	strcpy(env_dir + sizeof(env_dir) - 7, "XXXXXX");
	assert_non_null(mkdtemp(env_dir));
	env_counts = mmap(NULL, sizeof(*env_counts), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return late_new(&env_ops, NULL, &env_late, NULL);
}

static inline int env_teardown(void **state)
{
	env_late = late_free(env_late);
	for (uint32_t i = 0; i < env_file_cnt; i++)
		unlink(env_files[i].path);
	munmap(env_counts, sizeof(*env_counts));
	return rmdir(env_dir);
}
