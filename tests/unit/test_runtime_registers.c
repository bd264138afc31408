/* SPDX-License-Identifier: MIT */
/*
 * Hits through the runtime's image: the application's registers, flags and stack are afterwards
 * what they were before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <asm/ptrace.h>
#include <stdbool.h>

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

static uint64_t aligned;

static uint64_t prog_aligned(void *ctx, struct rt_run *run)
{
	aligned += (uint64_t)__builtin_frame_address(0) % 16 == 0;
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

	aligned = 0;
	probed();
	machine_call_odd((void *)probed);
	probed_ret();
	machine_call_odd((void *)probed_ret);
	assert_int_equal(aligned, 4);
	fake_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_registers_return),
		cmocka_unit_test(test_registers_old_processor),
		cmocka_unit_test(test_stack_alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
