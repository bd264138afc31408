/* SPDX-License-Identifier: MIT */
/*
 * Helpers that do something to the process they run in, where a policy lets them: signals, writes.
 * And the one that sleeps, where the kernel lets it.
 */
#include <errno.h>

#include "vm/runtime/act.h"
#include "vm/runtime/bytes.h"
#include "vm/runtime/helpers.h"

#define SIGNALS	       64u  /* _NSIG */
#define SIGNALS_QUEUED 32u  /* SIGRTMIN: the first that is */
#define SI_KERNEL      0x80 /* where bpf_send_signal()'s come from */

/** struct signal_info - siginfo_t of a signal from the kernel: its sender has no pid and no uid */
struct signal_info {
	int32_t number, error, code, pad;
	uint64_t rest[14];
};
static_assert(sizeof(struct signal_info) == 128, "siginfo_t");

/*
 * A thread may say of a signal to itself that the kernel sent it. By its own number it names the
 * process as well, if that is what is asked for.
 */
static void send(uint32_t number, bool thread)
{
	struct signal_info info = {.number = (int32_t)number, .code = SI_KERNEL};
	const long tid = rt_syscall4(__NR_gettid, 0, 0, 0, 0);

	if (thread)
		rt_syscall4(__NR_rt_tgsigqueueinfo, rt_syscall4(__NR_getpid, 0, 0, 0, 0), tid,
			    number, (long)&info);
	else
		rt_syscall4(__NR_rt_sigqueueinfo, tid, number, (long)&info, 0);
}

void act_send(struct rt_run *run)
{
	uint64_t signals = run->signals;

	run->signals = 0;
	for (; signals; signals &= signals - 1) {
		uint32_t bit = (uint32_t)__builtin_ctzll(signals);

		send(bit % RT_SIGNALS_THREAD, bit >= RT_SIGNALS_THREAD);
	}
}

/*
 * Sent when the run is over, as the kernel delivers them when the probe is: a handler that does not
 * come back, or a process that is stopped, must not keep the slot. Of one kind one arrives. Those
 * that are queued are sent at once, as often as they are asked for.
 */
static uint64_t send_signal(struct rt_run *run, uint32_t number, bool thread)
{
	if (!run->stack)
		return (uint64_t)-EPERM;
	if (number > SIGNALS)
		return (uint64_t)-EINVAL;
	if (number >= SIGNALS_QUEUED)
		send(number, thread);
	else if (number)
		run->signals |= 1ull << (number + (thread ? RT_SIGNALS_THREAD : 0));
	return 0;
}

uint64_t rt_send_signal(RT_HELPER_ARGS)
{
	return send_signal(run, (uint32_t)r1, false);
}

uint64_t rt_send_signal_thread(RT_HELPER_ARGS)
{
	return send_signal(run, (uint32_t)r1, true);
}

/* r1 address, r2 bytes to write, r3 how many: only where the process itself could write. */
uint64_t rt_probe_write_user(RT_HELPER_ARGS)
{
	const uint64_t size = (uint32_t)r3;
	uint64_t local[2] = {r2, size}, remote[2] = {r1, size};
	long tid;

	if (!run->stack)
		return (uint64_t)-EPERM;
	tid = rt_syscall4(__NR_gettid, 0, 0, 0, 0);
	if (rt_syscall6(__NR_process_vm_writev, tid, (long)local, 1, (long)remote, 1, 0) !=
	    (long)size)
		return (uint64_t)-EFAULT;
	return 0;
}

uint64_t rt_copy_from_user(RT_HELPER_ARGS)
{
	return rt_probe_read_user(r1, r2, r3, 0, 0, run);
}
