/* SPDX-License-Identifier: MIT */
/*
 * System calls that glibc 2.36 does not wrap, and constants newer than Debian 12's headers.
 * Each returns what the call returns, or -errno; none touches errno-based state.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

/* Source: include/uapi/linux/seccomp.h, Linux 6.6. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	   SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif
/* Source: include/uapi/linux/pidfd.h, Linux 6.9. */
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
/* Source: include/uapi/linux/nsfs.h, Linux 6.11: a pid of the namespace -> our pid. */
#ifndef NS_GET_PID_FROM_PIDNS
#define NS_GET_PID_FROM_PIDNS _IOR(0xb7, 0x6, int)
#endif

/* Source: include/uapi/linux/fs.h, Linux 6.11: one mapping of a process, asked on its maps file. */
#define PROCMAP_WRITABLE 2u
struct procmap_query_abi {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY_ABI _IOWR('f', 17, struct procmap_query_abi)

int sys_bpf(int cmd, void *attr, unsigned int size);
int sys_perf_event_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group,
			unsigned long flags);
int sys_pidfd_open(pid_t pid, unsigned int flags);
int sys_pidfd_getfd(int pidfd, int fd);
int sys_pidfd_send_signal(int pidfd, int sig);
int sys_seccomp(unsigned int op, unsigned int flags, void *args);
int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve);
int sys_kcmp_files(pid_t a, pid_t b);
/** sys_same_memory() - whether two tasks share their address space; false too for one that is gone
 */
bool sys_same_memory(pid_t a, pid_t b);

/**
 * sys_process_read() - copy from another process
 *
 * Return: bytes copied (short at the first unmapped page), or -errno.
 */
ssize_t sys_process_read(pid_t pid, uint64_t addr, void *buf, size_t len);

struct timespec;

/** deadline_in() - @timeout_ms from now on CLOCK_REALTIME, for pthread_cond_timedwait() */
void deadline_in(int timeout_ms, struct timespec *ret_until);

/**
 * read_file() - whole small file into a fresh buffer with a terminating NUL
 * @dirfd: directory or AT_FDCWD
 * @max: refuse files longer than this, with -EFBIG
 * @ret_text: owned by the caller (free)
 * @ret_len: may be NULL
 *
 * Return: 0 or -errno.
 */
int read_file(int dirfd, const char *path, size_t max, char **ret_text, size_t *ret_len);

/** write_file() - write @text to an existing file in one write(2). Return: 0 or -errno. */
int write_file(int dirfd, const char *path, const char *text);
