/* SPDX-License-Identifier: MIT */
/*
 * Raw system calls as "result or -errno".
 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define SYS(...)                                                                                   \
	({                                                                                         \
		long sys_r = syscall(__VA_ARGS__);                                                 \
		sys_r < 0 ? -errno : (int)sys_r;                                                   \
	})

int sys_bpf(int cmd, void *attr, unsigned int size)
{
	return SYS(SYS_bpf, cmd, attr, size);
}

int sys_perf_event_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group,
			unsigned long flags)
{
	return SYS(SYS_perf_event_open, attr, pid, cpu, group, flags);
}

int sys_pidfd_open(pid_t pid, unsigned int flags)
{
	return SYS(SYS_pidfd_open, pid, flags);
}

int sys_pidfd_getfd(int pidfd, int fd)
{
	return SYS(SYS_pidfd_getfd, pidfd, fd, 0);
}

int sys_pidfd_send_signal(int pidfd, int sig)
{
	return SYS(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

int sys_seccomp(unsigned int op, unsigned int flags, void *args)
{
	return SYS(SYS_seccomp, op, flags, args);
}

int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .resolve = resolve};

	return SYS(SYS_openat2, dirfd, path, &how, sizeof(how));
}

int sys_kcmp_files(pid_t a, pid_t b)
{
	return SYS(SYS_kcmp, a, b, KCMP_FILES, 0, 0);
}

bool sys_same_memory(pid_t a, pid_t b)
{
	return SYS(SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0;
}

ssize_t sys_process_read(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {.iov_base = buf, .iov_len = len};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)addr, .iov_len = len};
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	return n < 0 ? -errno : n;
}

void deadline_in(int timeout_ms, struct timespec *ret_until)
{
	clock_gettime(CLOCK_REALTIME, ret_until);
	ret_until->tv_sec += timeout_ms / 1000;
	ret_until->tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (ret_until->tv_nsec >= 1000000000) {
		ret_until->tv_sec++;
		ret_until->tv_nsec -= 1000000000;
	}
}

int read_file(int dirfd, const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t used = 0, size = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (used + 1 >= size) {
			char *grown = realloc(text, size = size ? size * 2 : 1024);

			if (!grown)
				return -ENOMEM;
			text = grown;
		}
		n = read(fd, text + used, size - used - 1);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
	}
	text[used] = '\0';
	if (ret_len)
		*ret_len = used;
	*ret_text = take_ptr(&text);
	return 0;
}

int write_file(int dirfd, const char *path, const char *text)
{
	cleanup_fd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len)
		return errno ? -errno : -EIO;
	return 0;
}
