/* SPDX-License-Identifier: MIT */
/*
 * Measures single calls; tests/bench/run starts it natively and in a container and compares.
 *
 * usage: bench bare|bpf [REPETITIONS]
 *   bare  the round trip of a seccomp notification alone: a child makes a call that a filter
 *         notifies of, this process polls, receives and answers, with a value or by CONTINUE
 *   bpf   bpf() calls: a lookup in an array, a lookup in an array of maps (whose value the daemon
 *         translates), information on a map
 * Prints one line for each: name, median, minimum, maximum, in nanoseconds.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED_CALL 470000 /* no architecture has it: ENOSYS when left to the kernel */
#define WARM_UP	    200

/* Since Linux 6.6, so not in every header yet. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	   SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

typedef int (*call_fn)(void *context);

static int fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	return -1;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int measure(const char *name, size_t repetitions, call_fn call, void *context)
{
	uint64_t *times = calloc(repetitions, sizeof(*times)), start;

	if (!times)
		return fail(name);
	for (int i = 0; i < WARM_UP; i++)
		call(context);
	for (size_t i = 0; i < repetitions; i++) {
		start = now();
		if (call(context)) {
			free(times);
			return fail(name);
		}
		times[i] = now() - start;
	}
	qsort(times, repetitions, sizeof(*times), compare);
	printf("%s %lu %lu %lu\n", name, times[repetitions / 2], times[0], times[repetitions - 1]);
	fflush(stdout);
	free(times);
	return 0;
}

static int install_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, UNUSED_CALL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = sizeof(code) / sizeof(*code), .filter = code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &filter);
}

static int send_fd(int socket, int fd)
{
	char space[CMSG_SPACE(sizeof(fd))] = {}, byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = space,
				 .msg_controllen = sizeof(space)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket)
{
	char space[CMSG_SPACE(sizeof(int))] = {}, byte;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = space,
				 .msg_controllen = sizeof(space)};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* Both answers look alike to the child: an error from us, or the kernel's own ENOSYS. */
static int unused_call(void *context)
{
	return syscall(UNUSED_CALL, 0) == -1 && errno == ENOSYS ? 0 : -1;
}

/* answer - serve notifications until the child has gone */
static int answer(int listener, uint32_t flags)
{
	struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
	struct seccomp_notif request;
	struct seccomp_notif_resp response;

	for (;;) {
		if (poll(&poll_fd, 1, -1) < 0)
			return fail("poll");
		if (!(poll_fd.revents & POLLIN))
			return 0;
		memset(&request, 0, sizeof(request));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request))
			return fail("receive");
		memset(&response, 0, sizeof(response));
		response.id = request.id;
		response.flags = flags;
		response.error = flags ? 0 : -ENOSYS;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) && errno != ENOENT)
			return fail("send");
	}
}

static int bare(const char *name, size_t repetitions, uint32_t flags)
{
	int sockets[2], listener, status, error;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return fail("socketpair");
	child = fork();
	if (child < 0)
		return fail("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		listener = install_filter();
		if (listener < 0 || send_fd(sockets[1], listener))
			_exit(fail("filter") != 0);
		close(listener);
		_exit(measure(name, repetitions, unused_call, NULL) != 0);
	}
	close(sockets[1]);
	listener = receive_fd(sockets[0]);
	close(sockets[0]);
	if (listener >= 0 &&
	    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP))
		fprintf(stderr, "bench: without SYNC_WAKE_UP\n");
	error = listener < 0 ? fail("listener") : answer(listener, flags);
	close(listener);
	if (waitpid(child, &status, 0) < 0 || status)
		return -1;
	return error;
}

struct call {
	int command;
	union bpf_attr *attr;
	size_t size;
};

static int bpf_call(void *context)
{
	struct call *call = context;

	return (int)syscall(SYS_bpf, call->command, call->attr, call->size);
}

static int create(uint32_t type, uint32_t value_size, int inner)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = 4,
			       .value_size = value_size,
			       .max_entries = 1,
			       .inner_map_fd = (uint32_t)inner};

	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int lookup(const char *name, size_t repetitions, int map)
{
	uint32_t key = 0;
	uint64_t value = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)&value};
	struct call call = {BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)};

	return measure(name, repetitions, bpf_call, &call);
}

static int information(const char *name, size_t repetitions, int map)
{
	struct bpf_map_info info = {};
	union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)map,
					.info_len = sizeof(info),
					.info = (uintptr_t)&info}};
	struct call call = {BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)};

	return measure(name, repetitions, bpf_call, &call);
}

static int bpf(size_t repetitions)
{
	int inner = create(BPF_MAP_TYPE_ARRAY, 8, 0);
	int outer = create(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, inner);
	uint32_t key = 0, value = (uint32_t)inner;
	union bpf_attr attr = {
		.map_fd = (uint32_t)outer, .key = (uintptr_t)&key, .value = (uintptr_t)&value};

	if (inner < 0 || outer < 0)
		return fail("map");
	if (syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)))
		return fail("update");
	if (lookup("array", repetitions, inner) || lookup("outer", repetitions, outer))
		return -1;
	return information("info", repetitions, inner);
}

int main(int argc, char **argv)
{
	size_t repetitions = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;

	if (argc < 2 || !repetitions)
		return 2;
	if (!strcmp(argv[1], "bpf"))
		return bpf(repetitions) ? 1 : 0;
	if (strcmp(argv[1], "bare"))
		return 2;
	return bare("value", repetitions, 0) ||
	       bare("continue", repetitions, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}
