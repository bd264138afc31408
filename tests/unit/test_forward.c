/* SPDX-License-Identifier: MIT */
/*
 * Forwarded events in real perf buffers: bytes, sizes, order and losses as if a kernel program had
 * written them. Needs root. Prints what an event costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/forward.h"

#define PAGE	  4096u
#define NO_CPU	  8191u /* the last that a kernel can be built for */
#define CPUS_MAX  64
#define BUF_PAGES 128u /* of data, a power of two */

/* One CPU's perf event with its buffer, as a tool opens it. */
struct reader {
	int fd;
	struct perf_event_mmap_page *page;
	size_t size; /* of the data part */
};

struct tool {
	int map_fd;
	int cpus;
	struct reader readers[CPUS_MAX];
};

/* A record as it lies in the buffer, copied out. */
struct seen {
	uint32_t type;
	uint32_t size;	/* sample: as the kernel says in the record */
	uint32_t total; /* of the whole record */
	uint64_t lost;
	unsigned char data[FORWARD_EVENT_MAX + 16];
};

static cpu_set_t all; /* CPUs that this program may use */

static int setup(void **state)
{
	return sched_getaffinity(0, sizeof(all), &all);
}

static int new_map(uint32_t type, uint32_t entries)
{
	union bpf_attr attr = {
		.map_type = type,
		.key_size = 4,
		.value_size = 4,
		.max_entries = entries,
	};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int set_entry(int map_fd, uint32_t key, int fd)
{
	union bpf_attr attr = {
		.map_fd = (uint32_t)map_fd,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&fd,
	};

	return sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
}

static void open_reader(struct reader *reader, int cpu, size_t pages)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_RAW,
		.wakeup_events = 1,
	};

	reader->fd = sys_perf_event_open(&attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	assert_true(reader->fd >= 0);
	reader->size = pages * PAGE;
	reader->page =
		mmap(NULL, reader->size + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader->fd, 0);
	assert_ptr_not_equal(reader->page, MAP_FAILED);
	assert_int_equal(ioctl(reader->fd, PERF_EVENT_IOC_ENABLE, 0), 0);
}

static void open_tool(struct tool *tool, size_t pages)
{
	tool->cpus = get_nprocs();
	assert_true(tool->cpus <= CPUS_MAX);
	/* One entry more than there are CPUs: nobody sits there. */
	tool->map_fd = new_map(BPF_MAP_TYPE_PERF_EVENT_ARRAY, (uint32_t)tool->cpus + 1);
	assert_true(tool->map_fd >= 0);
	for (int i = 0; i < tool->cpus; i++) {
		open_reader(&tool->readers[i], i, pages);
		assert_int_equal(set_entry(tool->map_fd, (uint32_t)i, tool->readers[i].fd), 0);
	}
}

static void close_tool(struct tool *tool)
{
	for (int i = 0; i < tool->cpus; i++) {
		munmap(tool->readers[i].page, tool->readers[i].size + PAGE);
		close_fd(tool->readers[i].fd);
	}
	close_fd(tool->map_fd);
}

/* Copies out of the ring, around its end. */
static void ring_copy(const struct reader *reader, uint64_t at, void *to, size_t len)
{
	const unsigned char *base = (const unsigned char *)reader->page + PAGE;

	for (size_t i = 0; i < len; i++)
		((unsigned char *)to)[i] = base[(at + i) % reader->size];
}

/* The next record. Return: 0 when there is none. */
static int next(struct reader *reader, struct seen *ret_seen)
{
	uint64_t head = __atomic_load_n(&reader->page->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = reader->page->data_tail;
	struct perf_event_header header;
	uint64_t lost[2];

	if (head == tail)
		return 0;
	ring_copy(reader, tail, &header, sizeof(header));
	ret_seen->type = header.type;
	ret_seen->total = header.size;
	if (header.type == PERF_RECORD_SAMPLE) {
		ring_copy(reader, tail + sizeof(header), &ret_seen->size, 4);
		assert_true(ret_seen->size <= sizeof(ret_seen->data));
		ring_copy(reader, tail + sizeof(header) + 4, ret_seen->data, ret_seen->size);
	} else if (header.type == PERF_RECORD_LOST) {
		ring_copy(reader, tail + sizeof(header), lost, sizeof(lost));
		ret_seen->lost = lost[1];
	}
	__atomic_store_n(&reader->page->data_tail, tail + header.size, __ATOMIC_RELEASE);
	return 1;
}

static void fill(unsigned char *data, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(seed * 131 + i * 7 + i / 256);
}

/* The kernel pads the size and the bytes together to 8: that is the size a tool is told. */
static uint32_t padded(size_t size)
{
	return (uint32_t)((size + 4 + 7) / 8 * 8 - 4);
}

static void expect_sample(struct reader *reader, size_t size, uint32_t seed)
{
	static struct seen seen;
	static unsigned char want[FORWARD_EVENT_MAX];

	assert_true(next(reader, &seen));
	assert_int_equal(seen.type, PERF_RECORD_SAMPLE);
	assert_int_equal(seen.size, padded(size));
	assert_int_equal(seen.total, sizeof(struct perf_event_header) + 4 + padded(size));
	fill(want, size, seed);
	assert_memory_equal(seen.data, want, size);
}

static void expect_empty(struct reader *reader)
{
	static struct seen seen;

	assert_false(next(reader, &seen));
}

static int output(struct forward *forward, uint32_t cpu, uint64_t flags, size_t size, uint32_t seed)
{
	static unsigned char data[FORWARD_EVENT_MAX];

	fill(data, size, seed);
	return forward_output(forward, cpu, flags, data, (uint32_t)size);
}

/* Every size that could be cut or padded wrongly, on every CPU, by both kinds of flags. */
static void test_bytes(void **state)
{
	static const size_t sizes[] = {0,  1,  2,  3,	4,   5,	   7,	 8,	9,
				       12, 24, 64, 255, 256, 4092, 4096, 32767, FORWARD_EVENT_MAX};
	struct forward *forward = NULL;
	struct tool tool;

	open_tool(&tool, BUF_PAGES);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	for (int cpu = 0; cpu < tool.cpus; cpu++) {
		uint64_t flags = cpu % 2 ? (uint64_t)cpu : BPF_F_CURRENT_CPU;

		for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++)
			assert_int_equal(output(forward, (uint32_t)cpu, flags, sizes[i], i), 0);
		assert_int_equal(forward_flush(forward), 0);
		assert_int_equal(forward_lost(forward), 0);
		for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++)
			expect_sample(&tool.readers[cpu], sizes[i], i);
	}
	for (int cpu = 0; cpu < tool.cpus; cpu++)
		expect_empty(&tool.readers[cpu]);
	assert_int_equal(forward_counts(forward)->sent, ARRAY_SIZE(sizes) * (size_t)tool.cpus);
	forward_free(forward);
	close_tool(&tool);
}

/* Thousands, CPUs taking turns, more than a batch holds: each buffer has its own in order. */
static void test_order(void **state)
{
	enum { EVENTS = 5000, TURN = 700 };
	struct forward *forward = NULL;
	uint32_t next_seed[CPUS_MAX] = {0};
	struct tool tool;

	open_tool(&tool, BUF_PAGES);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	for (uint32_t start = 0; start < EVENTS; start += TURN)
		for (int cpu = 0; cpu < tool.cpus; cpu++)
			for (uint32_t i = start; i < start + TURN && i < EVENTS; i++)
				assert_int_equal(output(forward, (uint32_t)cpu, BPF_F_CURRENT_CPU,
							20 + i % 13, i * 3 + (uint32_t)cpu),
						 0);
	assert_int_equal(forward_flush(forward), 0);
	for (int cpu = 0; cpu < tool.cpus; cpu++) {
		for (uint32_t i = 0; i < EVENTS; i++, next_seed[cpu]++)
			expect_sample(&tool.readers[cpu], 20 + i % 13, i * 3 + (uint32_t)cpu);
		expect_empty(&tool.readers[cpu]);
		assert_int_equal(forward_lost(forward), 0);
	}
	assert_int_equal(forward_counts(forward)->sent, (uint64_t)EVENTS * (uint64_t)tool.cpus);
	forward_free(forward);
	close_tool(&tool);
}

/* Longest events fill batches by bytes, not by number. */
static void test_long_events(void **state)
{
	struct forward *forward = NULL;
	struct tool tool;

	open_tool(&tool, BUF_PAGES);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	for (uint32_t i = 0; i < 9; i++)
		assert_int_equal(
			output(forward, 0, BPF_F_CURRENT_CPU, FORWARD_EVENT_MAX - i % 3, i), 0);
	assert_int_equal(forward_flush(forward), 0);
	for (uint32_t i = 0; i < 9; i++)
		expect_sample(&tool.readers[0], FORWARD_EVENT_MAX - i % 3, i);
	expect_empty(&tool.readers[0]);
	assert_int_equal(output(forward, 0, 0, 0, 0), 0);
	assert_int_equal(forward_output(forward, 0, 0, "", FORWARD_EVENT_MAX + 1), -E2BIG);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(forward_counts(forward)->sent, 10);
	forward_free(forward);
	close_tool(&tool);
}

/* What does not fit is reported here and, once there is room, by the kernel in the buffer. */
static void test_full(void **state)
{
	enum { EVENTS = 200, SIZE = 92, FIT = PAGE / (8 + 4 + SIZE) };
	struct forward *forward = NULL;
	static struct seen seen;
	const int32_t *results;
	struct tool tool;

	open_tool(&tool, 1);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(output(forward, 0, BPF_F_CURRENT_CPU, SIZE, i), 0);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(forward_lost(forward), EVENTS - FIT);
	assert_int_equal(forward_results(forward, &results), EVENTS);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(results[i], i < FIT ? 0 : -ENOSPC);
	for (uint32_t i = 0; i < FIT; i++)
		expect_sample(&tool.readers[0], SIZE, i);
	expect_empty(&tool.readers[0]);

	assert_int_equal(output(forward, 0, BPF_F_CURRENT_CPU, SIZE, 7), 0);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(forward_lost(forward), EVENTS - FIT);
	assert_true(next(&tool.readers[0], &seen));
	assert_int_equal(seen.type, PERF_RECORD_LOST);
	assert_int_equal(seen.lost, EVENTS - FIT);
	expect_sample(&tool.readers[0], SIZE, 7);
	assert_int_equal(forward_counts(forward)->full, EVENTS - FIT);
	assert_int_equal(forward_counts(forward)->sent, FIT + 1);
	forward_free(forward);
	close_tool(&tool);
}

static void expect_lost(struct reader *reader, uint64_t lost)
{
	static struct seen seen;

	assert_true(next(reader, &seen));
	assert_int_equal(seen.type, PERF_RECORD_LOST);
	assert_int_equal(seen.lost, lost);
}

/* Events that were lost on the way here are told in front of the next one, queued before or not. */
static void test_lose(void **state)
{
	struct forward *forward = NULL;
	struct tool tool;
	int last;

	open_tool(&tool, 4);
	last = tool.cpus - 1;
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	assert_int_equal(output(forward, 0, BPF_F_CURRENT_CPU, 16, 1), 0);
	assert_int_equal(forward_lose(forward, 0, tool.readers[0].fd, 1), 0);
	assert_int_equal(output(forward, 0, BPF_F_CURRENT_CPU, 16, 2), 0);
	assert_int_equal(forward_flush(forward), 0);
	expect_lost(&tool.readers[0], 1);
	expect_sample(&tool.readers[0], 16, 1);
	expect_sample(&tool.readers[0], 16, 2);

	assert_int_equal(forward_lose(forward, (uint32_t)last, tool.readers[last].fd, 70000), 0);
	assert_int_equal(forward_lose(forward, (uint32_t)last, tool.readers[last].fd, 1024), 0);
	expect_empty(&tool.readers[last]);
	assert_int_equal(output(forward, (uint32_t)last, BPF_F_CURRENT_CPU, 16, 3), 0);
	assert_int_equal(forward_flush(forward), 0);
	expect_lost(&tool.readers[last], 71024);
	expect_sample(&tool.readers[last], 16, 3);
	for (int cpu = 0; cpu < tool.cpus; cpu++)
		expect_empty(&tool.readers[cpu]);
	assert_int_equal(forward_lose(forward, 0, tool.map_fd, 1), -ENOTTY);
	forward_free(forward);
	close_tool(&tool);
}

/* One batch with every answer the helper has; the good ones arrive all the same. */
static void test_answers(void **state)
{
	struct forward *forward = NULL;
	const int32_t *results;
	struct tool tool;
	uint32_t cpus, last;

	open_tool(&tool, 4);
	cpus = (uint32_t)tool.cpus;
	last = cpus - 1;
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	assert_int_equal(output(forward, last, last, 16, 1), 0);
	assert_int_equal(output(forward, last, cpus, 16, 2), 0);	    /* nobody there */
	assert_int_equal(output(forward, last, cpus + 1, 16, 3), 0);	    /* beyond the map */
	assert_int_equal(output(forward, last, 1ull << 40, 16, 4), 0);	    /* no such flag */
	assert_int_equal(output(forward, last, last ? 0 : cpus, 16, 5), 0); /* another CPU's */
	assert_int_equal(output(forward, last, BPF_F_CURRENT_CPU, 16, 6), 0);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(forward_lost(forward), 4);
	assert_int_equal(forward_results(forward, &results), 6);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], -ENOENT);
	assert_int_equal(results[2], -E2BIG);
	assert_int_equal(results[3], -EINVAL);
	assert_int_equal(results[4], last ? -EOPNOTSUPP : -ENOENT);
	assert_int_equal(results[5], 0);
	expect_sample(&tool.readers[last], 16, 1);
	expect_sample(&tool.readers[last], 16, 6);
	expect_empty(&tool.readers[last]);
	assert_int_equal(forward_counts(forward)->sent, 2);
	assert_int_equal(forward_counts(forward)->absent, last ? 2 : 3);
	assert_int_equal(forward_counts(forward)->elsewhere, last ? 1 : 0);
	assert_int_equal(forward_counts(forward)->failed, 1);
	forward_free(forward);
	close_tool(&tool);
}

/* A CPU that is not there loses its own events and nobody else's. */
static void test_no_such_cpu(void **state)
{
	struct forward *forward = NULL;
	const int32_t *results;
	struct tool tool;

	open_tool(&tool, 4);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	assert_int_equal(output(forward, NO_CPU, BPF_F_CURRENT_CPU, 8, 1), 0);
	assert_int_equal(output(forward, NO_CPU, BPF_F_CURRENT_CPU, 8, 2), 0);
	/* Flushes the two before it, and is queued all the same. */
	assert_int_equal(output(forward, 0, BPF_F_CURRENT_CPU, 8, 3), -ENXIO);
	assert_int_equal(forward_results(forward, &results), 2);
	assert_int_equal(results[1], -ENXIO);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(forward_lost(forward), 2);
	assert_int_equal(forward_counts(forward)->offline, 2);
	expect_sample(&tool.readers[0], 8, 3);
	expect_empty(&tool.readers[0]);
	forward_free(forward);
	close_tool(&tool);
}

static void pin(int cpu)
{
	cpu_set_t mask;

	CPU_ZERO(&mask);
	CPU_SET(cpu, &mask);
	assert_int_equal(sched_setaffinity(0, sizeof(mask), &mask), 0);
}

static void expect_forty(struct forward *forward, struct reader *reader, uint32_t cpu)
{
	enum { EVENTS = 40 };
	cpu_set_t before, after;

	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(output(forward, cpu, BPF_F_CURRENT_CPU, 8, i), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
	for (uint32_t i = 0; i < EVENTS; i++)
		expect_sample(reader, 8, i);
	expect_empty(reader);
}

/* From the very CPU and from the others; with a choice of CPUs and without. */
static void test_affinity(void **state)
{
	struct forward *forward = NULL;
	struct tool tool;

	open_tool(&tool, 4);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	for (int cpu = 0; cpu < tool.cpus; cpu++)
		for (int from = 0; from < tool.cpus; from++) {
			pin(from);
			expect_forty(forward, &tool.readers[cpu], (uint32_t)cpu);
		}
	/* Often, for the scheduler may move us before the forwarder looks. */
	for (int i = 0; i < 50; i++) {
		pin(i % tool.cpus);
		assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
		expect_forty(forward, &tool.readers[i % tool.cpus], (uint32_t)(i % tool.cpus));
	}
	forward_free(forward);
	close_tool(&tool);
}

/* A tool that sleeps in poll() is woken. */
static void test_wakes(void **state)
{
	struct forward *forward = NULL;
	struct tool tool;

	open_tool(&tool, 4);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	for (int cpu = 0; cpu < tool.cpus; cpu++) {
		struct pollfd poll_fd = {.fd = tool.readers[cpu].fd, .events = POLLIN};

		assert_int_equal(poll(&poll_fd, 1, 0), 0);
		assert_int_equal(output(forward, (uint32_t)cpu, BPF_F_CURRENT_CPU, 8, 1), 0);
		assert_int_equal(forward_flush(forward), 0);
		assert_int_equal(poll(&poll_fd, 1, 2000), 1);
	}
	forward_free(forward);
	close_tool(&tool);
}

/* The tool's own descriptor decides when the array is emptied, although a forwarder is there. */
static void test_tool_closes(void **state)
{
	struct forward *forward = NULL;
	struct tool tool;

	open_tool(&tool, 4);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	tool.map_fd = close_fd(tool.map_fd);
	assert_int_equal(output(forward, 0, BPF_F_CURRENT_CPU, 8, 1), 0);
	assert_int_equal(forward_flush(forward), 0);
	assert_int_equal(forward_lost(forward), 1);
	assert_int_equal(forward_counts(forward)->absent, 1);
	forward_free(forward);
	close_tool(&tool);
}

static void test_refuses(void **state)
{
	struct forward *forward = NULL;
	cleanup_fd int array = new_map(BPF_MAP_TYPE_ARRAY, 1);

	assert_true(array >= 0);
	assert_int_equal(forward_new(array, &forward), -EINVAL);
	assert_int_equal(forward_new(-1, &forward), -EBADF);
	assert_null(forward);
	assert_null(forward_free(NULL));
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Median over rounds of what one event of @size bytes costs in batches of @batch. */
static uint64_t cost(struct forward *forward, struct tool *tool, uint32_t cpu, uint32_t batch,
		     size_t size)
{
	enum { ROUNDS = 301 };
	static uint64_t times[ROUNDS];
	static unsigned char data[FORWARD_EVENT_MAX];
	struct reader *reader = &tool->readers[cpu];

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = now();

		for (uint32_t i = 0; i < batch; i++)
			forward_output(forward, cpu, BPF_F_CURRENT_CPU, data, (uint32_t)size);
		forward_flush(forward);
		times[round] = (now() - start) * 10 / batch;
		reader->page->data_tail = reader->page->data_head;
		/* Insertion keeps them sorted. */
		for (int i = round; i > 0 && times[i] < times[i - 1]; i--) {
			uint64_t t = times[i];

			times[i] = times[i - 1];
			times[i - 1] = t;
		}
	}
	return times[ROUNDS / 2];
}

static void test_cost(void **state)
{
	static const uint32_t batches[] = {1, 16, 64, FORWARD_BATCH_EVENTS};
	struct forward *forward = NULL;
	struct tool tool;

	open_tool(&tool, BUF_PAGES);
	assert_int_equal(forward_new(tool.map_fd, &forward), 0);
	print_message("this thread is on CPU %d\n", sched_getcpu());
	for (int cpu = 0; cpu < tool.cpus && cpu < 2; cpu++)
		for (size_t i = 0; i < ARRAY_SIZE(batches); i++) {
			uint64_t tenths = cost(forward, &tool, (uint32_t)cpu, batches[i], 48);

			print_message("48 bytes, CPU %d, batches of %3u: %lu.%lu ns/event\n", cpu,
				      batches[i], tenths / 10, tenths % 10);
		}
	assert_int_equal(forward_counts(forward)->full, 0);
	forward_free(forward);
	close_tool(&tool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),	    cmocka_unit_test(test_order),
		cmocka_unit_test(test_long_events), cmocka_unit_test(test_full),
		cmocka_unit_test(test_lose),	    cmocka_unit_test(test_answers),
		cmocka_unit_test(test_no_such_cpu), cmocka_unit_test(test_affinity),
		cmocka_unit_test(test_wakes),	    cmocka_unit_test(test_tool_closes),
		cmocka_unit_test(test_refuses),	    cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
