/* SPDX-License-Identifier: MIT */
/*
 * Calls bpf() and perf_event_open() with every awkward argument: NULL, unmapped, straddling the end
 * of a mapping, short, over-long with zero and non-zero tail. Prints one line per case, so the same
 * run can be compared between the kernel and the daemon (tests/e2e/hostile.bats).
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	 4096
#define LAST_CMD 40

static unsigned char *edge; /* first byte behind a readable and writable page */

static void show(const char *what, int cmd, const char *shape, long result)
{
	int error = errno;

	printf("%s %d %s: %s\n", what, cmd, shape,
	       result >= 0		? "ok"
	       : strerrorname_np(error) ? strerrorname_np(error)
					: "524");
	if (result > 2)
		close((int)result);
}

static void bpf_case(int cmd, const char *shape, void *attr, unsigned int size)
{
	errno = 0;
	show("bpf", cmd, shape, syscall(SYS_bpf, cmd, attr, size));
}

/* @len bytes ending exactly at the edge of the mapping. */
static void *at_edge(size_t len)
{
	memset(edge - PAGE, 0, PAGE);
	return edge - len;
}

static void bpf_shapes(int cmd)
{
	unsigned char *attr;

	bpf_case(cmd, "null, no size", NULL, 0);
	bpf_case(cmd, "null", NULL, 64);
	bpf_case(cmd, "unmapped", edge, 64);
	bpf_case(cmd, "straddles the edge", at_edge(32), 64);
	bpf_case(cmd, "zeros", at_edge(64), 64);
	bpf_case(cmd, "short", at_edge(4), 4);
	bpf_case(cmd, "larger than a page", at_edge(64), PAGE + 1);
	bpf_case(cmd, "zero tail", at_edge(512), 512);
	attr = at_edge(512);
	attr[511] = 1;
	bpf_case(cmd, "tail not zero", attr, 512);
	attr = at_edge(128);
	attr[100] = 1;
	bpf_case(cmd, "byte behind the command's fields", attr, 128);
	memset(at_edge(128), 0xff, 128);
	bpf_case(cmd, "all ones", edge - 128, 128);
}

static void perf_case(const char *shape, struct perf_event_attr *attr, int pid, int cpu,
		      unsigned long flags)
{
	errno = 0;
	show("perf", 0, shape, syscall(SYS_perf_event_open, attr, pid, cpu, -1, flags));
}

static void perf_shapes(void)
{
	struct perf_event_attr *attr;

	perf_case("null", NULL, -1, 0, 0);
	perf_case("unmapped", (void *)edge, -1, 0, 0);
	attr = at_edge(32);
	perf_case("straddles the edge", attr, -1, 0, 0);
	attr = at_edge(sizeof(*attr));
	attr->size = 8;
	perf_case("size too small", attr, -1, 0, 0);
	printf("perf size written back: %s\n", attr->size >= 64 ? "yes" : "no");
	attr = at_edge(1024);
	attr->size = 1024;
	((unsigned char *)attr)[1000] = 1;
	perf_case("tail not zero", attr, -1, 0, 0);
	attr = at_edge(1024);
	attr->size = 1024;
	attr->type = PERF_TYPE_SOFTWARE;
	attr->config = PERF_COUNT_SW_CPU_CLOCK;
	attr->sample_period = 1000000000;
	perf_case("zero tail", attr, -1, 0, 0);
	perf_case("no such cpu", attr, -1, 100000, 0);
	perf_case("no such process", attr, 4000000, -1, 0);
	attr->config = 999;
	perf_case("no such event", attr, -1, 0, 0);
	attr->type = PERF_TYPE_TRACEPOINT;
	attr->config = 999999;
	perf_case("no such tracepoint", attr, -1, 0, 0);
	attr->type = 12345;
	perf_case("no such type", attr, -1, 0, 0);
}

static void fd_shapes(void)
{
	uint32_t attr[32] = {0};
	int pipes[2];

	if (pipe(pipes) < 0)
		return;
	attr[0] = 9999;
	bpf_case(BPF_MAP_LOOKUP_ELEM, "no such descriptor", attr, 128);
	bpf_case(BPF_OBJ_GET_INFO_BY_FD, "no such descriptor", attr, 128);
	bpf_case(BPF_LINK_CREATE, "no such descriptor", attr, 128);
	attr[0] = (uint32_t)pipes[0];
	bpf_case(BPF_OBJ_GET_INFO_BY_FD, "a pipe", attr, 16);
	bpf_case(BPF_PROG_BIND_MAP, "a pipe", attr, 128);
	attr[0] = 0xffffffff;
	bpf_case(BPF_MAP_GET_NEXT_ID, "last id", attr, 128);
	bpf_case(BPF_PROG_GET_FD_BY_ID, "last id", attr, 128);
	errno = 0;
	show("ioctl", 1, "set_bpf on a pipe", ioctl(pipes[0], PERF_EVENT_IOC_SET_BPF, 0));
	errno = 0;
	show("ioctl", 2, "enable a pipe", ioctl(pipes[0], PERF_EVENT_IOC_ENABLE, 0));
	errno = 0;
	show("ioctl", 3, "set_bpf, no such descriptor", ioctl(9999, PERF_EVENT_IOC_SET_BPF, 0));
}

/* Information on a map and a program: room that is short, exact, longer, and not empty behind. */
static void info_shapes(void)
{
	const struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
					 {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY,
			      .key_size = 4,
			      .value_size = 8,
			      .max_entries = 1};
	union bpf_attr prog = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
			       .insn_cnt = 2,
			       .insns = (uintptr_t)insns,
			       .license = (uintptr_t) "GPL"};
	long fds[] = {syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)),
		      syscall(SYS_bpf, BPF_PROG_LOAD, &prog, sizeof(prog))};
	static const unsigned int sizes[] = {0, 4, 80, 1024, 4096, 4097};

	for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned int size = sizes[i / 2];
		unsigned char *room = at_edge(size > PAGE ? PAGE : size);
		union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)fds[i % 2],
						.info_len = size,
						.info = (uintptr_t)room}};

		bpf_case(BPF_OBJ_GET_INFO_BY_FD, "zero room", &attr, 16);
		memset(room, 0, size > PAGE ? PAGE : size);
		if (size > 1000 && size <= PAGE)
			room[1000] = 1;
		attr.info.info_len = size;
		bpf_case(BPF_OBJ_GET_INFO_BY_FD, "room with a tail", &attr, 16);
	}
}

int main(void)
{
	unsigned char *map =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || munmap(map + PAGE, PAGE) < 0)
		return 1;
	edge = map + PAGE;
	for (int cmd = 0; cmd <= LAST_CMD; cmd++)
		bpf_shapes(cmd);
	bpf_shapes(-1);
	bpf_shapes(1 << 16);
	perf_shapes();
	fd_shapes();
	info_shapes();
	return 0;
}
