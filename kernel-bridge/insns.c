/* SPDX-License-Identifier: MIT */
/*
 * Edit engine over eBPF instruction arrays. Called by guard.c; never makes a system call and
 * never trusts a distance, count or record size of the program it edits.
 */
#include "kernel-bridge/insns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Per original instruction, where its parts went. One spare element stands for the end. */
struct place {
	uint32_t entry; /* first instruction of all that was emitted for it */
	uint32_t jump;	/* where jumps to it land: after a prologue */
	uint32_t body;	/* itself, or the first instruction of its replacement */
	bool replaced;
};

enum insn_ref insn_ref(const struct bpf_insn *insn)
{
	uint8_t class = BPF_CLASS(insn->code);
	uint8_t op = BPF_OP(insn->code);

	if (insn_is_ld_imm64(insn))
		return insn->src_reg == BPF_PSEUDO_FUNC ? INSN_REF_FUNC : INSN_REF_NONE;
	if (class != BPF_JMP && class != BPF_JMP32)
		return INSN_REF_NONE;
	if (op == BPF_EXIT)
		return INSN_REF_NONE;
	if (op == BPF_CALL) {
		bool pseudo =
			insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL;

		return pseudo ? INSN_REF_CALL : INSN_REF_NONE;
	}
	if (op == BPF_JA) {
		if (BPF_SRC(insn->code) != BPF_K)
			return INSN_REF_TABLE;
		return class == BPF_JMP32 ? INSN_REF_IMM : INSN_REF_OFF;
	}
	return INSN_REF_OFF;
}

int64_t insn_target(const struct bpf_insn *insn, uint32_t idx)
{
	int64_t delta = insn_ref(insn) == INSN_REF_OFF ? insn->off : insn->imm;

	return (int64_t)idx + 1 + delta;
}

void insns_prog_deinit(struct insns_prog *prog)
{
	free(prog->insns);
	free(prog->func_info.data);
	free(prog->line_info.data);
	free(prog->core_relos.data);
	*prog = (struct insns_prog){0};
}

void insns_edits_deinit(struct insns_edits *edits)
{
	free(edits->edits);
	free(edits->pool);
	*edits = (struct insns_edits){0};
}

/* Makes room for @more elements; doubling keeps the total cost linear. */
static int grow(void **array, uint32_t *cap, uint32_t used, uint32_t more, size_t size)
{
	uint32_t want = *cap ? *cap : 64;
	void *p;

	if (used + more <= *cap)
		return 0;
	while (want < used + more)
		want *= 2;
	p = reallocarray(*array, want, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*cap = want;
	return 0;
}

int insns_edits_add(struct insns_edits *edits, uint32_t at, enum insns_edit_kind kind,
		    const struct bpf_insn *seq, uint32_t cnt)
{
	int r;

	if (cnt == 0)
		return -EINVAL;
	if (cnt > INSNS_MAX || edits->pool_cnt + cnt > INSNS_MAX)
		return -E2BIG;
	if (edits->cnt > 0) {
		const struct insns_edit *last = &edits->edits[edits->cnt - 1];

		if (at < last->at || (at == last->at && kind < last->kind))
			return -EINVAL;
		if (at == last->at && kind == INSNS_REPLACE && last->kind == INSNS_REPLACE)
			return -EINVAL;
	}
	r = grow((void **)&edits->edits, &edits->cap, edits->cnt, 1, sizeof(*edits->edits));
	if (r < 0)
		return r;
	r = grow((void **)&edits->pool, &edits->pool_cap, edits->pool_cnt, cnt,
		 sizeof(*edits->pool));
	if (r < 0)
		return r;
	memcpy(&edits->pool[edits->pool_cnt], seq, cnt * sizeof(*seq));
	edits->edits[edits->cnt++] = (struct insns_edit){
		.at = at,
		.kind = kind,
		.start = edits->pool_cnt,
		.cnt = cnt,
	};
	edits->pool_cnt += cnt;
	return 0;
}

/* Every instruction names only instructions of the program, and every ld_imm64 is whole. */
static int check_insns(const struct bpf_insn *insns, uint32_t cnt, struct reason *reason)
{
	if (cnt == 0 || cnt > INSNS_MAX)
		return reason_set(reason, cnt ? -E2BIG : -EINVAL, "program of %u instructions",
				  cnt);
	for (uint32_t i = 0; i < cnt; i++) {
		enum insn_ref ref = insn_ref(&insns[i]);

		if (ref == INSN_REF_TABLE)
			return reason_set(reason, -EINVAL,
					  "computed jump at instruction %u cannot be rewritten", i);
		if (ref != INSN_REF_NONE) {
			int64_t target = insn_target(&insns[i], i);

			if (target < 0 || target >= cnt)
				return reason_set(reason, -EINVAL,
						  "instruction %u refers to %lld, outside of the "
						  "program",
						  i, (long long)target);
		}
		if (insn_is_ld_imm64(&insns[i])) {
			if (++i == cnt)
				return reason_set(reason, -EINVAL,
						  "second half of ld_imm64 missing at the end");
		}
	}
	return 0;
}

/* Lays out the new program: fills @places (@cnt + 1 elements). */
static int lay_out(const struct insns_prog *prog, const struct insns_edits *edits,
		   struct place *places, struct reason *reason)
{
	uint64_t pos = 0;
	uint32_t e = 0;
	bool second_half = false;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		struct place *p = &places[i];

		*p = (struct place){.entry = pos, .jump = pos, .body = pos};
		for (; e < edits->cnt && edits->edits[e].at == i; e++) {
			const struct insns_edit *edit = &edits->edits[e];

			/* Splitting an ld_imm64, or replacing half of it, is a caller's bug. */
			if (second_half ||
			    (edit->kind == INSNS_REPLACE && insn_is_ld_imm64(&prog->insns[i])))
				return reason_set(reason, -EINVAL, "edit inside ld_imm64 at %u", i);
			pos += edit->cnt;
			if (edit->kind == INSNS_PROLOGUE)
				p->jump = pos;
			if (edit->kind == INSNS_REPLACE)
				p->replaced = true;
			else
				p->body = pos;
		}
		if (!p->replaced)
			pos++;
		second_half = !second_half && insn_is_ld_imm64(&prog->insns[i]);
	}
	if (e < edits->cnt)
		return reason_set(reason, -EINVAL, "edit past the program's end");
	if (pos > INSNS_MAX)
		return reason_set(reason, -E2BIG, "program grows to %llu instructions, limit %u",
				  (unsigned long long)pos, INSNS_MAX);
	places[prog->cnt] = (struct place){.entry = pos, .jump = pos, .body = pos};
	return 0;
}

/* Rewrites the distance of the kept instruction @idx, a checked one, to its target's new place. */
static int fix_ref(const struct insns_prog *prog, const struct place *places, uint32_t idx,
		   struct bpf_insn *insn, struct reason *reason)
{
	enum insn_ref ref = insn_ref(insn);
	const struct place *target;
	int64_t delta;

	if (ref == INSN_REF_NONE)
		return 0;
	target = &places[insn_target(&prog->insns[idx], idx)];
	if (ref == INSN_REF_CALL || ref == INSN_REF_FUNC)
		delta = (int64_t)target->entry - places[idx].body - 1;
	else
		delta = (int64_t)target->jump - places[idx].body - 1;
	if (ref != INSN_REF_OFF) {
		insn->imm = (int32_t)delta; /* fits: |delta| <= INSNS_MAX */
		return 0;
	}
	if (delta < INT16_MIN || delta > INT16_MAX)
		return reason_set(reason, -E2BIG,
				  "jump at instruction %u becomes too long (%lld) with the guard "
				  "code in between",
				  idx, (long long)delta);
	insn->off = (int16_t)delta;
	return 0;
}

static int emit(const struct insns_prog *prog, const struct insns_edits *edits,
		const struct place *places, struct bpf_insn *out, struct reason *reason)
{
	bool second_half = false;
	uint32_t e = 0;
	int r;

	for (uint32_t i = 0; i < prog->cnt; i++) {
		uint32_t pos = places[i].entry;

		for (; e < edits->cnt && edits->edits[e].at == i; e++) {
			const struct insns_edit *edit = &edits->edits[e];

			memcpy(&out[pos], &edits->pool[edit->start], edit->cnt * sizeof(*out));
			pos += edit->cnt;
		}
		if (places[i].replaced)
			continue;
		out[pos] = prog->insns[i];
		if (second_half) {
			second_half = false;
			continue;
		}
		r = fix_ref(prog, places, i, &out[pos], reason);
		if (r < 0)
			return r;
		second_half = insn_is_ld_imm64(&prog->insns[i]);
	}
	return 0;
}

/*
 * Copies records and moves their positions. @unit is the bytes a position counts per step: 1 for
 * instruction indexes, sizeof(struct bpf_insn) for byte offsets, which follow the instruction
 * itself because what is relocated is the instruction, not what was put before it.
 */
static int move_records(const struct insns_records *in, const struct place *places, uint32_t cnt,
			uint32_t unit, const char *what, struct insns_records *out,
			struct reason *reason)
{
	cleanup_free char *data = NULL;

	*out = (struct insns_records){.rec_size = in->rec_size};
	if (in->cnt == 0)
		return 0;
	if (in->rec_size < sizeof(uint32_t) || in->rec_size % sizeof(uint32_t))
		return reason_set(reason, -EINVAL, "%s record size %u", what, in->rec_size);
	data = reallocarray(NULL, in->cnt, in->rec_size);
	if (!data)
		return -ENOMEM;
	memcpy(data, in->data, (size_t)in->cnt * in->rec_size);
	for (uint32_t i = 0; i < in->cnt; i++) {
		char *rec = data + (size_t)i * in->rec_size;
		uint32_t pos;

		memcpy(&pos, rec, sizeof(pos));
		if (pos % unit || pos / unit >= cnt)
			return reason_set(reason, -EINVAL, "%s #%u names position %u", what, i,
					  pos);
		pos = unit == 1 ? places[pos].entry : places[pos / unit].body * unit;
		memcpy(rec, &pos, sizeof(pos));
	}
	out->data = take_ptr(&data);
	out->cnt = in->cnt;
	return 0;
}

static int apply(const struct insns_prog *prog, const struct insns_edits *edits,
		 struct place *places, struct insns_prog *out, struct reason *reason)
{
	int r;

	r = check_insns(prog->insns, prog->cnt, reason);
	if (r < 0)
		return r;
	r = lay_out(prog, edits, places, reason);
	if (r < 0)
		return r;
	out->cnt = places[prog->cnt].entry;
	out->insns = reallocarray(NULL, out->cnt, sizeof(*out->insns));
	if (!out->insns)
		return -ENOMEM;
	r = emit(prog, edits, places, out->insns, reason);
	if (r < 0)
		return r;
	r = move_records(&prog->func_info, places, prog->cnt, 1, "func_info", &out->func_info,
			 reason);
	if (r < 0)
		return r;
	r = move_records(&prog->line_info, places, prog->cnt, 1, "line_info", &out->line_info,
			 reason);
	if (r < 0)
		return r;
	return move_records(&prog->core_relos, places, prog->cnt, sizeof(struct bpf_insn),
			    "core_relo", &out->core_relos, reason);
}

int insns_apply(const struct insns_prog *prog, const struct insns_edits *edits,
		struct insns_prog *ret_prog, struct reason *reason)
{
	cleanup_free struct place *places = NULL;
	struct insns_prog out = {0};
	int r;

	if (prog->cnt > INSNS_MAX)
		return reason_set(reason, -E2BIG, "program of %u instructions", prog->cnt);
	places = reallocarray(NULL, (size_t)prog->cnt + 1, sizeof(*places));
	if (!places)
		return -ENOMEM;
	r = apply(prog, edits, places, &out, reason);
	if (r < 0) {
		insns_prog_deinit(&out);
		return r;
	}
	*ret_prog = out;
	return 0;
}

int insns_subprogs(const struct bpf_insn *insns, uint32_t cnt, uint32_t **ret_starts,
		   uint32_t *ret_cnt, struct reason *reason)
{
	cleanup_free bool *is_start = NULL;
	uint32_t *starts;
	uint32_t n = 1, k = 0;
	int r;

	r = check_insns(insns, cnt, reason);
	if (r < 0)
		return r;
	is_start = calloc(cnt, sizeof(*is_start));
	if (!is_start)
		return -ENOMEM;
	is_start[0] = true;
	for (uint32_t i = 0; i < cnt; i++) {
		enum insn_ref ref = insn_ref(&insns[i]);

		if (ref == INSN_REF_CALL || ref == INSN_REF_FUNC) {
			bool *start = &is_start[insn_target(&insns[i], i)];

			n += !*start;
			*start = true;
		}
		i += insn_is_ld_imm64(&insns[i]);
	}
	starts = reallocarray(NULL, n, sizeof(*starts));
	if (!starts)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++)
		if (is_start[i])
			starts[k++] = i;
	*ret_starts = starts;
	*ret_cnt = n;
	return 0;
}
