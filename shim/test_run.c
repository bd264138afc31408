/* SPDX-License-Identifier: MIT */
/*
 * See test_run.h. The thread gets a stack for it: its own may be a small one.
 */
#include "shim/test_run.h"

#include <asm/ptrace.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "shim/tracee.h"

#define STACK_SIZE 0x10000ull
#define RUN_MS	   10000

/* Where the thread asks, as a probe there would see it. */
static void show_regs(const struct user_regs_struct *from, struct pt_regs *to)
{
	*to = (struct pt_regs){
		.r15 = from->r15,
		.r14 = from->r14,
		.r13 = from->r13,
		.r12 = from->r12,
		.rbp = from->rbp,
		.rbx = from->rbx,
		.r11 = from->r11,
		.r10 = from->r10,
		.r9 = from->r9,
		.r8 = from->r8,
		.rax = from->rax,
		.rcx = from->rcx,
		.rdx = from->rdx,
		.rsi = from->rsi,
		.rdi = from->rdi,
		.orig_rax = from->orig_rax,
		.rip = from->rip,
		.cs = from->cs,
		.eflags = from->eflags,
		.rsp = from->rsp,
		.ss = from->ss,
	};
}

int shim_test_give(pid_t tid, uint64_t address, const void *buf, size_t len)
{
	struct iovec local = {(void *)buf, len}, remote = {(void *)address, len};

	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

static int finish(struct tracee *tracee, const struct shim_test_run *run,
		  const struct region_test_run *test, uint64_t at, unsigned char *memory)
{
	const uint64_t duration = test->time / run->repeat;
	const struct shim_test_result result = {
		.retval = (uint32_t)test->retval,
		.duration = duration < UINT32_MAX ? (uint32_t)duration : UINT32_MAX,
		.ctx = test->ctx,
		.memory = memory,
	};

	if (test->error < 0)
		return -EBUSY;
	if (run->memory_size && tracee_read(tracee, at, memory, run->memory_size) < 0)
		return -EFAULT;
	return run->finish(run, &result);
}

static uint64_t test_at(uint64_t stack)
{
	return (stack + STACK_SIZE - sizeof(struct region_test_run)) & ~63ull;
}

/* Address of the CPU slot that a run owns which did not come to its end, or 0. */
static uint64_t slot_left(const struct tracee *tracee, uint64_t base, uint64_t at)
{
	struct region_test_run test;
	struct region_slot slot;
	uint64_t address;

	if (tracee_read(tracee, at, &test, sizeof(test)) < 0 || test.slot >= REGION_SLOTS_MAX)
		return 0;
	address = base + REGION_SHARED + offsetof(struct region_shared, slots) +
		  test.slot * sizeof(slot);
	/* It may have given it back already. */
	if (tracee_read(tracee, address, &slot, sizeof(slot)) < 0 || !slot.owner || slot.sp != at)
		return 0;
	return address;
}

/* As slot_release() of the runtime; its owner is no longer in the program. */
static void give_back(const struct tracee *tracee, uint64_t address)
{
	const uint64_t none = 0;
	struct region_slot slot;

	if (tracee_read(tracee, address, &slot, sizeof(slot)) < 0)
		return;
	slot.episodes++;
	tracee_write(tracee, address + offsetof(struct region_slot, sp), &none, sizeof(none));
	tracee_write(tracee, address + offsetof(struct region_slot, episodes), &slot.episodes,
		     sizeof(slot.episodes));
	tracee_write(tracee, address + offsetof(struct region_slot, owner), &none, sizeof(none));
}

/* @stack: STACK_SIZE bytes, with what the context points to behind them. @ret_slot: slot_left() */
static int run_on(struct tracee *tracee, uint64_t base, uint64_t stack,
		  const struct shim_test_run *run, uint64_t *ret_slot, struct reason *reason)
{
	const uint64_t at = test_at(stack);
	const uint64_t memory_at = stack + STACK_SIZE;
	struct region_test_run test = {.frame = tracee_rescue_sp(tracee),
				       .code = run->code,
				       .cpu = run->cpu,
				       .repeat = run->repeat,
				       .slot = REGION_SLOTS_MAX};
	cleanup_free unsigned char *memory = calloc(1, run->memory_size + 1);
	struct pt_regs regs;
	int r;

	if (!memory)
		return -ENOMEM;
	show_regs(&tracee->threads[tracee->caller].regs, &regs);
	memcpy(test.regs, &regs, sizeof(test.regs));
	run->prepare(run, memory_at, test.ctx, memory);
	r = tracee_write(tracee, at, &test, sizeof(test));
	if (r == 0 && run->memory_size)
		r = tracee_write(tracee, memory_at, memory, run->memory_size);
	if (r == 0)
		r = tracee_run(tracee, base + run->enter, at, at, base + run->end, RUN_MS);
	if (r == -ETIMEDOUT || r == -EIO)
		*ret_slot = slot_left(tracee, base, at);
	if (r == -ETIMEDOUT)
		return reason_set(reason, -EINTR, "the program has not ended after %d s",
				  RUN_MS / 1000);
	if (r == 0)
		r = tracee_read(tracee, at, &test, sizeof(test));
	return r < 0 ? r : finish(tracee, run, &test, memory_at, memory);
}

int shim_test_run(struct tracee *tracee, uint64_t base, const struct shim_test_run *run,
		  struct reason *reason)
{
	const uint64_t size = STACK_SIZE + run->memory_size;
	const uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	const uint64_t map[6] = {0,
				 size,
				 PROT_READ | PROT_WRITE,
				 run->memory_size ? flags | MAP_32BIT : flags,
				 (uint64_t)-1,
				 0};
	uint64_t unmap[6] = {0, size}, slot = 0;
	int64_t stack, unused;
	int r = tracee_syscall(tracee, SYS_mmap, map, &stack);

	if (r == 0 && stack < 0)
		r = -ENOMEM;
	if (r < 0)
		return r;
	r = run_on(tracee, base, (uint64_t)stack, run, &slot, reason);
	unmap[0] = (uint64_t)stack;
	if (r == -ESRCH)
		return r;
	/* The call takes the thread out of the program, whatever becomes of us. */
	if (tracee_syscall(tracee, SYS_munmap, unmap, &unused) == 0 && slot)
		give_back(tracee, slot);
	return r;
}
