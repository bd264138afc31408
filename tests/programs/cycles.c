/* SPDX-License-Identifier: MIT */
/*
 * Programs come and go all the time in a process whose threads never rest.
 *
 * usage: cycles ROUNDS INSNS [THREADS [MILLISECONDS]]
 *
 * Each round loads a program of about so many instructions, attaches it to a function that THREADS
 * threads (4) of another process call without a pause, waits until it has counted a call, and
 * closes all. That process checks what the function returns each time. Prints the rounds and ends
 * with 1 if anything went wrong.
 */
#include <errno.h>
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
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel-bridge/insn_build.h"

#define THREADS_MAX 16
#define MAP_SIZE    4096u

int cycles_work(int n);
extern char __executable_start[];

__attribute__((noinline)) int cycles_work(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : : "memory");
	return n * 3 + 1;
}

static void *caller(void *arg)
{
	for (int i = 0;; i = (i + 1) & 0xffffff)
		if (cycles_work(i) != i * 3 + 1)
			_exit(2);
	return arg;
}

static pid_t target_new(int threads)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 1; i < threads; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, caller, NULL);
	}
	caller(NULL);
	_exit(3);
}

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int fail(int round, const char *what)
{
	printf("round %d: %s: %s\n", round, what, strerror(errno));
	return -1;
}

/* Adds 1 to the map's first number, and computes the second. */
static int prog_new(int map, uint32_t cnt)
{
	static const struct bpf_insn last[] = {INSN_STX(BPF_DW, 7, 0, 8), INSN_MOV64_IMM(0, 0),
					       INSN_EXIT()};
	const struct bpf_insn first[] = {
		INSN_MOV64_REG(6, 1),
		INSN_LD_IMM64_SRC(7, BPF_PSEUDO_MAP_VALUE, map),
		INSN_MOV64_IMM(2, 1),
		INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, 7, 2, 0, BPF_ADD),
		INSN_LDX(BPF_DW, 0, 6, 112),
	};
	const uint32_t head = sizeof(first) / sizeof(first[0]);
	struct bpf_insn *insns = calloc(cnt + head + 3, sizeof(*insns));
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_KPROBE,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt + head + 3,
			       .license = (uintptr_t) "GPL"};
	int fd;

	memcpy(insns, first, sizeof(first));
	for (uint32_t i = 0; i < cnt; i++)
		insns[head + i] =
			i % 2 ? (struct bpf_insn)INSN_ALU64_IMM(BPF_XOR, 0, (int)i * 7919)
			      : (struct bpf_insn)INSN_ALU64_IMM(BPF_MUL, 0, (int)i * 2 + 3);
	memcpy(insns + head + cnt, last, sizeof(last));
	fd = bpf(BPF_PROG_LOAD, &attr);
	free(insns);
	return fd;
}

static int event_new(void)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.uprobe_path = (uintptr_t) "/proc/self/exe",
		.probe_offset = (uintptr_t)cycles_work - (uintptr_t)__executable_start,
		.sample_period = 1,
	};
	FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");

	if (!file || fscanf(file, "%u", &attr.type) != 1)
		return -1;
	fclose(file);
	return (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static int one_round(int round, int map, const volatile uint64_t *count, uint32_t cnt)
{
	const uint64_t before = *count;
	int prog = prog_new(map, cnt), event = prog < 0 ? -1 : event_new(), r = 0;

	if (prog < 0 || event < 0)
		r = fail(round, prog < 0 ? "load" : "event");
	else if (ioctl(event, PERF_EVENT_IOC_SET_BPF, prog) < 0)
		r = fail(round, "attach");
	for (int i = 0; r == 0 && *count == before; i++) {
		usleep(100);
		if (i == 50000)
			r = fail(round, "nothing is counted");
	}
	if (event >= 0)
		close(event);
	if (prog >= 0)
		close(prog);
	return r;
}

int main(int argc, char **argv)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
			       .key_size = 4,
			       .value_size = 16,
			       .max_entries = 1,
			       .map_flags = BPF_F_MMAPABLE};
	const int rounds = argc > 1 ? atoi(argv[1]) : 100;
	const uint32_t cnt = argc > 2 ? (uint32_t)atoi(argv[2]) : 100;
	const int threads = argc > 3 ? atoi(argv[3]) : 4;
	const useconds_t pause = argc > 4 ? (useconds_t)atoi(argv[4]) * 1000 : 0;
	const volatile uint64_t *count;
	int map, status, done = 0;
	pid_t target;

	map = bpf(BPF_MAP_CREATE, &attr);
	count = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, map, 0);
	if (map < 0 || count == MAP_FAILED || threads < 1 || threads > THREADS_MAX)
		return fail(0, "begin"), 1;
	target = target_new(threads);
	while (done < rounds && one_round(done, map, count, cnt) == 0 &&
	       waitpid(target, &status, WNOHANG) == 0) {
		done++;
		usleep(pause);
	}
	printf("rounds %d, calls counted: %s\n", done, *count ? "yes" : "no");
	if (waitpid(target, &status, WNOHANG) != 0) {
		printf("the target ended: %#x\n", (unsigned)status);
		return 1;
	}
	kill(target, SIGKILL);
	waitpid(target, &status, 0);
	return done == rounds ? 0 : 1;
}
