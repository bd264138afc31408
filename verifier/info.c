/* SPDX-License-Identifier: MIT */
/*
 * What a program's BTF says of its functions and lines. Source: check_btf_func_early(),
 * check_btf_func(), check_btf_line(), check_abnormal_return(), kernel/bpf/verifier.c, Linux 6.12.
 */
#include <errno.h>
#include <string.h>

#include "verifier/internal.h"

#define FUNC_INFO_MIN sizeof(struct bpf_func_info)
#define LINE_INFO_MIN sizeof(struct bpf_line_info)
#define RECORD_MAX    252u /* MAX_FUNCINFO_REC_SIZE, MAX_LINEINFO_REC_SIZE */

static bool size_is_good(const struct verifier_records *records, size_t min)
{
	return records->size >= min && records->size <= RECORD_MAX && records->size % 4 == 0;
}

/* @known: bytes of it that mean something. Return: whether the others are 0 */
static bool get(const struct verifier_records *records, uint32_t index, void *ret, size_t known)
{
	const unsigned char *at =
		(const unsigned char *)records->data + (size_t)index * records->size;

	memcpy(ret, at, known);
	for (size_t i = known; i < records->size; i++)
		if (at[i])
			return false;
	return true;
}

static bool is_of_kind(const struct walk *walk, uint32_t id, uint32_t kind,
		       struct btf_type *ret_type)
{
	const unsigned char *tail;

	return id && btf_type_get(&walk->types, id, ret_type, &tail) &&
	       btf_kind_of(ret_type) == kind;
}

static int open_func(struct walk *walk, uint32_t index, uint32_t *previous)
{
	struct btf_type type;
	struct bpf_func_info info;

	if (!get(&walk->prog->info.funcs, index, &info, sizeof(info)))
		return walk_fail(walk, -E2BIG, "nonzero tailing record in func info");
	if (!index && info.insn_off)
		return walk_fail(walk, -EINVAL,
				 "nonzero insn_off %u for the first func info record",
				 info.insn_off);
	if (index && info.insn_off <= *previous)
		return walk_fail(walk, -EINVAL,
				 "same or smaller insn offset (%u) than previous func info record "
				 "(%u)",
				 info.insn_off, *previous);
	*previous = info.insn_off;
	if (!is_of_kind(walk, info.type_id, BTF_KIND_FUNC, &type))
		return walk_fail(walk, -EINVAL, "invalid type id %d in func info",
				 (int)info.type_id);
	return is_of_kind(walk, type.type, BTF_KIND_FUNC_PROTO, &type) ? 0 : -EINVAL;
}

int info_open(struct walk *walk)
{
	const struct verifier_info *info = &walk->prog->info;
	uint32_t previous = 0;
	int r;

	if (!info->funcs.cnt && !info->lines.cnt)
		return 0;
	r = btf_types_open(&walk->types, info->btf, info->btf_len);
	if (r < 0)
		return walk_fail(walk, r,
				 r == -EOPNOTSUPP
					 ? "not supported by this verifier: a kind of BTF type\n"
					 : "the program's BTF cannot be read\n");
	if (info->funcs.cnt && !size_is_good(&info->funcs, FUNC_INFO_MIN))
		return walk_fail(walk, -EINVAL, "invalid func info rec size %u\n",
				 info->funcs.size);
	for (uint32_t i = 0; i < info->funcs.cnt; i++) {
		r = open_func(walk, i, &previous);
		if (r < 0)
			return r;
	}
	return 0;
}

void info_close(struct walk *walk)
{
	btf_types_close(&walk->types);
}

static uint32_t end_of(const struct walk *walk, uint32_t subprog)
{
	return subprog + 1 < walk->subprog_cnt ? walk->subprogs[subprog + 1].start
					       : walk->prog->cnt;
}

static bool is_packet_load(const struct bpf_insn *insn)
{
	return BPF_CLASS(insn->code) == BPF_LD &&
	       (BPF_MODE(insn->code) == BPF_ABS || BPF_MODE(insn->code) == BPF_IND);
}

/* What makes a function return a number that it did not compute, NULL if nothing does. */
static const char *find_odd_return(const struct walk *walk, uint32_t subprog)
{
	const uint32_t end = end_of(walk, subprog);
	const char *odd = NULL;

	for (uint32_t i = walk->subprogs[subprog].start; i < end; i++) {
		const struct bpf_insn *insn = &walk->prog->insns[i];

		if (is_packet_load(insn))
			return "LD_ABS";
		if (insn_is_tail_call(insn))
			odd = "tail_call";
	}
	return odd;
}

static int refuse_odd_returns(struct walk *walk)
{
	for (uint32_t i = 1; i < walk->subprog_cnt; i++) {
		const char *odd = find_odd_return(walk, i);

		if (odd)
			return walk_fail(walk, -EINVAL,
					 "%s is not allowed in subprogs without BTF\n", odd);
	}
	return 0;
}

static bool returns_number(const struct walk *walk, uint32_t proto_id)
{
	const unsigned char *tail;
	struct btf_type type;
	uint32_t kind;

	if (!btf_type_get(&walk->types, proto_id, &type, &tail) ||
	    !btf_type_skip(&walk->types, type.type, &type, &tail))
		return false;
	kind = btf_kind_of(&type);
	return (kind == BTF_KIND_INT && type.size <= 8) || kind == BTF_KIND_ENUM ||
	       kind == BTF_KIND_ENUM64;
}

static int match_func(struct walk *walk, uint32_t index)
{
	struct subprog *subprog = &walk->subprogs[index];
	const unsigned char *tail;
	struct bpf_func_info info;
	struct btf_type type;
	const char *odd, *name;

	get(&walk->prog->info.funcs, index, &info, sizeof(info));
	if (info.insn_off != subprog->start)
		return walk_fail(
			walk, -EINVAL,
			"func_info BTF section doesn't match subprog layout in BPF program\n");
	btf_type_get(&walk->types, info.type_id, &type, &tail);
	name = btf_string(&walk->types, type.name_off);
	subprog->type_id = info.type_id;
	subprog->global = BTF_INFO_VLEN(type.info) == BTF_FUNC_GLOBAL;
	subprog->name = name ? name : "";
	odd = index && !returns_number(walk, type.type) ? find_odd_return(walk, index) : NULL;
	if (odd)
		return walk_fail(walk, -EINVAL,
				 "%s is only allowed in functions that return 'int'.\n", odd);
	return 0;
}

static int match_funcs(struct walk *walk)
{
	const uint32_t cnt = walk->prog->info.funcs.cnt;
	int r = 0;

	if (!cnt)
		return refuse_odd_returns(walk);
	if (cnt != walk->subprog_cnt)
		return walk_fail(walk, -EINVAL,
				 "number of funcs in func_info doesn't match number of subprogs\n");
	for (uint32_t i = 0; i < cnt && r == 0; i++)
		r = match_func(walk, i);
	return r;
}

static int match_line(struct walk *walk, uint32_t index, uint32_t *previous, uint32_t *subprog)
{
	struct bpf_line_info line;
	const uint32_t start =
		*subprog < walk->subprog_cnt ? walk->subprogs[*subprog].start : UINT32_MAX;

	if (!get(&walk->prog->info.lines, index, &line, sizeof(line)))
		return walk_fail(walk, -E2BIG, "nonzero tailing record in line_info");
	if ((index && line.insn_off <= *previous) || line.insn_off >= walk->prog->cnt)
		return walk_fail(
			walk, -EINVAL,
			"Invalid line_info[%u].insn_off:%u (prev_offset:%u prog->len:%u)\n", index,
			line.insn_off, *previous, walk->prog->cnt);
	if (!walk->prog->insns[line.insn_off].code)
		return walk_fail(walk, -EINVAL, "Invalid insn code at line_info[%u].insn_off\n",
				 index);
	if (!btf_string(&walk->types, line.line_off) ||
	    !btf_string(&walk->types, line.file_name_off))
		return walk_fail(walk, -EINVAL,
				 "Invalid line_info[%u].line_off or .file_name_off\n", index);
	if (line.insn_off > start)
		return walk_fail(walk, -EINVAL, "missing bpf_line_info for func#%u\n", *subprog);
	*subprog += line.insn_off == start;
	*previous = line.insn_off;
	return 0;
}

static int match_lines(struct walk *walk)
{
	const struct verifier_records *lines = &walk->prog->info.lines;
	uint32_t previous = 0, subprog = 0;

	if (!lines->cnt)
		return 0;
	if (!size_is_good(lines, LINE_INFO_MIN))
		return -EINVAL;
	for (uint32_t i = 0; i < lines->cnt; i++) {
		int r = match_line(walk, i, &previous, &subprog);

		if (r < 0)
			return r;
	}
	if (subprog != walk->subprog_cnt)
		return walk_fail(walk, -EINVAL,
				 "missing bpf_line_info for %u funcs starting from func#%u\n",
				 walk->subprog_cnt - subprog, subprog);
	return 0;
}

int info_match(struct walk *walk)
{
	int r;

	for (uint32_t i = 0; i < walk->subprog_cnt; i++)
		walk->subprogs[i].name = "";
	r = match_funcs(walk);
	return r < 0 ? r : match_lines(walk);
}

void info_get_line(const struct walk *walk, uint32_t line, struct bpf_line_info *ret_line)
{
	get(&walk->prog->info.lines, line - 1, ret_line, sizeof(*ret_line));
}

uint32_t info_find_line(const struct walk *walk, uint32_t at)
{
	uint32_t low = 0, high = walk->prog->info.lines.cnt;

	/* How many do not stand behind it. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct bpf_line_info line;

		info_get_line(walk, middle + 1, &line);
		if (line.insn_off <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
