/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the argument of bpf(), perf_event_open() and a perf ioctl, up to the point where the
 * daemon would act: the calling thread plays the guest, and its notification has just ended, so
 * nothing is ever carried out. The bytes end where a mapping ends.
 *
 * Input: one byte system call, one byte command, two bytes size, then the argument.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "notifier/call.h"
#include "tests/fuzz/fuzz.h"

#define PAGE 4096
#define HEAD 4

static uint8_t *edge;

static void make_edge(void)
{
	uint8_t *map =
		mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || munmap(map + 2 * PAGE, PAGE) < 0)
		abort();
	edge = map + 2 * PAGE;
}

static int dispatch(struct call *call, uint8_t which)
{
	switch (which % 3) {
	case 0:
		return call_bpf(call);
	case 1:
		return call_perf_event_open(call);
	default:
		return call_prlimit(call);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tenant tenant = {.listener = -1};
	struct call call = {.tenant = &tenant, .reply_fd = -1};
	uint16_t claimed;
	int result;

	if (!edge)
		make_edge();
	if (size < HEAD || size > HEAD + 2 * PAGE)
		return 0;
	memcpy(&claimed, data + 2, sizeof(claimed));
	memset(edge - 2 * PAGE, 0, 2 * PAGE);
	memcpy(edge - (size - HEAD), data + HEAD, size - HEAD);
	call.notif.data.args[0] = data[1];
	call.notif.data.args[1] = (uintptr_t)edge - (size - HEAD);
	call.notif.data.args[2] = claimed;
	if (data[0] % 3 == 1)
		call.notif.data.args[0] = call.notif.data.args[1];
	if (data[0] % 3 == 2) {
		call.notif.data.args[0] = 0;
		call.notif.data.args[2] = call.notif.data.args[1];
	}
	guest_init(&call.guest, -1, 0, (pid_t)syscall(SYS_gettid));
	result = dispatch(&call, data[0]);
	/* Every path ends in an error: nothing may have been acted upon. */
	if (result >= 0 || call.reply_fd >= 0)
		abort();
	guest_deinit(&call.guest);
	return 0;
}
