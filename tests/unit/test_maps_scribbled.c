/* SPDX-License-Identifier: MIT */
/*
 * Random bytes over live map memory, rings and locks of all, from one process, while others run
 * programs on it, compiled and interpreted, and the daemon's operations go on: nobody faults,
 * nothing outside of the maps is given to a program, and every run ends. Between maps is memory
 * that is nobody's.
 *
 * With a number as its argument it goes on for so many seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/edges.h"
#include "tests/unit/engines_region.h"

#define SECONDS	 6
#define PROGRAMS 48
#define SLOTS	 4u /* runners, and one that nobody has */
#define RUNNERS	 3u
#define LONGEST                                                                                    \
	20.0 /* seconds a run may take at most, on a machine that has other things to do           \
	      */
#define KEYS 64

/* Of all processes. */
struct shared {
	atomic_bool stop;
	atomic_ulong runs[RUNNERS], scribbles;
	atomic_ulong slowest; /* ns */
	char why[RUNNERS][256];
};

static uint32_t seconds = SECONDS;
static struct region_side side = {.side = {.name = "hostile"}};
static struct mix mixes[PROGRAMS];
static struct shared *shared;
static _Alignas(8) unsigned char user[MIX_USER + 8];

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void took(uint64_t start)
{
	uint64_t ns = now() - start, slowest = atomic_load(&shared->slowest);

	while (ns > slowest && !atomic_compare_exchange_weak(&shared->slowest, &slowest, ns))
		;
}

static pid_t start(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

/* Runner @number is slot @number's owner; the last one interprets. */
static pid_t start_runner(uint32_t number)
{
	const pid_t child = start();
	uint64_t seed = number + 1, ctx[MIX_CTX], r0;

	if (child)
		return child;
	side.runtime.run.slot = number;
	for (uint32_t i = 0; !atomic_load(&shared->stop); i = (i + 1) % PROGRAMS) {
		const uint64_t began = now();

		for (uint32_t k = 0; k < MIX_CTX; k++)
			ctx[k] = edge_any(&seed);
		side.mix = &mixes[i];
		if (number + 1 < RUNNERS) {
			jit_side_run_at(&side, SIDE_CODE + i * SIDE_CODE_SIZE, ctx);
		} else if (interp_side_run(&side.side, ctx, &r0) < 0) {
			snprintf(shared->why[number], sizeof(shared->why[0]), "program %u: %.200s",
				 i, side.side.why);
			_exit(1);
		}
		took(began);
		atomic_fetch_add(&shared->runs[number], 1);
	}
	_exit(0);
}

/* Small numbers are the most harmful: they look like elements, slots and positions. */
static void scribble(uint64_t *seed, unsigned char *at, uint64_t size)
{
	const uint64_t random = edge_random(seed);
	/* Heads of maps and of rings are where it hurts. */
	const uint64_t within = random >> 63 ? size : size < 256 ? size : 256;
	volatile uint32_t *place = (void *)(at + (random >> 16) % within / 4 * 4);

	*place = random >> 62 & 1 ? (uint32_t)edge_any(seed) : (uint32_t)(random >> 8) % 40;
}

static pid_t start_scribbler(void)
{
	const pid_t child = start();
	uint64_t seed = 77;

	if (child)
		return child;
	while (!atomic_load(&shared->stop)) {
		const uint64_t which = edge_random(&seed) >> 33;
		const struct region_map *map = &side.maps[which % MIX_OUTER];
		struct region_shared *all = fake_shared(side.base);

		switch (which >> 8 & 15) {
		case 0:
			scribble(&seed, (void *)&all->rings[which % SLOTS], sizeof(all->rings[0]));
			break;
		case 1:
			scribble(&seed, (void *)&all->slots[which % SLOTS], sizeof(all->slots[0]));
			break;
		case 2:
			scribble(&seed, side.base + side.maps[MIX_RING].extra,
				 sizeof(struct region_ringbuf));
			break;
		default:
			scribble(&seed, side.base + map->data, map->data_size);
		}
		if (which % 1024 == 0)
			usleep(which >> 12 & 255);
		atomic_fetch_add(&shared->scribbles, 1);
	}
	_exit(0);
}

/* As tools and the daemon, for a while. */
static void use_map(const struct region_map *map, uint64_t *seed)
{
	static unsigned char keys[KEYS][SIDE_KEY], values[KEYS][SIDE_VALUE];
	const unsigned char *key = NULL;
	uint32_t cnt;

	for (uint32_t i = 0; i < KEYS; i++) {
		uint64_t began = now();

		if (rt_map_next_key(side.base, map, key, keys[i]) < 0)
			break;
		key = keys[i];
		rt_map_read(side.base, map, key, values[0]);
		took(began);
	}
	edge_fill(seed, keys[0], SIDE_KEY);
	keys[0][0] %= 16;
	memset(keys[0] + 1, 0, SIDE_KEY - 1);
	rt_map_write(side.base, map, keys[0], values[0], edge_random(seed) >> 62);
	rt_map_pop(side.base, map, values[0], RT_ALL_SLOTS);
	rt_map_take(side.base, map, keys[0], values[0]);
	rt_map_delete(side.base, map, keys[0], RT_ALL_SLOTS);
	rt_map_bucket(side.base, map, (uint32_t)(edge_random(seed) >> 60), edge_random(seed) >> 63,
		      KEYS, keys, values, &cnt);
}

static void use_maps(void)
{
	const time_t end = time(NULL) + (time_t)seconds;
	struct region_event event;
	uint64_t seed = 5;

	while (time(NULL) < end) {
		for (uint32_t i = 0; i < MIX_RING; i++)
			use_map(&side.maps[i], &seed);
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			for (uint32_t i = 0; i < 64; i++)
				if (!rt_ring_read(side.base, slot, &event, side.record))
					break;
	}
}

static void test_scribbled(void **state)
{
	pid_t children[RUNNERS + 1];
	int status;

	(void)state;
	children[RUNNERS] = start_scribbler();
	for (uint32_t i = 0; i < RUNNERS; i++)
		children[i] = start_runner(i);
	use_maps();
	atomic_store(&shared->stop, true);
	for (uint32_t i = 0; i <= RUNNERS; i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		if (i < RUNNERS && shared->why[i][0])
			print_error("runner %u: %s\n", i, shared->why[i]);
		if (WIFSIGNALED(status))
			print_error("runner %u: %s\n", i, strsignal(WTERMSIG(status)));
		assert_int_equal(status, 0);
	}
	print_message("%lu, %lu and %lu runs, %lu scribbles, slowest run %.1f ms\n",
		      shared->runs[0], shared->runs[1], shared->runs[2], shared->scribbles,
		      (double)shared->slowest / 1e6);
	for (uint32_t i = 0; i < RUNNERS; i++)
		assert_true(shared->runs[i] > 10);
	assert_true(shared->scribbles > 1000 && (double)shared->slowest / 1e9 < LONGEST);
}

static int setup(void **state)
{
	uint32_t cnt = 0;

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_true(shared != MAP_FAILED);
	region_side_init(&side, SLOTS);
	for (uint32_t slot = 0; slot < RUNNERS; slot++)
		fake_shared(side.base)->slots[slot].owner = slot + 1;
	for (uint64_t number = 0; cnt < PROGRAMS; number++) {
		struct verifier_facts facts = {0};
		const char *why;

		if (!mix_program(&mixes[cnt], number, user) ||
		    side_verify(&mixes[cnt], &facts, &why) < 0)
			continue;
		if (jit_side_compile(&side.side, &mixes[cnt], &facts, cnt % 2 ? JIT_FULL : JIT_FAST,
				     SIDE_CODE + cnt * SIDE_CODE_SIZE) < 0)
			fail_msg("program %lu: %s", number, side.side.why);
		cnt++;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	region_side_deinit(&side);
	munmap(shared, sizeof(*shared));
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scribbled),
	};

	if (argc > 1)
		seconds = (uint32_t)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
