/* SPDX-License-Identifier: MIT */
/*
 * A process that is not stopped; see apply_internal.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shim/apply_internal.h"
#include "shim/stub.h"

/* Make idle what stands at one unwanted site. */
static void disable_at(const struct tracee *tracee, const struct maps *maps, uint64_t site)
{
	struct region_stub stub;
	unsigned char jump[JUMP_SIZE];
	uint64_t address;

	if (tracee_read(tracee, site, jump, sizeof(jump)) == 0 &&
	    stub_behind(tracee, maps, site, jump, &address, &stub))
		stub_set_record(tracee, address, 0);
}

void idle_unwanted(pid_t pid, const struct shim_plan *plan)
{
	struct tracee tracee = {.pid = pid, .mem_fd = -1};
	struct maps maps;
	char path[40];

	if (maps_read(pid, &maps) < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/mem", maps.pid);
	tracee.mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (tracee.mem_fd >= 0) {
		for (uint32_t i = 0; i < maps.cnt; i++)
			for (uint32_t k = 0; k < plan->want_cnt; k++) {
				const struct shim_want *want = &plan->wants[k];

				if (!want->site && maps_at(&maps, i, want->offset) &&
				    maps_is_file(&maps, &maps.entries[i], want->dev, want->ino))
					disable_at(&tracee, &maps, maps_at(&maps, i, want->offset));
			}
	}
	maps_deinit(&maps);
	close_fd(tracee.mem_fd);
}

uint32_t shim_lower_semaphores(pid_t pid)
{
	struct tracee tracee = {.pid = pid};
	uint32_t lowered = 0;
	struct maps maps;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	tracee.mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (tracee.mem_fd >= 0 && maps_read(pid, &maps) == 0) {
		lowered = stub_lower_semaphores(&tracee, &maps);
		maps_deinit(&maps);
	}
	close_fd(tracee.mem_fd);
	return lowered;
}
