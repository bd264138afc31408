/* SPDX-License-Identifier: MIT */
/*
 * Hits through the runtime's image: what the application's registers, flags and stack look like
 * afterwards, what programs see, and that every call is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <asm/ptrace.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "tests/unit/fake_region.h"

#define CONDITION_FLAGS 0x8d5ul /* OF SF ZF AF PF CF */
#define RED_ZONE	16	/* words */

/*
 * A call with every register set, and what they were when it came back. The stack below is filled
 * to see that the red zone is left alone.
 */
struct machine {
	uint64_t regs[15]; /* rax rbx rcx rdx rsi rdi rbp r8..r15 */
	uint64_t flags;
	unsigned char xmm[16][16];
	uint64_t zone[RED_ZONE];
	uint64_t sp; /* at the called function's first instruction */
};
const void *machine_target;
uint64_t machine_seen[21]; /* the struct pt_regs that machine_prog() got */
void machine_call(const struct machine *in, struct machine *out);
uint64_t machine_prog(void *ctx, struct rt_run *run);
void machine_call_odd(const void *target);
uint64_t machine_ret(void);

/* clang-format off */
#define OFF_FLAGS "120"
#define OFF_XMM "128"
#define OFF_ZONE "384"
#define OFF_SP "512"
#define XMM_LOAD(n) "movups " OFF_XMM "+16*" #n "(%rdi), %xmm" #n "\n"
#define XMM_SAVE(n) "movups %xmm" #n ", " OFF_XMM "+16*" #n "(%rdi)\n"
#define ALL_XMM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define ALL_REGS(X) X(0, rax) X(8, rbx) X(16, rcx) X(24, rdx) X(32, rsi) X(48, rbp) X(56, r8) \
	X(64, r9) X(72, r10) X(80, r11) X(88, r12) X(96, r13) X(104, r14) X(112, r15)
#define REG_LOAD(at, reg) "mov " #at "(%rdi), %" #reg "\n"
#define REG_SAVE(at, reg) "mov %" #reg ", " #at "(%rdi)\n"
__asm__(".pushsection .text\n"
	".globl machine_call, machine_call_odd, machine_ret, machine_prog\n"
	"machine_call:\n"
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"push %rsi\n"
	"lea -8(%rsp), %rax\n"
	"mov %rax, " OFF_SP "(%rsi)\n"
	"mov $16, %ecx\n"
	"mov $0x5a5a5a5a12345678, %rdx\n"
	"1: mov %rdx, -16(%rsp)\n" /* the first word below the return address, and so on */
	"lea -8(%rsp), %rsp\n"
	"dec %ecx\n"
	"jnz 1b\n"
	"lea 128(%rsp), %rsp\n"
	ALL_XMM(XMM_LOAD)
	"mov " OFF_FLAGS "(%rdi), %rax\n"
	/* Flags go through a place above, so that the zone stays as it is. */
	"mov (%rsp), %rcx\n"
	"mov %rax, (%rsp)\n"
	"popf\n"
	"lea -8(%rsp), %rsp\n"
	"mov %rcx, (%rsp)\n"
	ALL_REGS(REG_LOAD)
	"mov 40(%rdi), %rdi\n"
	"call *machine_target(%rip)\n"
	"mov %rdi, machine_rdi(%rip)\n"
	"mov (%rsp), %rdi\n"
	ALL_REGS(REG_SAVE)
	"mov machine_rdi(%rip), %rax\n"
	"mov %rax, 40(%rdi)\n"
	"mov -136(%rsp), %rax\n mov %rax, " OFF_ZONE "+120(%rdi)\n"
	"mov -128(%rsp), %rax\n mov %rax, " OFF_ZONE "+112(%rdi)\n"
	"mov -120(%rsp), %rax\n mov %rax, " OFF_ZONE "+104(%rdi)\n"
	"mov -112(%rsp), %rax\n mov %rax, " OFF_ZONE "+96(%rdi)\n"
	"mov -104(%rsp), %rax\n mov %rax, " OFF_ZONE "+88(%rdi)\n"
	"mov -96(%rsp), %rax\n mov %rax, " OFF_ZONE "+80(%rdi)\n"
	"mov -88(%rsp), %rax\n mov %rax, " OFF_ZONE "+72(%rdi)\n"
	"mov -80(%rsp), %rax\n mov %rax, " OFF_ZONE "+64(%rdi)\n"
	"mov -72(%rsp), %rax\n mov %rax, " OFF_ZONE "+56(%rdi)\n"
	"mov -64(%rsp), %rax\n mov %rax, " OFF_ZONE "+48(%rdi)\n"
	"mov -56(%rsp), %rax\n mov %rax, " OFF_ZONE "+40(%rdi)\n"
	"mov -48(%rsp), %rax\n mov %rax, " OFF_ZONE "+32(%rdi)\n"
	"mov -40(%rsp), %rax\n mov %rax, " OFF_ZONE "+24(%rdi)\n"
	"mov -32(%rsp), %rax\n mov %rax, " OFF_ZONE "+16(%rdi)\n"
	"mov -24(%rsp), %rax\n mov %rax, " OFF_ZONE "+8(%rdi)\n"
	"mov -16(%rsp), %rax\n mov %rax, " OFF_ZONE "(%rdi)\n"
	"pushf\n"
	"pop %rax\n"
	"mov %rax, " OFF_FLAGS "(%rdi)\n"
	ALL_XMM(XMM_SAVE)
	"lea 8(%rsp), %rsp\n"
	"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	"ret\n"
	"machine_ret: ret\n"
	/* Its callee finds the stack aligned the other way. */
	"machine_call_odd: call *%rdi\n"
	"ret\n"
	/* A program: copies its context, then leaves rubbish in all it may change. */
	"machine_prog:\n"
	"lea machine_seen(%rip), %rdx\n"
	"mov $20, %ecx\n"
	"2: mov (%rdi,%rcx,8), %rax\n"
	"mov %rax, (%rdx,%rcx,8)\n"
	"dec %ecx\n"
	"jns 2b\n"
	"mov $-1, %rax\n mov %rax, %rcx\n mov %rax, %rdx\n mov %rax, %rsi\n mov %rax, %rdi\n"
	"mov %rax, %r8\n mov %rax, %r9\n mov %rax, %r10\n mov %rax, %r11\n"
	"xor %ecx, %ecx\n"
	"ret\n"
	".popsection\n"
	".local machine_rdi\n"
	".comm machine_rdi, 8, 8\n");
/* clang-format on */

static_assert(offsetof(struct machine, flags) == 120 && offsetof(struct machine, xmm) == 128 &&
		      offsetof(struct machine, zone) == 384 && offsetof(struct machine, sp) == 512,
	      "as the assembly has it");

static void machine_fill(struct machine *machine, uint64_t flags)
{
	memset(machine, 0, sizeof(*machine));
	for (uint32_t i = 0; i < 15; i++)
		machine->regs[i] = 0x1122334455667700ull * (i + 3) + i;
	for (uint32_t i = 0; i < sizeof(machine->xmm); i++)
		((unsigned char *)machine->xmm)[i] = (unsigned char)(i * 7 + 1);
	machine->flags = flags | 0x202;
}

static void machine_check_seen(const struct machine *in, const struct machine *out, bool entered)
{
	/* Order of struct pt_regs, by index into regs[]. */
	static const int order[] = {14, 13, 12, 11, 6, 1, 10, 9, 8, 7, 0, 2, 3, 4, 5};
	const struct pt_regs *regs = (const void *)machine_seen;

	for (uint32_t i = 0; i < ARRAY_SIZE(order); i++)
		assert_int_equal(machine_seen[i], in->regs[order[i]]);
	assert_int_equal(regs->orig_rax, -1);
	assert_int_equal(regs->eflags & CONDITION_FLAGS, in->flags & CONDITION_FLAGS);
	assert_int_equal(regs->cs, 0x33);
	assert_int_equal(regs->ss, 0x2b);
	assert_int_equal(regs->rsp, entered ? out->sp : out->sp + 8);
	if (entered)
		assert_int_equal(regs->rip, (uint64_t)machine_ret);
}

/* All condition flags in all combinations, all registers, with a probe of @flags. */
static void check_machine(unsigned char *base, uint32_t flags)
{
	struct region_attach attach = {.code = fake_code(base, machine_prog), .flags = flags};
	struct region_site *site = fake_site(base, 0, attach);

	machine_target = fake_stub(base, 0, site, machine_ret);
	for (uint32_t i = 0; i < 64; i++) {
		struct machine in, out = {0};

		machine_fill(&in, (i & 1) | (i & 2) << 1 | (i & 4) << 2 | (i & 8) << 3 |
					  (i & 16) << 3 | (i & 32) << 6);
		memset(machine_seen, 0, sizeof(machine_seen));
		machine_call(&in, &out);
		assert_memory_equal(in.regs, out.regs, sizeof(in.regs));
		assert_memory_equal(in.xmm, out.xmm, sizeof(in.xmm));
		assert_int_equal(in.flags & CONDITION_FLAGS, out.flags & CONDITION_FLAGS);
		machine_check_seen(&in, &out, !(flags & REGION_ATTACH_RETURN));
		for (uint32_t k = 0; !flags && k < RED_ZONE; k++)
			assert_int_equal(out.zone[k], 0x5a5a5a5a12345678);
	}
	assert_int_equal(fake_count(base, 0).hits, 64);
}

static void test_registers(void **state)
{
	unsigned char *base = fake_region(2);

	check_machine(base, 0);
	fake_free(base);
}

static void test_registers_return(void **state)
{
	unsigned char *base = fake_region(2);

	check_machine(base, REGION_ATTACH_RETURN);
	fake_free(base);
}

/* Without rdpid and rdfsbase, as the oldest processors. */
static void test_registers_old_processor(void **state)
{
	unsigned char *base = fake_region(2);

	((struct region_header *)base)->features = 0;
	check_machine(base, 0);
	fake_free(base);
}

static struct {
	struct pt_regs regs;
	struct rt_run run;
	uint64_t calls;
} last;

static uint64_t prog_note(void *ctx, struct rt_run *run)
{
	last.regs = *(struct pt_regs *)ctx;
	last.run = *run;
	last.calls++;
	return 0;
}

static __attribute__((noinline)) long work(long a, long b)
{
	return a * 10 + b;
}

typedef long (*work_fn)(long, long);

static void test_what_a_program_sees(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach attach = {fake_code(base, prog_note), 0xc00c1e, 7, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);

	last.calls = 0;
	assert_int_equal(probed(4, 2), 42);
	assert_int_equal(last.calls, 1);
	assert_int_equal(last.regs.rdi, 4);
	assert_int_equal(last.regs.rsi, 2);
	assert_int_equal(last.run.cookie, 0xc00c1e);
	assert_ptr_equal(last.run.base, base);
	assert_true(last.run.slot < 2);
	assert_int_equal(last.run.stack, last.regs.rsp);
	assert_int_equal(((const struct region_stub *)last.run.stub)->ip, (uint64_t)work);
	assert_int_equal(fake_count(base, 7).hits, 1);
	assert_int_equal(fake_shared(base)->slots[0].owner | fake_shared(base)->slots[1].owner, 0);
	fake_free(base);
}

static uint64_t prog_aligned(void *ctx, struct rt_run *run)
{
	last.calls += (uint64_t)__builtin_frame_address(0) % 16 == 0;
	return 0;
}

/* Programs find an aligned stack, whatever the application's is. */
static void test_stack_alignment(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach entry = {fake_code(base, prog_aligned), 0, 0, 0};
	struct region_attach ret = {fake_code(base, prog_aligned), 0, 1, REGION_ATTACH_RETURN};
	uint64_t (*probed)(void) = fake_stub(base, 0, fake_site(base, 0, entry), machine_ret);
	uint64_t (*probed_ret)(void) = fake_stub(base, 1, fake_site(base, 1, ret), machine_ret);

	last.calls = 0;
	probed();
	machine_call_odd((void *)probed);
	probed_ret();
	machine_call_odd((void *)probed_ret);
	assert_int_equal(last.calls, 4);
	fake_free(base);
}

static void test_switched_off(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach attach = {fake_code(base, prog_note), 0, 7, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	work_fn empty = fake_stub(base, 1, NULL, work);

	last.calls = 0;
	((struct region_header *)base)->off = 1;
	assert_int_equal(probed(4, 2), 42);
	((struct region_header *)base)->off = 0;
	assert_int_equal(empty(4, 2), 42);
	assert_int_equal(last.calls, 0);
	assert_int_equal(fake_count(base, 7).hits, 0);
	fake_free(base);
}

/* One of several programs, and the only one: neither runs nor counts, and comes back. */
static void test_one_off(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_site *site = (void *)(base + FAKE_SITES);
	work_fn probed;

	site->cnt = 2;
	site->attach[0] = (struct region_attach){fake_code(base, prog_note), 0, 3, 0};
	site->attach[1] =
		(struct region_attach){fake_code(base, prog_note), 0, 4, REGION_ATTACH_OFF};
	probed = fake_stub(base, 0, site, work);
	assert_int_equal(probed(4, 2), 42);
	site->cnt = 1;
	site->attach[0].flags = REGION_ATTACH_OFF;
	assert_int_equal(probed(4, 2), 42);
	assert_int_equal(fake_count(base, 3).hits, 1);
	assert_int_equal(fake_count(base, 4).hits, 0);
	site->attach[0].flags = 0;
	assert_int_equal(probed(4, 2), 42);
	assert_int_equal(fake_count(base, 3).hits, 2);
	fake_free(base);
}

/* Exit status of @child; it may run for 10 s. */
static int child_status(pid_t child)
{
	int status = 0;

	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t child_start(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		alarm(10);
	return child;
}

static void test_fork(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_site *site = (void *)(base + FAKE_SITES);
	work_fn probed;
	pid_t child;

	site->cnt = 2;
	site->attach[0] = (struct region_attach){fake_code(base, prog_note), 0, 0, 0};
	site->attach[1] =
		(struct region_attach){fake_code(base, prog_note), 0, 1, REGION_ATTACH_NO_FORK};
	probed = fake_stub(base, 0, site, work);
	probed(1, 2);
	child = child_start();
	if (!child) {
		probed(1, 2);
		_exit(((struct region_cache *)(base + REGION_CACHE))->pid == (uint64_t)getpid()
			      ? 0
			      : 1);
	}
	assert_int_equal(child_status(child), 0);
	assert_int_equal(fake_count(base, 0).hits, 2);
	assert_int_equal(fake_count(base, 1).hits, 1);
	fake_free(base);
}

/* A program that loses counts unless it has its slot for itself. */
#define THREADS 8
#define CALLS	1000000ul
static volatile uint64_t slow_count[REGION_SLOTS_MAX];

static uint64_t prog_count(void *ctx, struct rt_run *run)
{
	uint64_t count = slow_count[run->slot];

	for (int i = 0; i < 8; i++)
		__asm__ volatile("" : "+r"(count));
	slow_count[run->slot] = count + 1;
	return 0;
}

static void *thread_calls(void *arg)
{
	work_fn probed = (work_fn)arg;

	for (unsigned long i = 0; i < CALLS; i++) {
		if (probed(1, 2) != 12)
			return arg;
	}
	return NULL;
}

static void count_exactly(uint32_t slots, uint32_t flags, unsigned int threads)
{
	unsigned char *base = fake_region(slots);
	struct region_attach attach = {fake_code(base, prog_count), 0, 0, flags};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	uint64_t sum = 0;
	pthread_t ids[32];
	void *failed;

	memset((void *)slow_count, 0, sizeof(slow_count));
	for (unsigned int i = 0; i < threads; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, thread_calls, (void *)probed), 0);
	for (unsigned int i = 0; i < threads; i++) {
		assert_int_equal(pthread_join(ids[i], &failed), 0);
		assert_null(failed);
	}
	for (uint32_t i = 0; i < slots; i++)
		sum += slow_count[i];
	assert_int_equal(fake_count(base, 0).missed, 0);
	assert_int_equal(fake_count(base, 0).hits, threads * CALLS);
	assert_int_equal(sum, threads * CALLS);
	fake_free(base);
}

static void test_threads_count_exactly(void **state)
{
	for (int i = 0; i < 3; i++)
		count_exactly(2, 0, THREADS);
}

static void test_threads_count_exactly_with_one_slot(void **state)
{
	count_exactly(1, 0, 16);
}

static void test_threads_count_returns_exactly(void **state)
{
	count_exactly(2, REGION_ATTACH_RETURN, THREADS);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Holds its slot until the word at the region's first array says otherwise. */
static uint64_t prog_hold(void *ctx, struct rt_run *run)
{
	volatile uint32_t *shared = (void *)(run->base + REGION_MAPS);

	shared[0] = 1;
	while (!shared[1])
		usleep(1000);
	return 0;
}

/* A child that sits in a program with the only slot. */
static pid_t child_holds(unsigned char *base)
{
	struct region_attach attach = {fake_code(base, prog_hold), 0, 1, 0};
	work_fn probed = fake_stub(base, 1, fake_site(base, 1, attach), work);
	volatile uint32_t *shared = (void *)(base + REGION_MAPS);
	pid_t child;

	shared[0] = shared[1] = 0;
	child = child_start();
	if (!child)
		_exit(probed(1, 2) == 12 ? 0 : 1);
	while (!shared[0])
		usleep(1000);
	return child;
}

static void killed_owner(bool reap)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_note), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	pid_t child = child_holds(base);
	siginfo_t info;

	kill(child, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | (reap ? 0 : WNOWAIT)), 0);
	assert_int_not_equal(fake_shared(base)->slots[0].owner, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 0).missed, 0);
	if (!reap)
		assert_int_equal(child_status(child), 128 + SIGKILL);
	fake_free(base);
}

static void test_killed_owner(void **state)
{
	killed_owner(true);
}

static void test_killed_owner_zombie(void **state)
{
	killed_owner(false);
}

/* One hit waits, the next ones know; all of them are counted as missed. */
static void test_stopped_owner(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_note), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	pid_t child = child_holds(base);
	double start = seconds();

	kill(child, SIGSTOP);
	probed(1, 2);
	assert_true(seconds() - start > 0.1 && seconds() - start < 3);
	start = seconds();
	for (int i = 0; i < 1000; i++)
		probed(1, 2);
	assert_true(seconds() - start < 0.5);
	assert_int_equal(fake_count(base, 0).hits, 0);
	assert_int_equal(fake_count(base, 0).missed, 1001);
	((uint32_t *)(base + REGION_MAPS))[1] = 1;
	kill(child, SIGCONT);
	assert_int_equal(child_status(child), 0);
	for (int i = 0; i < 1000; i++)
		probed(1, 2);
	assert_int_equal(fake_count(base, 0).hits, 1000);
	assert_int_equal(fake_count(base, 0).missed, 1001);
	fake_free(base);
}

static sigjmp_buf out_of_program;

static void jump_out(int sig)
{
	siglongjmp(out_of_program, 1);
}

static uint64_t prog_raise(void *ctx, struct rt_run *run)
{
	raise(SIGUSR1);
	return 0;
}

/* The slot that a signal handler's siglongjmp leaves behind is found again at once. */
static void test_jump_out_of_program(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach attach = {fake_code(base, prog_raise), 0, 0, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, attach), work);
	struct sigaction action = {.sa_handler = jump_out};
	volatile int jumps = 0;
	double start = seconds();

	sigaction(SIGUSR1, &action, NULL);
	if (sigsetjmp(out_of_program, 1))
		jumps++;
	if (jumps < 100)
		probed(1, 2);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 0).missed, 0);
	assert_true(seconds() - start < 1);
	fake_free(base);
}

static work_fn nested_call;

static void call_nested(int sig)
{
	nested_call(1, 2);
}

/* A signal handler that comes while a program runs has its probes counted in another slot. */
static void test_signal_in_program(void **state)
{
	unsigned char *base = fake_region(2);
	struct region_attach outer = {fake_code(base, prog_raise), 0, 0, 0};
	struct region_attach inner = {fake_code(base, prog_note), 0, 1, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, outer), work);
	struct sigaction action = {.sa_handler = call_nested};

	nested_call = fake_stub(base, 1, fake_site(base, 1, inner), work);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 1).hits, 100);
	assert_int_equal(fake_shared(base)->slots[0].episodes, 100);
	assert_int_equal(fake_shared(base)->slots[1].episodes, 100);
	fake_free(base);
}

/* With one slot only there is none for the handler: it must not wait for what it has interrupted.
 */
static void test_signal_in_program_one_slot(void **state)
{
	unsigned char *base = fake_region(1);
	struct region_attach outer = {fake_code(base, prog_raise), 0, 0, 0};
	struct region_attach inner = {fake_code(base, prog_note), 0, 1, 0};
	work_fn probed = fake_stub(base, 0, fake_site(base, 0, outer), work);
	struct sigaction action = {.sa_handler = call_nested};
	double start = seconds();

	nested_call = fake_stub(base, 1, fake_site(base, 1, inner), work);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(probed(1, 2), 12);
	assert_true(seconds() - start < 0.4);
	assert_int_equal(fake_count(base, 0).hits, 100);
	assert_int_equal(fake_count(base, 1).missed, 100);
	fake_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_registers_return),
		cmocka_unit_test(test_registers_old_processor),
		cmocka_unit_test(test_what_a_program_sees),
		cmocka_unit_test(test_stack_alignment),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_one_off),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_threads_count_exactly),
		cmocka_unit_test(test_threads_count_exactly_with_one_slot),
		cmocka_unit_test(test_threads_count_returns_exactly),
		cmocka_unit_test(test_killed_owner),
		cmocka_unit_test(test_killed_owner_zombie),
		cmocka_unit_test(test_stopped_owner),
		cmocka_unit_test(test_jump_out_of_program),
		cmocka_unit_test(test_signal_in_program),
		cmocka_unit_test(test_signal_in_program_one_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
