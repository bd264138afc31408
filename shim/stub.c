/* SPDX-License-Identifier: MIT */
/*
 * Stub areas and records.
 */
#include "shim/stub.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "shim/inject.h"

/* Records of one site, an area each, that were made for other code. */
#define STALE_MAX 8

#define SKIP_SIZE 5u
#define CALL_SIZE 6u
#define UNDO_SIZE 8u
#define FIXED	  (SKIP_SIZE + CALL_SIZE + UNDO_SIZE)
#define JUMP_SIZE 5u
#define JBE_SIZE  6u

static_assert(FIXED == REGION_STUB_DISPLACED, "region.h");
static_assert(REGION_STUB_CHECK + sizeof(((struct shim_want *)0)->check) + JBE_SIZE + JUMP_SIZE <=
		      REGION_STUB_SIZE,
	      "and a check");
static_assert(FIXED + MOVE_MAX <= REGION_STUB_SIZE - REGION_STUB_CODE, "a stub holds its code");

static int64_t span(uint64_t to, uint64_t from)
{
	return (int64_t)(to - from);
}

static bool near(uint64_t a, uint64_t b)
{
	int64_t distance = span(a, b);

	return distance == (int32_t)distance;
}

static bool is_area(const struct tracee *tracee, const struct map_entry *entry,
		    struct region_stub *ret_first)
{
	return !entry->ino && entry->executable && !entry->writable && !entry->shared &&
	       entry->end - entry->start >= STUB_AREA_SIZE &&
	       tracee_read(tracee, entry->start, ret_first, sizeof(*ret_first)) == 0 &&
	       ret_first->ip == STUB_AREA_MARK;
}

bool stub_behind(const struct tracee *tracee, const struct maps *maps, uint64_t site,
		 const unsigned char *jump, uint64_t *ret_address, struct region_stub *ret_stub)
{
	const struct map_entry *entry;
	struct region_stub first;
	uint64_t address;
	int32_t rel;

	if (jump[0] != 0xe9)
		return false;
	memcpy(&rel, jump + 1, sizeof(rel));
	address = site + 5 + (uint64_t)(int64_t)rel;
	address -= address % REGION_STUB_SIZE == REGION_STUB_CHECK ? REGION_STUB_CHECK
								   : REGION_STUB_CODE;
	entry = maps_find(maps, address);
	if (!entry || !is_area(tracee, entry, &first) ||
	    tracee_read(tracee, address, ret_stub, sizeof(*ret_stub)) < 0 || ret_stub->ip != site)
		return false;
	*ret_address = address;
	return true;
}

bool stub_leads_in(const struct tracee *tracee, const struct maps *maps, uint64_t ip)
{
	const struct map_entry *entry = maps_find(maps, ip);
	struct region_stub first;
	uint64_t at;

	if (!entry || !is_area(tracee, entry, &first))
		return false;
	at = ip % REGION_STUB_SIZE;
	return at < REGION_STUB_BACK || at >= REGION_STUB_CHECK;
}

/* An area's record for @site that no jump leads to any more, else a free one; or 0. */
static uint64_t free_record(const struct tracee *tracee, uint64_t area, uint64_t site)
{
	const uint32_t cnt = STUB_AREA_SIZE / REGION_STUB_SIZE;
	cleanup_free struct region_stub *stubs = malloc(STUB_AREA_SIZE);
	uint64_t found = 0;

	if (!stubs || tracee_read(tracee, area, stubs, STUB_AREA_SIZE) < 0)
		return 0;
	for (uint32_t i = 1; i < cnt; i++) {
		if (stubs[i].ip == site && stubs[i].enter)
			return area + i * REGION_STUB_SIZE;
		if (!stubs[i].enter) {
			found = area + i * REGION_STUB_SIZE;
			break;
		}
	}
	return found;
}

/*
 * Room for a stub within reach of @site, in an area of this region: the one it had before, if it
 * had one, for records are never given back. A thread may still be in its code.
 */
static int find_room(struct tracee *tracee, const struct maps *maps, uint64_t site, uint64_t base,
		     uint64_t *ret_address)
{
	struct region_stub first = {.ip = STUB_AREA_MARK, .enter = base};
	uint64_t area;
	int r;

	for (uint32_t i = 0; i < maps->cnt; i++) {
		struct region_stub found;

		if (!near(maps->entries[i].start, site) || !near(maps->entries[i].end, site) ||
		    !is_area(tracee, &maps->entries[i], &found) || found.enter != base)
			continue;
		*ret_address = free_record(tracee, maps->entries[i].start, site);
		if (*ret_address)
			return 0;
	}
	area = maps_gap_near(maps, site, STUB_AREA_SIZE);
	if (!area)
		return -ENOMEM;
	r = inject_anonymous(tracee, area, STUB_AREA_SIZE);
	if (r == 0)
		r = tracee_write(tracee, area, &first, sizeof(first));
	*ret_address = area + REGION_STUB_SIZE;
	return r;
}

/* The fixed part: struct region_stub says what it is. */
static void write_fixed(unsigned char *code)
{
	static const unsigned char skip[SKIP_SIZE] = {0x48, 0x8d, 0x64, 0x24, 0x80};
	static const unsigned char undo[UNDO_SIZE] = {0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0};
	const int32_t rel = (int32_t)offsetof(struct region_stub, enter) - REGION_STUB_BACK;

	memcpy(code, skip, SKIP_SIZE);
	memcpy(code + SKIP_SIZE, "\xff\x15", 2);
	memcpy(code + SKIP_SIZE + 2, &rel, sizeof(rel));
	memcpy(code + SKIP_SIZE + CALL_SIZE, undo, UNDO_SIZE);
}

/* Where the displaced instructions are in the code. Behind a check they are for threads that were
 * stopped among them. */
static uint32_t moved_at(const struct shim_want *want)
{
	return FIXED + (want->check_len ? JUMP_SIZE : 0);
}

static void put_jump(unsigned char *to, uint64_t at, uint64_t target)
{
	const int32_t rel = (int32_t)span(target, at + JUMP_SIZE);

	to[0] = 0xe9;
	memcpy(to + 1, &rel, sizeof(rel));
}

/*
 * Of a function that asks for room on its stack: what it asks is asked once, whatever the answer
 * would be a moment later, so that each call is one hit.
 */
static void write_check(struct region_stub *stub, uint64_t address, const struct shim_want *want)
{
	const uint64_t code = address + REGION_STUB_CODE;
	const uint32_t at = REGION_STUB_CHECK - REGION_STUB_CODE, end = at + want->check_len;
	const uint64_t target = stub->ip + (uint64_t)(int64_t)want->check_target;
	const int32_t rel = (int32_t)span(target, code + end + JBE_SIZE);

	memcpy(stub->code + at, want->check, want->check_len);
	memcpy(stub->code + end, "\x0f\x86", 2);
	memcpy(stub->code + end + 2, &rel, sizeof(rel));
	put_jump(stub->code + end + JBE_SIZE, code + end + JBE_SIZE, code);
	put_jump(stub->code + FIXED, code + FIXED, stub->ip + want->check_end);
}

static int forget(const struct tracee *tracee, uint64_t stub)
{
	const uint64_t none = 0;

	return tracee_write(tracee, stub + offsetof(struct region_stub, ip), &none, sizeof(none));
}

/* Room for @stub, with its code. Return: 0, -EAGAIN: in a record that was there there is other
 * code, or -errno. */
static int fill(struct tracee *tracee, const struct maps *maps, const struct shim_want *want,
		uint64_t base, struct region_stub *stub, uint64_t *ret_address,
		struct move_map *ret_map)
{
	struct region_stub old;
	uint32_t moved_len;
	int r;

	r = find_room(tracee, maps, stub->ip, base, ret_address);
	if (r == 0)
		r = tracee_read(tracee, *ret_address, &old, sizeof(old));
	if (r < 0)
		return r;
	write_fixed(stub->code);
	r = move_code(want->original, want->displaced, stub->ip,
		      *ret_address + REGION_STUB_CODE + moved_at(want), stub->code + moved_at(want),
		      &moved_len, ret_map);
	if (r < 0)
		return r;
	if (!near(*ret_address, stub->ip + 5))
		return -ERANGE;
	if (want->check_len) {
		const uint64_t target = stub->ip + (uint64_t)(int64_t)want->check_target;

		if (moved_at(want) + moved_len > REGION_STUB_CHECK - REGION_STUB_CODE)
			return -E2BIG;
		if (!near(*ret_address, target) || !near(*ret_address + REGION_STUB_SIZE, target))
			return -ERANGE;
		write_check(stub, *ret_address, want);
	}
	return old.enter && memcmp(old.code, stub->code, sizeof(old.code)) != 0 ? -EAGAIN : 0;
}

int stub_new(struct tracee *tracee, const struct maps *maps, uint64_t site,
	     const struct shim_want *want, uint64_t base, uint64_t enter, uint64_t record,
	     unsigned char *ret_jump, uint64_t *ret_moved, struct move_map *ret_map)
{
	const uint32_t begin = want->check_len ? REGION_STUB_CHECK : REGION_STUB_CODE;
	struct region_stub stub;
	uint64_t address;
	int32_t rel;
	int r = -EAGAIN;

	for (int i = 0; r == -EAGAIN && i < STALE_MAX; i++) {
		stub = (struct region_stub){.site = record, .ip = site, .enter = enter};
		r = fill(tracee, maps, want, base, &stub, &address, ret_map);
		/* Another file was mapped there then; its record is not looked at again. */
		if (r == -EAGAIN && forget(tracee, address) < 0)
			r = -EFAULT;
	}
	if (r < 0)
		return r == -EAGAIN ? -EBUSY : r;
	*ret_moved = address + REGION_STUB_CODE + moved_at(want);
	rel = (int32_t)span(address + begin, site + 5);
	ret_jump[0] = 0xe9;
	memcpy(ret_jump + 1, &rel, sizeof(rel));
	/* A thread that is still in the old code finds the same. */
	return tracee_write(tracee, address, &stub, sizeof(stub));
}

int stub_set_record(const struct tracee *tracee, uint64_t stub, uint64_t record)
{
	/* One aligned store: threads run through the stub meanwhile. */
	return tracee_write(tracee, stub + offsetof(struct region_stub, site), &record,
			    sizeof(record));
}

/* One area, by what its own first record says of the region. */
static int silence_area(const struct tracee *tracee, uint64_t area, uint64_t base)
{
	const uint32_t cnt = STUB_AREA_SIZE / REGION_STUB_SIZE;
	cleanup_free struct region_stub *stubs = malloc(STUB_AREA_SIZE);
	int silenced = 0;

	if (!stubs)
		return -ENOMEM;
	if (tracee_read(tracee, area, stubs, STUB_AREA_SIZE) < 0)
		return -EFAULT;
	for (uint32_t i = 1; i < cnt && stubs[i].enter; i++) {
		if (!stubs[i].site || stubs[i].site == base + REGION_UNWINDER)
			continue;
		if (stub_set_record(tracee, area + i * REGION_STUB_SIZE, 0) < 0)
			return -EFAULT;
		silenced++;
	}
	return silenced;
}

int stub_silence(const struct tracee *tracee, const struct maps *maps, uint64_t *ret_base)
{
	int silenced = 0;

	*ret_base = 0;
	for (uint32_t i = 0; i < maps->cnt; i++) {
		struct region_stub first;
		int r;

		if (!is_area(tracee, &maps->entries[i], &first))
			continue;
		/* Neighbours are one mapping to the kernel. */
		for (uint64_t at = maps->entries[i].start;
		     at + STUB_AREA_SIZE <= maps->entries[i].end; at += STUB_AREA_SIZE) {
			if (tracee_read(tracee, at, &first, sizeof(first)) < 0 ||
			    first.ip != STUB_AREA_MARK)
				continue;
			r = silence_area(tracee, at, first.enter);
			if (r < 0)
				return r;
			silenced += r;
			if (r > 0)
				*ret_base = first.enter;
		}
	}
	return silenced;
}

int stub_set_semaphore(const struct tracee *tracee, uint64_t stub, uint64_t semaphore)
{
	return tracee_write(tracee, stub + offsetof(struct region_stub, semaphore), &semaphore,
			    sizeof(semaphore));
}

/* The program may have written to it; what it made of it is not turned around. */
static bool lower(const struct tracee *tracee, const struct maps *maps, uint64_t semaphore)
{
	const struct map_entry *entry = maps_find(maps, semaphore);
	uint16_t value;

	/* The record is the process' to change, and only what could be a semaphore is written to.
	 */
	if (!entry || !entry->ino || !entry->writable || entry->shared ||
	    entry->end - semaphore < sizeof(value) ||
	    tracee_read(tracee, semaphore, &value, sizeof(value)) < 0 || value == 0)
		return false;
	value--;
	return tracee_write(tracee, semaphore, &value, sizeof(value)) == 0;
}

uint32_t stub_lower_semaphores(const struct tracee *tracee, const struct maps *maps)
{
	const uint32_t cnt = STUB_AREA_SIZE / REGION_STUB_SIZE;
	cleanup_free struct region_stub *stubs = malloc(STUB_AREA_SIZE);
	struct region_stub first;
	uint32_t lowered = 0;

	for (uint32_t i = 0; stubs && i < maps->cnt; i++) {
		uint64_t area = maps->entries[i].start;

		if (!is_area(tracee, &maps->entries[i], &first) ||
		    tracee_read(tracee, area, stubs, STUB_AREA_SIZE) < 0)
			continue;
		for (uint32_t k = 1; k < cnt && stubs[k].enter; k++)
			if (stubs[k].semaphore &&
			    stub_set_semaphore(tracee, area + k * REGION_STUB_SIZE, 0) == 0)
				lowered += lower(tracee, maps, stubs[k].semaphore);
	}
	return lowered;
}
