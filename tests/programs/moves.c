/* SPDX-License-Identifier: MIT */
/*
 * A probe counts calls in a hash while they stream, and in the middle a program of the kernel's
 * comes that uses the hash as well. Each call must be counted once, wherever.
 *
 * usage: moves ROUNDS CALLS [link | traced | arrays | late FILE]
 *
 * Two threads of another process make CALLS calls each in every round. With "link" the probe is
 * attached by a link. With "traced" somebody traces that process meanwhile, so that it cannot be
 * stopped: the kernel's program must be refused, and the probe go on. With "arrays" there is no
 * such program; each round counts in a new array. With "late" the probe is in FILE, a copy of this
 * program, which another process has opened before and maps while the probe is on its way; CALLS
 * are then elements of the hash, which make the way a long one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel-bridge/insn_build.h"

#define THREADS 2

int moves_work(int n);
extern char __executable_start[];

__attribute__((noinline)) int moves_work(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : : "memory");
	return n + 1;
}

static int calls, rounds_done;

static void *caller(void *arg)
{
	for (int i = 0; i < calls; i++)
		moves_work(i);
	return NULL;
}

/* A round for each byte that comes; one goes back when it is over. */
static void target(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1) {
		pthread_t threads[THREADS];

		for (int i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, caller, NULL);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		if (write(fd, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static void fail(const char *what)
{
	fprintf(stderr, "moves: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* Adds 1 to what @hash has under @key. */
static int prog_new(uint32_t type, int hash, int key)
{
	const struct bpf_insn insns[] = {
		INSN_ST(BPF_W, 10, -4, key),
		INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_FD, hash),
		INSN_MOV64_REG(2, 10),
		INSN_ALU64_IMM(BPF_ADD, 2, -4),
		INSN_CALL(BPF_FUNC_map_lookup_elem),
		INSN_JMP_IMM(BPF_JEQ, 0, 0, 2),
		INSN_MOV64_IMM(1, 1),
		INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, 0, 1, 0, BPF_ADD),
		INSN_MOV64_IMM(0, 0),
		INSN_EXIT(),
	};
	static char log[65536];
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = sizeof(insns) / sizeof(insns[0]),
			       .license = (uintptr_t) "GPL",
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log),
			       .log_level = 1};
	int fd = bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0) {
		fprintf(stderr, "%s", log);
		fail("load");
	}
	return fd;
}

static int map_new(uint32_t type, uint32_t cnt)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = 4, .value_size = 8, .max_entries = cnt};
	int hash = bpf(BPF_MAP_CREATE, &attr);

	for (uint32_t key = 0; key < (cnt > 8 ? cnt : 2); key++) {
		uint64_t zero = 0;
		union bpf_attr put = {.map_fd = (uint32_t)hash,
				      .key = (uintptr_t)&key,
				      .value = (uintptr_t)&zero};

		if (hash < 0 || bpf(BPF_MAP_UPDATE_ELEM, &put) < 0)
			fail("map");
	}
	return hash;
}

static uint64_t hash_read(int hash, uint32_t key)
{
	uint64_t value = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)hash, .key = (uintptr_t)&key, .value = (uintptr_t)&value};

	if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) < 0)
		fail("lookup");
	return value;
}

static int probe_new(const char *path)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.uprobe_path = (uintptr_t)path,
		.probe_offset = (uintptr_t)moves_work - (uintptr_t)__executable_start,
		.sample_period = 1,
		.wakeup_events = 1,
	};
	FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	int fd;

	if (!file || fscanf(file, "%u", &attr.type) != 1)
		fail("type of uprobes");
	fclose(file);
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		fail("probe");
	return fd;
}

static int attach(int probe, int prog, int by_link)
{
	union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)prog,
					       .target_fd = (uint32_t)probe,
					       .attach_type = BPF_PERF_EVENT}};
	int link = -1;

	if (by_link)
		link = bpf(BPF_LINK_CREATE, &attr);
	if (by_link ? link < 0 : ioctl(probe, PERF_EVENT_IOC_SET_BPF, prog) < 0)
		fail("attach");
	if (!by_link)
		ioctl(probe, PERF_EVENT_IOC_ENABLE, 0);
	return link;
}

static int attach_kernel(int prog)
{
	union bpf_attr attr = {
		.raw_tracepoint = {.name = (uintptr_t) "sys_enter", .prog_fd = (uint32_t)prog}};
	int fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);

	return fd < 0 ? -errno : fd;
}

/* Follows the first thread of a process until it is killed. */
static pid_t trace(pid_t pid)
{
	int fds[2];
	char byte;
	pid_t child;

	if (pipe(fds) < 0)
		fail("pipe");
	child = fork();
	if (child == 0) {
		if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
			fail("trace");
		close(fds[1]);
		for (;;)
			pause();
	}
	close(fds[1]);
	/* Until it has closed it, or has ended. */
	(void)!read(fds[0], &byte, 1);
	close(fds[0]);
	return child;
}

/* Return: whether all were counted. */
static int array_round(int target_fd)
{
	int array = map_new(BPF_MAP_TYPE_ARRAY, 8), user = prog_new(BPF_PROG_TYPE_KPROBE, array, 0);
	int probe = probe_new("/proc/self/exe");
	uint64_t counted;
	char byte = 'x';

	attach(probe, user, 0);
	if (write(target_fd, &byte, 1) != 1 || read(target_fd, &byte, 1) != 1)
		fail("target");
	counted = hash_read(array, 0);
	if (counted != (uint64_t)calls * THREADS)
		printf("round %d: counted %llu\n", rounds_done, (unsigned long long)counted);
	/* And it goes while calls stream. */
	if (write(target_fd, &byte, 1) != 1)
		fail("target");
	close(probe);
	close(user);
	close(array);
	if (read(target_fd, &byte, 1) != 1)
		fail("target");
	return counted == (uint64_t)calls * THREADS;
}

static int one_round(pid_t pid, int target_fd, const char *how, unsigned int delay)
{
	const int by_link = strcmp(how, "link") == 0, traced = strcmp(how, "traced") == 0;
	int hash = map_new(BPF_MAP_TYPE_HASH, 8), user = prog_new(BPF_PROG_TYPE_KPROBE, hash, 0);
	int kernel = prog_new(BPF_PROG_TYPE_RAW_TRACEPOINT, hash, 1);
	int probe = probe_new("/proc/self/exe"), link = attach(probe, user, by_link), tracepoint;
	uint64_t counted, others, expected = (uint64_t)calls * THREADS;
	pid_t tracer = traced ? trace(pid) : 0;
	char byte = 'x';

	if (write(target_fd, &byte, 1) != 1)
		fail("target");
	usleep(delay);
	tracepoint = attach_kernel(kernel);
	if (traced && tracepoint != -EPERM)
		printf("not refused: %d\n", tracepoint);
	if (!traced && tracepoint < 0)
		printf("refused: %d\n", tracepoint);
	if (read(target_fd, &byte, 1) != 1)
		fail("target");
	counted = hash_read(hash, 0);
	others = hash_read(hash, 1);
	if (counted != expected || !others == !traced)
		printf("round %d, delay %u: counted %llu of %llu, others %llu\n", rounds_done,
		       delay, (unsigned long long)counted, (unsigned long long)expected,
		       (unsigned long long)others);
	if (tracer) {
		kill(tracer, SIGKILL);
		waitpid(tracer, NULL, 0);
	}
	if (tracepoint >= 0)
		close(tracepoint);
	if (link >= 0)
		close(link);
	close(probe);
	close(user);
	close(kernel);
	close(hash);
	return counted == expected && (tracepoint >= 0) == !traced;
}

#define PAGE	   4096ul
#define LATE_CALLS 2000

/* Maps the function's page of a file that it has opened, some time after it was told to, and calls
 * it for a second. */
static void late_target(const char *path, int fd, unsigned int delay)
{
	const uintptr_t offset = (uintptr_t)moves_work - (uintptr_t)__executable_start;
	int file = open(path, O_RDONLY | O_CLOEXEC), (*work)(int);
	char byte = 'x', *code;

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		_exit(1);
	usleep(delay);
	code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file,
		    (off_t)(offset & ~(PAGE - 1)));
	if (code == MAP_FAILED)
		_exit(1);
	work = (int (*)(int))(void *)(code + offset % PAGE);
	for (int i = 0; i < LATE_CALLS; i++, usleep(500))
		if (work(i) != i + 1)
			_exit(2);
	_exit(0);
}

/* Return: whether the target came to its end, and was counted as long as the kernel did it. */
static int late_round(const char *path, uint32_t cnt, unsigned int delay)
{
	int hash = map_new(BPF_MAP_TYPE_HASH, cnt), user = prog_new(BPF_PROG_TYPE_KPROBE, hash, 0);
	int kernel = prog_new(BPF_PROG_TYPE_RAW_TRACEPOINT, hash, 1);
	int probe = probe_new(path), tracepoint, fds[2], status;
	uint64_t counted;
	char byte = 'x';
	pid_t child;

	attach(probe, user, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		fail("socketpair");
	child = fork();
	if (child == 0)
		late_target(path, fds[1], delay);
	if (read(fds[0], &byte, 1) != 1 || write(fds[0], &byte, 1) != 1)
		fail("target");
	tracepoint = attach_kernel(kernel);
	waitpid(child, &status, 0);
	counted = hash_read(hash, 0);
	printf("late %u: %s, status %#x, counted %llu\n", delay,
	       tracepoint < 0 ? "refused" : "moved", status, (unsigned long long)counted);
	close(tracepoint);
	close(probe);
	close(user);
	close(kernel);
	close(hash);
	close(fds[0]);
	close(fds[1]);
	return status == 0 && counted > LATE_CALLS / 4 && counted <= LATE_CALLS;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0, right = 0, fds[2], status;
	pid_t child;

	calls = argc > 2 ? atoi(argv[2]) : 0;
	if (rounds < 1 || calls < 1)
		return fprintf(stderr,
			       "usage: moves ROUNDS CALLS [link | traced | arrays | late FILE]\n"),
		       2;
	if (argc > 4 && strcmp(argv[3], "late") == 0) {
		for (int i = 0; i < rounds; i++)
			right += late_round(argv[4], (uint32_t)calls,
					    20000u * (unsigned int)(i + 1));
		printf("rounds %d, right %d\n", rounds, right);
		return right != rounds;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		fail("socketpair");
	child = fork();
	if (child == 0) {
		close(fds[0]);
		target(fds[1]);
	}
	close(fds[1]);
	for (int i = 0; i < rounds; i++) {
		const char *how = argc > 3 ? argv[3] : "";

		rounds_done = i;
		right += strcmp(how, "arrays") == 0
				 ? array_round(fds[0])
				 : one_round(child, fds[0], how, (unsigned int)(i % 10) * 700);
	}
	close(fds[0]);
	waitpid(child, &status, 0);
	printf("rounds %d, right %d, status %d\n", rounds, right, status);
	return right != rounds || status;
}
