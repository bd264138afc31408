/* SPDX-License-Identifier: MIT */
/*
 * The walk: every path of the program, depth first, until each has ended or is covered by one that
 * was walked before.
 */
#include "verifier/verifier.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/context.h"
#include "verifier/internal.h"
#include "verifier/special.h"
#include "verifier/steps.h"
#include "verifier/packet.h"

#define SAID_MAX 2560	    /* bytes of one line of it; a longer one is cut */
#define TEXT_MAX (1u << 24) /* bytes of log kept; the kernel's UINT_MAX >> 8 */

static void text_add(struct text *text, const char *bytes, size_t len)
{
	if (text->len + len > text->cap) {
		size_t cap = text->cap ? text->cap * 2 : 1024;
		char *grown;

		while (cap < text->len + len)
			cap *= 2;
		grown = cap <= TEXT_MAX ? realloc(text->bytes, cap) : NULL;
		if (!grown) {
			/* No room: what was said first goes first. */
			text->dropped += text->len;
			text->len = 0;
			if (len > text->cap)
				return;
		} else {
			text->bytes = grown;
			text->cap = cap;
		}
	}
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

static void say(struct walk *walk, const char *fmt, va_list args)
{
	char line[SAID_MAX];
	int len;

	if (!walk->level)
		return;
	len = vsnprintf(line, sizeof(line), fmt, args);
	if (len >= (int)sizeof(line)) {
		len = sizeof(line) - 1;
		line[len - 1] = '\n';
	}
	text_add(&walk->text, line, (size_t)len);
}

void walk_say(struct walk *walk, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(walk, fmt, args);
	va_end(args);
}

int walk_fail(struct walk *walk, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(walk, fmt, args);
	va_end(args);
	return error;
}

/* Copy the text out; of one that is too long the end. Source: bpf_vlog_finalize(), Linux 6.12. */
static int deliver(const struct walk *walk, struct verifier_log *log)
{
	size_t len = walk->text.len, room;

	log->len = (uint32_t)(walk->text.dropped + len + 1);
	if (!log->buf || !log->size)
		return 0;
	room = log->size - 1;
	if (len)
		memcpy(log->buf, walk->text.bytes + (len > room ? len - room : 0),
		       len > room ? room : len);
	log->buf[len > room ? room : len] = '\0';
	return len > room ? -ENOSPC : 0;
}

/* Of a path that came to a good end level 1 keeps nothing. */
static void text_forget(struct walk *walk, size_t said)
{
	if (walk->level & VERIFIER_LOG_LEVEL2)
		return;
	if (said < walk->text.dropped)
		said = walk->text.dropped;
	if (said - walk->text.dropped < walk->text.len)
		walk->text.len = said - walk->text.dropped;
}

static void map_insn(struct walk *walk, const struct bpf_insn *insn)
{
	struct reg *dst = walk_reg(walk, insn->dst_reg);
	uint32_t index = (uint32_t)insn->imm;

	walk->facts->maps |= 1ull << index;
	*dst = (struct reg){.type = REG_MAP, .map = index, .r64 = range_const(0, 64)};
	if (insn->src_reg == BPF_PSEUDO_MAP_FD)
		return;
	dst->type = REG_VALUE;
	dst->off = insn[1].imm;
}

static int ld_imm64(struct walk *walk, const struct bpf_insn *insn)
{
	if (insn->off)
		return walk_fail(walk, -EINVAL, "BPF_LD_IMM64 uses reserved fields\n");
	if (insn->dst_reg == 10)
		return walk_fail(walk, -EACCES, "frame pointer is read only\n");
	if (insn_is_func(insn))
		*walk_reg(walk, insn->dst_reg) =
			(struct reg){.type = REG_FUNC,
				     .map = (uint32_t)insn_target(insn, walk->at),
				     .r64 = range_const(0, 64)};
	else if (insn->src_reg)
		map_insn(walk, insn);
	else
		reg_set_const(walk_reg(walk, insn->dst_reg),
			      (uint64_t)(uint32_t)insn[1].imm << 32 | (uint32_t)insn->imm);
	return 0;
}

static int load_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *next)
{
	if (BPF_CLASS(insn->code) == BPF_LD && !insn_is_ld_imm64(insn))
		return packet_load(walk, insn);
	if (BPF_CLASS(insn->code) == BPF_LD) {
		*next = walk->at + 2;
		return ld_imm64(walk, insn);
	}
	return memory_load(walk, insn);
}

static int store_insn(struct walk *walk, const struct bpf_insn *insn)
{
	if (BPF_MODE(insn->code) == BPF_ATOMIC)
		return memory_atomic(walk, insn);
	return memory_store(walk, insn);
}

/* Return: 1 at the end of the path. */
static int jump_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *next)
{
	bool wide = BPF_CLASS(insn->code) == BPF_JMP;
	uint8_t op = BPF_OP(insn->code);

	walk->jumps++;
	if (op == BPF_EXIT && wide) {
		if (insn->imm || insn->src_reg || insn->dst_reg || insn->off)
			return walk_fail(walk, -EINVAL, "BPF_EXIT uses reserved fields\n");
		return func_exit(walk, next);
	}
	if (op == BPF_CALL && wide)
		return call_insn(walk, insn, next);
	if (op == BPF_JA) {
		if (insn->src_reg || insn->dst_reg || (wide ? insn->imm : insn->off))
			return walk_fail(walk, -EINVAL, "BPF_JA uses reserved fields\n");
		*next = (uint32_t)((int64_t)walk->at + 1 + (wide ? insn->off : insn->imm));
		return 0;
	}
	if (insn_is_may_goto(insn))
		return branch_may_goto(walk, insn, next);
	return branch_insn(walk, insn, next);
}

static int one_insn(struct walk *walk, uint32_t *next)
{
	const struct bpf_insn *insn = &walk->prog->insns[walk->at];

	*next = walk->at + 1;
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return alu_insn(walk, insn);
	case BPF_LD:
	case BPF_LDX:
		return load_insn(walk, insn, next);
	case BPF_ST:
	case BPF_STX:
		return store_insn(walk, insn);
	default:
		return jump_insn(walk, insn, next);
	}
}

/* Somebody who watches sees every path, but for turns that only comparing ends. */
static bool is_compared(const struct walk *walk)
{
	const struct insn_facts *insn = &walk->insns[walk->at];

	return walk->watch ? insn->always : insn->compare;
}

/* Walk one path to its end. */
static int walk_path(struct walk *walk)
{
	for (;;) {
		uint32_t next;
		int r;

		if (++walk->facts->processed > INSNS_MAX)
			return walk_fail(walk, -E2BIG,
					 "BPF program is too large. Processed %u insn\n",
					 walk->facts->processed);
		if (is_compared(walk)) {
			r = explored_visit(walk);
			if (r > 0)
				steps_safe(walk);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		if (steps_wanted(walk))
			steps_before(walk);
		if (walk->watch) {
			r = walk->watch->state(walk->watch->data, walk->at, &walk->state);
			if (r < 0)
				return r;
		}
		r = one_insn(walk, &next);
		if (walk->origins.failed)
			return -ENOMEM;
		if (r != 0)
			return r < 0 ? r : 0;
		if (steps_wanted(walk))
			steps_after(walk, next);
		walk->at = next;
	}
}

/* A state with nothing in it but the first frame, of function @subprog. */
static int begin(struct walk *walk, uint32_t subprog)
{
	struct frame *top = &walk->state.top;

	walk->state = (struct state){0};
	walk->line = 0;
	walk->at = top->start = walk->subprogs[subprog].start;
	top->regs[10] = (struct reg){.type = REG_STACK, .r64 = range_const(0, 64)};
	walk->state.written[0] = UINT64_MAX;
	if (subprog) {
		if (steps_wanted(walk))
			walk_say(walk, "Validating %s() func#%u...\n", walk->subprogs[subprog].name,
				 subprog);
		return global_enter(walk, subprog);
	}
	global_note_main(walk);
	top->regs[1] = (struct reg){.type = REG_CTX, .r64 = range_const(0, 64)};
	return 0;
}

/* The program, or a function that is verified by itself. */
static int walk_function(struct walk *walk, uint32_t subprog)
{
	int r = begin(walk, subprog);

	if (r < 0)
		return r;
	steps_path(walk, true, 0);
	for (;;) {
		struct pending *pending;

		r = walk_path(walk);
		state_deinit(&walk->state);
		if (r < 0)
			return r;
		explored_end(walk);
		explored_put(walk->parent);
		walk->parent = NULL;
		if (!walk->pending_cnt) {
			text_forget(walk, 0);
			explored_forget(walk);
			return 0;
		}
		pending = &walk->pending[--walk->pending_cnt];
		walk->state = pending->state;
		walk->parent = pending->parent;
		walk->at = pending->at;
		text_forget(walk, pending->said);
		steps_path(walk, false, pending->from);
	}
}

/* Those that are called by what was walked, until there is none. Source: do_check_subprogs(). */
static int walk_globals(struct walk *walk)
{
	bool more = true;

	while (more) {
		more = false;
		for (uint32_t i = 1; i < walk->subprog_cnt; i++) {
			struct subprog *subprog = &walk->subprogs[i];
			int r;

			if (!subprog->called || subprog->walked)
				continue;
			r = walk_function(walk, i);
			if (r < 0)
				return r;
			if (steps_wanted(walk))
				walk_say(walk,
					 "Func#%u ('%s') is safe for any args that match its "
					 "prototype\n",
					 i, subprog->name);
			subprog->walked = more = true;
		}
	}
	return 0;
}

static int walk_all(struct walk *walk)
{
	int r = walk_function(walk, 0);

	if (r == 0)
		r = walk_globals(walk);
	return r < 0 ? r : cfg_check_depth(walk);
}

/* Source: check_map_prog_compatibility(), Linux 6.12. */
#define SLEEPABLE_MAPS                                                                             \
	(1ull << BPF_MAP_TYPE_HASH | 1ull << BPF_MAP_TYPE_LRU_HASH | 1ull << BPF_MAP_TYPE_ARRAY |  \
	 1ull << BPF_MAP_TYPE_PERCPU_HASH | 1ull << BPF_MAP_TYPE_PERCPU_ARRAY |                    \
	 1ull << BPF_MAP_TYPE_LRU_PERCPU_HASH | 1ull << BPF_MAP_TYPE_ARRAY_OF_MAPS |               \
	 1ull << BPF_MAP_TYPE_HASH_OF_MAPS | 1ull << BPF_MAP_TYPE_RINGBUF |                        \
	 1ull << BPF_MAP_TYPE_QUEUE | 1ull << BPF_MAP_TYPE_STACK)

static int check_sleepable(struct walk *walk)
{
	const struct verifier_prog *prog = walk->prog;

	if (prog->type != BPF_PROG_TYPE_KPROBE && prog->type != BPF_PROG_TYPE_SYSCALL)
		return walk_fail(walk, -EINVAL,
				 "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops "
				 "programs can be sleepable\n");
	for (uint32_t i = 0; i < prog->map_cnt; i++)
		if (prog->maps[i].type >= 64 || !(SLEEPABLE_MAPS >> prog->maps[i].type & 1))
			return walk_fail(walk, -EINVAL,
					 "Sleepable programs can only use array, hash, ringbuf and "
					 "local storage maps\n");
	return 0;
}

static int check_kind(struct walk *walk)
{
	const struct verifier_prog *prog = walk->prog;

	if (!prog->cnt)
		return -E2BIG;
	if (prog->cnt > INSNS_MAX)
		return -E2BIG;
	if (!context_is_covered(prog->type))
		return walk_fail(walk, -EOPNOTSUPP,
				 "not supported by this verifier: program type %u\n", prog->type);
	if (prog->map_cnt > VERIFIER_MAPS_MAX)
		return -E2BIG;
	if (prog->type == BPF_PROG_TYPE_SYSCALL && !prog->sleepable)
		return walk_fail(walk, -EINVAL, "Syscall programs can only be sleepable\n");
	return prog->sleepable ? check_sleepable(walk) : 0;
}

static int prepare(struct walk *walk)
{
	uint32_t cnt = walk->prog->cnt;
	int r;

	walk->insns = calloc(cnt, sizeof(*walk->insns));
	walk->explored = calloc(cnt, sizeof(*walk->explored));
	if (!walk->insns || !walk->explored)
		return -ENOMEM;
	r = info_open(walk);
	if (r == 0)
		r = special_check_maps(walk);
	return r < 0 ? r : cfg_check(walk);
}

static void say_stacks(struct walk *walk)
{
	if (!(walk->level & VERIFIER_LOG_STATS) || !walk->subprog_cnt)
		return;
	for (uint32_t i = 0; i < walk->subprog_cnt; i++)
		walk_say(walk, i ? "+%u" : "stack depth %u", (walk->subprogs[i].depth + 7) / 8 * 8);
	walk_say(walk, "\n");
}

static void walk_deinit(struct walk *walk)
{
	state_deinit(&walk->state);
	explored_put(walk->parent);
	for (uint32_t i = 0; i < walk->pending_cnt; i++) {
		state_deinit(&walk->pending[i].state);
		explored_put(walk->pending[i].parent);
	}
	explored_forget(walk);
	info_close(walk);
	origins_deinit(&walk->origins);
	free(walk->pending);
	free(walk->explored);
	free(walk->insns);
	free(walk->text.bytes);
}

int verifier_check(const struct verifier_prog *prog, struct verifier_log *log,
		   struct verifier_facts *ret_facts)
{
	return verifier_watch(prog, log, NULL, ret_facts);
}

int verifier_watch(const struct verifier_prog *prog, struct verifier_log *log,
		   const struct verifier_watch *watch, struct verifier_facts *ret_facts)
{
	struct verifier_facts facts = {0};
	struct walk walk = {.prog = prog, .facts = &facts, .level = log->level, .watch = watch};
	int r = check_kind(&walk), delivered;

	if (r == 0)
		r = prepare(&walk);
	if (r == 0)
		r = walk_all(&walk);
	say_stacks(&walk);
	if (walk.insns)
		walk_say(&walk,
			 "processed %u insns (limit %u) max_states_per_insn %u total_states %u "
			 "peak_states %u mark_read %u\n",
			 facts.processed, INSNS_MAX, walk.peak, walk.states, walk.states, 0);
	delivered = deliver(&walk, log);
	walk_deinit(&walk);
	if (r == 0)
		r = delivered;
	if (r == 0)
		*ret_facts = facts;
	return r;
}
