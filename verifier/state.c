/* SPDX-License-Identifier: MIT */
/*
 * Frames and states; see state.h.
 */
#include "verifier/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int frame_copy(struct frame *to, const struct frame *from)
{
	struct slot *slots = NULL;

	if (from->slot_cnt) {
		slots = malloc(from->slot_cnt * sizeof(*slots));
		if (!slots)
			return -ENOMEM;
		memcpy(slots, from->slots, from->slot_cnt * sizeof(*slots));
	}
	*to = *from;
	to->slots = slots;
	return 0;
}

static void frame_put(struct frame *frame)
{
	if (--frame->refs)
		return;
	free(frame->slots);
	free(frame);
}

int state_copy(struct state *to, const struct state *from)
{
	struct frame top;
	int r = frame_copy(&top, &from->top);

	if (r < 0)
		return r;
	*to = *from;
	to->top = top;
	for (uint32_t i = 0; i < to->caller_cnt; i++)
		to->callers[i]->refs++;
	return 0;
}

void state_deinit(struct state *state)
{
	free(state->top.slots);
	for (uint32_t i = 0; i < state->caller_cnt; i++)
		frame_put(state->callers[i]);
	state->top.slots = NULL;
	state->caller_cnt = 0;
}

struct frame *state_own(struct state *state, uint32_t index)
{
	struct frame *frame, *own;

	if (index == state->caller_cnt)
		return &state->top;
	frame = state->callers[index];
	if (frame->refs == 1)
		return frame;
	own = malloc(sizeof(*own));
	if (!own)
		return NULL;
	if (frame_copy(own, frame) < 0) {
		free(own);
		return NULL;
	}
	own->refs = 1;
	frame_put(frame);
	state->callers[index] = own;
	return own;
}

int state_enter(struct state *state)
{
	struct frame *caller = malloc(sizeof(*caller));

	if (!caller)
		return -ENOMEM;
	*caller = state->top;
	caller->refs = 1;
	state->callers[state->caller_cnt++] = caller;
	state->top = (struct frame){0};
	/* Nobody wrote to it before: what is read of it ends here. */
	state->written[state->caller_cnt] = UINT64_MAX;
	return 0;
}

int state_leave(struct state *state)
{
	struct frame *caller = state_own(state, state->caller_cnt - 1);

	if (!caller)
		return -ENOMEM;
	free(state->top.slots);
	state->top = *caller;
	state->caller_cnt--;
	free(caller);
	return 0;
}

struct slot *frame_slot(struct frame *frame, int off)
{
	uint32_t index = (uint32_t)(-off - 1) / 8;
	struct slot *grown;

	if (index < frame->slot_cnt)
		return &frame->slots[index];
	grown = realloc(frame->slots, (index + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	memset(grown + frame->slot_cnt, 0, (index + 1 - frame->slot_cnt) * sizeof(*grown));
	frame->slots = grown;
	frame->slot_cnt = index + 1;
	return &frame->slots[index];
}

const struct slot *frame_peek(const struct frame *frame, int off)
{
	static const struct slot empty;
	uint32_t index = (uint32_t)(-off - 1) / 8;

	return index < frame->slot_cnt ? &frame->slots[index] : &empty;
}

typedef bool match_fn(const struct reg *reg, const void *key);

static inline __attribute__((always_inline)) bool any_matches(const struct frame *frame,
							      match_fn *match, const void *key)
{
	for (uint32_t i = 0; i < REGS; i++)
		if (match(&frame->regs[i], key))
			return true;
	for (uint32_t i = 0; i < frame->slot_cnt; i++)
		if (frame->slots[i].bytes[0] == BYTE_SPILL && match(&frame->slots[i].spilled, key))
			return true;
	return false;
}

static inline __attribute__((always_inline)) int
each_matching(struct state *state, match_fn *match, const void *key,
	      void (*act)(struct reg *reg, void *data), void *data)
{
	for (uint32_t i = 0; i <= state->caller_cnt; i++) {
		struct frame *frame;

		/* Frames of callers are shared as long as they can be. */
		if (!any_matches(state_frame(state, i), match, key))
			continue;
		frame = state_own(state, i);
		if (!frame)
			return -ENOMEM;
		for (uint32_t k = 0; k < REGS; k++)
			if (match(&frame->regs[k], key))
				act(&frame->regs[k], data);
		for (uint32_t k = 0; k < frame->slot_cnt; k++)
			if (frame->slots[k].bytes[0] == BYTE_SPILL &&
			    match(&frame->slots[k].spilled, key))
				act(&frame->slots[k].spilled, data);
	}
	return 0;
}

int state_each_if(struct state *state, match_fn *match, const void *key,
		  void (*act)(struct reg *reg, void *data), void *data)
{
	return each_matching(state, match, key, act, data);
}

static inline bool has_id(const struct reg *reg, const void *key)
{
	return reg->id == *(const uint32_t *)key;
}

int state_each(struct state *state, uint32_t id, void (*act)(struct reg *reg, void *data),
	       void *data)
{
	return each_matching(state, has_id, &id, act, data);
}
