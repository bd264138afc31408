/* SPDX-License-Identifier: MIT */
/*
 * Records in a real ring buffer: bytes, sizes and order as if a kernel program had written them,
 * and none lost when it is full. Needs root. Prints what a record costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/cleanup.h"
#include "kernel-bridge/ringbuf.h"
#include "tests/unit/ring_reader.h"

static struct ringbuf *writer_for(const struct ring_reader *reader)
{
	struct ringbuf *ringbuf = NULL;

	assert_int_equal(ringbuf_new(reader->fd, reader->size, &ringbuf), 0);
	return ringbuf;
}

static void fill(unsigned char *data, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(seed * 131 + i * 7 + i / 256);
}

static int output(struct ringbuf *ringbuf, uint32_t size, uint32_t seed)
{
	static unsigned char data[RINGBUF_EVENT_MAX];

	fill(data, size, seed);
	return ringbuf_output(ringbuf, 0, data, size);
}

static void expect(struct ring_reader *reader, uint32_t size, uint32_t seed)
{
	static unsigned char want[RINGBUF_EVENT_MAX];
	uint32_t got_size = 0;
	const unsigned char *got = reader_next(reader, &got_size);

	assert_non_null(got);
	assert_int_equal(got_size, size);
	fill(want, size, seed);
	assert_memory_equal(got, want, size);
}

static void expect_empty(struct ring_reader *reader)
{
	uint32_t size;

	assert_null(reader_next(reader, &size));
}

static void test_bytes(void **state)
{
	static const uint32_t sizes[] = {
		0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 64, 255, 256, 4092, 4096, 32767, RINGBUF_EVENT_MAX};
	struct ring_reader reader = reader_open(1u << 20);
	struct ringbuf *ringbuf = writer_for(&reader);

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(output(ringbuf, sizes[i], i), 0);
	assert_int_equal(ringbuf_flush(ringbuf), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++)
		expect(&reader, sizes[i], i);
	expect_empty(&reader);
	assert_int_equal(ringbuf_counts(ringbuf)->sent, ARRAY_SIZE(sizes));
	assert_int_equal(ringbuf_queued(ringbuf), 0);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

/* What has no room stays, and is next when there is some. */
static void test_full(void **state)
{
	enum { EVENTS = 100, SIZE = 92, NEED = 104, FIT = 4095 / NEED };
	struct ring_reader reader = reader_open(4096);
	struct ringbuf *ringbuf = writer_for(&reader);
	uint32_t seen = 0;

	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(output(ringbuf, SIZE, i), 0);
	assert_int_equal(ringbuf_queued(ringbuf), EVENTS * NEED);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ringbuf_flush(ringbuf), -EAGAIN);
		assert_int_equal(ringbuf_queued(ringbuf), (EVENTS - FIT) * NEED);
	}
	expect(&reader, SIZE, seen++);
	assert_int_equal(ringbuf_flush(ringbuf), -EAGAIN);
	assert_int_equal(ringbuf_counts(ringbuf)->sent, FIT + 1);
	while (ringbuf_queued(ringbuf)) {
		for (int i = 0; i < 10; i++)
			expect(&reader, SIZE, seen++);
		ringbuf_flush(ringbuf);
	}
	while (seen < EVENTS)
		expect(&reader, SIZE, seen++);
	expect_empty(&reader);
	assert_int_equal(ringbuf_counts(ringbuf)->sent, EVENTS);
	assert_int_equal(ringbuf_counts(ringbuf)->failed, 0);
	assert_true(ringbuf_counts(ringbuf)->full >= 4);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

/* A batch that has no room takes none, and nothing is mixed up by asking again. */
static void test_order(void **state)
{
	enum { EVENTS = 20000 };
	struct ring_reader reader = reader_open(8192);
	struct ringbuf *ringbuf = writer_for(&reader);
	uint32_t seen = 0, refused = 0;

	for (uint32_t i = 0; i < EVENTS; i++) {
		while (output(ringbuf, i * 7919 % 700, i) == -EAGAIN) {
			refused++;
			for (uint32_t k = 0; k < refused % 9; k++, seen++)
				expect(&reader, seen * 7919 % 700, seen);
		}
	}
	while (seen < EVENTS) {
		ringbuf_flush(ringbuf);
		expect(&reader, seen * 7919 % 700, seen);
		seen++;
	}
	expect_empty(&reader);
	assert_true(refused > 100);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

/* Longest records fill batches by bytes, not by number. */
static void test_long_records(void **state)
{
	struct ring_reader reader = reader_open(1u << 20);
	struct ringbuf *ringbuf = writer_for(&reader);

	for (uint32_t i = 0; i < 9; i++)
		assert_int_equal(output(ringbuf, RINGBUF_EVENT_MAX - i % 3, i), 0);
	assert_int_equal(ringbuf_flush(ringbuf), 0);
	for (uint32_t i = 0; i < 9; i++)
		expect(&reader, RINGBUF_EVENT_MAX - i % 3, i);
	assert_int_equal(ringbuf_output(ringbuf, 0, "", RINGBUF_EVENT_MAX + 1), -E2BIG);
	ringbuf_free(ringbuf);
	reader_close(&reader);
	/* What no ring of its size can ever have must not be waited for. */
	reader = reader_open(4096);
	ringbuf = writer_for(&reader);
	assert_int_equal(output(ringbuf, 4088, 0), -E2BIG);
	assert_int_equal(output(ringbuf, 4080, 1), 0);
	assert_int_equal(ringbuf_flush(ringbuf), 0);
	expect(&reader, 4080, 1);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* How long a reader sleeps that waits for what is written 0.1 s later; 0.5 s: nobody woke it. */
static void *sleeper(void *arg)
{
	struct pollfd poll_fd = {.fd = *(int *)arg, .events = POLLIN};
	static double slept;
	double start = seconds();

	poll(&poll_fd, 1, 500);
	slept = seconds() - start;
	return &slept;
}

static double slept_for(struct ring_reader *reader, struct ringbuf *ringbuf, uint64_t flags)
{
	pthread_t id;
	void *slept;
	uint32_t size;

	assert_int_equal(pthread_create(&id, NULL, sleeper, &reader->fd), 0);
	usleep(100000);
	assert_int_equal(ringbuf_output(ringbuf, flags, "record", 7), 0);
	assert_int_equal(ringbuf_flush(ringbuf), 0);
	pthread_join(id, &slept);
	assert_non_null(reader_next(reader, &size));
	return *(double *)slept;
}

static void test_wakes(void **state)
{
	struct ring_reader reader = reader_open(4096);
	struct ringbuf *ringbuf = writer_for(&reader);

	assert_true(slept_for(&reader, ringbuf, 0) < 0.4);
	assert_true(slept_for(&reader, ringbuf, BPF_RB_NO_WAKEUP) > 0.4);
	assert_true(slept_for(&reader, ringbuf, BPF_RB_FORCE_WAKEUP) < 0.4);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

/* Flags that there are not: the record is dropped, and holds up no others. */
static void test_refused_by_kernel(void **state)
{
	struct ring_reader reader = reader_open(4096);
	struct ringbuf *ringbuf = writer_for(&reader);

	assert_int_equal(ringbuf_output(ringbuf, 4, "record", 7), 0);
	assert_int_equal(output(ringbuf, 20, 3), 0);
	assert_int_equal(ringbuf_flush(ringbuf), 0);
	expect(&reader, 20, 3);
	expect_empty(&reader);
	assert_int_equal(ringbuf_counts(ringbuf)->failed, 1);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

static void test_refuses(void **state)
{
	struct abi_map_create attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	cleanup_fd int array = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	struct ringbuf *ringbuf = NULL;

	assert_true(array >= 0);
	assert_int_equal(ringbuf_new(array, 4096, &ringbuf), -EINVAL);
	assert_int_equal(ringbuf_new(-1, 4096, &ringbuf), -EBADF);
	assert_null(ringbuf);
	assert_null(ringbuf_free(NULL));
}

static atomic_bool stop;

static void *keep_up(void *arg)
{
	uint32_t size;

	while (!atomic_load(&stop))
		reader_next(arg, &size);
	return NULL;
}

/* A reader on another CPU that is always through with everything is woken by each record. */
static void test_cost_of_wakes(void **state)
{
	struct ring_reader reader = reader_open(1u << 20);
	struct ringbuf *ringbuf = writer_for(&reader);
	unsigned char data[48] = {0};
	double start;
	pthread_t id;

	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&id, NULL, keep_up, &reader), 0);
	start = seconds();
	for (uint32_t i = 0; i < 400 * RINGBUF_BATCH_EVENTS; i++)
		while (ringbuf_output(ringbuf, 0, data, sizeof(data)) == -EAGAIN)
			sched_yield();
	print_message("48 bytes, a reader that keeps up: %.1f ns/record\n",
		      (seconds() - start) * 1e9 / 400 / RINGBUF_BATCH_EVENTS);
	atomic_store(&stop, true);
	pthread_join(id, NULL);
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

static void test_cost(void **state)
{
	static const uint32_t batches[] = {1, 16, 64, RINGBUF_BATCH_EVENTS};
	struct ring_reader reader = reader_open(1u << 20);
	struct ringbuf *ringbuf = writer_for(&reader);
	unsigned char data[48] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(batches); i++) {
		double best = 1;

		for (int round = 0; round < 300; round++) {
			double start = seconds(), took;

			for (uint32_t k = 0; k < batches[i]; k++)
				ringbuf_output(ringbuf, 0, data, sizeof(data));
			assert_int_equal(ringbuf_flush(ringbuf), 0);
			took = (seconds() - start) / batches[i];
			best = took < best ? took : best;
			*reader.consumer = *reader.producer;
		}
		print_message("48 bytes, batches of %3u: %.1f ns/record\n", batches[i], best * 1e9);
	}
	ringbuf_free(ringbuf);
	reader_close(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),	      cmocka_unit_test(test_full),
		cmocka_unit_test(test_order),	      cmocka_unit_test(test_long_records),
		cmocka_unit_test(test_wakes),	      cmocka_unit_test(test_refused_by_kernel),
		cmocka_unit_test(test_refuses),	      cmocka_unit_test(test_cost),
		cmocka_unit_test(test_cost_of_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
