/* SPDX-License-Identifier: MIT */
/*
 * Signal frames, as the kernel lays them.
 * Source: arch/x86/kernel/signal_64.c and fpu/signal.c, Linux 5.14 to 6.18.
 */
#include "shim/rescue.h"

#include <assert.h>
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"

#define RED_ZONE     128
#define SCAN_MAX     (2u << 20) /* of a mapping that is not known to be a C library */
#define XSTATE_MAX   16384	/* with AMX it is 11008 */
#define XSTATE_MIN   576	/* legacy area and header */
#define XSTATE_SW    464	/* where the legacy area has room for software */
#define XSTATE_BV    512	/* components that are not in their initial state */
#define XSTATE_AMX   18		/* the one component that tasks have to ask for */
#define XSTATE_PKRU  9
#define XSTATE_ALIGN 64

#define FP_MAGIC1 0x46505853u
#define FP_MAGIC2 0x46505845u

#define UC_FP_XSTATE	     1
#define UC_SIGCONTEXT_SS     2
#define UC_STRICT_RESTORE_SS 4
/* No mode of an alternate stack: the kernel passes over what it cannot set, so the thread's stays.
 */
#define NO_ALTSTACK 0x7fff

/* What the kernel's functions return for a call that is to be made again. */
#define ERESTARTSYS	      512
#define ERESTARTNOINTR	      513
#define ERESTARTNOHAND	      514
#define ERESTART_RESTARTBLOCK 516

/* The part that depends on registers. */
struct frame {
	uint64_t restorer;
	uint64_t flags, link, stack;
	uint64_t stack_flags, stack_size;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, oldmask, cr2, fpstate, reserved[8];
	uint64_t sigmask;
	unsigned char info[128];
};
static_assert(offsetof(struct frame, r8) == 48 && offsetof(struct frame, sigmask) == 304 &&
		      sizeof(struct frame) == 440,
	      "struct rt_sigframe");

struct fp_software {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t size, reserved[7];
};
static_assert(sizeof(struct fp_software) == 512 - XSTATE_SW, "struct _fpx_sw_bytes");

static const unsigned char syscall_ret[] = {0x0f, 0x05, 0xc3};
static const unsigned char restorers[][9] = {
	{0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05},
	{0xb8, 15, 0, 0, 0, 0x0f, 0x05},
};
static const size_t restorer_len[] = {9, 7};

static bool read_at(int mem_fd, uint64_t address, void *buf, size_t len)
{
	return pread(mem_fd, buf, len, (off_t)address) == (ssize_t)len;
}

static bool write_at(int mem_fd, uint64_t address, const void *buf, size_t len)
{
	return pwrite(mem_fd, buf, len, (off_t)address) == (ssize_t)len;
}

static void look_in(struct rescue *rescue, uint64_t address, const unsigned char *code, size_t len)
{
	const unsigned char *at;

	at = rescue->syscall_at ? NULL : memmem(code, len, syscall_ret, sizeof(syscall_ret));
	if (at)
		rescue->syscall_at = address + (uint64_t)(at - code);
	for (size_t i = 0; i < ARRAY_SIZE(restorers) && !rescue->restorer; i++) {
		at = memmem(code, len, restorers[i], restorer_len[i]);
		if (at)
			rescue->restorer = address + (uint64_t)(at - code);
	}
}

/* One executable mapping, in pieces that overlap. */
static bool scan(struct rescue *rescue, int mem_fd, const struct map_entry *entry)
{
	uint64_t end = entry->end - entry->start > SCAN_MAX ? entry->start + SCAN_MAX : entry->end;
	unsigned char code[65536];

	for (uint64_t at = entry->start; at < end; at += sizeof(code) - sizeof(restorers[0])) {
		size_t len = end - at < sizeof(code) ? end - at : sizeof(code);

		if (!read_at(mem_fd, at, code, len))
			return false;
		look_in(rescue, at, code, len);
		if (rescue->syscall_at && rescue->restorer)
			return true;
	}
	return false;
}

bool rescue_find(struct rescue *rescue, int mem_fd, const struct maps *maps)
{
	/* C libraries first; a static program is its own. */
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < maps->cnt; i++) {
			const struct map_entry *entry = &maps->entries[i];

			if (!entry->executable || !entry->readable || entry->writable ||
			    entry->shared || !entry->ino || entry->libc != (pass == 0))
				continue;
			*rescue = (struct rescue){0};
			if (scan(rescue, mem_fd, entry))
				return true;
		}
	*rescue = (struct rescue){0};
	return false;
}

bool rescue_holds(const struct rescue *rescue, int mem_fd)
{
	unsigned char code[sizeof(restorers[0])];

	if (!read_at(mem_fd, rescue->syscall_at, code, sizeof(syscall_ret)) ||
	    memcmp(code, syscall_ret, sizeof(syscall_ret)) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(restorers); i++)
		if (read_at(mem_fd, rescue->restorer, code, restorer_len[i]) &&
		    memcmp(code, restorers[i], restorer_len[i]) == 0)
			return true;
	return false;
}

/*
 * The first thread's stack, or that of a thread which has its descriptor at the upper end, as the C
 * libraries make them: nothing of anybody else's lies below the stack pointer there.
 */
bool rescue_fits(const struct maps *maps, const struct user_regs_struct *regs)
{
	const struct map_entry *entry = maps_find(maps, regs->rsp);
	const uint64_t room = RED_ZONE + sizeof(struct frame) + XSTATE_MAX + XSTATE_ALIGN;

	if (!entry || !entry->readable || !entry->writable || entry->shared || entry->ino ||
	    regs->rsp - entry->start < room)
		return false;
	return entry->stack || (regs->fs_base > regs->rsp && regs->fs_base < entry->end);
}

/* End of the components in @features in the standard layout (bytes). */
static uint32_t xstate_size(uint64_t features)
{
	uint32_t size, offset, c, d, end = XSTATE_MIN;

	for (uint32_t i = 2; i < 63; i++)
		if ((features & 1ull << i) && __get_cpuid_count(0xd, i, &size, &offset, &c, &d) &&
		    offset + size > end)
			end = offset + size;
	return end;
}

static uint64_t enabled_features(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

static void put32(unsigned char *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

/*
 * Floating point, as a signal frame has it. How much of it the kernel expects for this task it does
 * not tell: with the component that has to be asked for, or without. Newer kernels look for the
 * second magic number there, older ones at the size that is given.
 */
static int get_fpstate(pid_t tid, unsigned char *state, uint32_t *ret_len)
{
	struct iovec iov = {state, XSTATE_MAX};
	struct fp_software software = {.magic1 = FP_MAGIC1};
	uint64_t enabled = enabled_features(), used;
	uint32_t usual = xstate_size(enabled & ~(1ull << XSTATE_AMX)), all = xstate_size(enabled);

	if (all + sizeof(uint32_t) > XSTATE_MAX)
		return -E2BIG;
	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov) < 0 || iov.iov_len < XSTATE_MIN)
		return -EOPNOTSUPP;
	memset(state + iov.iov_len, 0, XSTATE_MAX - iov.iov_len);
	memcpy(&used, state + XSTATE_BV, sizeof(used));
	used |= enabled & 1ull << XSTATE_PKRU; /* is there, whatever the header says */
	memcpy(state + XSTATE_BV, &used, sizeof(used));
	software.features = used | 3;
	software.size = used & 1ull << XSTATE_AMX ? all : usual;
	software.extended_size = software.size + (uint32_t)sizeof(uint32_t);
	if (xstate_size(used) > iov.iov_len)
		return -EOPNOTSUPP;
	memcpy(state + XSTATE_SW, &software, sizeof(software));
	put32(state + software.size, FP_MAGIC2);
	put32(state + all, FP_MAGIC2);
	*ret_len = all + (uint32_t)sizeof(uint32_t);
	return 0;
}

/* A call that a stop of ours interrupted is made anew, from its beginning. */
static void rewind_call(struct frame *frame, const struct user_regs_struct *regs)
{
	int64_t result = (int64_t)regs->rax;

	if ((int64_t)regs->orig_rax < 0)
		return;
	if (result != -ERESTARTSYS && result != -ERESTARTNOINTR && result != -ERESTARTNOHAND &&
	    result != -ERESTART_RESTARTBLOCK)
		return;
	frame->rax = regs->orig_rax;
	frame->rip -= sizeof(syscall_ret) - 1;
}

static void fill(struct frame *frame, const struct rescue *rescue,
		 const struct user_regs_struct *regs, uint64_t sigmask)
{
	*frame = (struct frame){
		.restorer = rescue->restorer,
		.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.stack_flags = NO_ALTSTACK,
		.r8 = regs->r8,
		.r9 = regs->r9,
		.r10 = regs->r10,
		.r11 = regs->r11,
		.r12 = regs->r12,
		.r13 = regs->r13,
		.r14 = regs->r14,
		.r15 = regs->r15,
		.rdi = regs->rdi,
		.rsi = regs->rsi,
		.rbp = regs->rbp,
		.rbx = regs->rbx,
		.rdx = regs->rdx,
		.rax = regs->rax,
		.rcx = regs->rcx,
		.rsp = regs->rsp,
		.rip = regs->rip,
		.eflags = regs->eflags,
		.cs = (uint16_t)regs->cs,
		.ss = (uint16_t)regs->ss,
		.fpstate = rescue->sp + sizeof(*frame),
		.sigmask = sigmask,
	};
	rewind_call(frame, regs);
}

int rescue_arm(struct rescue *rescue, int mem_fd, pid_t tid, const struct user_regs_struct *regs,
	       uint64_t sigmask)
{
	struct {
		struct frame frame;
		unsigned char state[XSTATE_MAX];
	} laid;
	uint32_t len;
	uint64_t at;
	int r;

	r = get_fpstate(tid, laid.state, &len);
	if (r < 0)
		return r;
	at = (regs->rsp - RED_ZONE - len) & ~(uint64_t)(XSTATE_ALIGN - 1);
	rescue->sp = at - sizeof(laid.frame);
	rescue->len = sizeof(laid.frame) + len;
	fill(&laid.frame, rescue, regs, sigmask);
	rescue->saved = malloc(rescue->len);
	if (rescue->saved && read_at(mem_fd, rescue->sp, rescue->saved, rescue->len) &&
	    write_at(mem_fd, rescue->sp, &laid, rescue->len))
		return 0;
	free(rescue->saved);
	rescue->saved = NULL;
	rescue->sp = 0;
	return -EFAULT;
}

int rescue_update(const struct rescue *rescue, int mem_fd, const struct user_regs_struct *regs,
		  uint64_t sigmask)
{
	struct frame frame;

	fill(&frame, rescue, regs, sigmask);
	return write_at(mem_fd, rescue->sp, &frame, sizeof(frame)) ? 0 : -EFAULT;
}

void rescue_disarm(struct rescue *rescue, int mem_fd)
{
	if (rescue->sp)
		write_at(mem_fd, rescue->sp, rescue->saved, rescue->len);
	free(rescue->saved);
	*rescue = (struct rescue){0};
}
