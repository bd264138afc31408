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
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define GROUPS_MAX 256
/* How often it is looked whether the caller still waits. */
#define CALLER_LOOK_MS 200

/* Decides a thread's access to files; in the user namespace of whoever opened its /proc entry. */
struct fs_ids {
	uid_t uid;
	gid_t gid;
	size_t group_cnt;
	gid_t groups[GROUPS_MAX];
};

/* Groups behind the last one that fits are left out: the thread can do less, never more. */
static void parse_groups(const char *line, struct fs_ids *ids)
{
	char *end;

	for (ids->group_cnt = 0; ids->group_cnt < GROUPS_MAX; line = end) {
		while (*line == ' ' || *line == '\t')
			line++;
		if (*line < '0' || *line > '9')
			return;
		ids->groups[ids->group_cnt] = (gid_t)strtoul(line, &end, 10);
		if (*end != ' ' && *end != '\n') /* cut off by the end of what was read */
			return;
		ids->group_cnt++;
	}
}

#define STATUS_SIZE 4096

static int read_status(int proc_dir, char text[static STATUS_SIZE])
{
	ssize_t n;
	int fd;

	fd = openat(proc_dir, "status", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, STATUS_SIZE - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	return 0;
}

static int read_fs_ids(int proc_dir, struct fs_ids *ret_ids)
{
	char text[STATUS_SIZE], *line;
	struct fs_ids ids;
	int r;

	r = read_status(proc_dir, text);
	if (r < 0)
		return r;
	line = strstr(text, "\nUid:");
	if (!line || sscanf(line, "\nUid: %*u %*u %*u %u", &ids.uid) != 1)
		return -ESRCH;
	line = strstr(text, "\nGid:");
	if (!line || sscanf(line, "\nGid: %*u %*u %*u %u", &ids.gid) != 1)
		return -ESRCH;
	line = strstr(text, "\nGroups:");
	if (!line)
		return -ESRCH;
	parse_groups(line + strlen("\nGroups:"), &ids);
	*ret_ids = ids;
	return 0;
}

/* The last number of a line of a thread's status: that in the innermost pid namespace. */
static int last_number(const char *text, const char *key)
{
	const char *line = strstr(text, key), *end;

	if (!line)
		return -ESRCH;
	end = line + 1 + strcspn(line + 1, "\n");
	while (end[-1] >= '0' && end[-1] <= '9')
		end--;
	return atoi(end);
}

/* The rest of @path behind its first component, if that is @name; else NULL. */
static const char *behind(const char *path, const char *name)
{
	size_t len = strlen(name);

	if (*path != '/')
		return NULL;
	path += strspn(path, "/");
	if (strncmp(path, name, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	return path + len;
}

/*
 * /proc/self is whoever resolves it, and that is us: without this a tool's own file would be ours,
 * and a descriptor's number would be looked up in our table.
 */
static int name_caller(int proc_dir, const char *path, char *ret_path, size_t size)
{
	const char *proc = behind(path, "proc"), *dev = behind(path, "dev");
	const char *self = proc ? behind(proc, "self") : NULL;
	const char *thread = proc ? behind(proc, "thread-self") : NULL;
	const char *fd = dev ? behind(dev, "fd") : NULL;
	char text[STATUS_SIZE];
	int tgid, tid, r, n;

	if (!self && !thread && !fd) {
		n = snprintf(ret_path, size, "%s", path);
		return (size_t)n < size ? 0 : -ENAMETOOLONG;
	}
	r = read_status(proc_dir, text);
	if (r < 0)
		return r;
	tgid = last_number(text, "\nNStgid:");
	tid = last_number(text, "\nNSpid:");
	if (tgid < 0 || tid < 0)
		return -ESRCH;
	if (self)
		n = snprintf(ret_path, size, "/proc/%d%s", tgid, self);
	else if (thread)
		n = snprintf(ret_path, size, "/proc/%d/task/%d%s", tgid, tid, thread);
	else
		n = snprintf(ret_path, size, "/proc/%d/fd%s", tgid, fd);
	return (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static int assume(int proc_dir)
{
	struct fs_ids ids;

	if (read_fs_ids(proc_dir, &ids) < 0)
		return -ESRCH;
	/* The raw call: the C library's would change every thread of the daemon. */
	if (syscall(SYS_setgroups, ids.group_cnt, ids.groups) < 0)
		return -EPERM;
	/* Per thread; leaving uid 0 also drops the capabilities that override file permissions. */
	setfsgid(ids.gid);
	setfsuid(ids.uid);
	return 0;
}

void guest_resume(void)
{
	setfsuid(0);
	setfsgid(0);
	/* What root needs no group for; whoever started the daemon may have had some. */
	syscall(SYS_setgroups, 0, NULL);
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

/* A child must not outlive the daemon; a change of identity clears the order. */
static int die_with(pid_t parent)
{
	if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_getppid) == parent ? 0 : -ESRCH;
}

struct context {
	int proc_dir, user_ns, own_user_ns, mnt_ns, root, cwd;
	pid_t daemon;
};

/*
 * In the child: a copy of the daemon that shares only its descriptor table. Raw system calls only,
 * because another thread may have held a lock of the C library when we forked.
 */
static int open_as_guest(const struct context *c, const char *path)
{
	struct fs_ids ids;

	if (die_with(c->daemon) < 0)
		return -ESRCH;
	/* Groups first: by their numbers here, as the guest's namespace may have none for them. */
	if (read_fs_ids(c->proc_dir, &ids) < 0)
		return -ESRCH;
	if (syscall(SYS_setgroups, ids.group_cnt, ids.groups) < 0)
		return -EPERM;
	if (setns(c->mnt_ns, CLONE_NEWNS) < 0 || fchdir(c->root) < 0 || chroot(".") < 0 ||
	    fchdir(c->cwd) < 0)
		return -ESRCH;
	if (!same_file(c->user_ns, c->own_user_ns) && setns(c->user_ns, CLONE_NEWUSER) < 0)
		return -ESRCH;
	if (read_fs_ids(c->proc_dir, &ids) < 0)
		return -ESRCH;
	if (syscall(SYS_setresgid, ids.gid, ids.gid, ids.gid) < 0 ||
	    syscall(SYS_setresuid, ids.uid, ids.uid, ids.uid) < 0 ||
	    die_with(c->daemon) < 0)
		return -EPERM;
	return sys_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
}

/* A file system of the guest's may never answer. Nobody waits for it any more once the caller has
 * gone. */
static void end_with_caller(struct guest *guest, pid_t pid, int pidfd)
{
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

	while (poll(&pfd, 1, CALLER_LOOK_MS) <= 0) {
		if (guest_valid(guest))
			continue;
		kill(pid, SIGKILL);
		break;
	}
}

static int open_by_child(struct guest *guest, int proc_dir, const char *path)
{
	cleanup_fd int user_ns = openat(proc_dir, "ns/user", O_RDONLY | O_CLOEXEC);
	cleanup_fd int mnt_ns = openat(proc_dir, "ns/mnt", O_RDONLY | O_CLOEXEC);
	cleanup_fd int root = openat(proc_dir, "root", O_PATH | O_CLOEXEC);
	cleanup_fd int cwd = openat(proc_dir, "cwd", O_PATH | O_CLOEXEC);
	cleanup_fd int own = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	struct context context = {proc_dir, user_ns, own, mnt_ns, root, cwd, getpid()};
	int pipe_fds[2], pidfd = -1, result = -ESRCH;
	pid_t pid;

	if (user_ns < 0 || mnt_ns < 0 || root < 0 || cwd < 0 || own < 0)
		return -ESRCH;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD | SIGCHLD, NULL, &pidfd, NULL,
			     NULL);
	if (pid == 0) {
		result = open_as_guest(&context, path);
		(void)!write(pipe_fds[1], &result, sizeof(result));
		syscall(SYS_exit_group, 0);
	}
	if (pid > 0) {
		end_with_caller(guest, pid, pidfd);
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
	close_fd(pidfd);
	close_fd(pipe_fds[0]);
	close_fd(pipe_fds[1]);
	return result;
}

int guest_open_path(struct guest *guest, const char *path)
{
	cleanup_fd int proc_dir = -1;
	char named[PATH_MAX + 64];
	int fd = -ELOOP, r;

	if (path[0] == '\0')
		return -ENOENT;
	proc_dir = open_proc_dir(guest);
	if (proc_dir < 0)
		return proc_dir;
	r = name_caller(proc_dir, path, named, sizeof(named));
	if (r < 0)
		return r;
	path = named;
	if (path[0] == '/')
		fd = open_in_root(proc_dir, path);
	/* How openat2() says that it met a magic link, or that the path moved under it. */
	if (fd == -ELOOP || fd == -EXDEV || fd == -EAGAIN)
		fd = open_by_child(guest, proc_dir, path);
	return fd;
}
