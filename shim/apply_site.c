/* SPDX-License-Identifier: MIT */
/*
 * One site of a stopped process; see apply_internal.h.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "shim/apply_internal.h"
#include "shim/inject.h"
#include "shim/stub.h"

/* Threads that stand between the first and the last of the displaced instructions go on in the
 * stub. */
static int move_threads(struct work *work, uint64_t site, uint64_t moved,
			const struct move_map *map)
{
	for (uint32_t i = 0; i < work->tracee.cnt; i++) {
		uint64_t ip = tracee_thread_ip(&work->tracee, i);

		if (ip <= site || ip >= site + JUMP_SIZE)
			continue;
		/* Asleep there for a page of memory. */
		if (!work->tracee.threads[i].stopped)
			return -EBUSY;
		for (uint32_t k = 0; k < map->cnt; k++) {
			int r = 0;

			if (ip == site + map->at[k].from)
				r = tracee_set_ip(&work->tracee, i, moved + map->at[k].to);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The record that this process gets. */
static uint64_t record_of(struct work *work, const struct shim_want *want)
{
	if (want->site == want->without_returns || work->unwindable)
		return want->site;
	work->no_returns = true;
	return want->without_returns;
}

static int patch(struct work *work, const struct shim_want *want, uint64_t site, uint64_t record,
		 struct reason *reason)
{
	unsigned char jump[JUMP_SIZE];
	struct move_map map;
	uint64_t moved;
	int r;

	r = work_ensure_region(work, reason);
	if (r < 0)
		return r;
	r = stub_new(&work->tracee, &work->maps, site, want, work->base,
		     work->base + (want->check_len ? work->plan->region.enter_small
						   : work->plan->region.enter),
		     work->base + record, jump, &moved, &map);
	/* An area may have been mapped. */
	if (r == 0)
		r = work_reread_maps(work);
	if (r == 0)
		r = move_threads(work, site, moved, &map);
	if (r == 0)
		r = tracee_write(&work->tracee, site, jump, sizeof(jump));
	if (r < 0 && r != -ESRCH && r != -ERESTART)
		return reason_set(reason, -EOPNOTSUPP, "no stub can be made near its code: %s",
				  strerrordesc_np(-r));
	return r;
}

/* Where the process has the semaphore. Source: valid_ref_ctr_vma(), kernel/events/uprobes.c, 6.18.
 */
static uint64_t semaphore_address(const struct work *work, const struct shim_want *want)
{
	for (uint32_t i = 0; i < work->maps.cnt; i++) {
		const struct map_entry *entry = &work->maps.entries[i];
		uint64_t at = want->semaphore - entry->offset;

		if (entry->ino && entry->writable && !entry->shared &&
		    want->semaphore >= entry->offset &&
		    at + sizeof(uint16_t) <= entry->end - entry->start &&
		    maps_is_file(&work->maps, entry, want->dev, want->ino))
			return entry->start + at;
	}
	return 0;
}

static int add_semaphore(const struct work *work, uint64_t address, int change)
{
	uint16_t value;
	int r = tracee_read(&work->tracee, address, &value, sizeof(value));

	/* The program may have written to it; what it made of it is not turned around. */
	if (r < 0 || (change < 0 ? value == 0 : value == UINT16_MAX))
		return r;
	value = (uint16_t)(value + change);
	return tracee_write(&work->tracee, address, &value, sizeof(value));
}

/* Once for each stub: children that inherit the stub inherit the semaphore as it is then. */
static int raise_semaphore(const struct work *work, const struct shim_want *want, uint64_t site,
			   enum shim_state *state)
{
	unsigned char jump[JUMP_SIZE];
	struct region_stub stub;
	uint64_t address, semaphore;
	int r;

	if (!want->semaphore)
		return 0;
	r = tracee_read(&work->tracee, site, jump, sizeof(jump));
	if (r < 0 || !stub_behind(&work->tracee, &work->maps, site, jump, &address, &stub) ||
	    stub.semaphore)
		return r;
	semaphore = semaphore_address(work, want);
	if (!semaphore) {
		*state = SHIM_EARLY;
		return 0;
	}
	r = add_semaphore(work, semaphore, 1);
	return r < 0 ? r : stub_set_semaphore(&work->tracee, address, semaphore);
}

static int unpatch(struct work *work, const struct shim_want *want, uint64_t site, uint64_t address,
		   const struct region_stub *stub)
{
	int r = stub_set_record(&work->tracee, address, 0);

	if (r == 0)
		r = tracee_write(&work->tracee, site, want->original, JUMP_SIZE);
	if (r < 0 || !stub->semaphore)
		return r;
	r = stub_set_semaphore(&work->tracee, address, 0);
	/* The library that it was in may have gone. */
	if (r == 0 && semaphore_address(work, want) == stub->semaphore)
		r = add_semaphore(work, stub->semaphore, -1);
	return r;
}

/* One want in one mapping. */
int work_want_at(struct work *work, const struct shim_want *want, uint64_t site,
		 enum shim_state *state, struct reason *reason)
{
	unsigned char bytes[sizeof(want->original)];
	uint64_t address, record = record_of(work, want);
	struct region_stub stub;
	int r = 0;

	if (tracee_read(&work->tracee, site, bytes, want->original_len) < 0)
		return -EFAULT;
	if (memcmp(bytes, want->original, want->original_len) == 0) {
		r = record ? patch(work, want, site, record, reason) : 0;
	} else if (stub_behind(&work->tracee, &work->maps, site, bytes, &address, &stub)) {
		if (record)
			r = work_ensure_region(work, reason);
		if (r == 0)
			r = record ? stub_set_record(&work->tracee, address, work->base + record)
				   : unpatch(work, want, site, address, &stub);
	} else {
		*state = SHIM_FOREIGN;
		return 0;
	}
	if (r == 0 && *state == SHIM_ABSENT)
		*state = SHIM_DONE;
	return r == 0 && record ? raise_semaphore(work, want, site, state) : r;
}

/* One want in every executable mapping of its file. */
int work_want(struct work *work, const struct shim_want *want, enum shim_state *state,
	      struct reason *reason)
{
	int r = 0;

	*state = SHIM_ABSENT;
	for (uint32_t i = 0; i < work->maps.cnt && r == 0; i++) {
		const struct map_entry entry = work->maps.entries[i];
		uint64_t site = maps_at(&work->maps, i, want->offset);

		if (site && maps_is_file(&work->maps, &entry, want->dev, want->ino))
			r = work_want_at(work, want, site, state, reason);
	}
	if (r < 0)
		*state = SHIM_FAILED;
	return r;
}
