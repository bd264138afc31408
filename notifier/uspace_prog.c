/* SPDX-License-Identifier: MIT */
/*
 * Programs of the region: the worker checks and compiles them, here they are put in place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "notifier/tenant.h"
#include "notifier/uspace.h"
#include "notifier/uspace_targets.h"

#define TIMEOUT_MS 10000

void uspace_prog_records(const struct uspace_prog *prog, struct region_map *ret_records)
{
	for (uint32_t i = 0; i < prog->map_cnt; i++) {
		ret_records[i] = prog->maps[i]->record;
		ret_records[i].data = 0;
		ret_records[i].id = ret_records[i].seed = ret_records[i].extra = 0;
	}
}

static bool calls(const struct verifier_facts *facts, uint32_t helper)
{
	return facts->helpers[helper / 64] >> (helper % 64) & 1;
}

/* Better code is shorter, but for loops that were unrolled: of what does not fit the first stays. */
#define ROOM(size) (2 * (size) + 512)

/* Write what the worker made to @at, where nobody runs yet. */
static int put(struct uspace_prog *prog, const struct worker_answer *answer, uint64_t at,
	       struct reason *reason)
{
	struct code_map maps[VERIFIER_MAPS_MAX];
	unsigned char *code = prog->uspace->base + at;
	int r;

	for (uint32_t i = 0; i < prog->map_cnt; i++)
		maps[i] = (struct code_map){prog->maps[i]->record_offset,
					    prog->maps[i]->record.data};
	memcpy(code, answer->code, answer->code_len);
	r = code_place(code, answer->code_len, answer->relocs, answer->reloc_cnt, at, maps,
		       prog->map_cnt);
	return r < 0 ? reason_set(reason, r, "its code cannot be put in place: %s", strerror(-r))
		     : 0;
}

static int put_first(struct uspace_prog *prog, const struct worker_answer *answer,
		     struct reason *reason)
{
	struct uspace_space *space = &prog->uspace->code;
	uint64_t at = uspace_space_take(prog->uspace, space, answer->code_len);
	int r;

	/* Programs that are gone may not have been looked for yet. */
	if (!at) {
		tenant_sweep_objects(prog->uspace->tenant);
		at = uspace_space_take(prog->uspace, space, answer->code_len);
	}

	if (!at)
		return reason_set(reason, -ENOSPC, "the tenant's code part is full");
	r = put(prog, answer, at, reason);
	if (r < 0) {
		uspace_space_give_unused(prog->uspace, space, at, answer->code_len);
		return r;
	}
	prog->code = at;
	prog->size = answer->code_len;
	return 0;
}

/* Without it the program keeps the code it has. */
static void take_room(struct uspace_prog *prog)
{
	prog->room_size = (ROOM(prog->size) + 63) & ~63ull;
	prog->room = uspace_space_take(prog->uspace, &prog->uspace->code, prog->room_size);
	if (!prog->room)
		prog->room_size = 0;
}

/* @entry: NULL for a program that has no code */
static void install(struct uspace_prog *prog, const struct worker_answer *answer,
		    struct cache_entry *entry)
{
	const struct worker_answer *full = entry ? cache_full(entry) : NULL;
	const struct worker_answer *code = full ? full : entry ? &entry->answer : NULL;

	prog->ctx_size = answer->facts.ctx_size;
	if (answer->verdict < 0) {
		reason_set(&prog->why_not, 0, "the verifier refuses it");
	} else if (answer->facts.kernel_only) {
		reason_set(&prog->why_not, 0, "helper %u is the kernel's alone",
			   answer->facts.kernel_only);
	} else if (!code) {
		prog->why_not = answer->no_code;
	} else if (put_first(prog, code, &prog->why_not) == 0) {
		prog->full = prog->wanted = full != NULL;
		if (!full)
			take_room(prog);
		prog->prints = calls(&answer->facts, BPF_FUNC_trace_printk) ||
			       calls(&answer->facts, BPF_FUNC_trace_vprintk);
	}
}

/* All of an accepted program's but the code. */
static int copy_answer(const struct worker_answer *answer, struct worker_answer *ret_answer)
{
	char *log = strdup(answer->log ? answer->log : "");

	if (!log)
		return -ENOMEM;
	*ret_answer = (struct worker_answer){.facts = answer->facts,
					     .verify_ns = answer->verify_ns,
					     .log = log,
					     .log_true_size = answer->log_true_size};
	return 0;
}

/* What was accepted and compiled is kept: the code, and a copy of the rest. */
static int remember(struct cache_entry *entry, struct worker_answer *answer)
{
	int r = copy_answer(answer, &entry->answer);

	if (r < 0)
		return r;
	entry->answer.code = answer->code;
	entry->answer.code_len = answer->code_len;
	entry->answer.relocs = answer->relocs;
	entry->answer.reloc_cnt = answer->reloc_cnt;
	answer->code = NULL;
	answer->relocs = NULL;
	entry->request.zero_stack = worker_zero_stack(&answer->facts);
	cache_add(entry);
	return 0;
}

/* The worker's answer, or that of the last time. @ret_entry: what it is kept in, if there is code. */
static int answer_for(struct uspace *uspace, const struct worker_request *request,
		      struct worker_answer *ret_answer, struct cache_entry **ret_entry,
		      struct reason *reason)
{
	struct cache_entry *entry, *found;
	int r = cache_entry_new(&uspace->cache, request, &entry);

	if (r < 0)
		return r;
	found = cache_find(&uspace->cache, entry);
	if (found) {
		cache_entry_unref(entry);
		entry = found;
		r = copy_answer(&entry->answer, ret_answer);
	} else {
		r = worker_ask(uspace->worker, request, TIMEOUT_MS, ret_answer, reason);
		if (r == 0 && ret_answer->code)
			r = remember(entry, ret_answer);
		else
			entry = cache_entry_unref(entry);
	}
	if (r < 0)
		entry = cache_entry_unref(entry);
	*ret_entry = entry;
	return r;
}

/* From here on their memory stays where it is. */
static void take_maps(struct uspace_prog *prog, struct uspace_map *const *maps, uint32_t cnt)
{
	pthread_mutex_lock(&prog->uspace->lock);
	for (uint32_t i = 0; i < cnt; i++) {
		maps[i]->progs++;
		prog->maps[prog->map_cnt++] = uspace_map_ref(maps[i]);
	}
	pthread_mutex_unlock(&prog->uspace->lock);
}

int uspace_prog_new(struct uspace *uspace, const struct verifier_prog *prog,
		    struct uspace_map *const *maps, uint32_t log_level, uint32_t log_size,
		    struct worker_answer *ret_answer, struct uspace_prog **ret_prog,
		    struct reason *reason)
{
	struct region_map records[VERIFIER_MAPS_MAX];
	const struct worker_request request = {.task = WORKER_LOAD,
					       .prog = *prog,
					       .maps = records,
					       .log_level = log_level,
					       .log_size = log_size};
	struct cache_entry *entry;
	struct uspace_prog *made;
	int r;

	if (prog->map_cnt > VERIFIER_MAPS_MAX)
		return -E2BIG;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	uspace_reclaim(uspace);
	made->refs = 1;
	made->uspace = uspace;
	take_maps(made, maps, prog->map_cnt);
	uspace_prog_records(made, records);
	r = answer_for(uspace, &request, ret_answer, &entry, reason);
	if (r < 0) {
		uspace_prog_unref(made);
		return r;
	}
	install(made, ret_answer, entry);
	if (made->code && !made->full)
		made->entry = entry;
	else
		cache_entry_unref(entry);
	*ret_prog = made;
	return 0;
}

int uspace_prog_new_kernel(struct uspace *uspace, struct uspace_map *const *maps, uint32_t map_cnt,
			   const struct reason *why, struct uspace_prog **ret_prog)
{
	struct uspace_prog *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->refs = 1;
	made->uspace = uspace;
	made->why_not = *why;
	take_maps(made, maps, map_cnt);
	*ret_prog = made;
	return 0;
}

int uspace_prog_replace(struct uspace_prog *prog, const struct worker_answer *answer,
			struct reason *reason)
{
	struct uspace *uspace = prog->uspace;
	const uint64_t at = prog->room, size = (answer->code_len + 63) & ~63ull;
	int r;

	if (size > prog->room_size)
		return reason_set(reason, -ENOSPC, "there is no room for %zu bytes of better code",
				  answer->code_len);
	r = put(prog, answer, at, reason);
	if (r < 0)
		return r;
	pthread_mutex_lock(&uspace->apply);
	uspace_targets_recode(uspace, prog->code, at);
	prog->first_size = prog->size;
	prog->first = prog->code;
	prog->code = at;
	prog->size = answer->code_len;
	uspace_table_recode(uspace, prog);
	__atomic_store_n(&prog->full, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&uspace->apply);
	uspace_space_give_unused(uspace, &uspace->code, at + size, prog->room_size - size);
	prog->room = prog->room_size = 0;
	return 0;
}

void uspace_prog_refuse(struct uspace_prog *prog, const struct reason *why)
{
	uspace_space_give_unused(prog->uspace, &prog->uspace->code, prog->code, prog->size);
	prog->code = 0;
	prog->why_not = *why;
}

struct uspace_prog *uspace_prog_ref(struct uspace_prog *prog)
{
	__atomic_add_fetch(&prog->refs, 1, __ATOMIC_RELAXED);
	return prog;
}

struct uspace_prog *uspace_prog_unref(struct uspace_prog *prog)
{
	if (!prog || __atomic_sub_fetch(&prog->refs, 1, __ATOMIC_ACQ_REL))
		return NULL;
	pthread_mutex_lock(&prog->uspace->lock);
	for (uint32_t i = 0; i < prog->map_cnt; i++)
		prog->maps[i]->progs--;
	pthread_mutex_unlock(&prog->uspace->lock);
	for (uint32_t i = 0; i < prog->map_cnt; i++)
		uspace_map_unref(prog->maps[i]);
	uspace_space_give(prog->uspace, &prog->uspace->code, prog->code, prog->size);
	uspace_space_give(prog->uspace, &prog->uspace->code, prog->first, prog->first_size);
	uspace_space_give_unused(prog->uspace, &prog->uspace->code, prog->room, prog->room_size);
	cache_entry_unref(prog->entry);
	free(prog);
	return NULL;
}

int uspace_prog_kernel_enter(struct uspace_prog *prog, struct reason *reason)
{
	int r;

	pthread_mutex_lock(&prog->uspace->apply);
	r = uspace_prog_kernel_enter_held(prog, reason);
	pthread_mutex_unlock(&prog->uspace->apply);
	return r;
}

int uspace_prog_kernel_enter_held(struct uspace_prog *prog, struct reason *reason)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < prog->map_cnt; i++)
		r = uspace_map_return(prog->maps[i]);
	for (uint32_t i = 0; r == 0 && i < prog->map_cnt; i++)
		uspace_map_kernel_enter(prog->maps[i]);
	if (r == -ETIMEDOUT)
		return reason_set(reason, -EBUSY,
				  "traced processes change a map of this program without end: it "
				  "cannot be moved into the kernel");
	return r == 0 ? 0
		      : reason_set(reason, -EPERM,
				   "a map of this program lives in traced processes, and cannot "
				   "be moved into the kernel now");
}

void uspace_prog_kernel_leave_held(struct uspace_prog *prog)
{
	for (uint32_t i = 0; i < prog->map_cnt; i++)
		uspace_map_kernel_leave(prog->maps[i]);
}

void uspace_prog_kernel_leave(struct uspace_prog *prog)
{
	pthread_mutex_lock(&prog->uspace->apply);
	uspace_prog_kernel_leave_held(prog);
	pthread_mutex_unlock(&prog->uspace->apply);
}

/* The first @cnt maps are used by one attachment less. */
static void leave_maps(struct uspace_prog *prog, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		uspace_map_leave(prog->maps[i]);
	for (uint32_t i = 0; i < cnt; i++)
		uspace_table_rest(prog->maps[i]);
}

int uspace_prog_settle(struct uspace_prog *prog, struct reason *reason)
{
	for (uint32_t i = 0; i < prog->map_cnt; i++) {
		int r = uspace_map_settle(prog->maps[i], reason);

		if (r < 0) {
			leave_maps(prog, i);
			return r;
		}
	}
	return 0;
}

void uspace_prog_leave(struct uspace_prog *prog)
{
	leave_maps(prog, prog->map_cnt);
}
