/* SPDX-License-Identifier: MIT */
/*
 * Before the walk: every instruction is known, jumps stay inside their function, all can be
 * reached; where states are compared, and which registers are still of use where. After it: how
 * much stack calls need.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/helpers.h"
#include "verifier/internal.h"

enum colour { WHITE, GREY, BLACK, HALF };

/**
 * struct search - depth first, without recursion
 * @colour, @next: per instruction; @next is how many of the places it leads to were taken
 * @path: instructions from the first to the one at hand
 * @order: instructions, most of them behind what they lead to
 */
struct search {
	uint8_t *colour, *next;
	uint32_t *path, *order;
	uint32_t depth, order_cnt;
};

static int add_subprog(struct walk *walk, int64_t start)
{
	/* Not into the middle of an instruction, either. */
	if (start < 0 || start >= walk->prog->cnt ||
	    (start && insn_is_ld_imm64(&walk->prog->insns[start - 1]) &&
	     !walk->prog->insns[start].code))
		return walk_fail(walk, -EINVAL, "call to invalid destination\n");
	for (uint32_t i = 0; i < walk->subprog_cnt; i++)
		if (walk->subprogs[i].start == start)
			return 0;
	if (walk->subprog_cnt == SUBPROGS_MAX)
		return walk_fail(walk, -E2BIG, "too many subprograms\n");
	walk->subprogs[walk->subprog_cnt++].start = (uint32_t)start;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct subprog *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

static int find_subprogs(struct walk *walk)
{
	const struct verifier_prog *prog = walk->prog;
	int r = add_subprog(walk, 0);

	for (uint32_t i = 0; i < prog->cnt && r == 0; i++)
		if (insn_calls(&prog->insns[i]) || insn_is_func(&prog->insns[i]))
			r = add_subprog(walk, insn_target(&prog->insns[i], i));
	if (r < 0)
		return r;
	qsort(walk->subprogs, walk->subprog_cnt, sizeof(*walk->subprogs), by_start);
	for (uint32_t i = 0; i < walk->subprog_cnt && walk->level & VERIFIER_LOG_LEVEL2; i++)
		walk_say(walk, "func#%u @%u\n", i, walk->subprogs[i].start);
	for (uint32_t i = 0, at = 0; i < walk->subprog_cnt; i++) {
		uint32_t end = i + 1 < walk->subprog_cnt ? walk->subprogs[i + 1].start : prog->cnt;

		for (; at < end; at++)
			walk->insns[at].subprog = (uint16_t)i;
	}
	return 0;
}

uint32_t cfg_subprog(const struct walk *walk, uint32_t start)
{
	return walk->insns[start].subprog;
}

static bool ends(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_EXIT) || insn->code == (BPF_JMP | BPF_JA) ||
	       insn->code == (BPF_JMP32 | BPF_JA);
}

/* Functions are entered at their first instruction and left by exit alone. */
static int check_bounds(struct walk *walk)
{
	const struct verifier_prog *prog = walk->prog;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		const struct bpf_insn *insn = &prog->insns[i];
		uint16_t subprog = walk->insns[i].subprog;
		int64_t to[2];
		uint32_t cnt = insn_next(insn, i, to);

		for (uint32_t k = 0; k < cnt; k++) {
			bool is_jump = k || (cnt == 1 && ends(insn));

			if (is_jump && (to[k] < 0 || to[k] >= prog->cnt ||
					walk->insns[to[k]].subprog != subprog))
				return walk_fail(walk, -EINVAL,
						 "jump out of range from insn %u to %lld\n", i,
						 (long long)to[k]);
		}
		if (insn_is_ld_imm64(insn))
			i++;
		if ((i + 1 == prog->cnt || walk->insns[i + 1].subprog != subprog) && !ends(insn))
			return walk_fail(walk, -EINVAL, "last insn is not an exit or jmp\n");
	}
	return 0;
}

static int check_edge(struct walk *walk, const struct search *search, int64_t to)
{
	if (search->colour[to] == HALF)
		return walk_fail(walk, -EINVAL, "jump into the middle of ldimm64 insn %lld\n",
				 (long long)to);
	return 0;
}

static void visit(struct walk *walk, struct search *search, uint32_t at)
{
	if (search->colour[at] == WHITE) {
		search->colour[at] = GREY;
		search->path[search->depth++] = at;
	} else {
		walk->insns[at].compare = true;
	}
}

static bool has_callback(const struct bpf_insn *insn)
{
	const struct helper_row *row = NULL;

	if (insn_is_call(insn) && !insn->src_reg)
		row = helper_row((uint32_t)insn->imm);
	return row && row->calls_back;
}

/* Turns of a loop that is not of jumps meet at the instruction that makes them. */
static void mark_turns(struct walk *walk, uint32_t at)
{
	const struct bpf_insn *insn = &walk->prog->insns[at];

	if (has_callback(insn) || insn_is_may_goto(insn))
		walk->insns[at].compare = walk->insns[at].always = true;
}

static int search_from(struct walk *walk, struct search *search, uint32_t start)
{
	visit(walk, search, start);
	while (search->depth) {
		uint32_t at = search->path[search->depth - 1];
		const struct bpf_insn *insn = &walk->prog->insns[at];
		int64_t to[2];
		uint32_t cnt = insn_next(insn, at, to);
		int r;

		if (search->next[at] == cnt) {
			search->colour[at] = BLACK;
			search->order[search->order_cnt++] = at;
			search->depth--;
			mark_turns(walk, at);
			continue;
		}
		r = check_edge(walk, search, to[search->next[at]]);
		if (r < 0)
			return r;
		at = (uint32_t)to[search->next[at]++];
		if (cnt == 2 || insn_calls(insn))
			walk->insns[at].compare = true;
		visit(walk, search, at);
	}
	return 0;
}

/* From the first function through those that it calls: others are of no use, and refused. */
static int search_all(struct walk *walk, struct search *search)
{
	const struct bpf_insn *insns = walk->prog->insns;
	uint32_t seen = 0;
	int r = search_from(walk, search, 0);

	for (; seen < search->order_cnt && r == 0; seen++) {
		uint32_t at = search->order[seen], to;

		if (!insn_calls(&insns[at]) && !insn_is_func(&insns[at]))
			continue;
		to = (uint32_t)insn_target(&insns[at], at);
		if (search->colour[to] == WHITE)
			r = search_from(walk, search, to);
	}
	for (uint32_t i = 0; i < walk->prog->cnt && r == 0; i++)
		if (search->colour[i] == WHITE)
			r = walk_fail(walk, -EINVAL, "unreachable insn %u\n", i);
	return r;
}

/* Second halves of ld_imm64 are no instructions. */
static int mark_halves(struct walk *walk, uint8_t *colour)
{
	const struct verifier_prog *prog = walk->prog;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		if (!insn_is_ld_imm64(&prog->insns[i]))
			continue;
		if (i + 1 == prog->cnt || prog->insns[i + 1].code || prog->insns[i + 1].dst_reg ||
		    prog->insns[i + 1].src_reg || prog->insns[i + 1].off)
			return walk_fail(walk, -EINVAL, "invalid bpf_ld_imm64 insn\n");
		colour[++i] = HALF;
	}
	return 0;
}

/* Until nothing changes; without loops one round of this order is enough. */
static void find_live(struct walk *walk, const struct search *search)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (uint32_t i = 0; i < search->order_cnt; i++) {
			uint32_t at = search->order[i];
			uint16_t reads, writes, live = 0;
			int64_t to[2];
			uint32_t cnt = insn_next(&walk->prog->insns[at], at, to);

			for (uint32_t k = 0; k < cnt; k++)
				live |= walk->insns[to[k]].live;
			insn_uses(&walk->prog->insns[at], &reads, &writes);
			live = (uint16_t)((live & ~writes) | reads);
			changed |= live != walk->insns[at].live;
			walk->insns[at].live = live;
		}
	}
}

/* The map that an ld_imm64 names, on whatever path. */
static int check_map(struct walk *walk, const struct bpf_insn *insn)
{
	const struct verifier_map *map;
	uint32_t off = (uint32_t)insn[1].imm;

	if (!insn->src_reg || insn_is_func(insn))
		return 0;
	if (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE)
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: ld_imm64 of kind %d\n",
				 insn->src_reg);
	if ((uint32_t)insn->imm >= walk->prog->map_cnt ||
	    (insn->src_reg == BPF_PSEUDO_MAP_FD && off))
		return walk_fail(walk, -EINVAL, "unrecognized bpf_ld_imm64 insn\n");
	map = &walk->prog->maps[insn->imm];
	if (insn->src_reg == BPF_PSEUDO_MAP_FD)
		return 0;
	if (map->type != BPF_MAP_TYPE_ARRAY || map->max_entries != 1)
		return walk_fail(walk, -EINVAL,
				 "direct value access on this map is not supported\n");
	if (off >= VAR_OFF_MAX || off >= map->value_size)
		return walk_fail(walk, -EINVAL,
				 "invalid access to map value pointer, value_size=%u off=%u\n",
				 map->value_size, off);
	return 0;
}

static int check_insns(struct walk *walk)
{
	const struct verifier_prog *prog = walk->prog;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		const struct bpf_insn *insn = &prog->insns[i];
		int r = opcode_check(walk, insn);

		if (r < 0)
			return r;
		if (insn->dst_reg >= REGS)
			return walk_fail(walk, -EINVAL, "R%d is invalid\n", insn->dst_reg);
		if (insn->src_reg >= REGS && !insn_is_ld_imm64(insn))
			return walk_fail(walk, -EINVAL, "R%d is invalid\n", insn->src_reg);
		if (!insn_is_ld_imm64(insn))
			continue;
		r = check_map(walk, insn);
		if (r < 0)
			return r;
		i++;
	}
	return 0;
}

static int check_with(struct walk *walk, struct search *search)
{
	int r = mark_halves(walk, search->colour);

	if (r == 0)
		r = check_insns(walk);
	if (r == 0)
		r = find_subprogs(walk);
	if (r == 0)
		r = check_bounds(walk);
	if (r == 0)
		r = info_match(walk);
	if (r == 0)
		r = search_all(walk, search);
	if (r == 0)
		find_live(walk, search);
	return r;
}

int cfg_check(struct walk *walk)
{
	uint32_t cnt = walk->prog->cnt;
	struct search search = {
		.colour = calloc(cnt, 1),
		.next = calloc(cnt, 1),
		.path = calloc(cnt, sizeof(*search.path)),
		.order = calloc(cnt, sizeof(*search.order)),
	};
	int r = -ENOMEM;

	if (search.colour && search.next && search.path && search.order)
		r = check_with(walk, &search);
	free(search.colour);
	free(search.next);
	free(search.path);
	free(search.order);
	return r;
}

/**
 * struct chains - of the functions that each function calls, the deepest
 * @bytes, @frames: with its own; 0 while it is not known
 * @above_tail: bytes of the frames above the deepest function that makes a tail call, but for
 *	the program itself, whose frame is no more then; -1: none does
 */
struct chains {
	uint32_t bytes[SUBPROGS_MAX], frames[SUBPROGS_MAX];
	int above_tail[SUBPROGS_MAX];
};

#define STACK_ROUND 16u /* round_up_subprog_stack_depth() with a JIT, Linux 6.12 */

/* Source: check_max_stack_depth_subprog(), Linux 6.12. */
#define TAIL_STACK_MAX 256

/* @depth bounds the recursion: no chain is longer. */
static int measure(struct walk *walk, struct chains *chains, uint32_t subprog, uint32_t depth)
{
	uint32_t at = walk->subprogs[subprog].start, bytes = 0, frames = 0;
	uint32_t own = (walk->subprogs[subprog].depth + STACK_ROUND - 1) & ~(STACK_ROUND - 1);
	int above_tail = -1;

	if (depth == FRAMES)
		return walk_fail(walk, -E2BIG, "the call stack of %u frames is too deep !\n",
				 depth + 1);
	for (; at < walk->prog->cnt && walk->insns[at].subprog == subprog; at++) {
		const struct bpf_insn *insn = &walk->prog->insns[at];
		uint32_t callee;

		if (subprog && above_tail < 0 && insn_is_tail_call(insn))
			above_tail = 0;
		if (!insn_calls(insn) && !insn_is_func(insn))
			continue;
		callee = cfg_subprog(walk, (uint32_t)insn_target(insn, at));
		/* Again only where it lies so deep that what it calls may be too much. */
		if (!chains->frames[callee] || depth + 1 + chains->frames[callee] > FRAMES) {
			int r = measure(walk, chains, callee, depth + 1);

			if (r < 0)
				return r;
		}
		if (chains->bytes[callee] > bytes)
			bytes = chains->bytes[callee];
		if (chains->frames[callee] > frames)
			frames = chains->frames[callee];
		if (chains->above_tail[callee] >= 0 &&
		    (int)own + chains->above_tail[callee] > above_tail)
			above_tail = (int)own + chains->above_tail[callee];
	}
	chains->above_tail[subprog] = above_tail;
	chains->bytes[subprog] = own + bytes;
	chains->frames[subprog] = 1 + frames;
	return 0;
}

int cfg_check_depth(struct walk *walk)
{
	struct chains chains = {0};
	int r = measure(walk, &chains, 0, 0);

	if (r < 0)
		return r;
	if (walk->subprog_cnt == 1) {
		walk->facts->stack_depth = walk->subprogs[0].depth;
		return 0;
	}
	/* 33 of them may follow each other, each on top of what its callers have. */
	if (chains.above_tail[0] >= TAIL_STACK_MAX)
		return walk_fail(walk, -EACCES,
				 "tail_calls are not allowed when call stack of previous frames is "
				 "%d bytes. Too large\n",
				 chains.above_tail[0]);
	if (chains.bytes[0] > STACK_MAX)
		return walk_fail(walk, -EACCES,
				 "combined stack size of %u calls is %u. Too large\n",
				 chains.frames[0], chains.bytes[0]);
	walk->facts->stack_depth = chains.bytes[0];
	return 0;
}
