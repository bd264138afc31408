/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_TEST_RUN of a raw tracepoint's program, which counts its runs in a map and in another
 * says who ran it. Prints what the calls return and what the program saw, so the same can be
 * compared between the kernel and traced processes.
 *
 * usage: test_run attrs | who | threads | loops N | often N | packets
 */
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel-bridge/insn_build.h"

#ifndef BPF_F_TEST_RUN_ON_CPU
#define BPF_F_TEST_RUN_ON_CPU 1
#endif
#define FLAG_USER_STACK (1 << 8)

/* What the program stores: in the order of its instructions. */
struct seen {
	uint64_t runs, pid_tgid, uid_gid, ctx, word, cpu, stack, ips[4];
	char comm[16];
};

static int bpf(int cmd, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

static const char *name(int r)
{
	return r >= 0 ? "ok" : strerrorname_np(-r) ?: "524";
}

static int map_new(uint32_t type, uint32_t value_size, uint32_t entries)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = 4, .value_size = value_size, .max_entries = entries};

	return bpf(BPF_MAP_CREATE, &attr);
}

static int prog_new(uint32_t type, const struct bpf_insn *insns, uint32_t cnt)
{
	static char log[65536];
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt,
			       .license = (uintptr_t) "GPL",
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log),
			       .log_level = 1};
	int r = bpf(BPF_PROG_LOAD, &attr);

	if (r < 0)
		fprintf(stderr, "%s\n%s", name(r), log);
	return r;
}

/* Counts in @hash (no array: its contents move) and tells all in @array. @word: a word that is read
 * at the address in the context's second argument. */
static int prog_watch(int hash, int array)
{
	const struct bpf_insn insns[] = {
		INSN_MOV64_REG(6, 1),
		INSN_ST(BPF_W, 10, -4, 0),
		INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_FD, array),
		INSN_MOV64_REG(2, 10),
		INSN_ALU64_IMM(BPF_ADD, 2, -4),
		INSN_CALL(BPF_FUNC_map_lookup_elem),
		INSN_JMP_IMM(BPF_JNE, 0, 0, 2),
		INSN_MOV64_IMM(0, -1),
		INSN_EXIT(),
		INSN_MOV64_REG(7, 0),
		INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_FD, hash),
		INSN_MOV64_REG(2, 10),
		INSN_ALU64_IMM(BPF_ADD, 2, -4),
		INSN_CALL(BPF_FUNC_map_lookup_elem),
		INSN_JMP_IMM(BPF_JEQ, 0, 0, 4),
		INSN_MOV64_IMM(1, 1),
		INSN_RAW(BPF_STX | BPF_ATOMIC | BPF_DW, 0, 1, 0, BPF_ADD | BPF_FETCH),
		INSN_ALU64_IMM(BPF_ADD, 1, 1),
		INSN_STX(BPF_DW, 7, 1, offsetof(struct seen, runs)),
		INSN_CALL(BPF_FUNC_get_current_pid_tgid),
		INSN_STX(BPF_DW, 7, 0, offsetof(struct seen, pid_tgid)),
		INSN_CALL(BPF_FUNC_get_current_uid_gid),
		INSN_STX(BPF_DW, 7, 0, offsetof(struct seen, uid_gid)),
		INSN_LDX(BPF_DW, 1, 6, 0),
		INSN_STX(BPF_DW, 7, 1, offsetof(struct seen, ctx)),
		INSN_CALL(BPF_FUNC_get_smp_processor_id),
		INSN_STX(BPF_DW, 7, 0, offsetof(struct seen, cpu)),
		INSN_MOV64_REG(1, 7),
		INSN_ALU64_IMM(BPF_ADD, 1, offsetof(struct seen, word)),
		INSN_MOV64_IMM(2, 8),
		INSN_LDX(BPF_DW, 3, 6, 8),
		INSN_CALL(BPF_FUNC_probe_read_user),
		INSN_MOV64_REG(1, 7),
		INSN_ALU64_IMM(BPF_ADD, 1, offsetof(struct seen, comm)),
		INSN_MOV64_IMM(2, 16),
		INSN_CALL(BPF_FUNC_get_current_comm),
		INSN_MOV64_REG(1, 6),
		INSN_MOV64_REG(2, 7),
		INSN_ALU64_IMM(BPF_ADD, 2, offsetof(struct seen, ips)),
		INSN_MOV64_IMM(3, 32),
		INSN_MOV64_IMM(4, FLAG_USER_STACK),
		INSN_CALL(BPF_FUNC_get_stack),
		INSN_STX(BPF_DW, 7, 0, offsetof(struct seen, stack)),
		INSN_LDX(BPF_DW, 0, 6, 16),
		INSN_EXIT(),
	};
	int r;

	r = prog_new(BPF_PROG_TYPE_RAW_TRACEPOINT, insns, sizeof(insns) / sizeof(insns[0]));
	return r;
}

static int map_read(int map, void *value)
{
	uint32_t zero = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&zero, .value = (uintptr_t)value};

	return bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

static int map_zero(int map)
{
	uint32_t zero = 0;
	uint64_t none[16] = {0};
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&zero, .value = (uintptr_t)none};

	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

struct watch {
	int hash, array, prog;
};

static bool watch_new(struct watch *watch)
{
	watch->hash = map_new(BPF_MAP_TYPE_HASH, 8, 8);
	watch->array = map_new(BPF_MAP_TYPE_ARRAY, sizeof(struct seen), 1);
	watch->prog = prog_watch(watch->hash, watch->array);
	if (watch->prog < 0 || map_zero(watch->hash) < 0) {
		fprintf(stderr, "test_run: no program\n");
		return false;
	}
	return true;
}

static uint64_t words[3] = {0x123456789abcdef0, 0, 0x1122334455667788};

static int run(int prog)
{
	union bpf_attr attr = {.test = {.prog_fd = (uint32_t)prog,
					.ctx_in = (uintptr_t)words,
					.ctx_size_in = sizeof(words)}};
	int r = bpf(BPF_PROG_TEST_RUN, &attr);

	return r < 0 ? r : (int)(attr.test.retval & 0x7fffffff);
}

static void show(const char *what, union bpf_attr *attr)
{
	int r = bpf(BPF_PROG_TEST_RUN, attr);

	printf("%s: %s %#x %u %u\n", what, name(r), attr->test.retval, attr->test.duration,
	       attr->test.ctx_size_out);
}

#define CASE(what, ...)                                                                            \
	do {                                                                                       \
		union bpf_attr attr = {.test = {.prog_fd = (uint32_t)watch.prog,                   \
						.ctx_in = (uintptr_t)words,                        \
						.ctx_size_in = sizeof(words)}};                    \
		__VA_ARGS__;                                                                       \
		show(what, &attr);                                                                 \
	} while (0)

static void attrs(void)
{
	static unsigned char room[256];
	struct watch watch;
	struct seen seen = {0};
	uint64_t runs = 0;

	if (!watch_new(&watch))
		return;
	CASE("plain", attr.test.retval = 77);
	CASE("no such descriptor", attr.test.prog_fd = 999);
	CASE("a map", attr.test.prog_fd = (uint32_t)watch.hash);
	CASE("no context", attr.test.ctx_in = 0);
	CASE("no size", attr.test.ctx_size_in = 0);
	CASE("neither", attr.test.ctx_in = 0, attr.test.ctx_size_in = 0);
	CASE("too short", attr.test.ctx_size_in = 23);
	CASE("just enough", attr.test.ctx_size_in = 24);
	CASE("all", attr.test.ctx_in = (uintptr_t)room, attr.test.ctx_size_in = 96);
	CASE("too long", attr.test.ctx_in = (uintptr_t)room, attr.test.ctx_size_in = 97);
	CASE("unmapped", attr.test.ctx_in = 8);
	CASE("data in", attr.test.data_in = (uintptr_t)room);
	CASE("size of data alone", attr.test.data_size_in = 8);
	CASE("data out", attr.test.data_out = (uintptr_t)room);
	CASE("context out", attr.test.ctx_out = (uintptr_t)room, attr.test.ctx_size_out = 8);
	CASE("size of context out", attr.test.ctx_size_out = 8);
	CASE("repeat", attr.test.repeat = 2);
	CASE("duration", attr.test.duration = 2);
	CASE("batch", attr.test.batch_size = 2);
	CASE("a CPU without the flag", attr.test.cpu = 1);
	CASE("the first CPU", attr.test.flags = BPF_F_TEST_RUN_ON_CPU);
	CASE("no such CPU", attr.test.flags = BPF_F_TEST_RUN_ON_CPU, attr.test.cpu = 4000);
	CASE("another flag", attr.test.flags = 4);
	map_read(watch.hash, &runs);
	map_read(watch.array, &seen);
	printf("runs %llu %llu\n", (unsigned long long)runs, (unsigned long long)seen.runs);
}

/* Who is current, what it reads of him, where he asks. */
static void who(void)
{
	struct watch watch;
	struct seen seen = {0};
	int r;

	if (!watch_new(&watch))
		return;
	prctl(PR_SET_NAME, "asks");
	words[1] = (uintptr_t)&words[0];
	r = run(watch.prog);
	map_read(watch.array, &seen);
	printf("%s %#x\n", name(r), r);
	printf("pid %s, tid %s, ids %#llx, comm %s\n",
	       seen.pid_tgid >> 32 == (uint64_t)getpid() ? "right" : "wrong",
	       (uint32_t)seen.pid_tgid == (uint32_t)getpid() ? "right" : "wrong",
	       (unsigned long long)seen.uid_gid, seen.comm);
	printf("context %s, memory %s, cpu %s, stack %s\n",
	       seen.ctx == words[0] ? "right" : "wrong", seen.word == words[0] ? "right" : "wrong",
	       seen.cpu < (uint64_t)sysconf(_SC_NPROCESSORS_CONF) ? "right" : "wrong",
	       (int64_t)seen.stack > 0 && seen.ips[0] - (uintptr_t)syscall < 64 ? "right"
										: "wrong");
	/* In a child, too. */
	fflush(stdout);
	if (fork() == 0) {
		r = run(watch.prog);
		map_read(watch.array, &seen);
		printf("child: %s pid %s runs %llu\n", name(r),
		       seen.pid_tgid >> 32 == (uint64_t)getpid() ? "right" : "wrong",
		       (unsigned long long)seen.runs);
		exit(0);
	}
	wait(NULL);
}

#define THREADS 4
#define ROUNDS	50
static struct watch shared;
static int bad;

static void *asks(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		if (run(shared.prog) < 0)
			__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* All at once: each call is one run. */
static void threads(void)
{
	pthread_t others[THREADS];
	uint64_t runs = 0;

	if (!watch_new(&shared))
		return;
	words[1] = (uintptr_t)&words[0];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&others[i], NULL, asks, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(others[i], NULL);
	map_read(shared.hash, &runs);
	printf("runs %llu, failed %d\n", (unsigned long long)runs, bad);
}

/* 8 M times as many turns as is said. */
static int prog_loops(int turns)
{
	const struct bpf_insn insns[] = {
		INSN_MOV64_IMM(1, 1 << 23),
		INSN_LD_IMM64_SRC(2, BPF_PSEUDO_FUNC, 6),
		INSN_MOV64_IMM(3, 0),
		INSN_MOV64_IMM(4, 0),
		INSN_CALL(BPF_FUNC_loop),
		INSN_MOV64_IMM(0, 3),
		INSN_EXIT(),
		INSN_MOV64_IMM(1, turns),
		INSN_LD_IMM64_SRC(2, BPF_PSEUDO_FUNC, 6),
		INSN_MOV64_IMM(3, 0),
		INSN_MOV64_IMM(4, 0),
		INSN_CALL(BPF_FUNC_loop),
		INSN_MOV64_IMM(0, 0),
		INSN_EXIT(),
		INSN_MOV64_IMM(0, 0),
		INSN_EXIT(),
	};

	return prog_new(BPF_PROG_TYPE_RAW_TRACEPOINT, insns, sizeof(insns) / sizeof(insns[0]));
}

/* Runs it in a child as on the first CPU. Return: where it ran, or -1. */
static int child_cpu(const struct watch *watch)
{
	struct seen seen = {.cpu = UINT64_MAX};
	int status;

	fflush(stdout);
	if (fork() == 0) {
		union bpf_attr attr = {.test = {.prog_fd = (uint32_t)watch->prog,
						.ctx_in = (uintptr_t)words,
						.ctx_size_in = sizeof(words),
						.flags = BPF_F_TEST_RUN_ON_CPU}};

		exit(bpf(BPF_PROG_TEST_RUN, &attr) < 0);
	}
	wait(&status);
	map_read(watch->array, &seen);
	return status ? -1 : (int)seen.cpu;
}

static void loops(int turns)
{
	union bpf_attr attr = {.test = {.retval = 77, .flags = BPF_F_TEST_RUN_ON_CPU}};
	sigset_t before = {0}, after = {0};
	struct watch watch;
	int r;

	sigprocmask(SIG_BLOCK, NULL, &before);
	attr.test.prog_fd = (uint32_t)prog_loops(turns);
	printf("%d\n", getpid());
	fflush(stdout);
	r = bpf(BPF_PROG_TEST_RUN, &attr);
	printf("%s %d\n", name(r), attr.test.retval);
	sigprocmask(SIG_BLOCK, NULL, &after);
	printf("signals %s\n", memcmp(&before, &after, sizeof(before)) ? "changed" : "as before");
	/* What it held is somebody else's again. */
	if (watch_new(&watch)) {
		printf("then on %d in a child, ", child_cpu(&watch));
		printf("and %s\n", name(run(watch.prog)));
	}
}

static unsigned char packet[4096], out[8192];

static int insns_load(uint32_t type, const struct bpf_insn *insns, uint32_t cnt)
{
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = cnt,
			       .license = (uintptr_t) "GPL"};

	return bpf(BPF_PROG_LOAD, &attr);
}

static const struct {
	uint32_t type;
	const char *name;
} kinds[] = {
	{BPF_PROG_TYPE_SOCKET_FILTER, "socket_filter"},
	{BPF_PROG_TYPE_SCHED_CLS, "sched_cls"},
	{BPF_PROG_TYPE_SCHED_ACT, "sched_act"},
	{BPF_PROG_TYPE_CGROUP_SKB, "cgroup_skb"},
	{BPF_PROG_TYPE_XDP, "xdp"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static unsigned int sum(const unsigned char *bytes, size_t len)
{
	unsigned int hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash;
}

/* What there is to be seen of a call. Times are not. */
static void show_packet(const char *what, union bpf_attr *attr)
{
	int r;

	memset(out, 0xee, sizeof(out));
	attr->test.retval = 0x7777;
	r = bpf(BPF_PROG_TEST_RUN, attr);
	printf("%s: %s, returned %#x, packet %u, context %u, %#x", what, name(r), attr->test.retval,
	       attr->test.data_size_out, attr->test.ctx_size_out, sum(out, sizeof(out)));
	printf("%s\n", r >= 0 && attr->test.duration > 100000000 ? ", slow" : "");
}

static void ether(int protocol, unsigned char to)
{
	for (size_t i = 0; i < sizeof(packet); i++)
		packet[i] = (unsigned char)(i * 7);
	memset(packet, to, 6);
	packet[12] = (unsigned char)(protocol >> 8);
	packet[13] = (unsigned char)protocol;
}

/* Each number of the context, by a program that returns it. */
static void show_fields(uint32_t type, const char *kind)
{
	const struct __sk_buff skb = {.mark = 0x11223344,
				      .priority = 0x55,
				      .ingress_ifindex = 1,
				      .cb = {1, 2, 3, 4, 5},
				      .tstamp = 0x0123456789abcdef,
				      .wire_len = 3000,
				      .gso_segs = 7,
				      .gso_size = 9,
				      .hwtstamp = 11};
	char what[64];

	for (int off = 0; off < (int)sizeof(skb); off += 4) {
		const struct bpf_insn insns[] = {INSN_LDX(BPF_W, 0, 1, off), INSN_EXIT()};
		int prog;

		/* Addresses are not the same everywhere; cgroup_skb is given none of a packet. */
		if (off == offsetof(struct __sk_buff, data) ||
		    off == offsetof(struct __sk_buff, data_end) ||
		    off == offsetof(struct __sk_buff, data_meta))
			continue;
		prog = insns_load(type, insns, 2);
		snprintf(what, sizeof(what), "%s, word at %d", kind, off);
		if (prog < 0) {
			printf("%s: %s\n", what, name(prog));
			continue;
		}
		for (int with = 0; with < 2; with++) {
			union bpf_attr attr = {.test = {.prog_fd = (uint32_t)prog,
							.data_in = (uintptr_t)packet,
							.data_size_in = 80}};

			if (with) {
				attr.test.ctx_in = (uintptr_t)&skb;
				attr.test.ctx_size_in = sizeof(skb);
			}
			show_packet(what, &attr);
		}
		close(prog);
	}
}

/* Writes the packet's length and the number of the run into the packet, where it may. */
static int prog_edits(uint32_t type, int hash)
{
	const bool xdp = type == BPF_PROG_TYPE_XDP;
	const bool reaches =
		xdp || type == BPF_PROG_TYPE_SCHED_CLS || type == BPF_PROG_TYPE_SCHED_ACT;
	const int data =
		xdp ? (int)offsetof(struct xdp_md, data) : (int)offsetof(struct __sk_buff, data);
	const int end = xdp ? (int)offsetof(struct xdp_md, data_end)
			    : (int)offsetof(struct __sk_buff, data_end);
	const struct bpf_insn counts[] = {
		INSN_MOV64_REG(6, 1),
		INSN_ST(BPF_W, 10, -4, 0),
		INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_FD, hash),
		INSN_MOV64_REG(2, 10),
		INSN_ALU64_IMM(BPF_ADD, 2, -4),
		INSN_CALL(BPF_FUNC_map_lookup_elem),
		INSN_JMP_IMM(BPF_JNE, 0, 0, 2),
		INSN_MOV64_IMM(0, -1),
		INSN_EXIT(),
		INSN_LDX(BPF_DW, 7, 0, 0),
		INSN_ALU64_IMM(BPF_ADD, 7, 1),
		INSN_STX(BPF_DW, 0, 7, 0),
	};
	const struct bpf_insn edits[] = {
		INSN_LDX(BPF_W, 2, 6, data),
		INSN_LDX(BPF_W, 3, 6, end),
		INSN_MOV64_REG(4, 2),
		INSN_ALU64_IMM(BPF_ADD, 4, 20),
		INSN_JMP_REG(BPF_JLE, 4, 3, 2),
		INSN_MOV64_IMM(0, -2),
		INSN_EXIT(),
		INSN_STX(BPF_B, 2, 7, 19),
		INSN_LDX(BPF_B, 0, 2, 15),
		INSN_STX(BPF_W, 2, 0, 0),
		INSN_EXIT(),
	};
	const struct bpf_insn marks[] = {
		INSN_STX(BPF_W, 6, 7, offsetof(struct __sk_buff, cb) + 4),
		INSN_LDX(BPF_W, 0, 6, offsetof(struct __sk_buff, len)),
		INSN_EXIT(),
	};
	struct bpf_insn insns[32];
	uint32_t cnt = sizeof(counts) / sizeof(counts[0]);

	memcpy(insns, counts, sizeof(counts));
	memcpy(insns + cnt, reaches ? edits : marks, reaches ? sizeof(edits) : sizeof(marks));
	cnt += (reaches ? sizeof(edits) : sizeof(marks)) / sizeof(insns[0]);
	return insns_load(type, insns, cnt);
}

#define PACKET_CASE(what, ...)                                                                     \
	do {                                                                                       \
		union bpf_attr attr = {.test = {.prog_fd = (uint32_t)prog,                         \
						.data_in = (uintptr_t)packet,                      \
						.data_size_in = 64,                                \
						.data_out = (uintptr_t)out}};                      \
		char text[96];                                                                     \
		snprintf(text, sizeof(text), "%s, %s", kind, what);                                \
		__VA_ARGS__;                                                                       \
		show_packet(text, &attr);                                                          \
	} while (0)
#define CTX(from, to)                                                                              \
	attr.test.ctx_in = (uintptr_t)(from), attr.test.ctx_size_in = sizeof(*(from)),             \
	attr.test.ctx_out = (uintptr_t)(to), attr.test.ctx_size_out = sizeof(*(from))

static void show_calls(uint32_t type, const char *kind)
{
	static struct __sk_buff skb[2];
	static struct xdp_md xdp[2];
	int hash = map_new(BPF_MAP_TYPE_HASH, 8, 8), prog;
	uint64_t runs = 0;

	map_zero(hash);
	prog = prog_edits(type, hash);
	if (prog < 0) {
		printf("%s: %s\n", kind, name(prog));
		return;
	}
	PACKET_CASE("plain", (void)0);
	PACKET_CASE("a thousand times", attr.test.repeat = 1000);
	PACKET_CASE("nothing", attr.test.data_size_in = 0);
	PACKET_CASE("less than a header", attr.test.data_size_in = 13);
	PACKET_CASE("a header", attr.test.data_size_in = 14);
	PACKET_CASE("a header and a byte", attr.test.data_size_in = 15);
	PACKET_CASE("much", attr.test.data_size_in = 3500);
	PACKET_CASE("unmapped", attr.test.data_in = 8);
	PACKET_CASE("nothing out", attr.test.data_out = 0);
	PACKET_CASE("out unmapped", attr.test.data_out = 8);
	PACKET_CASE("out too small", attr.test.data_size_out = 20);
	PACKET_CASE("out large", attr.test.data_size_out = 200);
	PACKET_CASE("flags", attr.test.flags = 8);
	PACKET_CASE("a CPU", attr.test.cpu = 1);
	PACKET_CASE("batch", attr.test.batch_size = 1);
	PACKET_CASE("a size of context alone", attr.test.ctx_size_in = 4);
	for (int protocol = 0; protocol < 4; protocol++) {
		static const int protocols[] = {0x0800, 0x86dd, 0x0806, 0x0020};

		ether(protocols[protocol], (unsigned char)(protocol == 2 ? 0xff : protocol));
		PACKET_CASE("another protocol", (void)0);
		PACKET_CASE("with 19 bytes", attr.test.data_size_in = 33);
		PACKET_CASE("with 39 bytes", attr.test.data_size_in = 53);
	}
	if (type == BPF_PROG_TYPE_XDP) {
		xdp[0] = (struct xdp_md){.data_end = 64};
		PACKET_CASE("with a context", CTX(&xdp[0], out));
		xdp[0] = (struct xdp_md){.data = 8, .data_end = 64};
		PACKET_CASE("with meta data", CTX(&xdp[0], out + 4096));
		xdp[0] = (struct xdp_md){.data = 6, .data_end = 64};
		PACKET_CASE("with odd meta data", CTX(&xdp[0], out + 4096));
		xdp[0] = (struct xdp_md){.data = 256, .data_end = 512};
		PACKET_CASE("with too much", CTX(&xdp[0], out), attr.test.data_size_in = 512);
		xdp[0] = (struct xdp_md){.data = 8, .data_end = 4};
		PACKET_CASE("with an end before", CTX(&xdp[0], out));
		xdp[0] = (struct xdp_md){.data_end = 65};
		PACKET_CASE("with an end behind", CTX(&xdp[0], out));
		xdp[0] = (struct xdp_md){.data_meta = 1, .data_end = 64};
		PACKET_CASE("with an address", CTX(&xdp[0], out));
		xdp[0] = (struct xdp_md){.data_end = 64, .rx_queue_index = 1};
		PACKET_CASE("with a queue", CTX(&xdp[0], out));
		xdp[0] = (struct xdp_md){.data_end = 64, .ingress_ifindex = 1};
		PACKET_CASE("with a device", CTX(&xdp[0], out + 4096));
		xdp[0] = (struct xdp_md){.data_end = 64, .egress_ifindex = 1};
		PACKET_CASE("with a device to go", CTX(&xdp[0], out + 4096));
		xdp[0] = (struct xdp_md){.data_end = 64, .ingress_ifindex = 9999};
		PACKET_CASE("with no such device", CTX(&xdp[0], out));
		xdp[0] = (struct xdp_md){.data_end = 64};
		PACKET_CASE("with little room", CTX(&xdp[0], out + 4096),
			    attr.test.ctx_size_out = 8);
	} else {
		skb[0] = (struct __sk_buff){.mark = 1, .cb = {9, 8, 7, 6, 5}, .tstamp = 77};
		PACKET_CASE("with a context", CTX(&skb[0], out + 4096));
		PACKET_CASE("of less", CTX(&skb[0], out + 4096), attr.test.ctx_size_in = 64);
		PACKET_CASE("with little room", CTX(&skb[0], out + 4096),
			    attr.test.ctx_size_out = 60);
		PACKET_CASE("given only", attr.test.ctx_in = (uintptr_t)&skb[0],
			    attr.test.ctx_size_in = sizeof(skb[0]));
		PACKET_CASE("taken only", attr.test.ctx_out = (uintptr_t)out + 4096,
			    attr.test.ctx_size_out = sizeof(skb[0]));
		PACKET_CASE("longer, zero", CTX(&skb[0], out + 4096),
			    attr.test.ctx_size_in = sizeof(skb));
		skb[1].mark = 1;
		PACKET_CASE("longer, not zero", CTX(&skb[0], out + 4096),
			    attr.test.ctx_size_in = sizeof(skb));
		for (size_t off = 0; off < sizeof(skb[0]); off += 4) {
			const uint32_t one = 1;

			memset(skb, 0, sizeof(skb));
			memcpy((char *)&skb[0] + off, &one, sizeof(one));
			PACKET_CASE("with one number", CTX(&skb[0], out + 4096));
		}
		memset(skb, 0, sizeof(skb));
		skb[0].wire_len = 70000;
		PACKET_CASE("with a long one on the wire", CTX(&skb[0], out + 4096));
		skb[0] = (struct __sk_buff){.gso_segs = 65536};
		PACKET_CASE("with many segments", CTX(&skb[0], out + 4096));
		skb[0] = (struct __sk_buff){.ifindex = 9999};
		PACKET_CASE("with no such device", CTX(&skb[0], out + 4096));
	}
	map_read(hash, &runs);
	printf("%s: runs %llu\n", kind, (unsigned long long)runs);
}

/* Loads, and helpers that load, at places around the ends. */
static void show_loads(uint32_t type, const char *kind)
{
	static const int offsets[] = {0,
				      1,
				      13,
				      14,
				      29,
				      30,
				      31,
				      46,
				      60,
				      63,
				      64,
				      65,
				      5000,
				      -1,
				      -0x1000,
				      -0x100000,
				      -0x100000 + 28,
				      -0x100000 + 47,
				      -0x100001,
				      -0x200000,
				      -0x200000 + 12,
				      -0x200000 + 63,
				      -0x200001,
				      0x7fffffff,
				      (int)0x80000000};
	static const int sizes[] = {BPF_B, BPF_H, BPF_W};
	char what[64];

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]) * 8; i++) {
		const int offset = offsets[i / 8], how = i % 8;
		const struct bpf_insn absolute[] = {
			INSN_MOV64_REG(6, 1),
			INSN_RAW(BPF_LD | sizes[how % 3] | BPF_ABS, 0, 0, 0, offset),
			INSN_ALU64_IMM(BPF_ADD, 0, 1),
			INSN_EXIT(),
		};
		const struct bpf_insn indirect[] = {
			INSN_MOV64_REG(6, 1),
			INSN_LD_IMM64(7, (uint64_t)(uint32_t)(offset - 5) | 0x700000000ull),
			INSN_RAW(BPF_LD | sizes[how % 3] | BPF_IND, 0, 7, 0, 5),
			INSN_ALU64_IMM(BPF_ADD, 0, 1),
			INSN_EXIT(),
		};
		const struct bpf_insn helper[] = {
			INSN_MOV64_IMM(2, offset),
			INSN_ST(BPF_DW, 10, -8, -1),
			INSN_MOV64_REG(3, 10),
			INSN_ALU64_IMM(BPF_ADD, 3, -8),
			INSN_MOV64_IMM(4, how == 6 ? 3 : 4),
			INSN_MOV64_IMM(5, how == 6 ? 0 : offset & 3),
			INSN_CALL(how == 6 ? BPF_FUNC_skb_load_bytes
					   : BPF_FUNC_skb_load_bytes_relative),
			INSN_LDX(BPF_DW, 1, 10, -8),
			INSN_ALU64_REG(BPF_XOR, 0, 1),
			INSN_EXIT(),
		};
		union bpf_attr attr = {.test = {.data_in = (uintptr_t)packet, .data_size_in = 64}};
		int prog = how < 3   ? insns_load(type, absolute, 4)
			   : how < 6 ? insns_load(type, indirect, 6)
				     : insns_load(type, helper, 10);

		snprintf(what, sizeof(what), "%s, load %d at %d", kind, how, offset);
		attr.test.prog_fd = (uint32_t)prog;
		if (prog < 0)
			printf("%s: %s\n", what, name(prog));
		else
			show_packet(what, &attr);
		if (prog >= 0)
			close(prog);
	}
}

/* What is stored comes out. */
static void show_stores(void)
{
	static const int offsets[] = {0, 10, 60, 61, 64, -1};

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]) * 3; i++) {
		const int flags = i % 3 == 2 ? 4 : (int)(i % 3);
		const struct bpf_insn insns[] = {
			INSN_ST(BPF_W, 10, -4, 0x41424344),
			INSN_MOV64_IMM(2, offsets[i / 3]),
			INSN_MOV64_REG(3, 10),
			INSN_ALU64_IMM(BPF_ADD, 3, -4),
			INSN_MOV64_IMM(4, 4),
			INSN_MOV64_IMM(5, flags),
			INSN_CALL(BPF_FUNC_skb_store_bytes),
			INSN_EXIT(),
		};
		int prog = insns_load(BPF_PROG_TYPE_SCHED_CLS, insns,
				      sizeof(insns) / sizeof(insns[0]));
		const char *kind = "store";

		PACKET_CASE("bytes", (void)0);
		close(prog);
	}
}

static void packets(void)
{
	for (size_t i = 0; i < KINDS; i++) {
		ether(0x1234, 0);
		show_calls(kinds[i].type, kinds[i].name);
		if (kinds[i].type == BPF_PROG_TYPE_XDP)
			continue;
		show_loads(kinds[i].type, kinds[i].name);
		for (int protocol = 0; protocol < 3; protocol++) {
			static const int protocols[] = {0x0800, 0x86dd, 0x0020};

			ether(protocols[protocol], (unsigned char)(protocol * 255 / 2));
			show_fields(kinds[i].type, kinds[i].name);
		}
	}
	show_stores();
}

static void often(int cnt)
{
	struct watch watch;
	uint64_t runs = 0;
	int failed = 0;

	if (!watch_new(&watch))
		return;
	words[1] = (uintptr_t)&words[0];
	for (int i = 0; i < cnt; i++)
		failed += run(watch.prog) < 0;
	map_read(watch.hash, &runs);
	printf("runs %llu, failed %d\n", (unsigned long long)runs, failed);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "attrs") == 0)
		attrs();
	else if (strcmp(what, "who") == 0)
		who();
	else if (strcmp(what, "threads") == 0)
		threads();
	else if (strcmp(what, "loops") == 0)
		loops(argc > 2 ? atoi(argv[2]) : 1);
	else if (strcmp(what, "packets") == 0)
		packets();
	else if (strcmp(what, "often") == 0)
		often(argc > 2 ? atoi(argv[2]) : 1000);
	else
		return fprintf(stderr,
			       "usage: test_run attrs|who|threads|loops N|often N|packets\n"),
		       2;
	return 0;
}
