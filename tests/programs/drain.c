/* SPDX-License-Identifier: MIT */
/*
 * Takes counters out of hashes while programs count in them, as bcc and libbpf-tools do at every
 * interval, and prints how much came out of each; then what such commands answer in cases that
 * tools seldom meet. drain.bpf.o counts the calls of work() of a sample binary.
 *
 * usage: drain BINARY SAMPLE CALLS single|batch
 *        drain BINARY answers
 *        drain DRAIN stuck
 *   the latter, in the traced process, claims that all buckets are locked: calls end in spite of it
 *        drain DRAIN losses
 *   an event that finds the ring full is told to the buffer of that time, and to no other
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/region.h"
#include "tests/programs/drain.h"

#define CPUS_MAX     64
#define BATCH	     1024
#define KEYS	     16
#define CALLERS	     20
#define BUFFER_PAGES 32

static const char *const hashes[] = {"hash", "percpu", "lru", "lru_percpu"};
#define HASHES (sizeof(hashes) / sizeof(hashes[0]))

static struct bpf_object *object;
static unsigned long long keys[BATCH], values[BATCH * CPUS_MAX];

static int fail(const char *what)
{
	fprintf(stderr, "drain: %s: %s\n", what, strerror(errno));
	return -1;
}

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static int said(int result)
{
	return result < 0 ? -errno : result;
}

static int attach(const char *binary)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "work");
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(".bpf.o"));
	struct bpf_program *program;

	if (length < 0)
		return fail("/proc/self/exe");
	strcpy(path + length, ".bpf.o");
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object))
		return fail(path);
	bpf_object__for_each_program(program, object)
	{
		if (!bpf_program__attach_uprobe_opts(program, -1, binary, 0, &opts))
			return fail(bpf_program__name(program));
	}
	return 0;
}

/* Values of a map of @name: one, or one for each processor. */
static int width(const char *name)
{
	int cnt = libbpf_num_possible_cpus();

	return !strstr(name, "percpu") ? 1 : cnt > 0 && cnt <= CPUS_MAX ? cnt : 1;
}

static unsigned long long sum(int cnt)
{
	unsigned long long all = 0;

	for (int i = 0; i < cnt; i++)
		all += values[i];
	return all;
}

static unsigned long long take_single(const char *name)
{
	unsigned long long all = 0;

	for (unsigned long long key = 0; key < KEYS; key++)
		if (bpf_map_lookup_and_delete_elem(map(name), &key, values) == 0)
			all += sum(width(name));
	return all;
}

static unsigned long long take_batch(const char *name)
{
	unsigned long long all = 0;
	__u32 at, cnt;
	int r = 0;

	for (bool first = true; r == 0; first = false) {
		cnt = BATCH;
		r = said(bpf_map_lookup_and_delete_batch(map(name), first ? NULL : &at, &at, keys,
							 values, &cnt, NULL));
		all += sum((int)cnt * width(name));
	}
	if (r != -ENOENT)
		printf("%s: %d\n", name, r);
	return all;
}

static int drain(const char *binary, const char *calls,
		 unsigned long long (*take)(const char *name))
{
	unsigned long long all[HASHES] = {0};
	int status = 0;
	pid_t pid = fork(), ended = 0;

	if (pid == 0) {
		execl(binary, binary, "-n", calls, NULL);
		_exit(127);
	}
	/* Once more behind its end: the rest. */
	while (!ended) {
		ended = waitpid(pid, &status, WNOHANG);
		for (size_t i = 0; i < HASHES; i++)
			all[i] += take(hashes[i]);
	}
	for (size_t i = 0; i < HASHES; i++)
		printf("%s %llu\n", hashes[i], all[i]);
	return ended < 0 || status ? fail("sample") : 0;
}

static void fill(const char *name, unsigned long long cnt)
{
	for (unsigned long long key = 0; key < cnt; key++) {
		for (int i = 0; i < CPUS_MAX; i++)
			values[i] = key + 1;
		bpf_map_update_elem(map(name), &key, values, BPF_ANY);
	}
}

/* @in, @flags, @elem_flags as the kernel gets them; @elems, @out: where to */
struct ask {
	int cmd;
	void *in, *out, *elems;
	__u32 cnt, flags, elem_flags;
};

static int ask(const char *what, const char *name, const struct ask *ask)
{
	union bpf_attr attr = {0};
	int r;

	attr.batch.map_fd = (__u32)map(name);
	attr.batch.in_batch = (unsigned long)ask->in;
	attr.batch.out_batch = (unsigned long)ask->out;
	attr.batch.keys = (unsigned long)keys;
	attr.batch.values = (unsigned long)ask->elems;
	attr.batch.count = ask->cnt;
	attr.batch.flags = ask->flags;
	attr.batch.elem_flags = ask->elem_flags;
	r = said((int)syscall(SYS_bpf, ask->cmd, &attr, sizeof(attr)));
	printf("%s %s: %d %u\n", name, what, r, attr.batch.count);
	return r;
}

static void print_left(const char *name)
{
	unsigned long long key, *at = NULL;
	int cnt = 0;

	for (; bpf_map_get_next_key(map(name), at, &key) == 0; at = &key)
		cnt++;
	printf("%s has %d\n", name, cnt);
}

/* The whole map in parts of @part: the order of buckets is each map's own, what comes is not. */
static void print_parts(const char *name, int cmd, __u32 part)
{
	struct bpf_map_batch_opts opts = {.sz = sizeof(opts)};
	unsigned long long all = 0, cnt = 0;
	unsigned char at[8];
	int r = 0;

	for (int i = 0; r == 0 && i < 100; i++) {
		__u32 got = part;

		if (cmd == BPF_MAP_LOOKUP_BATCH)
			r = bpf_map_lookup_batch(map(name), i ? at : NULL, at, keys, values, &got,
						 &opts);
		else
			r = bpf_map_lookup_and_delete_batch(map(name), i ? at : NULL, at, keys,
							    values, &got, &opts);
		r = said(r);
		cnt += got;
		all += sum((int)got * width(name));
	}
	printf("%s in parts: %d, %llu elements, %llu\n", name, r, cnt, all);
}

static void print_hash(const char *name, void *wall)
{
	unsigned long long key = 3;
	__u32 at = 0, beyond = 1u << 20;

	fill(name, 8);
	printf("%s take without room: %d\n", name,
	       said(bpf_map_lookup_and_delete_elem(map(name), &key, wall)));
	printf("%s is there: %d\n", name, said(bpf_map_lookup_elem(map(name), &key, values)));
	key = 4;
	printf("%s take: %d", name, said(bpf_map_lookup_and_delete_elem(map(name), &key, values)));
	printf(" %llu\n", values[0]);
	fill(name, 8);
	print_parts(name, BPF_MAP_LOOKUP_BATCH, 6);
	ask("lookup without room", name,
	    &(struct ask){BPF_MAP_LOOKUP_BATCH, NULL, &at, wall, BATCH, 0, 0});
	print_left(name);
	ask("lookup from a wall", name,
	    &(struct ask){BPF_MAP_LOOKUP_BATCH, wall, &at, values, BATCH, 0, 0});
	ask("lookup to a wall", name,
	    &(struct ask){BPF_MAP_LOOKUP_BATCH, NULL, wall, values, BATCH, 0, 0});
	ask("lookup from beyond", name,
	    &(struct ask){BPF_MAP_LOOKUP_BATCH, &beyond, &at, values, BATCH, 0, 0});
	ask("lookup exactly", name,
	    &(struct ask){BPF_MAP_LOOKUP_BATCH, NULL, &at, values, BATCH, 0, 0});
	print_parts(name, BPF_MAP_LOOKUP_AND_DELETE_BATCH, 6);
	print_left(name);
	fill(name, 8);
	ask("take without room", name,
	    &(struct ask){BPF_MAP_LOOKUP_AND_DELETE_BATCH, NULL, &at, wall, BATCH, 0, 0});
	printf("%s had 8: %s\n", name,
	       bpf_map_get_next_key(map(name), NULL, keys) ? "gone" : "some are left");
	take_batch(name);
	for (__u32 flags = 0; flags < 4; flags++) {
		keys[0] = 1;
		ask("update with flags", name,
		    &(struct ask){BPF_MAP_UPDATE_BATCH, NULL, NULL, values, 1, 0, flags});
		ask("lookup with flags", name,
		    &(struct ask){BPF_MAP_LOOKUP_BATCH, NULL, &at, values, BATCH, 0, flags});
	}
	for (int i = 0; i < BATCH; i++)
		keys[i] = (unsigned long long)i;
	ask("update from a wall", name,
	    &(struct ask){BPF_MAP_UPDATE_BATCH, NULL, NULL, wall, 8, 0, 0});
	keys[0] = 1;
	ask("delete", name, &(struct ask){BPF_MAP_DELETE_BATCH, NULL, NULL, NULL, 8, 0, 0});
	ask("delete with flags", name,
	    &(struct ask){BPF_MAP_DELETE_BATCH, NULL, NULL, NULL, 8, 0, 1});
	ask("nothing", name,
	    &(struct ask){BPF_MAP_LOOKUP_AND_DELETE_BATCH, wall, wall, wall, 0, 0, 0});
}

static void print_trie(void)
{
	struct {
		__u32 bits;
		unsigned char data[4];
	} prefix = {32, {0}};

	for (prefix.data[0] = 0; prefix.data[0] < 7; prefix.data[0]++) {
		values[0] = 10 + prefix.data[0];
		bpf_map_update_elem(map("trie"), &prefix, values, BPF_ANY);
	}
	print_parts("trie", BPF_MAP_LOOKUP_BATCH, 3);
	print_parts("trie", BPF_MAP_LOOKUP_BATCH, 7);
	print_parts("trie", BPF_MAP_LOOKUP_AND_DELETE_BATCH, 3);
}

/* Every batch command, in order and with something wrong in it: what is looked at first? */
static void print_kind(const char *name, void *wall)
{
	for (int cmd = BPF_MAP_LOOKUP_BATCH; cmd <= BPF_MAP_DELETE_BATCH; cmd++) {
		char what[32];

		snprintf(what, sizeof(what), "command %d", cmd);
		memset(keys, 0, sizeof(keys));
		ask(what, name, &(struct ask){cmd, NULL, values, values, 0, 0, 0});
		ask(what, name, &(struct ask){cmd, NULL, values, values, 0, 1, 0});
		ask(what, name, &(struct ask){cmd, NULL, values, values, 0, 0, 8});
		ask(what, name, &(struct ask){cmd, wall, wall, wall, 2, 0, 0});
	}
}

static int answers(void)
{
	void *wall = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (wall == MAP_FAILED)
		return fail("mmap");
	for (size_t i = 0; i < HASHES; i++)
		print_hash(hashes[i], wall);
	print_trie();
	print_parts("array", BPF_MAP_LOOKUP_BATCH, 3);
	print_parts("array", BPF_MAP_LOOKUP_BATCH, 10);
	print_kind("array", wall);
	print_kind("trie", wall);
	print_kind("queue", wall);
	print_kind("stacks", wall);
	print_kind("events", wall);
	return 0;
}

/* What is probed to have a region here. */
long work(long n);
__attribute__((noipa, aligned(64))) long work(long n)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop" : "+r"(n));
	return n + 1;
}

/* Buckets of the first map, which is "hash". */
static unsigned long long *buckets(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start = 0, at;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "bpfshim-maps") && sscanf(line, "%lx-", &at) == 1 && !start)
			start = at;
	if (maps)
		fclose(maps);
	return start ? (void *)(start + (REGION_MAPS - REGION_SHARED) + 64) : NULL;
}

/* By somebody who owns no slot and never gives them back. */
static void lock_all(unsigned long long *bucket)
{
	for (int i = 0; i < 1024; i++)
		bucket[i] = (unsigned int)bucket[i] | 0xc0000001ull << 32;
}

static long seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static int stuck(void)
{
	pid_t callers[CALLERS];
	__u32 cnt = BATCH, at;
	unsigned long long *bucket;
	long start;
	int r;

	fill("hash", 1000);
	bucket = buckets();
	if (work(1) != 2 || !bucket)
		return fail("no region");
	for (int cmd = BPF_MAP_LOOKUP_BATCH; cmd <= BPF_MAP_DELETE_BATCH; cmd++) {
		struct ask batch = {cmd, NULL, &at, values, 1000, 0, 0};

		for (int i = 0; i < 1000; i++)
			keys[i] = (unsigned long long)i;
		lock_all(bucket);
		start = seconds();
		r = ask("locked", "hash", &batch);
		printf("command %d: %s after %ld s\n", cmd, r == 0 || r == -EBUSY ? "ended" : "?",
		       seconds() - start);
	}
	fill("hash", 1000);
	lock_all(bucket);
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = fork();
		if (callers[i] == 0) {
			bpf_map_lookup_batch(map("hash"), NULL, &at, keys, values, &cnt, NULL);
			_exit(0);
		}
	}
	sleep(1);
	for (int i = 0; i < CALLERS; i++) {
		kill(callers[i], SIGKILL);
		waitpid(callers[i], NULL, 0);
	}
	start = seconds();
	r = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL);
	printf("create: %s after %ld s\n", r >= 0 ? "made" : strerror(errno), seconds() - start);
	return 0;
}

/** struct buffer - of the first processor's */
struct buffer {
	int fd;
	struct perf_event_mmap_page *page;
};

static int set_buffer(const char *name, const struct buffer *buffer)
{
	__u32 index = 0;

	return bpf_map_update_elem(map(name), &index, &buffer->fd, BPF_ANY) ? fail(name) : 0;
}

static int open_buffer(struct buffer *ret_buffer)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW,
		.sample_period = 1,
	};

	ret_buffer->fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (ret_buffer->fd < 0)
		return fail("perf_event_open");
	ret_buffer->page = mmap(NULL, (1 + BUFFER_PAGES) * 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
				ret_buffer->fd, 0);
	return ret_buffer->page == MAP_FAILED ? fail("mmap") : set_buffer("events", ret_buffer);
}

/* What is in it has not gone round. */
static void print_buffer(const char *what, const struct buffer *buffer)
{
	const unsigned char *data = (unsigned char *)buffer->page + buffer->page->data_offset;
	unsigned long long lost = 0, head = buffer->page->data_head;
	int samples = 0;

	for (unsigned long long at = 0; at < head;) {
		const struct perf_event_header *header = (const void *)(data + at);

		samples += header->type == PERF_RECORD_SAMPLE;
		/* Behind the header: an id, and how many. */
		if (header->type == PERF_RECORD_LOST)
			lost += ((const unsigned long long *)(header + 1))[1];
		at += header->size;
	}
	printf("%s: %d events, %s lost\n", what, samples, lost ? "some" : "none");
}

/* Until one call's event is lost. */
static bool lose(void)
{
	__u32 zero = 0;

	for (int i = 0; i < 50; i++) {
		work((long)DRAIN_FLOOD);
		bpf_map_lookup_elem(map("answers"), &zero, values);
		if ((long long)values[0] == -ENOSPC)
			return true;
		usleep(20000);
	}
	return false;
}

static int losses(void)
{
	cpu_set_t first;
	struct buffer old, new;
	__u32 index = 0;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(0, sizeof(first), &first))
		return fail("affinity");
	if (open_buffer(&old) || !lose())
		return fail("lose");
	/* The next event in this buffer is another map's. */
	usleep(500000);
	if (set_buffer("noise", &old))
		return -1;
	work((long)DRAIN_NOISE);
	usleep(500000);
	print_buffer("old", &old);
	bpf_map_delete_elem(map("noise"), &index);
	if (!lose() || open_buffer(&new))
		return fail("lose");
	work((long)DRAIN_EVENT);
	usleep(500000);
	print_buffer("new", &new);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3 || attach(argv[1]))
		return 1;
	if (argc == 3 && !strcmp(argv[2], "stuck"))
		return stuck() ? 1 : 0;
	if (argc == 3 && !strcmp(argv[2], "losses"))
		return losses() ? 1 : 0;
	if (argc == 3)
		return answers() ? 1 : 0;
	if (argc < 5)
		return 1;
	return drain(argv[2], argv[3], strcmp(argv[4], "batch") ? take_single : take_batch) ? 1 : 0;
}
