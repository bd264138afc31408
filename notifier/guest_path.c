/* SPDX-License-Identifier: MIT */
/*
 * Paths as the caller sees them.
 *
 * Most are absolute and plain: openat2(RESOLVE_IN_ROOT) from the caller's root under the caller's
 * file system identity. Relative paths and magic links (/proc/PID/root/...) need the caller's whole
 * context: a short-lived child enters its namespaces and opens there, into our descriptor table.
 */
#include "notifier/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

/* File system uid and gid of a thread, in the user namespace of whoever opened @proc_dir. */
static int read_fs_ids(int proc_dir, uid_t *ret_uid, gid_t *ret_gid)
{
	char text[4096], *line;
	unsigned int uid, gid;
	ssize_t n;
	int fd;

	fd = openat(proc_dir, "status", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	line = strstr(text, "\nUid:");
	if (!line || sscanf(line, "\nUid: %*u %*u %*u %u", &uid) != 1)
		return -ESRCH;
	line = strstr(text, "\nGid:");
	if (!line || sscanf(line, "\nGid: %*u %*u %*u %u", &gid) != 1)
		return -ESRCH;
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

static int assume(int proc_dir)
{
	uid_t uid;
	gid_t gid;

	if (read_fs_ids(proc_dir, &uid, &gid) < 0)
		return -ESRCH;
	/* Per thread; leaving uid 0 also drops the capabilities that override file permissions. */
	setfsgid(gid);
	setfsuid(uid);
	return 0;
}

void guest_resume(void)
{
	setfsuid(0);
	setfsgid(0);
}

/* /proc/TID of the caller: once it is open and the call still waits, it is this very thread. */
static int open_proc_dir(struct guest *guest)
{
	char proc[32];
	int dir;

	snprintf(proc, sizeof(proc), "/proc/%d", guest->tid);
	dir = open(proc, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && guest_valid(guest))
		return dir;
	close_fd(dir);
	return -ESRCH;
}

int guest_assume(struct guest *guest)
{
	cleanup_fd int proc_dir = open_proc_dir(guest);

	return proc_dir < 0 ? proc_dir : assume(proc_dir);
}

static int open_in_root(int proc_dir, const char *path)
{
	cleanup_fd int root = openat(proc_dir, "root", O_PATH | O_CLOEXEC);
	int fd;

	if (root < 0 || assume(proc_dir) < 0)
		return -ESRCH;
	fd = sys_openat2(root, path, O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT);
	guest_resume();
	return fd;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

struct context {
	int proc_dir, user_ns, own_user_ns, mnt_ns, root, cwd;
};

/*
 * In the child: a copy of the daemon that shares only its descriptor table. Raw system calls only,
 * because another thread may have held a lock of the C library when we forked.
 */
static int open_as_guest(const struct context *c, const char *path)
{
	uid_t uid;
	gid_t gid;

	if (setns(c->mnt_ns, CLONE_NEWNS) < 0 || fchdir(c->root) < 0 || chroot(".") < 0 ||
	    fchdir(c->cwd) < 0)
		return -ESRCH;
	if (!same_file(c->user_ns, c->own_user_ns) && setns(c->user_ns, CLONE_NEWUSER) < 0)
		return -ESRCH;
	if (read_fs_ids(c->proc_dir, &uid, &gid) < 0)
		return -ESRCH;
	if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return -EPERM;
	if (syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0)
		return -EPERM;
	return sys_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
}

static int open_by_child(int proc_dir, const char *path)
{
	cleanup_fd int user_ns = openat(proc_dir, "ns/user", O_RDONLY | O_CLOEXEC);
	cleanup_fd int mnt_ns = openat(proc_dir, "ns/mnt", O_RDONLY | O_CLOEXEC);
	cleanup_fd int root = openat(proc_dir, "root", O_PATH | O_CLOEXEC);
	cleanup_fd int cwd = openat(proc_dir, "cwd", O_PATH | O_CLOEXEC);
	cleanup_fd int own = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	struct context context = {proc_dir, user_ns, own, mnt_ns, root, cwd};
	int pipe_fds[2], result = -ESRCH;
	pid_t pid;

	if (user_ns < 0 || mnt_ns < 0 || root < 0 || cwd < 0 || own < 0)
		return -ESRCH;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		result = open_as_guest(&context, path);
		(void)!write(pipe_fds[1], &result, sizeof(result));
		syscall(SYS_exit_group, 0);
	}
	if (pid > 0) {
		/* The write end stays open in the shared table, so wait for the child, then read.
		 */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
		if (read(pipe_fds[0], &result, sizeof(result)) != sizeof(result))
			result = -ESRCH;
	} else {
		result = -errno;
	}
	close_fd(pipe_fds[0]);
	close_fd(pipe_fds[1]);
	return result;
}

/* Number of the caller's process in its own pid namespace, which is what its /proc shows. */
static pid_t own_tgid(int proc_dir)
{
	cleanup_free char *text = NULL;
	const char *last;
	char *line;

	if (read_file(proc_dir, "status", 16384, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nNStgid:");
	if (!line)
		return 0;
	line[1 + strcspn(line + 1, "\n")] = '\0';
	last = strrchr(line, '\t');
	return last ? atoi(last + 1) : 0;
}

/*
 * /proc/self is whoever looks: for us, and for the child, that is not the caller. Tools that trace
 * themselves name their file by it.
 */
static const char *resolve_self(int proc_dir, const char *path, char *buf, size_t size)
{
	static const char self[] = "/proc/self/";
	pid_t tgid;

	if (strncmp(path, self, sizeof(self) - 1) != 0)
		return path;
	tgid = own_tgid(proc_dir);
	if (!tgid || snprintf(buf, size, "/proc/%d/%s", tgid, path + sizeof(self) - 1) >= (int)size)
		return path;
	return buf;
}

int guest_open_path(struct guest *guest, const char *path)
{
	cleanup_fd int proc_dir = -1;
	char resolved[PATH_MAX];
	int fd = -ELOOP;

	if (path[0] == '\0')
		return -ENOENT;
	proc_dir = open_proc_dir(guest);
	if (proc_dir < 0)
		return proc_dir;
	path = resolve_self(proc_dir, path, resolved, sizeof(resolved));
	if (path[0] == '/')
		fd = open_in_root(proc_dir, path);
	/* How openat2() says that it met a magic link, or that the path moved under it. */
	if (fd == -ELOOP || fd == -EXDEV || fd == -EAGAIN)
		fd = open_by_child(proc_dir, path);
	return fd;
}
