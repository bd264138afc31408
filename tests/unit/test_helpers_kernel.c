/* SPDX-License-Identifier: MIT */
/*
 * Helpers about time, the task, its memory and its signals, on both sides. Needs root (and fails
 * without). probe_write_user is not there to be asked where the kernel is locked down; what is
 * expected of it is copy_to_user_nofault(), mm/maccess.c, Linux 6.12.
 */
#include "tests/unit/both_sides.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "kernel-bridge/jiffies.h"
#include "vm/runtime/act.h"

#ifndef BPF_PROG_TYPE_SYSCALL
#define BPF_PROG_TYPE_SYSCALL 31
#endif

static struct both both;

static void fresh(uint32_t helper)
{
	memset(&both, 0, sizeof(both));
	memset(both.work, 0xcc, sizeof(both.work));
	both.helper = helper;
}

static int setup(void **state)
{
	uint32_t tick_ns, at_zero;
	int r;

	both_setup(state);
	r = jiffies_find(&tick_ns, &at_zero);
	if (r == 0)
		region_set_jiffies((void *)both_run.base, tick_ns, at_zero);
	return r;
}

static void test_jiffies(void **state)
{
	uint32_t same = 0;

	for (int i = 0; i < 300; i++) {
		static const struct timespec nap = {.tv_nsec = 300000};
		uint64_t before, own, after;

		fresh(BPF_FUNC_jiffies64);
		both_call(&both);
		assert_int_equal(both.kernel_verdict, 0);
		before = both.kernel;
		own = rt_jiffies64(0, 0, 0, 0, 0, &both_run);
		both_call(&both);
		after = both.kernel;
		/* The kernel counts a moment after the tick is due. */
		assert_true(before <= own && own <= after + 1);
		same += before == own && own == after;
		nanosleep(&nap, NULL);
	}
	assert_true(same > 0);
	((struct region_header *)both_run.base)->tick_ns = 0;
	assert_int_equal(rt_jiffies64(0, 0, 0, 0, 0, &both_run), 0);
}

static uint64_t coarse(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* For programs of cgroups: those that trace may not call it, says either side. */
static void test_coarse(void **state)
{
	struct region_config *config = (void *)(both_run.base + REGION_CONFIG);

	fresh(BPF_FUNC_ktime_get_coarse_ns);
	both_same(&both, "ktime_get_coarse_ns");
	assert_int_equal(both.kernel_verdict, -EINVAL);
	for (int i = 0; i < 2; i++) {
		uint64_t before = coarse();
		uint64_t own = rt_ktime_get_coarse_ns(0, 0, 0, 0, 0, &both_run);

		assert_true(before <= own && own <= coarse());
		config->clock_gettime = (uint64_t)clock_gettime;
	}
}

static int ask_namespace(uint64_t dev, uint64_t ino, uint32_t size)
{
	fresh(BPF_FUNC_get_ns_current_pid_tgid);
	both.args[0] = VALUE(dev);
	both.args[1] = VALUE(ino);
	both.args[2] = WORK(16);
	both.args[3] = VALUE(size);
	both_call(&both);
	return both.kernel_verdict == both.own_verdict && both.kernel == both.own &&
	       memcmp(both.kernel_work, both.own_work, BOTH_WORK) == 0;
}

static void namespace_of(uint64_t *ret_dev, uint64_t *ret_ino)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/pid", &st), 0);
	*ret_dev = (uint64_t)major(st.st_dev) << 20 | minor(st.st_dev);
	*ret_ino = st.st_ino;
}

static void *ask_in_thread(void *arg)
{
	uint64_t dev, ino;

	namespace_of(&dev, &ino);
	*(int *)arg = ask_namespace(dev, ino, 8);
	return NULL;
}

static void test_namespace(void **state)
{
	struct region_config *config = (void *)(both_run.base + REGION_CONFIG);
	uint64_t dev, ino;
	pthread_t thread;
	uint32_t ids[2];
	pid_t child;
	int status, same = 0;

	namespace_of(&dev, &ino);
	for (int told = 0; told < 2; told++) {
		assert_true(ask_namespace(dev, ino, 8));
		assert_int_equal(both.own, 0);
		memcpy(ids, both.own_work + 16, 8);
		assert_int_equal(ids[0], gettid());
		assert_true(ask_namespace(dev + 1, ino, 8) && ask_namespace(dev, ino + 1, 8));
		assert_true(ask_namespace(0, 0, 8) && ask_namespace(dev | 1ull << 32, ino, 8));
		assert_true(ask_namespace(dev, ino, 4) && ask_namespace(dev, ino, 16));
		assert_int_equal((int64_t)both.own, -EINVAL);
		config->pid_ns_dev = dev;
		config->pid_ns_ino = ino;
		((struct region_cache *)(both_run.base + REGION_CACHE))->pid_ns_ino = 0;
	}
	assert_int_equal(pthread_create(&thread, NULL, ask_in_thread, &same), 0);
	pthread_join(thread, NULL);
	assert_int_equal(same, 1);
	/* A child in a namespace of its own is not in what its parent was told. */
	assert_int_equal(unshare(CLONE_NEWPID), 0);
	child = fork();
	if (!child)
		_exit(!ask_namespace(dev, ino, 8) || (int64_t)both.own != -EINVAL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void read_user(uint64_t address, uint32_t size, const char *what)
{
	fresh(BPF_FUNC_copy_from_user);
	both.type = BPF_PROG_TYPE_SYSCALL;
	both.prog_flags = BPF_F_SLEEPABLE;
	both.args[0] = WORK(64);
	both.args[1] = VALUE(size);
	both.args[2] = VALUE(address);
	both_same(&both, what);
	assert_int_equal(both.kernel_verdict, 0);
}

static void test_copy_from_user(void **state)
{
	unsigned char *pages = mmap(NULL, 2 * FAKE_PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint64_t at = (uint64_t)pages;

	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + FAKE_PAGE, FAKE_PAGE, PROT_NONE), 0);
	/* Nobody has touched the page yet: this one may wait for it. */
	read_user(at + 8, 16, "a page that is not there yet");
	memset(pages, 'x', FAKE_PAGE);
	for (uint32_t size = 0; size < 64; size += 9)
		read_user(at + size, size, "what is there");
	read_user(at + FAKE_PAGE - 16, 16, "up to the end");
	read_user(at + FAKE_PAGE - 16, 17, "one byte too far");
	read_user(at + FAKE_PAGE, 8, "what may not be read");
	read_user(0, 8, "nothing");
	read_user(0, 0, "no bytes of nothing");
	read_user(0xffff888000000000ull, 8, "the kernel");
	munmap(pages, 2 * FAKE_PAGE);
	/* Only who may sleep. */
	both.type = 0;
	both.prog_flags = 0;
	both_same(&both, "without BPF_F_SLEEPABLE");
	assert_int_equal(both.kernel_verdict, -EINVAL);
}

#define CAUGHT_MAX 8

static struct {
	int code, pid;
	pthread_t by;
} caught[CAUGHT_MAX];
static volatile sig_atomic_t caught_cnt;

static void handler(int signal, siginfo_t *info, void *context)
{
	int i = caught_cnt++;

	if (i >= CAUGHT_MAX)
		return;
	caught[i].code = info->si_code;
	caught[i].pid = info->si_pid;
	caught[i].by = pthread_self();
}

/* What a signal of ours looks like to the process, after the kernel has shown one of its own. */
static void signal_same(uint32_t helper, uint32_t number)
{
	fresh(helper);
	both.args[0] = VALUE(number);
	caught_cnt = 0;
	both_same(&both, "send_signal");
	act_finish(&both_run);
	assert_int_equal(caught_cnt, number > 0 && number <= 64 ? 2 : 0);
	if (!caught_cnt)
		return;
	assert_int_equal(caught[0].code, caught[1].code);
	assert_int_equal(caught[0].pid, caught[1].pid);
	assert_true(pthread_equal(caught[0].by, pthread_self()));
	assert_true(pthread_equal(caught[1].by, pthread_self()));
}

static void *signal_in_thread(void *arg)
{
	signal_same(BPF_FUNC_send_signal_thread, SIGUSR2);
	return NULL;
}

/* The first thread blocks it, so this one gets what is sent to the process. */
static void *signal_process_in_thread(void *arg)
{
	pthread_sigmask(SIG_UNBLOCK, arg, NULL);
	signal_same(BPF_FUNC_send_signal, SIGUSR1);
	return NULL;
}

static void test_signals(void **state)
{
	static const uint32_t numbers[] = {0,  SIGUSR1, SIGUSR2, SIGCHLD, SIGWINCH,
					   34, 64,	65,	 1 << 30, -1u};
	const struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigset_t usr1;
	pthread_t thread;

	for (int i = 1; i <= 64; i++)
		if (i == SIGUSR1 || i == SIGUSR2 || i == SIGCHLD || i == SIGWINCH || i >= 34)
			sigaction(i, &action, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		signal_same(BPF_FUNC_send_signal, numbers[i]);
		signal_same(BPF_FUNC_send_signal_thread, numbers[i]);
	}
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	assert_int_equal(pthread_create(&thread, NULL, signal_in_thread, NULL), 0);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	assert_int_equal(pthread_create(&thread, NULL, signal_process_in_thread, &usr1), 0);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
}

/* More than one in a run, and none where there is no process. */
static void test_more_signals(void **state)
{
	const struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	caught_cnt = 0;
	/* Of one kind one, as if both had come before the process could look. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rt_send_signal(SIGUSR1, 0, 0, 0, 0, &both_run), 0);
		assert_int_equal(rt_send_signal_thread(SIGUSR1, 0, 0, 0, 0, &both_run), 0);
		assert_int_equal(rt_send_signal_thread(SIGUSR2, 0, 0, 0, 0, &both_run), 0);
	}
	assert_int_equal(caught_cnt, 0);
	act_finish(&both_run);
	assert_int_equal(caught_cnt, 3);
	act_finish(&both_run);
	assert_int_equal(caught_cnt, 3);
	both_run.stack = 0;
	assert_int_equal((int64_t)rt_send_signal(SIGUSR1, 0, 0, 0, 0, &both_run), -EPERM);
	assert_int_equal(both_run.signals, 0);
}

static int64_t write_user(void *to, const void *from, uint64_t size)
{
	return (int64_t)rt_probe_write_user((uint64_t)to, (uint64_t)from, size, 0, 0, &both_run);
}

static void test_write_user(void **state)
{
	unsigned char *pages = mmap(NULL, 2 * FAKE_PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const unsigned char from[64] = "sixty-four bytes";

	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(write_user(pages + 100, from, sizeof(from)), 0);
	assert_memory_equal(pages + 100, from, sizeof(from));
	assert_int_equal(pages[99] | pages[164], 0);
	/* Where the process itself may not write, it does not either. */
	assert_int_equal(mprotect(pages + FAKE_PAGE, FAKE_PAGE, PROT_READ), 0);
	assert_int_equal(write_user(pages + FAKE_PAGE, from, 8), -EFAULT);
	assert_int_equal(write_user(pages + FAKE_PAGE - 4, from, 8), -EFAULT);
	assert_int_equal(pages[FAKE_PAGE], 0);
	assert_int_equal(write_user((void *)from, pages, 8), -EFAULT);
	assert_int_equal(write_user(NULL, from, 8), -EFAULT);
	assert_int_equal(write_user((void *)0xffff888000000000ull, from, 8), -EFAULT);
	both_run.stack = 0;
	assert_int_equal(write_user(pages, from, 8), -EPERM);
	munmap(pages, 2 * FAKE_PAGE);
}

/* Which helpers there are for uprobes; two are gone where the kernel is locked down. */
static void test_program_types(void **state)
{
	uint32_t refused = 0;

	for (uint32_t id = 1; id < 212; id++) {
		struct bpf_insn insns[] = {INSN_CALL((int32_t)id), INSN_EXIT()};
		bool own, kernel;

		if (id == BPF_FUNC_probe_write_user || id == BPF_FUNC_override_return)
			continue;
		fresh(id);
		both.type = BPF_PROG_TYPE_KPROBE;
		both_ask(&both, insns, ARRAY_SIZE(insns));
		both_load(&both, insns, ARRAY_SIZE(insns));
		own = strstr(both.own_log, "cannot use helper");
		kernel = strstr(both.kernel_log, "cannot use helper");
		if (!strstr(both.own_log, "not supported by this verifier") && own != kernel)
			fail_msg("helper %u: %s\nkernel: %s", id, both.own_log, both.kernel_log);
		refused += own;
	}
	assert_true(refused >= 4);
}

/* Which maps a program may name that sleeps. */
static void test_sleepable_maps(void **state)
{
	static const struct verifier_map maps[] = {
		{BPF_MAP_TYPE_HASH, 8, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 4, 0, NULL},
		{BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_STACK_TRACE, 4, 80, 4, 0, NULL},
		{BPF_MAP_TYPE_LRU_HASH, 8, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 4, BPF_F_NO_PREALLOC, NULL},
		{BPF_MAP_TYPE_QUEUE, 0, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_STACK, 0, 8, 4, 0, NULL},
		{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0, NULL},
		{BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 4, 0, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		union bpf_attr attr = {.map_type = maps[i].type,
				       .key_size = maps[i].key_size,
				       .value_size = maps[i].value_size,
				       .max_entries = maps[i].max_entries,
				       .map_flags = maps[i].flags};
		cleanup_fd int fd = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		struct bpf_insn insns[] = {INSN_LD_IMM64_SRC(1, BPF_PSEUDO_MAP_FD, 0),
					   INSN_MOV64_IMM(0, 0), INSN_EXIT()};
		struct verifier_prog prog = {.insns = insns,
					     .cnt = ARRAY_SIZE(insns),
					     .type = BPF_PROG_TYPE_KPROBE,
					     .gpl = true,
					     .sleepable = true,
					     .maps = &maps[i],
					     .map_cnt = 1};
		struct verifier_log log = {0};
		struct verifier_facts facts;
		int own = verifier_check(&prog, &log, &facts);

		assert_true(fd >= 0);
		fresh(0);
		both.type = BPF_PROG_TYPE_KPROBE;
		both.prog_flags = BPF_F_SLEEPABLE;
		insns[0].imm = fd;
		both_load(&both, insns, ARRAY_SIZE(insns));
		/* Later kernels let it have more. */
		if (own != both.kernel_verdict)
			print_message("map type %u: %d, kernel %d\n", maps[i].type, own,
				      both.kernel_verdict);
		assert_true(own == both.kernel_verdict || own == -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_jiffies, setup, both_teardown),
		cmocka_unit_test_setup_teardown(test_coarse, setup, both_teardown),
		cmocka_unit_test_setup_teardown(test_copy_from_user, setup, both_teardown),
		cmocka_unit_test_setup_teardown(test_signals, setup, both_teardown),
		cmocka_unit_test_setup_teardown(test_more_signals, setup, both_teardown),
		cmocka_unit_test_setup_teardown(test_write_user, setup, both_teardown),
		cmocka_unit_test(test_program_types),
		cmocka_unit_test(test_sleepable_maps),
		cmocka_unit_test_setup_teardown(test_namespace, setup, both_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
