/* SPDX-License-Identifier: MIT */
/*
 * States that were walked from, and whether what was proved from one of them holds for the one at
 * hand.
 *
 * Of a state whose paths have all ended it is known what they needed: which numbers (their origins
 * are marked, see origin.h) and which stack slots (they were read); only in these must another
 * state agree. Of one whose paths have not ended that is not known yet; to meet it again as it was
 * is a loop that does not end, unless it is one that may end at each turn (a helper's callback,
 * may_goto): then its paths prove what is needed for the turns to come, if all of the state agrees.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/internal.h"

/*
 * States remembered per instruction. Forgetting one costs time, which INSNS_MAX bounds; without a
 * limit each new state is compared with all the others, and time grows with the square.
 */
#define STATES_MAX 64u
/* And only one in this many instructions: to walk those again is cheaper than to remember each. */
#define INSNS_APART 8u
#define JUMPS_APART 2u
/* In a loop, whose turns hardly ever cover each other, fewer. Source: is_state_visited(),
 * Linux 6.12. */
#define LOOP_INSNS_APART 100u
#define LOOP_JUMPS_APART 20u
/* One that was looked at so often for each time that it covered another is looked at no more. */
#define MISSES	    3u
#define LOOP_MISSES 64u

static void put_state(struct explored *explored)
{
	state_deinit(&explored->state);
	free(explored);
}

void explored_put(struct explored *explored)
{
	while (explored && --explored->refs == 0) {
		struct explored *parent = explored->parent;

		explored_put(explored->loop);
		put_state(explored);
		explored = parent;
	}
}

static void arrival_free(struct arrival *arrival)
{
	explored_put(arrival->known);
	explored_put(arrival->parent);
	state_deinit(&arrival->state);
	free(arrival);
}

void explored_forget(struct walk *walk)
{
	struct arrival *arrival;

	while ((arrival = walk->arrivals)) {
		walk->arrivals = arrival->next;
		arrival_free(arrival);
	}
	for (uint32_t i = 0; walk->explored && i < walk->prog->cnt; i++) {
		struct explored *known = walk->explored[i], *next;

		for (; known; known = next) {
			next = known->next;
			explored_put(known);
		}
		walk->explored[i] = NULL;
	}
}

static bool is_done(const struct explored *known)
{
	return !known->branches;
}

/* The head of a loop that what came from @known depends on and whose paths have not ended. */
static struct explored *open_loop(const struct explored *known)
{
	for (struct explored *loop = known->loop; loop; loop = loop->loop)
		if (!is_done(loop))
			return loop;
	return NULL;
}

/* Return: whether that was not known yet. */
static bool read_slot(const struct state *state, struct explored *parent, uint32_t frame,
		      uint32_t slot)
{
	uint64_t bit = 1ull << slot;
	bool is_new = false;

	for (struct explored *known = parent; known; known = known->parent) {
		if (state->written[frame] & bit || known->read[frame] & bit)
			break;
		known->read[frame] |= bit;
		is_new = true;
		state = &known->state;
	}
	return is_new;
}

void explored_read(struct walk *walk, uint32_t frame, uint32_t slot)
{
	read_slot(&walk->state, walk->parent, frame, slot);
}

static bool need_same(struct walk *walk, const struct reg *known, const struct reg *reg)
{
	return known->type == REG_SCALAR && reg->type == REG_SCALAR &&
	       origin_is_marked(&walk->origins, known->origin) &&
	       origin_mark(&walk->origins, reg->origin);
}

/*
 * What the paths from @known needed, those from @state would have needed, which it covers and which
 * came from @parent. Return: whether some of it was not known yet.
 */
static bool carry_needs(struct walk *walk, const struct explored *known, const struct state *state,
			struct explored *parent)
{
	bool is_new = false;

	for (uint32_t i = 0; i <= known->state.caller_cnt; i++) {
		const struct frame *from = state_frame(&known->state, i),
				   *to = state_frame(state, i);

		for (uint32_t k = 0; k < REGS; k++)
			is_new |= need_same(walk, &from->regs[k], &to->regs[k]);
		for (uint32_t k = 0; k < from->slot_cnt && k < to->slot_cnt; k++)
			if (from->slots[k].bytes[0] == BYTE_SPILL &&
			    to->slots[k].bytes[0] == BYTE_SPILL)
				is_new |= need_same(walk, &from->slots[k].spilled,
						    &to->slots[k].spilled);
		for (uint32_t k = 0; k < SLOTS; k++)
			if (known->read[i] >> k & 1)
				is_new |= read_slot(state, parent, i, k);
	}
	return is_new;
}

/*
 * A loop's paths have ended: what one turn needs of its head the turn before it must have left
 * there, until no turn asks for more.
 */
static void settle_arrivals(struct walk *walk)
{
	struct arrival **link = &walk->arrivals, *arrival;
	bool again = true;

	while (again) {
		again = false;
		for (arrival = walk->arrivals; arrival; arrival = arrival->next)
			again |=
				carry_needs(walk, arrival->known, &arrival->state, arrival->parent);
	}
	while ((arrival = *link)) {
		if (!is_done(arrival->known) || open_loop(arrival->known)) {
			link = &arrival->next;
			continue;
		}
		*link = arrival->next;
		arrival_free(arrival);
	}
}

void explored_end(struct walk *walk)
{
	bool settle = false;

	for (struct explored *known = walk->parent; known && --known->branches == 0;
	     known = known->parent)
		settle |= known->is_head;
	if (settle)
		settle_arrivals(walk);
}

/* Slots that no path read may be anything. */
static void clean(struct explored *known)
{
	for (uint32_t i = 0; i <= known->state.caller_cnt; i++) {
		struct frame *frame = state_own(&known->state, i);

		/* Without memory it only covers less. */
		for (uint32_t k = 0; frame && k < frame->slot_cnt; k++)
			if (!(known->read[i] >> k & 1))
				memset(frame->slots[k].bytes, BYTE_NONE, 8);
	}
	known->cleaned = true;
}

/* What came from @loop on this path is known only when all of @loop is. */
static void mark_loop(struct walk *walk, struct explored *loop)
{
	for (struct explored *known = walk->parent; known && known != loop; known = known->parent) {
		const struct explored *open = open_loop(known);

		if (open && open->depth <= loop->depth)
			continue;
		explored_put(known->loop);
		loop->refs++;
		known->loop = loop;
	}
}

/* The path at hand is covered by @known, whose needs are those of @loop as well. */
static int arrive(struct walk *walk, struct explored *known, struct explored *loop)
{
	struct arrival *arrival = malloc(sizeof(*arrival));

	if (!arrival)
		return -ENOMEM;
	if (state_copy(&arrival->state, &walk->state) < 0) {
		free(arrival);
		return -ENOMEM;
	}
	arrival->known = known;
	arrival->parent = walk->parent;
	known->refs++;
	walk->parent->refs++;
	arrival->next = walk->arrivals;
	walk->arrivals = arrival;
	loop->is_head = true;
	mark_loop(walk, loop);
	carry_needs(walk, known, &walk->state, walk->parent);
	return 1;
}

/*
 * Whether the state at hand is another turn of a loop that the machine bounds: the same call has
 * called back since, or the same run of a function has passed may_goto.
 */
static bool is_turn(const struct walk *walk, const struct explored *known)
{
	const struct state *a = &known->state, *b = &walk->state;

	if (!walk->insns[walk->at].always || !state_same_runs(a, b))
		return false;
	return b->returned ? a->top.loop == b->top.loop && a->unrolled != b->unrolled
			   : a->may_gotos != b->may_gotos &&
				     insn_is_may_goto(&walk->prog->insns[walk->at]);
}

/* Turns of a loop mostly differ in a register that counts; that is seen without looking at all. */
static bool surely_differ(const struct frame *a, const struct frame *b)
{
	for (uint32_t i = 0; i < REGS; i++)
		if (a->regs[i].type != b->regs[i].type ||
		    (a->regs[i].type != REG_NONE && a->regs[i].r64.umin != b->regs[i].r64.umin))
			return true;
	return false;
}

/* Return: 1 when it covers the state at hand, 0, or -errno for a loop without an end. */
static int meet_unfinished(struct walk *walk, struct explored *known, bool *ret_loop)
{
	const struct state *state = &walk->state;

	if (is_turn(walk, known))
		return state_covers(&walk->origins, &known->state, state, COVERS_ALL)
			       ? arrive(walk, known, known)
			       : 0;
	*ret_loop = true;
	if (known->state.unrolled != state->unrolled ||
	    known->state.may_gotos != state->may_gotos ||
	    surely_differ(&known->state.top, &state->top) ||
	    !state_covers(&walk->origins, &known->state, state, COVERS_SAME))
		return 0;
	return walk_fail(walk, -EINVAL, "infinite loop detected at insn %u\n", walk->at);
}

static int meet_finished(struct walk *walk, struct explored *known)
{
	struct explored *loop = open_loop(known);

	if (loop && !state_same_runs(&known->state, &walk->state))
		return 0;
	if (!loop && !known->cleaned)
		clean(known);
	if (!state_covers(&walk->origins, &known->state, &walk->state,
			  loop || walk->watch ? COVERS_ALL : COVERS_NEEDED))
		return 0;
	if (loop)
		return arrive(walk, known, loop);
	carry_needs(walk, known, &walk->state, walk->parent);
	return 1;
}

/* Registers that nobody reads any more would only tell states apart. */
static void forget_dead(struct walk *walk)
{
	for (uint32_t i = 0; i < REGS - 1; i++)
		if (!(walk->insns[walk->at].live >> i & 1))
			reg_set_none(walk_reg(walk, i));
}

static bool is_nameless(const struct reg *reg)
{
	return reg->type == REG_SCALAR && reg->origin == ORIGIN_NONE;
}

static bool has_nameless(const struct frame *frame)
{
	for (uint32_t i = 0; i < REGS; i++)
		if (is_nameless(&frame->regs[i]))
			return true;
	for (uint32_t i = 0; i < frame->slot_cnt; i++)
		if (frame->slots[i].bytes[0] == BYTE_SPILL && is_nameless(&frame->slots[i].spilled))
			return true;
	return false;
}

static void name(struct walk *walk, struct reg *reg, bool always)
{
	if (reg->type == REG_SCALAR && (always || reg->origin == ORIGIN_NONE))
		reg->origin = origin_new(&walk->origins, reg->origin);
}

/*
 * Every number gets an origin, to be marked when it is needed; those of the frame at hand a new
 * one, so that what is needed of this state is told apart from what is needed of others. Frames of
 * callers stay shared where they can: their numbers may be taken for needed when they are not.
 */
static int name_all(struct walk *walk)
{
	for (uint32_t i = 0; i <= walk->state.caller_cnt; i++) {
		bool is_top = i == walk->state.caller_cnt;
		struct frame *frame;

		if (!is_top && !has_nameless(walk->state.callers[i]))
			continue;
		frame = state_own(&walk->state, i);
		if (!frame)
			return -ENOMEM;
		for (uint32_t k = 0; k < REGS; k++)
			name(walk, &frame->regs[k], is_top);
		for (uint32_t k = 0; k < frame->slot_cnt; k++)
			if (frame->slots[k].bytes[0] == BYTE_SPILL)
				name(walk, &frame->slots[k].spilled, is_top);
	}
	return 0;
}

#define ID_COUNTS 512u /* ids that fall together count together: then both stay */

static void count_ids(const struct frame *frame, uint8_t *counts)
{
	for (uint32_t i = 0; i < REGS; i++)
		counts[frame->regs[i].id % ID_COUNTS] += counts[frame->regs[i].id % ID_COUNTS] < 2;
	for (uint32_t i = 0; i < frame->slot_cnt; i++) {
		uint8_t *cnt = &counts[frame->slots[i].spilled.id % ID_COUNTS];

		if (frame->slots[i].bytes[0] == BYTE_SPILL)
			*cnt += *cnt < 2;
	}
}

static void drop_lonely(struct reg *reg, const uint8_t *counts)
{
	if (reg->type == REG_SCALAR && counts[reg->id % ID_COUNTS] < 2)
		link_drop(reg);
}

/* A number that is equal to no other is not linked: nobody needs to be in its place. */
static void drop_lonely_ids(struct state *state)
{
	struct frame *top = &state->top;
	uint8_t counts[ID_COUNTS] = {0};

	for (uint32_t i = 0; i <= state->caller_cnt; i++)
		count_ids(state_frame(state, i), counts);
	for (uint32_t i = 0; i < REGS; i++)
		drop_lonely(&top->regs[i], counts);
	for (uint32_t i = 0; i < top->slot_cnt; i++)
		if (top->slots[i].bytes[0] == BYTE_SPILL)
			drop_lonely(&top->slots[i].spilled, counts);
}

static int remember(struct walk *walk)
{
	struct explored *known;

	if (name_all(walk) < 0)
		return -ENOMEM;
	known = calloc(1, sizeof(*known));
	if (!known)
		return -ENOMEM;
	if (state_copy(&known->state, &walk->state) < 0) {
		free(known);
		return -ENOMEM;
	}
	/* The path itself goes on with them: what is filled from the stack is linked to it. */
	drop_lonely_ids(&known->state);
	known->at = walk->at;
	known->parent = walk->parent;
	known->depth = walk->parent ? walk->parent->depth + 1 : 0;
	known->branches = 1;
	known->refs = 2; /* the list's and the path's */
	known->next = walk->explored[walk->at];
	walk->explored[walk->at] = known;
	walk->parent = known;
	memset(walk->state.written, 0, sizeof(walk->state.written));
	walk->states++;
	walk->remembered = walk->facts->processed;
	walk->jumped = walk->jumps;
	return 0;
}

static bool is_worth_it(const struct walk *walk, bool in_loop)
{
	uint32_t insns = walk->facts->processed - walk->remembered;
	uint32_t jumps = walk->jumps - walk->jumped;

	if (walk->insns[walk->at].always)
		return true;
	if (in_loop)
		return insns >= LOOP_INSNS_APART || jumps >= LOOP_JUMPS_APART;
	return insns >= INSNS_APART && jumps >= JUMPS_APART;
}

static bool is_useless(const struct explored *known, uint32_t cnt)
{
	uint32_t misses = is_done(known) ? MISSES : LOOP_MISSES;

	return cnt >= STATES_MAX || known->misses > known->hits * misses + misses;
}

int explored_visit(struct walk *walk)
{
	struct explored **link = &walk->explored[walk->at], *known;
	bool in_loop = false;
	uint32_t cnt = 0;

	forget_dead(walk);
	/* Reached by the program, not by a callback's end: a call of its own. */
	if (walk->insns[walk->at].always && !walk->state.returned)
		walk->state.top.loop = ++walk->last_run;
	while ((known = *link)) {
		int r = 0;

		if (state_same_calls(&known->state, &walk->state))
			r = is_done(known) ? meet_finished(walk, known)
					   : meet_unfinished(walk, known, &in_loop);
		if (r < 0)
			return r;
		if (r > 0) {
			/* What covers once covers again: to the front. */
			known->hits++;
			*link = known->next;
			known->next = walk->explored[walk->at];
			walk->explored[walk->at] = known;
			return 1;
		}
		/* Nor is it held against one that another in its stead would be one too many. */
		known->misses += is_worth_it(walk, in_loop);
		if (is_useless(known, cnt)) {
			*link = known->next;
			explored_put(known);
			continue;
		}
		link = &known->next;
		cnt++;
	}
	if (cnt + 1 > walk->peak)
		walk->peak = cnt + 1;
	walk->state.returned = false;
	return is_worth_it(walk, in_loop) ? remember(walk) : 0;
}

static void widen_reg(struct walk *walk, const struct reg *known, struct reg *reg)
{
	if (known->type != REG_SCALAR || reg->type != REG_SCALAR ||
	    origin_is_marked(&walk->origins, known->origin) ||
	    origin_is_marked(&walk->origins, reg->origin))
		return;
	if (range_covers(&known->r64, &reg->r64) && range_covers(&reg->r64, &known->r64) &&
	    range_covers(&known->r32, &reg->r32) && range_covers(&reg->r32, &known->r32))
		return;
	reg_set_unknown(reg);
}

/* Not the state at hand, if that was remembered. */
static const struct explored *last_turn(const struct walk *walk, const struct state *state,
					uint32_t at)
{
	const struct explored *known = walk->parent;

	if (walk->at == at)
		known = known->parent;
	for (; known; known = known->parent)
		if (known->at == at && state_same_calls(&known->state, state))
			return known;
	return NULL;
}

int explored_widen(struct walk *walk, struct state *state, uint32_t at)
{
	const struct explored *known = last_turn(walk, state, at);

	for (uint32_t i = 0; known && i <= state->caller_cnt; i++) {
		const struct frame *from = state_frame(&known->state, i);
		struct frame *to = state_own(state, i);

		if (!to)
			return -ENOMEM;
		for (uint32_t k = 0; k < REGS; k++)
			widen_reg(walk, &from->regs[k], &to->regs[k]);
		for (uint32_t k = 0; k < from->slot_cnt && k < to->slot_cnt; k++)
			if (from->slots[k].bytes[0] == BYTE_SPILL &&
			    to->slots[k].bytes[0] == BYTE_SPILL)
				widen_reg(walk, &from->slots[k].spilled, &to->slots[k].spilled);
	}
	return 0;
}
