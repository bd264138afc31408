/* SPDX-License-Identifier: MIT */
/*
 * The thread that waits for an answer: its memory, its descriptors, its view of paths and pids.
 *
 * Everything here is hostile: the memory may change while we read it, the thread may be killed and
 * its number reused. So: read once into a copy, check guest_valid() before acting on what was read,
 * and write only through a handle pinned while the notification was known to be alive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct guest - one caller for the length of one notification
 * @listener: not owned
 * @id: notification id
 * @tid: caller as the daemon's pid namespace numbers it
 * @pidfd: opened on first use; owned
 * @mem_fd: /proc/TID/mem, opened on first write; owned
 */
struct guest {
	int listener;
	uint64_t id;
	pid_t tid;
	int pidfd;
	int mem_fd;
};

void guest_init(struct guest *guest, int listener, uint64_t id, pid_t tid);
void guest_deinit(struct guest *guest);

/** guest_valid() - the notification still waits, so @tid has been this caller all along */
bool guest_valid(const struct guest *guest);

/**
 * guest_read() - copy @len bytes from the guest
 *
 * Return: 0, or -EFAULT when any byte is unreadable, as copy_from_user() would.
 */
int guest_read(struct guest *guest, uint64_t addr, void *buf, size_t len);

/**
 * guest_read_string() - copy a NUL-terminated string of at most @size - 1 bytes
 *
 * Return: its length, -EFAULT, or -ENAMETOOLONG.
 */
ssize_t guest_read_string(struct guest *guest, uint64_t addr, char *buf, size_t size);

/** guest_zero() - whether @len bytes are all zero, as bpf_check_uarg_tail_zero() asks
 *  (kernel/bpf/syscall.c, Linux 6.18). Return: 0, -E2BIG when they are not, -EFAULT, -ESRCH. */
int guest_zero(struct guest *guest, uint64_t addr, size_t len);

/**
 * guest_write() - copy @len bytes into writable memory of the guest
 *
 * Return: 0, or -EFAULT when the range is not mapped writable, -ESRCH when the caller is gone.
 */
int guest_write(struct guest *guest, uint64_t addr, const void *buf, size_t len);

/**
 * guest_get_fd() - duplicate the guest's descriptor @fd
 *
 * Return: our descriptor, owned by the caller, or -EBADF, -ESRCH, -EMFILE.
 */
int guest_get_fd(struct guest *guest, int fd);

/**
 * guest_open_path() - open @path as the guest would, O_PATH
 *
 * Resolved from the guest's root and working directory, with its file system identity.
 *
 * Return: descriptor, owned by the caller, or the -errno the guest would get.
 */
int guest_open_path(struct guest *guest, const char *path);

/**
 * guest_assume() - act on files with the guest's file system identity, in this thread
 *
 * Return: 0 or -ESRCH. Pair with guest_resume().
 */
int guest_assume(struct guest *guest);

/** guest_resume() - back to our own identity */
void guest_resume(void);

/** guest_tgid() - process that the waiting thread belongs to, in our numbering; 0 when it is gone
 */
pid_t guest_tgid(const struct guest *guest);

/**
 * guest_pid_to_host() - translate a pid or tid of the guest's pid namespace
 *
 * Return: the number in our namespace, or -ESRCH.
 */
pid_t guest_pid_to_host(struct guest *guest, pid_t pid);
