/* SPDX-License-Identifier: MIT */
/*
 * Helpers of the runtime: reads that cannot fault, facts about the task, clocks, event rings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "tests/unit/fake_region.h"
#include "vm/runtime/helpers.h"

static const struct region_stub stub = {.ip = 0x1234};
static struct rt_run run;
static unsigned char *pages; /* one that can be read, one that cannot */

static int setup(void **state)
{
	run = (struct rt_run){.base = fake_region(4),
			      .slot = 2,
			      .cookie = 99,
			      .stack = (uint64_t)__builtin_frame_address(0),
			      .stub = (uint64_t)&stub};
	pages = mmap(NULL, 2 * FAKE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + FAKE_PAGE, FAKE_PAGE, PROT_NONE), 0);
	return 0;
}

static int teardown(void **state)
{
	munmap(pages, 2 * FAKE_PAGE);
	fake_free(run.base);
	return 0;
}

static int64_t read_user(void *dst, uint64_t size, const void *src)
{
	return (int64_t)rt_probe_read_user((uint64_t)dst, size, (uint64_t)src, 0, 0, &run);
}

static int64_t read_str(void *dst, uint64_t size, const void *src)
{
	return (int64_t)rt_probe_read_user_str((uint64_t)dst, size, (uint64_t)src, 0, 0, &run);
}

static void test_read(void **state)
{
	unsigned char dst[600];

	for (int i = 0; i < FAKE_PAGE; i++)
		pages[i] = (unsigned char)(i * 3);
	for (uint32_t size = 0; size <= 512; size += 64) {
		memset(dst, 0xcc, sizeof(dst));
		assert_int_equal(read_user(dst, size, pages + 5), 0);
		assert_memory_equal(dst, pages + 5, size);
		assert_int_equal(dst[size], 0xcc);
	}
	/* One byte too far: nothing of it is handed out. */
	memset(dst, 0xcc, sizeof(dst));
	assert_int_equal(read_user(dst, 65, pages + FAKE_PAGE - 64), -EFAULT);
	for (int i = 0; i < 65; i++)
		assert_int_equal(dst[i], 0);
	assert_int_equal(dst[65], 0xcc);
	assert_int_equal(read_user(dst, 8, NULL), -EFAULT);
	assert_int_equal(read_user(dst, 8, (void *)-8ull), -EFAULT);
	assert_int_equal(read_user(dst, 8, (void *)0xffff888000000000ull), -EFAULT);
	assert_int_equal((int64_t)rt_probe_read((uint64_t)dst, 8, (uint64_t)pages, 0, 0, &run), 0);
	assert_memory_equal(dst, pages, 8);
}

/* From the stack pointer to the end of its page nothing is asked for; behind it, it is. */
static void test_read_stack(void **state)
{
	unsigned char dst[64];

	memset(pages, 7, FAKE_PAGE);
	run.stack = (uint64_t)pages + FAKE_PAGE - 32;
	assert_int_equal(read_user(dst, 32, pages + FAKE_PAGE - 32), 0);
	assert_int_equal(dst[31], 7);
	assert_int_equal(read_user(dst, 33, pages + FAKE_PAGE - 32), -EFAULT);
	assert_int_equal(read_user(dst, 40, pages + FAKE_PAGE - 40), 0);
	assert_int_equal(read_user(dst, 1, pages + FAKE_PAGE), -EFAULT);
	strcpy((char *)pages + FAKE_PAGE - 32, "on the stack");
	assert_int_equal(read_str(dst, 64, pages + FAKE_PAGE - 32), 13);
	memset(pages + FAKE_PAGE - 32, 'x', 32);
	assert_int_equal(read_str(dst, 64, pages + FAKE_PAGE - 32), -EFAULT);
	assert_int_equal(read_str(dst, 32, pages + FAKE_PAGE - 32), 32);
	/* A stack that is empty ends where its pointer stands. */
	run.stack = (uint64_t)pages + FAKE_PAGE;
	assert_int_equal(read_user(dst, 8, pages + FAKE_PAGE), -EFAULT);
	assert_int_equal(read_str(dst, 8, pages + FAKE_PAGE), -EFAULT);
	assert_int_equal(read_user(dst, 8, pages + FAKE_PAGE - 8), 0);
}

static void without_vm_readv(void)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_readv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(insns), insns};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, 2, &prog) < 0)
		_exit(1);
}

/* A process that cannot ask the kernel: bit N of the result: case N went wrong. */
static int read_steady(void)
{
	const struct region_range range = {(uint64_t)pages + 64, (uint64_t)pages + FAKE_PAGE};
	struct region_config *config = (void *)(run.base + REGION_CONFIG);
	unsigned char dst[300];
	int wrong = 0;

	without_vm_readv();
	memset(pages, 7, FAKE_PAGE);
	strcpy((char *)pages + FAKE_PAGE - 301, "known to stay");
	wrong |= (read_user(dst, 8, pages + 100) != -EFAULT) << 0;
	config->steady[0] = (struct region_range){1, 2};
	config->steady[1] = range;
	config->steady_cnt = 2;
	wrong |= (read_user(dst, 8, pages + 64) != 0 || dst[7] != 7) << 1;
	wrong |= (read_user(dst, 8, pages + FAKE_PAGE - 8) != 0) << 2;
	wrong |= (read_user(dst, 8, pages + FAKE_PAGE - 7) != -EFAULT) << 3;
	wrong |= (read_user(dst, 8, pages + 63) != -EFAULT) << 4;
	wrong |= (read_str(dst, 300, pages + FAKE_PAGE - 301) != 14) << 5;
	wrong |= (strcmp((char *)dst, "known to stay") != 0) << 6;
	wrong |= (read_str(dst, 40, pages + FAKE_PAGE - 40) != 40) << 7;
	/* One that could not have been written like this is nobody's to follow. */
	config->steady_cnt = REGION_STEADY_MAX + 1000;
	wrong |= (read_user(dst, 8, pages + 63) != -EFAULT) << 8;
	return wrong;
}

/* What the process keeps is read without a system call, and nothing beyond it. */
static void test_read_steady(void **state)
{
	int status, fds[2], wrong = -1;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		wrong = read_steady();
		_exit(write(fds[1], &wrong, sizeof(wrong)) != sizeof(wrong));
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &wrong, sizeof(wrong)), sizeof(wrong));
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(wrong, 0);
}

/* In the daemon there is no target, and its own memory is nobody's business. */
static void test_read_without_target(void **state)
{
	unsigned char dst[8] = {1};

	run.stack = 0;
	assert_int_equal(read_user(dst, 8, pages), -EFAULT);
	assert_int_equal(dst[0], 0);
	assert_int_equal(read_str(dst, 8, pages), -EFAULT);
}

static void test_read_string(void **state)
{
	char dst[1200];

	memset(pages, 0, FAKE_PAGE);
	strcpy((char *)pages, "hello");
	memset(dst, 'x', sizeof(dst));
	assert_int_equal(read_str(dst, 64, pages), 6);
	/* The word that has the terminator is zero behind it, what follows is not touched. */
	assert_memory_equal(dst, "hello\0\0\0xx", 10);
	memset(dst, 'x', sizeof(dst));
	assert_int_equal(read_str(dst, 7, pages), 6);
	assert_memory_equal(dst, "hello\0xx", 8);
	strcpy((char *)pages + FAKE_PAGE - 6, "abc");
	memset(pages + FAKE_PAGE - 2, 'y', 2);
	memset(dst, 'x', sizeof(dst));
	assert_int_equal(read_str(dst, 64, pages + FAKE_PAGE - 6), 4);
	assert_memory_equal(dst, "abc\0xxxx", 8);
	assert_int_equal(read_str(dst, 4, pages), 4);
	assert_string_equal(dst, "hel");
	assert_int_equal(read_str(dst, 6, pages), 6);
	assert_int_equal(read_str(dst, 5, pages), 5);
	assert_string_equal(dst, "hell");
	assert_int_equal(read_str(dst, 1, pages), 1);
	assert_int_equal(dst[0], 0);
	dst[0] = 'x';
	assert_int_equal(read_str(dst, 0, pages), 0);
	assert_int_equal(dst[0], 'x');
	/* Longer than one piece, and up to the last byte that can be read. */
	memset(pages, 'a', FAKE_PAGE);
	assert_int_equal(read_str(dst, 1000, pages), 1000);
	assert_int_equal(strlen(dst), 999);
	pages[FAKE_PAGE - 1] = 0;
	assert_int_equal(read_str(dst, 1200, pages + FAKE_PAGE - 700), 700);
	assert_int_equal(strlen(dst), 699);
	pages[FAKE_PAGE - 1] = 'a';
	memset(dst, 'x', sizeof(dst));
	assert_int_equal(read_str(dst, 701, pages + FAKE_PAGE - 700), -EFAULT);
	for (int i = 0; i < 701; i++)
		assert_int_equal(dst[i], 0);
	assert_int_equal(dst[701], 'x');
	assert_int_equal(read_str(dst, 700, pages + FAKE_PAGE - 700), 700);
	assert_int_equal(read_str(dst, 8, NULL), -EFAULT);
}

static uint64_t pid_tgid(void)
{
	return rt_get_current_pid_tgid(0, 0, 0, 0, 0, &run);
}

static void *thread_pid(void *arg)
{
	*(uint64_t *)arg = pid_tgid() ^ ((uint64_t)getpid() << 32 | (uint64_t)gettid());
	return NULL;
}

static void test_task(void **state)
{
	uint64_t wrong = 1;
	pthread_t id;
	pid_t child;
	int status;

	assert_int_equal(pid_tgid(), (uint64_t)getpid() << 32 | (uint64_t)gettid());
	pthread_create(&id, NULL, thread_pid, &wrong);
	pthread_join(id, NULL);
	assert_int_equal(wrong, 0);
	child = vfork();
	if (!child)
		_exit(pid_tgid() >> 32 == (uint64_t)syscall(SYS_getpid) ? 0 : 1);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(rt_get_current_uid_gid(0, 0, 0, 0, 0, &run),
			 (uint64_t)getgid() << 32 | getuid());
	assert_int_equal(rt_get_smp_processor_id(0, 0, 0, 0, 0, &run), 2);
	assert_true(rt_get_numa_node_id(0, 0, 0, 0, 0, &run) < 16);
	assert_int_equal(rt_get_attach_cookie(0, 0, 0, 0, 0, &run), 99);
	assert_int_equal(rt_get_func_ip(0, 0, 0, 0, 0, &run), 0x1234);
	((struct region_config *)(run.base + REGION_CONFIG))->cgroup_id = 4711;
	assert_int_equal(rt_get_current_cgroup_id(0, 0, 0, 0, 0, &run), 4711);
}

static void test_comm(void **state)
{
	char comm[32], old[16];

	prctl(PR_GET_NAME, old);
	prctl(PR_SET_NAME, "fifteen_letters");
	for (uint32_t size = 1; size <= 20; size++) {
		memset(comm, 'x', sizeof(comm));
		assert_int_equal(rt_get_current_comm((uint64_t)comm, size, 0, 0, 0, &run), 0);
		assert_int_equal(strlen(comm), size < 16 ? size - 1 : 15);
		for (size_t i = strlen(comm); i < size; i++)
			assert_int_equal(comm[i], 0);
		assert_int_equal(comm[size], 'x');
		assert_memory_equal(comm, "fifteen_letters", strlen(comm));
	}
	prctl(PR_SET_NAME, old);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void check_clocks(void)
{
	uint64_t before = clock_ns(CLOCK_MONOTONIC), boot = clock_ns(CLOCK_BOOTTIME);
	uint64_t tai = clock_ns(CLOCK_TAI);
	uint64_t ours = rt_ktime_get_ns(0, 0, 0, 0, 0, &run);
	uint64_t ours_tai = rt_ktime_get_tai_ns(0, 0, 0, 0, 0, &run);
	uint64_t ours_boot = rt_ktime_get_boot_ns(0, 0, 0, 0, 0, &run);

	assert_true(before <= ours && ours <= clock_ns(CLOCK_MONOTONIC));
	assert_true(boot <= ours_boot && ours_boot <= clock_ns(CLOCK_BOOTTIME));
	assert_true(tai <= ours_tai && ours_tai <= clock_ns(CLOCK_TAI));
}

static void test_clocks(void **state)
{
	struct region_config *config = (void *)(run.base + REGION_CONFIG);

	check_clocks();
	/* libc's has the vDSO's signature. */
	config->clock_gettime = (uint64_t)clock_gettime;
	check_clocks();
}

static void test_random(void **state)
{
	uint32_t seen[32] = {0}, last = 0;

	for (int i = 0; i < 100000; i++) {
		uint32_t value = (uint32_t)rt_get_prandom_u32(0, 0, 0, 0, 0, &run);

		for (int bit = 0; bit < 32; bit++)
			seen[bit] += value >> bit & 1;
		assert_int_not_equal(value, last);
		last = value;
	}
	for (int bit = 0; bit < 32; bit++)
		assert_true(seen[bit] > 48000 && seen[bit] < 52000);
}

static const struct region_map events = {
	.type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
	.max_entries = 4,
	.id = 77,
	.data = REGION_MAPS,
	.data_size = 4 * sizeof(uint64_t),
};

static int64_t output(uint64_t flags, const void *data, uint64_t size)
{
	return (int64_t)rt_perf_event_output(0, (uint64_t)&events, flags, (uint64_t)data, size,
					     &run);
}

static struct region_ring *ring(void)
{
	return &fake_shared(run.base)->rings[run.slot];
}

static void test_output_errors(void **state)
{
	static unsigned char data[REGION_EVENT_MAX + 1];

	assert_int_equal(output(1ull << 32, data, 8), -EINVAL);
	assert_int_equal(output(BPF_F_CURRENT_CPU, data, REGION_EVENT_MAX + 1), -E2BIG);
	assert_int_equal(output(4, data, 8), -E2BIG);
	assert_int_equal(output(1, data, 8), -EOPNOTSUPP);
	assert_int_equal(output(2, data, 8), 0);
	assert_int_equal(output(BPF_F_CURRENT_CPU, data, REGION_EVENT_MAX), 0);
	assert_int_equal(ring()->head, 24 + 16 + REGION_EVENT_MAX);
}

/* Sizes that do not fit together, many times around the ring, never more than fits. */
static void test_ring_in_order(void **state)
{
	static unsigned char data[REGION_EVENT_MAX], back[REGION_EVENT_MAX];
	struct region_event event;
	uint32_t sent = 0, got = 0, lost = 0;

	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t size = (round * 2654435761u >> 8) % 5000;

		memset(data, (int)round, size);
		memcpy(data, &sent, sizeof(sent));
		size = size < 4 ? 4 : size;
		if (output(BPF_F_CURRENT_CPU, data, size) == 0)
			sent++;
		else
			lost++;
		assert_true(ring()->head - ring()->tail <= REGION_RING_SIZE);
		if (round % 64 != 63)
			continue;
		for (; rt_ring_read(run.base, run.slot, &event, back); got++) {
			assert_int_equal(event.map, 77);
			assert_int_equal(event.flags, BPF_F_CURRENT_CPU);
			assert_memory_equal(back, &got, sizeof(got));
			for (uint32_t i = 5; i < event.size; i++)
				assert_int_equal(back[i], back[4]);
		}
		assert_int_equal(got, sent);
	}
	assert_true(lost > 100 && got > 1000);
	for (uint32_t slot = 0; slot < 4; slot++)
		assert_int_equal(((uint64_t *)(run.base + events.data))[slot],
				 slot == run.slot ? lost : 0);
	assert_int_equal(output(BPF_F_CURRENT_CPU, data, 1), 0);
}

static void test_ring_hostile(void **state)
{
	static unsigned char data[REGION_EVENT_MAX];
	unsigned char *bytes =
		run.base + REGION_SHARED + REGION_RINGS + run.slot * REGION_RING_SIZE;
	struct region_event event;
	uint64_t seed = 3;

	for (int i = 0; i < 200000; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		switch (seed >> 60) {
		case 0:
			ring()->head = seed >> (seed >> 40 & 31);
			break;
		case 1:
			ring()->tail = ring()->head - (seed >> 40) % (REGION_RING_SIZE + 64);
			break;
		case 2:
			memcpy(bytes + (ring()->tail & (REGION_RING_SIZE - 1) & ~7u), &seed, 8);
			break;
		case 3 ... 9:
			output(BPF_F_CURRENT_CPU, data, (seed >> 20) % REGION_EVENT_MAX);
			break;
		default:
			event.size = 0;
			rt_ring_read(run.base, run.slot, &event, data);
			assert_true(event.size <= REGION_EVENT_MAX);
		}
	}
	/* The neighbours' rings are as they were. */
	for (long i = 0; i < (long)REGION_RING_SIZE; i++)
		assert_int_equal(
			bytes[i - (long)REGION_RING_SIZE] | bytes[i + (long)REGION_RING_SIZE], 0);
}

/* The forwarder sleeps as region.h describes it and never misses an event. */
#define EVENTS 200000u
static void *forwarder(void *arg)
{
	struct region_shared *shared = fake_shared(run.base);
	static unsigned char back[REGION_EVENT_MAX];
	struct timespec timeout = {.tv_sec = 5};
	struct region_event event;
	uintptr_t got = 0;

	while (got < EVENTS) {
		if (rt_ring_read(run.base, run.slot, &event, back)) {
			got++;
			continue;
		}
		__atomic_store_n(&shared->waiting, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&ring()->head, __ATOMIC_SEQ_CST) != ring()->tail)
			continue;
		if (syscall(SYS_futex, &shared->waiting, FUTEX_WAIT, 1, &timeout, NULL, 0) < 0 &&
		    errno == ETIMEDOUT)
			break;
	}
	return (void *)got;
}

static void test_wakes_forwarder(void **state)
{
	uint64_t data[4] = {0};
	pthread_t id;
	void *got;

	assert_int_equal(pthread_create(&id, NULL, forwarder, NULL), 0);
	for (uint32_t i = 0; i < EVENTS;) {
		if (output(BPF_F_CURRENT_CPU, data, sizeof(data)) == 0)
			i++;
		else
			sched_yield();
	}
	pthread_join(id, &got);
	assert_int_equal((uintptr_t)got, EVENTS);
}

static void test_names(void **state)
{
	assert_string_equal(rt_helper_name(BPF_FUNC_map_lookup_elem), "rt_map_lookup_elem");
	assert_string_equal(rt_helper_name(BPF_FUNC_probe_read_user_str), "rt_probe_read_user_str");
	assert_string_equal(rt_helper_name(BPF_FUNC_get_attach_cookie), "rt_get_attach_cookie");
	assert_null(rt_helper_name(BPF_FUNC_get_current_task));
	for (int i = 0; i < 250; i++) {
		const char *name = rt_helper_name(i);

		if (name)
			assert_int_not_equal(runtime_symbol(name), 0);
	}
	assert_int_equal(runtime_symbol("rt_nothing"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_steady, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_without_target, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_string, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task, setup, teardown),
		cmocka_unit_test_setup_teardown(test_comm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clocks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_output_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wakes_forwarder, setup, teardown),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
