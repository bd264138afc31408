/* SPDX-License-Identifier: MIT */
/*
 * See steps.h. Source of the form: logs of Linux 6.12 and 6.18 (columns: vlog_alignment(),
 * kernel/bpf/verifier.c; numbers: print_scalar_ranges(), kernel/bpf/log.c). As in 6.18, registers
 * have no marks of liveness. Names of maps are not known here and left out, and no number is shown
 * as precise.
 */
#include "verifier/steps.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "verifier/disasm.h"
#include "verifier/dynptr.h"
#include "verifier/internal.h"

#define COLUMN	  40u
#define LINE_MAX  2048u
#define ALL_SLOTS UINT64_MAX

struct line {
	char text[LINE_MAX];
	size_t len;
};

static void add(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *fmt, ...)
{
	size_t room = sizeof(line->text) - line->len;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line->text + line->len, room, fmt, args);
	va_end(args);
	if (len > 0)
		line->len += (size_t)len < room ? (size_t)len : room - 1;
}

/* Small numbers are easier to read in tens. */
static void add_number(struct line *line, uint64_t value, bool is_signed)
{
	int64_t number = (int64_t)value;

	if (is_signed && number >= INT16_MIN && number <= INT16_MAX)
		add(line, "%lld", (long long)number);
	else if (!is_signed && value <= UINT16_MAX)
		add(line, "%llu", (unsigned long long)value);
	else
		add(line, "0x%llx", (unsigned long long)value);
}

struct bound {
	const char *name;
	uint64_t value;
	bool omit;
};

static bool is_same_number(const struct bound *a, const struct bound *b)
{
	return a->value == b->value && (a->name[0] == b->name[0] || (int64_t)a->value >= 0);
}

/* Bounds that say something; those that are the same together. */
static void add_bounds(struct line *line, const struct range *r64, const struct range *r32,
		       const char **sep)
{
	struct bound bounds[] = {
		{"smin", (uint64_t)r64->smin, r64->smin == INT64_MIN},
		{"smax", (uint64_t)r64->smax, r64->smax == INT64_MAX},
		{"umin", r64->umin, r64->umin == 0},
		{"umax", r64->umax, r64->umax == UINT64_MAX},
		{"smin32", (uint64_t)r32->smin, r32->smin == INT32_MIN},
		{"smax32", (uint64_t)r32->smax, r32->smax == INT32_MAX},
		{"umin32", r32->umin, r32->umin == 0},
		{"umax32", r32->umax, r32->umax == UINT32_MAX},
	};
	const size_t cnt = sizeof(bounds) / sizeof(bounds[0]);

	for (size_t i = 0; i < cnt; i++) {
		if (bounds[i].omit)
			continue;
		add(line, "%s%s=", *sep, bounds[i].name);
		for (size_t k = i + 1; k < cnt; k++) {
			if (bounds[k].omit || !is_same_number(&bounds[i], &bounds[k]))
				continue;
			bounds[k].omit = true;
			add(line, "%s=", bounds[k].name);
		}
		add_number(line, bounds[i].value, bounds[i].name[0] == 's');
		*sep = ",";
	}
	if (r64->t.mask != UINT64_MAX) {
		add(line, "%svar_off=(0x%llx; 0x%llx)", *sep, (unsigned long long)r64->t.value,
		    (unsigned long long)r64->t.mask);
		*sep = ",";
	}
}

static void add_pointer(struct line *line, const struct walk *walk, const struct reg *reg)
{
	const struct verifier_map *map = &walk->prog->maps[reg->map];
	const char *sep = "";

	add(line, "%s(", reg_type_name(reg->type));
	if (reg->id && reg->type != REG_VALUE) {
		add(line, "id=%u", reg->id);
		sep = ",";
	}
	if (reg->type == REG_MAP || reg->type == REG_KEY || reg->type == REG_VALUE ||
	    reg->type == REG_VALUE_OR_NULL) {
		add(line, "%sks=%u,vs=%u", sep, map->key_size, map->value_size);
		sep = ",";
	}
	if (reg->off) {
		add(line, "%soff=%d", sep, reg->off);
		sep = ",";
	}
	if (reg->type == REG_RECORD || reg->type == REG_RECORD_OR_NULL || reg->type == REG_SLICE ||
	    reg->type == REG_SLICE_OR_NULL) {
		add(line, "%ssz=%u", sep, reg->size);
		sep = ",";
	}
	if (!range_is_const(&reg->r64) || reg->r64.umin) {
		struct range low = range_truncate(&reg->r64, 64, 32);

		add_bounds(line, &reg->r64, &low, &sep);
	}
	add(line, ")");
}

static void add_reg(struct line *line, const struct walk *walk, const struct reg *reg)
{
	const char *sep = "";

	if (reg->type == REG_SCALAR && range_is_const(&reg->r64)) {
		add_number(line, reg->r64.umin, true);
	} else if (reg->type == REG_SCALAR) {
		add(line, "scalar(");
		if (reg->id) {
			add(line, "id=%u", reg->id);
			sep = ",";
		}
		add_bounds(line, &reg->r64, &reg->r32, &sep);
		add(line, ")");
	} else if (reg->type == REG_STACK && range_is_const(&reg->r64)) {
		add(line, "fp%lld", (long long)(reg->off + (int64_t)reg->r64.umin));
	} else if (reg->type == REG_FUNC) {
		add(line, "func()");
	} else {
		add_pointer(line, walk, reg);
	}
}

/* Once for both halves. */
static void add_dynptr(struct line *line, const struct reg *half, int off)
{
	if (half->off)
		return;
	add(line, " fp%d=dynptr_%s(id=%u", off, half->map == DYNPTR_RECORD ? "ringbuf" : "local",
	    half->id);
	if (half->dynptr)
		add(line, ",ref_id=%u", half->dynptr);
	add(line, ",dynptr_id=1)"); /* for which Linux 6.18 takes that it is the lower half */
}

static void add_slot(struct line *line, const struct walk *walk, const struct slot *slot, int off)
{
	static const char letters[] = {
		[BYTE_NONE] = '?', [BYTE_SPILL] = 'm', [BYTE_MISC] = 'm', [BYTE_ZERO] = '0'};
	char bytes[9] = {0};
	bool any = false;

	if (slot->bytes[0] == BYTE_DYNPTR) {
		add_dynptr(line, &slot->spilled, off);
		return;
	}

	if (slot->bytes[0] == BYTE_SPILL && slot->bytes[7] == BYTE_SPILL) {
		add(line, " fp%d=", off);
		add_reg(line, walk, &slot->spilled);
		return;
	}
	for (int i = 0; i < 8; i++) {
		bytes[i] = letters[slot->bytes[7 - i]]; /* from above */
		any |= slot->bytes[7 - i] != BYTE_NONE;
	}
	if (any)
		add(line, " fp%d=%s", off, bytes);
}

/* @regs, @slots: bit for each that is shown, if it holds anything */
static void add_state(struct line *line, const struct walk *walk, uint32_t index, uint16_t regs,
		      uint64_t slots)
{
	const struct frame *frame = state_frame(&walk->state, index);

	if (index)
		add(line, " frame%u:", index);
	for (uint32_t i = 0; i < REGS; i++) {
		if (!(regs >> i & 1) || frame->regs[i].type == REG_NONE)
			continue;
		add(line, " R%u=", i);
		add_reg(line, walk, &frame->regs[i]);
	}
	for (uint32_t i = 0; i < frame->slot_cnt && i < SLOTS; i++)
		if (slots >> i & 1)
			add_slot(line, walk, frame_peek(frame, -8 * (int)(i + 1)),
				 -8 * (int)(i + 1));
	for (uint32_t i = 0; i < walk->state.ref_cnt; i++)
		add(line, i ? ",%u" : " refs=%u", walk->state.refs[i].id);
}

bool steps_wanted(const struct walk *walk)
{
	return walk->level & (VERIFIER_LOG_LEVEL1 | VERIFIER_LOG_LEVEL2);
}

void steps_path(struct walk *walk, bool is_first, uint32_t from)
{
	struct line line;

	walk->slots_touched = 0;
	if (!steps_wanted(walk))
		return;
	line.len = 0;
	add_state(&line, walk, walk->state.caller_cnt, UINT16_MAX, ALL_SLOTS);
	if (!is_first && walk->level & VERIFIER_LOG_LEVEL2)
		walk_say(walk, "\nfrom %u to %u:%s\n", from, walk->at, line.text);
	walk_say(walk, "%u:%s\n", walk->at, line.text);
}

/* The slot of the stack at hand that the instruction accesses, where that is known. */
static uint64_t slots_of(const struct walk *walk, const struct bpf_insn *insn)
{
	bool load = BPF_CLASS(insn->code) == BPF_LDX;
	const struct reg *at;
	int64_t off;

	if (!load && BPF_CLASS(insn->code) != BPF_ST && BPF_CLASS(insn->code) != BPF_STX)
		return 0;
	at = &walk->state.top.regs[load ? insn->src_reg : insn->dst_reg];
	if (at->type != REG_STACK || at->frame != walk->state.caller_cnt ||
	    !range_is_const(&at->r64))
		return 0;
	off = (int64_t)at->off + (int64_t)at->r64.umin + insn->off;
	return off < 0 && off >= -STACK_MAX ? 1ull << ((-off - 1) / 8) : 0;
}

/* All that is known of a frame, behind @what. */
static void say_frame(struct walk *walk, const char *what, uint32_t index)
{
	struct line line;

	line.len = 0;
	line.text[0] = '\0';
	add_state(&line, walk, index, UINT16_MAX, ALL_SLOTS);
	walk_say(walk, "%s%s\n", what, line.text);
}

static void say_call(struct walk *walk)
{
	char at[16];

	say_frame(walk, "caller:\n", walk->state.caller_cnt - 1);
	say_frame(walk, "callee:\n", walk->state.caller_cnt);
	snprintf(at, sizeof(at), "%u:", walk->state.top.start);
	say_frame(walk, at, walk->state.caller_cnt);
}

static void say_return(struct walk *walk, uint32_t next)
{
	char at[48];

	snprintf(at, sizeof(at), "to caller at %u:\n", next);
	say_frame(walk, at, walk->state.caller_cnt);
	if (!(walk->level & VERIFIER_LOG_LEVEL2))
		return;
	snprintf(at, sizeof(at), "\nfrom %u to %u:", walk->at, next);
	say_frame(walk, at, walk->state.caller_cnt);
}

static const char *behind_blanks(const char *text)
{
	return text + strspn(text, " \t\n\v\f\r");
}

/* Lines of the source, when another one begins. Source: verbose_linfo(), kernel/bpf/log.c, 6.12. */
static void say_line(struct walk *walk)
{
	const uint32_t index = info_find_line(walk, walk->at);
	struct bpf_line_info line, before;
	const char *file, *slash;

	if (!index || index == walk->line)
		return;
	info_get_line(walk, index, &line);
	if (walk->line) {
		info_get_line(walk, walk->line, &before);
		if (before.file_name_off == line.file_name_off &&
		    BPF_LINE_INFO_LINE_NUM(before.line_col) ==
			    BPF_LINE_INFO_LINE_NUM(line.line_col))
			return;
	}
	walk->line = index;
	file = btf_string(&walk->types, line.file_name_off);
	slash = strrchr(file, '/');
	walk_say(walk, "; %s @ %s:%u\n", behind_blanks(btf_string(&walk->types, line.line_off)),
		 slash ? slash + 1 : file, BPF_LINE_INFO_LINE_NUM(line.line_col));
}

void steps_before(struct walk *walk)
{
	const struct bpf_insn *insn = &walk->prog->insns[walk->at];
	char text[128];

	say_line(walk);
	disasm(insn, text, sizeof(text));
	walk_say(walk, "%u: %s\n", walk->at, text);
	walk->slots_touched = slots_of(walk, insn);
	walk->width = (uint32_t)snprintf(NULL, 0, "%u: %s", walk->at, text) + 1;
	walk->said = walk->text.dropped + walk->text.len;
	walk->frame_before = walk->state.caller_cnt;
	if (insn->code == (BPF_JMP | BPF_EXIT) && walk->frame_before)
		say_frame(walk, "returning from callee:\n", walk->frame_before);
}

/* What is known goes to the end of the instruction's line, unless something was said since. */
void steps_after(struct walk *walk, uint32_t next)
{
	uint32_t width = walk->width, column = width + 4 > COLUMN ? width + 4 : COLUMN;
	uint16_t reads, writes;
	struct line line;

	if (walk->frame_before < walk->state.caller_cnt)
		say_call(walk);
	else if (walk->frame_before > walk->state.caller_cnt)
		say_return(walk, next);
	if (walk->frame_before != walk->state.caller_cnt)
		return;
	insn_uses(&walk->prog->insns[walk->at], &reads, &writes);
	line.len = 0;
	line.text[0] = '\0';
	add_state(&line, walk, walk->state.caller_cnt, reads | writes, walk->slots_touched);
	if (!line.len || !walk->text.len)
		return;
	if (walk->text.dropped + walk->text.len != walk->said) {
		walk_say(walk, "%u:%s\n", next, line.text);
		return;
	}
	walk->text.len--; /* the line's end */
	column = (column + 7) / 8 * 8;
	walk_say(walk, "%*c;%s\n", (int)(column - width - 1), ' ', line.text);
}

void steps_safe(struct walk *walk)
{
	if (steps_wanted(walk))
		walk_say(walk, "%u: safe\n", walk->at);
}
