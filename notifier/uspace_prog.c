/* SPDX-License-Identifier: MIT */
/*
 * Programs of the region: the worker checks and compiles them, here they are put in place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "notifier/uspace.h"

/* Code is small: a few times the bytecode. The place is asked for before its size is known. */
#define CODE_FACTOR 4u /* bytes of machine code allowed per byte of bytecode */
#define CODE_MIN    4096u
#define TIMEOUT_MS  10000

static uint64_t code_room(uint32_t insns)
{
	uint64_t room = (uint64_t)insns * sizeof(struct bpf_insn) * CODE_FACTOR;

	return room < CODE_MIN ? CODE_MIN : (room + 63) & ~63ull;
}

static bool calls(const struct verifier_facts *facts, uint32_t helper)
{
	return facts->helpers[helper / 64] >> (helper % 64) & 1;
}

/* Put the worker's code where it was compiled for. */
static void install(struct uspace *uspace, struct uspace_prog *prog, uint64_t at, uint64_t room,
		    const struct worker_answer *answer)
{
	if (answer->verdict < 0)
		reason_set(&prog->why_not, 0, "the verifier refuses it");
	else if (answer->facts.kernel_only)
		reason_set(&prog->why_not, 0, "helper %u is the kernel's alone",
			   answer->facts.kernel_only);
	else if (!answer->code)
		prog->why_not = answer->no_code;
	else if (answer->code_len > room)
		reason_set(&prog->why_not, 0, "its code is larger than %llu bytes",
			   (unsigned long long)room);
	else {
		memcpy(uspace->base + at, answer->code, answer->code_len);
		prog->code = at;
		prog->prints = calls(&answer->facts, BPF_FUNC_trace_printk) ||
			       calls(&answer->facts, BPF_FUNC_trace_vprintk);
	}
	/* What it does not fill is given back. */
	prog->size = prog->code ? (answer->code_len + 63) & ~63ull : 0;
	uspace_space_give(uspace, &uspace->code, at + prog->size, room - prog->size);
}

int uspace_prog_new(struct uspace *uspace, const struct verifier_prog *prog,
		    struct uspace_map *const *maps, uint32_t log_level, uint32_t log_size,
		    struct worker_answer *ret_answer, struct uspace_prog **ret_prog,
		    struct reason *reason)
{
	struct region_map records[VERIFIER_MAPS_MAX];
	uint64_t offsets[VERIFIER_MAPS_MAX];
	struct worker_request request = {.prog = *prog,
					 .maps = records,
					 .map_offsets = offsets,
					 .log_level = log_level,
					 .log_size = log_size};
	uint64_t room = code_room(prog->cnt);
	struct uspace_prog *made;
	int r;

	if (prog->map_cnt > VERIFIER_MAPS_MAX)
		return -E2BIG;
	request.code_offset = uspace_space_take(uspace, &uspace->code, room);
	if (!request.code_offset)
		return reason_set(reason, -ENOSPC, "the tenant's code part is full");
	made = calloc(1, sizeof(*made));
	if (!made) {
		uspace_space_give(uspace, &uspace->code, request.code_offset, room);
		return -ENOMEM;
	}
	made->refs = 1;
	made->uspace = uspace;
	/* From here on their memory stays where it is. */
	pthread_mutex_lock(&uspace->lock);
	for (uint32_t i = 0; i < prog->map_cnt; i++) {
		maps[i]->progs++;
		records[i] = maps[i]->record;
		offsets[i] = maps[i]->record_offset;
		made->maps[made->map_cnt++] = uspace_map_ref(maps[i]);
	}
	pthread_mutex_unlock(&uspace->lock);
	r = worker_ask(uspace->worker, &request, TIMEOUT_MS, ret_answer, reason);
	if (r < 0) {
		uspace_space_give(uspace, &uspace->code, request.code_offset, room);
		uspace_prog_unref(made);
		return r;
	}
	install(uspace, made, request.code_offset, room, ret_answer);
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
	pthread_mutex_lock(&uspace->lock);
	for (uint32_t i = 0; i < map_cnt; i++) {
		maps[i]->progs++;
		made->maps[made->map_cnt++] = uspace_map_ref(maps[i]);
	}
	pthread_mutex_unlock(&uspace->lock);
	*ret_prog = made;
	return 0;
}

void uspace_prog_refuse(struct uspace_prog *prog, const struct reason *why)
{
	uspace_space_give(prog->uspace, &prog->uspace->code, prog->code, prog->size);
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
	free(prog);
	return NULL;
}

int uspace_prog_kernel_enter(struct uspace_prog *prog, struct reason *reason)
{
	int r = 0;

	pthread_mutex_lock(&prog->uspace->apply);
	for (uint32_t i = 0; r == 0 && i < prog->map_cnt; i++)
		r = uspace_map_return(prog->maps[i]);
	for (uint32_t i = 0; r == 0 && i < prog->map_cnt; i++)
		uspace_map_kernel_enter(prog->maps[i]);
	pthread_mutex_unlock(&prog->uspace->apply);
	if (r == -ETIMEDOUT)
		return reason_set(reason, -EBUSY,
				  "traced processes change a map of this program without end: it "
				  "cannot be moved into the kernel");
	return r == 0 ? 0
		      : reason_set(reason, -EPERM,
				   "a map of this program lives in traced processes; moving it "
				   "into the kernel is not supported yet");
}

void uspace_prog_kernel_leave(struct uspace_prog *prog)
{
	pthread_mutex_lock(&prog->uspace->apply);
	for (uint32_t i = 0; i < prog->map_cnt; i++)
		uspace_map_kernel_leave(prog->maps[i]);
	pthread_mutex_unlock(&prog->uspace->apply);
}
