/* SPDX-License-Identifier: MIT */
/*
 * Ring buffers from the helper to the reader: the runtime's helpers in a region of the test's own,
 * the daemon's event thread, a real ring of the kernel. What was accepted arrives once, whole and
 * in the order of its reservation, whoever is killed or overwrites the region meanwhile. Needs
 * root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "kernel-bridge/kobject.h"
#include "kernel-bridge/ringbuf.h"
#include "notifier/uspace.h"
#include "tests/unit/fake_region.h"
#include "tests/unit/ring_reader.h"
#include "vm/runtime/helpers.h"

#define SLOTS	 4u
#define THREADS	 SLOTS
#define PATIENCE 5.0 /* seconds */
#define WORDS	 24u

/* A record: @words of them are there, each the same but for the first three. */
struct record {
	uint64_t thread, number, words;
	uint64_t word[WORDS];
};

static struct uspace uspace;
static struct uspace_map *map;
static struct ring_reader reader;
static uint64_t last[THREADS]; /* number + 1 of the last that was received */
static uint64_t received;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void make_uspace(void)
{
	uspace = (struct uspace){.base = fake_region(SLOTS)};
	pthread_mutex_init(&uspace.lock, NULL);
	pthread_mutex_init(&uspace.apply, NULL);
	list_init(&uspace.maps);
	list_init(&uspace.sites);
	list_init(&uspace.rings_busy);
	uspace_space_init(&uspace.code, REGION_CODE, REGION_CODE_SIZE, 64);
	uspace_space_init(&uspace.map_memory, REGION_MAPS, REGION_MAPS_SIZE, 4096);
	uspace_space_init(&uspace.arrays, REGION_ARRAYS, REGION_ARRAYS_SIZE, 4096);
}

/* What attaching a program does. */
static void make_map(uint32_t size)
{
	struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = size};
	enum kobject_kind kind;
	struct reason reason = {0};
	uint32_t id;

	reader = reader_open(size);
	assert_int_equal(kobject_identify(reader.fd, &kind, &id), 0);
	assert_int_equal(uspace_map_new(&uspace, &attr, id, NULL, &map), 0);
	assert_int_equal(uspace_map_settle(map, &reason), 0);
	assert_int_equal(map->record.data_size, REGION_RINGBUF_PAGE);
	fake_map(uspace.base + map->record.data, REGION_RINGBUF_PAGE, PROT_READ, MAP_SHARED,
		 reader.fd);
}

static void setup_ring(uint32_t size)
{
	make_uspace();
	make_map(size);
	memset(last, 0, sizeof(last));
	received = 0;
}

static void end_ring(void)
{
	uspace_events_stop(&uspace);
	uspace_map_leave(map);
	map = uspace_map_unref(map);
	assert_true(list_empty(&uspace.maps));
	reader_close(&reader);
	uspace_space_deinit(&uspace.code);
	uspace_space_deinit(&uspace.map_memory);
	uspace_space_deinit(&uspace.arrays);
	fake_free(uspace.base);
}

static uint64_t record_of_map(void)
{
	return (uint64_t)(uspace.base + map->record_offset);
}

static struct rt_run run_in(uint32_t slot)
{
	return (struct rt_run){.base = uspace.base, .slot = slot};
}

static void end_run(const struct rt_run *run)
{
	fake_shared(uspace.base)->slots[run->slot].episodes++;
}

static int64_t output(struct rt_run *run, const void *data, uint64_t size, uint64_t flags)
{
	return (int64_t)rt_ringbuf_output(record_of_map(), (uint64_t)data, size, flags, 0, run);
}

static void *reserve(struct rt_run *run, uint64_t size)
{
	return (void *)rt_ringbuf_reserve(record_of_map(), size, 0, 0, 0, run);
}

static void submit(struct rt_run *run, void *record)
{
	rt_ringbuf_submit((uint64_t)record, 0, 0, 0, 0, run);
}

static void discard(struct rt_run *run, void *record)
{
	rt_ringbuf_discard((uint64_t)record, 0, 0, 0, 0, run);
}

static uint64_t query(struct rt_run *run, uint64_t what)
{
	return rt_ringbuf_query(record_of_map(), what, 0, 0, 0, run);
}

static uint64_t words_of(uint64_t number)
{
	return number * 7 % (WORDS + 1);
}

static uint64_t size_of(uint64_t number)
{
	return offsetof(struct record, word) + words_of(number) * sizeof(uint64_t);
}

static void fill(struct record *record, uint64_t thread, uint64_t number)
{
	record->thread = thread;
	record->number = number;
	record->words = words_of(number);
	for (uint64_t i = 0; i < record->words; i++)
		record->word[i] = number;
}

/* Return: whether there was one. */
static bool receive(void)
{
	uint32_t size;
	const struct record *record = (const void *)reader_next(&reader, &size);

	if (!record)
		return false;
	assert_true(record->thread < THREADS);
	assert_int_equal(size, size_of(record->number));
	for (uint64_t i = 0; i < record->words; i++)
		assert_int_equal(record->word[i], record->number);
	assert_true(record->number + 1 > last[record->thread]);
	last[record->thread] = record->number + 1;
	received++;
	return true;
}

static void receive_until(uint64_t cnt)
{
	double start = seconds();

	while (received < cnt && seconds() - start < PATIENCE)
		if (!receive())
			sched_yield();
	assert_int_equal(received, cnt);
}

static int64_t put(uint32_t slot, uint64_t thread, uint64_t number)
{
	struct rt_run run = run_in(slot);
	struct record record;
	int64_t r;

	fill(&record, thread, number);
	r = output(&run, &record, size_of(number), 0);
	end_run(&run);
	return r;
}

static void test_shapes_like_kernel(void **state)
{
	static const uint32_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 12288, 1u << 20, 1u << 31};

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes) * 4; i++) {
		struct abi_map_create attr = {.map_type = BPF_MAP_TYPE_RINGBUF,
					      .key_size = i & 1 ? 4 : 0,
					      .value_size = i & 2 ? 4 : 0,
					      .max_entries = sizes[i / 4]};
		struct region_map ours = {.type = attr.map_type,
					  .key_size = attr.key_size,
					  .value_size = attr.value_size,
					  .max_entries = attr.max_entries};
		cleanup_fd int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));

		assert_int_equal(rt_map_layout(&ours, SLOTS), fd == -EINVAL ? -EINVAL : 0);
	}
}

static void test_answers(void **state)
{
	static unsigned char data[REGION_EVENT_MAX + 1];
	struct rt_run run;
	void *record;

	setup_ring(1u << 17);
	run = run_in(1);
	assert_int_equal(output(&run, data, 8, 4), -EINVAL);
	assert_int_equal(output(&run, data, 8, 1ull << 32), -EINVAL);
	assert_int_equal(output(&run, data, 1u << 17, 0), -EAGAIN);
	assert_int_equal(output(&run, data, UINT64_MAX, 0), -EAGAIN);
	assert_int_equal(output(&run, data, REGION_EVENT_MAX + 1, 0), -E2BIG);
	assert_int_equal(rt_ringbuf_reserve(record_of_map(), 8, 1, 0, 0, &run), 0);
	assert_null(reserve(&run, REGION_EVENT_MAX + 1));
	assert_null(reserve(&run, UINT64_MAX));
	assert_int_equal(query(&run, BPF_RB_RING_SIZE), 1u << 17);
	assert_int_equal(query(&run, BPF_RB_AVAIL_DATA), 0);
	assert_int_equal(query(&run, 4), 0);
	record = reserve(&run, 100);
	assert_non_null(record);
	assert_int_equal(query(&run, BPF_RB_AVAIL_DATA), 112);
	assert_int_equal(query(&run, BPF_RB_PROD_POS), 112);
	assert_int_equal(query(&run, BPF_RB_CONS_POS), 0);
	discard(&run, record);
	end_run(&run);
	end_ring();
}

/* One thread that is on another CPU each time: the order is the thread's. */
static void test_order_across_slots(void **state)
{
	uint64_t seed = 7, sent = 0;

	setup_ring(1u << 16);
	for (uint64_t i = 0; i < 300000; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		if (put((uint32_t)(seed >> 40) % SLOTS, 0, i) == 0)
			sent++;
		else
			sched_yield();
		while (i % 8 == 0 && receive())
			;
	}
	receive_until(sent);
	print_message("%lu of 300000 found room\n", sent);
	assert_true(sent > 3000);
	end_ring();
}

/* The reader sees reservations in their order, and nothing behind one that is open. */
static void test_reservations(void **state)
{
	struct rt_run run, other;
	struct record *first, *second, *third;

	setup_ring(1u << 16);
	run = run_in(0);
	other = run_in(1);
	first = reserve(&run, size_of(1));
	second = reserve(&run, size_of(2));
	third = reserve(&run, size_of(3));
	assert_true(first && second && third);
	fill(first, 0, 1);
	fill(second, 0, 2);
	fill(third, 0, 3);
	assert_int_equal(put(1, 1, 5), 0);
	submit(&run, third);
	usleep(20000);
	assert_false(receive());
	discard(&run, second);
	usleep(20000);
	assert_false(receive());
	submit(&run, first);
	end_run(&run);
	end_run(&other);
	receive_until(3);
	assert_int_equal(last[0], 4);
	assert_int_equal(last[1], 6);
	end_ring();
}

/* Sizes that never fit the end of the ring, each in one piece, discarded or not. */
static void test_reserve_goes_round(void **state)
{
	uint64_t sent = 0;

	setup_ring(1u << 22);
	for (uint64_t i = 0; i < 30000; i++) {
		struct rt_run run = run_in(2);
		struct record *record, *big;

		while (!(record = reserve(&run, size_of(i))))
			if (!receive())
				sched_yield();
		big = i % 5 == 0 ? reserve(&run, 8 + i * 911 % REGION_EVENT_MAX) : NULL;
		fill(record, 3, i);
		if (big) {
			memset(big, 0xee, 8 + i * 911 % REGION_EVENT_MAX);
			discard(&run, big);
		}
		if (i % 3)
			submit(&run, record);
		else
			discard(&run, record);
		sent += i % 3 != 0;
		end_run(&run);
		while (receive())
			;
	}
	receive_until(sent);
	assert_int_equal(sent, 20000);
	end_ring();
}

/* As full as the kernel would make it, and no record more, until somebody reads. */
static void test_full(void **state)
{
	uint64_t sent = 0;
	struct rt_run run;

	setup_ring(4096);
	for (int round = 0; round < 50; round++) {
		uint64_t used = 0, number = sent;

		while (put((uint32_t)number % SLOTS, 0, number) == 0) {
			used += region_ringbuf_need(size_of(number));
			number++;
		}
		assert_true(used < 4096 && used + region_ringbuf_need(size_of(number)) >= 4096);
		usleep(2000);
		assert_int_equal(put(0, 0, number), -EAGAIN);
		run = run_in(0);
		assert_int_equal(query(&run, BPF_RB_AVAIL_DATA), used);
		sent = number;
		receive_until(sent);
		usleep(2000);
	}
	end_ring();
}

/** struct producer - a thread and what became of its calls */
struct producer {
	uint32_t slot;
	uint64_t calls, accepted, failed;
};

static void produce_one(struct producer *producer, uint64_t number)
{
	struct rt_run run = run_in(producer->slot);
	struct record *record = NULL, copy;
	bool sent = true;

	if (number % 2) {
		record = reserve(&run, size_of(number));
	} else {
		fill(&copy, producer->slot, number);
		sent = output(&run, &copy, size_of(number), number % 8 ? 0 : 1) == 0;
	}
	if (record) {
		fill(record, producer->slot, number);
		if (number % 16 == 1)
			discard(&run, record);
		else
			submit(&run, record);
		sent = number % 16 != 1;
	} else if (number % 2) {
		sent = false;
	}
	producer->accepted += sent;
	end_run(&run);
}

static void *produce(void *arg)
{
	struct producer *producer = arg;

	for (uint64_t i = 0; i < producer->calls; i++) {
		produce_one(producer, i);
		if (i % 512 == 0)
			sched_yield();
	}
	return NULL;
}

static void threads(uint32_t size, uint64_t calls, bool slow)
{
	struct producer producers[THREADS];
	pthread_t ids[THREADS];
	uint64_t sent = 0;
	double start = seconds();

	setup_ring(size);
	for (uint32_t i = 0; i < THREADS; i++) {
		producers[i] = (struct producer){.slot = i, .calls = calls};
		assert_int_equal(pthread_create(&ids[i], NULL, produce, &producers[i]), 0);
	}
	while (pthread_tryjoin_np(ids[THREADS - 1], NULL) == EBUSY)
		if (!receive() || slow)
			usleep(slow ? 100 : 1);
	for (uint32_t i = 0; i < THREADS; i++) {
		if (i < THREADS - 1)
			pthread_join(ids[i], NULL);
		sent += producers[i].accepted;
	}
	receive_until(sent);
	print_message("%lu of %lu arrived, %.0f a second\n", sent, calls * THREADS,
		      (double)sent / (seconds() - start));
	assert_true(sent > 20);
	usleep(2000);
	assert_false(receive());
	end_ring();
}

static void test_threads(void **state)
{
	threads(1u << 20, 100000, false);
	threads(4096, 100000, false);
	threads(4096, 20000, true);
}

/* What programs take to be on its way. */
static uint64_t claimed_bytes(void)
{
	const struct region_ringbuf *counters = (void *)(uspace.base + map->record.extra);

	return __atomic_load_n(&counters->claimed, __ATOMIC_RELAXED) +
	       __atomic_load_n(&counters->offset, __ATOMIC_RELAXED) - *reader.producer;
}

static void wait_for_no_claims(void)
{
	double start = seconds();

	while (claimed_bytes() && seconds() - start < PATIENCE) {
		receive();
		usleep(1000);
	}
	assert_int_equal(claimed_bytes(), 0);
}

/* A reservation that never ends holds up others for a moment, and its room comes back. */
static void test_killed_with_reservation(void **state)
{
	struct rt_run run;
	double start;

	setup_ring(4096);
	for (uint64_t i = 0; i < 3; i++) {
		run = run_in(1);
		assert_non_null(reserve(&run, 1000));
		assert_non_null(reserve(&run, 1000));
		/* The slot has another owner now. */
		end_run(&run);
		start = seconds();
		assert_int_equal(put(1, 0, i * 10), 0);
		assert_int_equal(put(2, 0, i * 10 + 1), 0);
		receive_until(i * 3 + 2);
		assert_true(seconds() - start < 0.5);
		assert_int_equal(claimed_bytes(), 0);
		/* And with nothing behind it. */
		run = run_in(3);
		assert_non_null(reserve(&run, 3000));
		end_run(&run);
		assert_int_equal(put(1, 0, i * 10 + 2) == 0, true);
		receive_until(i * 3 + 3);
		run = run_in(0);
		assert_non_null(reserve(&run, 3000));
		end_run(&run);
		wait_for_no_claims();
	}
	end_ring();
}

/* A record that comes after nobody waited for it any more is not lost. */
static void test_late_record(void **state)
{
	struct rt_run run;
	struct record *record;
	uint32_t size;

	setup_ring(4096);
	run = run_in(1);
	record = reserve(&run, 8);
	assert_non_null(record);
	assert_int_equal(put(2, 0, 1), 0);
	receive_until(1);
	submit(&run, record);
	end_run(&run);
	usleep(20000);
	assert_non_null(reader_next(&reader, &size));
	assert_int_equal(size, 8);
	wait_for_no_claims();
	end_ring();
}

static pid_t start_victim(uint32_t slot)
{
	struct producer producer = {.slot = slot};
	pid_t child = fork();

	if (child)
		return child;
	alarm(20);
	/* A number that is new each time is more than the reader can know of. */
	for (;;) {
		struct rt_run run = run_in(producer.slot);
		struct record *record = reserve(&run, size_of(0));

		if (record) {
			fill(record, producer.slot, 0);
			submit(&run, record);
		}
		end_run(&run);
	}
}

static void drain(void)
{
	uint32_t size;

	while (reader_next(&reader, &size))
		;
}

/* Killed at any point: what others write goes on, and all of the room comes back. */
static void test_killed_in_the_middle(void **state)
{
	double slowest = 0;

	setup_ring(1u << 16);
	for (int i = 0; i < 60; i++) {
		pid_t child = start_victim(1);
		double start, took;
		uint32_t size;

		for (int k = 0; k < 20; k++) {
			usleep(20 + (useconds_t)i * 3);
			drain();
		}
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		fake_shared(uspace.base)->slots[1].episodes++;
		usleep(3000);
		drain();
		start = seconds();
		while (put(1, 0, 1) < 0)
			drain();
		while (seconds() - start < PATIENCE && !reader_next(&reader, &size))
			usleep(100);
		took = seconds() - start;
		slowest = took > slowest ? took : slowest;
	}
	wait_for_no_claims();
	print_message("slowest %.3f s\n", slowest);
	assert_true(slowest < 0.6);
	end_ring();
}

static atomic_bool stop;

static void *scribble(void *arg)
{
	struct region_shared *shared = fake_shared(uspace.base);
	unsigned char *rings = uspace.base + REGION_SHARED + REGION_RINGS;
	struct region_ringbuf *counters = (void *)(uspace.base + map->record.extra);
	uint64_t random = 99;

	while (!atomic_load(&stop)) {
		uint64_t value;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		value = random >> (random >> 58);
		switch (random >> 20 & 7) {
		case 0:
			((volatile uint64_t *)&shared->rings[random >> 30 & 1])[value & 3] = value;
			break;
		case 1:
			*(volatile uint64_t *)&counters->claimed = value;
			break;
		case 2:
			*(volatile uint64_t *)&counters->offset = value;
			break;
		default:
			*(volatile uint64_t *)(rings +
					       (random >> 24 & (2 * REGION_RING_SIZE - 8))) = value;
		}
		if ((random >> 33 & 255) == 0)
			usleep(1);
	}
	return NULL;
}

/* Bytes of all kinds in the rings and counters: no harm, and afterwards all is as it should be. */
static void test_hostile(void **state)
{
	const unsigned char *beyond = uspace.base;
	double start = seconds();
	struct rt_run run;
	pthread_t id;
	void *record;
	uint64_t n = 0;

	setup_ring(1u << 16);
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&id, NULL, scribble, NULL), 0);
	for (; seconds() - start < 2; n++) {
		put((uint32_t)n % 2, 0, n);
		run = run_in((uint32_t)n % 2);
		record = reserve(&run, n * 37 % REGION_EVENT_MAX);
		if (record) {
			memset(record, 0x55, n * 37 % REGION_EVENT_MAX);
			submit(&run, record);
		}
		end_run(&run);
		drain();
	}
	atomic_store(&stop, true);
	pthread_join(id, NULL);
	beyond = uspace.base + REGION_SHARED + REGION_RINGS + 2 * REGION_RING_SIZE;
	for (uint32_t i = 0; i < 2 * REGION_RING_SIZE; i++)
		assert_int_equal(beyond[i], 0);
	for (start = seconds(); seconds() - start < 0.5;) {
		drain();
		usleep(1000);
	}
	wait_for_no_claims();
	/* From the slots that were overwritten too. */
	drain();
	received = 0;
	memset(last, 0, sizeof(last));
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(put(i % SLOTS, 0, i), 0);
	receive_until(8);
	end_ring();
}

/* A program in the kernel, as far as the ring can tell. */
static void *write_in_kernel(void *arg)
{
	struct ringbuf *writer = arg;
	struct record record;

	for (uint64_t i = 0; !atomic_load(&stop); i++) {
		fill(&record, THREADS - 1, i);
		while (ringbuf_output(writer, 0, &record, (uint32_t)size_of(i)) == -EAGAIN)
			usleep(100);
		if (i % 7 == 0)
			ringbuf_flush(writer);
		if (i % 64 == 0)
			usleep(50);
	}
	while (ringbuf_flush(writer) == -EAGAIN)
		usleep(100);
	return NULL;
}

/* Programs here and in the kernel fill one ring: neither loses what it was told to be accepted. */
static void test_shared_with_kernel(void **state)
{
	struct producer producers[THREADS - 1];
	pthread_t ids[THREADS - 1], id;
	struct ringbuf *writer = NULL;
	uint64_t sent = 0;

	setup_ring(8192);
	assert_int_equal(ringbuf_new(reader.fd, reader.size, &writer), 0);
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&id, NULL, write_in_kernel, writer), 0);
	for (uint32_t i = 0; i < THREADS - 1; i++) {
		producers[i] = (struct producer){.slot = i, .calls = 300000};
		assert_int_equal(pthread_create(&ids[i], NULL, produce, &producers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS - 1; i++) {
		while (pthread_tryjoin_np(ids[i], NULL) == EBUSY)
			if (!receive())
				usleep(20);
		sent += producers[i].accepted;
	}
	atomic_store(&stop, true);
	while (pthread_tryjoin_np(id, NULL) == EBUSY)
		receive();
	receive_until(sent + ringbuf_counts(writer)->sent);
	print_message("%lu from here, %lu from the kernel\n", sent, ringbuf_counts(writer)->sent);
	assert_true(sent > 10 && ringbuf_counts(writer)->sent > 10);
	ringbuf_free(writer);
	/* And no room is thought to be taken. */
	assert_int_equal(put(0, 0, 300001), 0);
	receive_until(received + 1);
	wait_for_no_claims();
	end_ring();
}

/* Counters that somebody has set: what is written then arrives all the same, and soon. */
static void test_claims_of_nobody(void **state)
{
	static const uint64_t values[] = {0, 8, 4096, 1u << 20, 1ull << 63, UINT64_MAX, 1000};
	struct region_ringbuf *counters;
	uint64_t number = 0;

	setup_ring(1u << 16);
	counters = (void *)(uspace.base + map->record.extra);
	for (uint32_t i = 0; i < ARRAY_SIZE(values); i++) {
		double start = seconds();

		__atomic_store_n(&counters->claimed, values[i], __ATOMIC_RELAXED);
		while (put(i % SLOTS, 0, number) < 0 && seconds() - start < PATIENCE)
			usleep(1000);
		number++;
		receive_until(number);
		assert_true(seconds() - start < 1);
	}
	wait_for_no_claims();
	end_ring();
}

/* The tool goes while its ring is full: nobody keeps the map for that. */
static void test_tool_goes(void **state)
{
	static unsigned char data[1000];
	double start = seconds();
	struct rt_run run;

	setup_ring(4096);
	run = run_in(0);
	/* More than has room: what was claimed is overwritten, as somebody hostile could. */
	for (int i = 0; i < 8; i++) {
		output(&run, data, sizeof(data), 0);
		((struct region_ringbuf *)(uspace.base + map->record.extra))->claimed = 0;
		usleep(3000);
	}
	uspace_map_leave(map);
	uspace_map_unref(map);
	while (!list_empty(&uspace.maps) && seconds() - start < PATIENCE)
		usleep(1000);
	assert_true(list_empty(&uspace.maps));
	make_map(4096);
	assert_int_equal(put(0, 0, 1), 0);
	received = 0;
	last[0] = 0;
	receive_until(1);
	end_ring();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes_like_kernel),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_order_across_slots),
		cmocka_unit_test(test_reservations),
		cmocka_unit_test(test_reserve_goes_round),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_killed_with_reservation),
		cmocka_unit_test(test_late_record),
		cmocka_unit_test(test_killed_in_the_middle),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_shared_with_kernel),
		cmocka_unit_test(test_claims_of_nobody),
		cmocka_unit_test(test_tool_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
