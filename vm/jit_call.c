/* SPDX-License-Identifier: MIT */
/*
 * Helper calls, called by jit_flow.c. A helper is a function of the runtime with the five argument
 * registers and the run; some are a load or two and are built in place. Functions of the
 * program are functions of LLVM's.
 *
 * r1 to r5 are 0 after a call. The verifier lets nobody read them then; the point is that no value
 * has to be kept over the call for them.
 */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "vm/jit_unit.h"

#define HELPER_NAME(name) [BPF_FUNC_##name] = #name
static const char *const helper_names[] = {__BPF_FUNC_MAPPER(HELPER_NAME)};
#undef HELPER_NAME

#define HELPER_SYMBOL_MAX 64

/* How many arguments a helper takes; registers behind them are not set up. Absent: all five. */
#define ARGUMENTS(cnt) ((cnt) + 1)
static const uint8_t argument_cnts[] = {
	[BPF_FUNC_map_lookup_elem] = ARGUMENTS(2),
	[BPF_FUNC_map_update_elem] = ARGUMENTS(4),
	[BPF_FUNC_map_lookup_percpu_elem] = ARGUMENTS(3),
	[BPF_FUNC_ktime_get_tai_ns] = ARGUMENTS(0),
	[BPF_FUNC_map_delete_elem] = ARGUMENTS(2),
	[BPF_FUNC_probe_read] = ARGUMENTS(3),
	[BPF_FUNC_probe_read_str] = ARGUMENTS(3),
	[BPF_FUNC_probe_read_user] = ARGUMENTS(3),
	[BPF_FUNC_probe_read_user_str] = ARGUMENTS(3),
	[BPF_FUNC_ktime_get_ns] = ARGUMENTS(0),
	[BPF_FUNC_ktime_get_boot_ns] = ARGUMENTS(0),
	[BPF_FUNC_get_prandom_u32] = ARGUMENTS(0),
	[BPF_FUNC_get_current_pid_tgid] = ARGUMENTS(0),
	[BPF_FUNC_get_current_uid_gid] = ARGUMENTS(0),
	[BPF_FUNC_get_current_comm] = ARGUMENTS(2),
	[BPF_FUNC_get_current_cgroup_id] = ARGUMENTS(0),
	[BPF_FUNC_get_stackid] = ARGUMENTS(3),
	[BPF_FUNC_loop] = ARGUMENTS(4),
	[BPF_FUNC_for_each_map_elem] = ARGUMENTS(4),
	[BPF_FUNC_trace_vprintk] = ARGUMENTS(4),
	[BPF_FUNC_strncmp] = ARGUMENTS(3),
	[BPF_FUNC_strtol] = ARGUMENTS(4),
	[BPF_FUNC_strtoul] = ARGUMENTS(4),
	[BPF_FUNC_get_stack] = ARGUMENTS(4),
	[BPF_FUNC_get_ns_current_pid_tgid] = ARGUMENTS(4),
	[BPF_FUNC_probe_write_user] = ARGUMENTS(3),
	[BPF_FUNC_copy_from_user] = ARGUMENTS(3),
	[BPF_FUNC_send_signal] = ARGUMENTS(1),
	[BPF_FUNC_send_signal_thread] = ARGUMENTS(1),
	[BPF_FUNC_ktime_get_coarse_ns] = ARGUMENTS(0),
	[BPF_FUNC_jiffies64] = ARGUMENTS(0),
	[BPF_FUNC_map_push_elem] = ARGUMENTS(3),
	[BPF_FUNC_map_pop_elem] = ARGUMENTS(2),
	[BPF_FUNC_map_peek_elem] = ARGUMENTS(2),
	[BPF_FUNC_ringbuf_output] = ARGUMENTS(4),
	[BPF_FUNC_ringbuf_reserve] = ARGUMENTS(3),
	[BPF_FUNC_ringbuf_submit] = ARGUMENTS(2),
	[BPF_FUNC_ringbuf_discard] = ARGUMENTS(2),
	[BPF_FUNC_ringbuf_query] = ARGUMENTS(2),
	[BPF_FUNC_dynptr_from_mem] = ARGUMENTS(4),
	[BPF_FUNC_ringbuf_reserve_dynptr] = ARGUMENTS(4),
	[BPF_FUNC_ringbuf_submit_dynptr] = ARGUMENTS(2),
	[BPF_FUNC_ringbuf_discard_dynptr] = ARGUMENTS(2),
	[BPF_FUNC_dynptr_data] = ARGUMENTS(3),
};

static unsigned argument_cnt(uint32_t helper)
{
	if (helper >= ARRAY_SIZE(argument_cnts) || argument_cnts[helper] == 0)
		return 5;
	return argument_cnts[helper] - 1u;
}

static LLVMValueRef run_field(struct jit_unit *unit, size_t offset, LLVMTypeRef type)
{
	LLVMValueRef at = jit_const(unit, offset);
	LLVMValueRef field = LLVMBuildGEP2(unit->builder, unit->i8, unit->run, &at, 1, "");
	LLVMValueRef load = LLVMBuildLoad2(unit->builder, type, field, "");

	return LLVMBuildZExt(unit->builder, load, unit->i64, "");
}

/* The key that r2 points to, once: the bounds check and the address use the same value. */
static LLVMValueRef read_index(struct jit_unit *unit)
{
	return LLVMBuildZExt(unit->builder, jit_read(unit, BPF_REG_2, 0, BPF_W), unit->i64, "");
}

/*
 * bpf_map_lookup_elem() of an array: the value's address, or 0 behind the last. The record in
 * the code part says the same of the map as @map here.
 */
static void lookup_in_place(struct jit_unit *unit, int32_t index)
{
	const struct region_map *map = &unit->prog->maps[index];
	const bool percpu = map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
	const uint64_t stride = (uint64_t)map->value_stride * (percpu ? map->slots : 1);
	LLVMBuilderRef b = unit->builder;
	LLVMValueRef key = read_index(unit);
	LLVMValueRef inside, offset, slot, address;
	char name[HELPER_SYMBOL_MAX];

	inside = LLVMBuildICmp(b, LLVMIntULT, key, jit_const(unit, map->max_entries), "");
	offset = LLVMBuildMul(b, key, jit_const(unit, stride), "");
	if (percpu) {
		slot = run_field(unit, offsetof(struct rt_run, slot), unit->i32);
		slot = LLVMBuildMul(b, slot, jit_const(unit, map->value_stride), "");
		offset = LLVMBuildAdd(b, offset, slot, "");
	}
	snprintf(name, sizeof(name), "data.%d", index);
	/* Inside of the map's memory, so never 0: the program's own test for that goes away. */
	address = LLVMBuildInBoundsGEP2(b, unit->i8, jit_symbol(unit, name), &offset, 1, "");
	address = LLVMBuildPtrToInt(b, address, unit->i64, "");
	jit_set(unit, BPF_REG_0, LLVMBuildSelect(b, inside, address, jit_const(unit, 0), ""));
}

static bool is_array(const struct jit_unit *unit, const struct jit_tag *tag)
{
	const struct region_map *map;

	if (tag->kind != JIT_TAG_MAP)
		return false;
	map = &unit->prog->maps[tag->value];
	return map->type == BPF_MAP_TYPE_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* Return: whether the helper was built here. */
static bool call_in_place(struct jit_unit *unit, int32_t helper)
{
	switch (helper) {
	case BPF_FUNC_tail_call:
		jit_tail_call(unit);
		return true;
	case BPF_FUNC_map_lookup_elem:
		if (!is_array(unit, &unit->tags[BPF_REG_1]))
			return false;
		lookup_in_place(unit, unit->tags[BPF_REG_1].value);
		return true;
	case BPF_FUNC_get_attach_cookie:
		jit_set(unit, BPF_REG_0,
			run_field(unit, offsetof(struct rt_run, cookie), unit->i64));
		return true;
	case BPF_FUNC_get_smp_processor_id:
		jit_set(unit, BPF_REG_0, run_field(unit, offsetof(struct rt_run, slot), unit->i32));
		return true;
	default:
		return false;
	}
}

LLVMValueRef jit_declare(struct jit_unit *unit, const char *symbol, LLVMTypeRef type)
{
	LLVMValueRef function = LLVMGetNamedFunction(unit->module, symbol);

	if (function)
		return function;
	function = LLVMAddFunction(unit->module, symbol, type);
	/* Not to be looked up through a table of addresses: it stands at a known distance. */
	LLVMSetVisibility(function, LLVMHiddenVisibility);
	LLVMAddAttributeAtIndex(
		function, LLVMAttributeFunctionIndex,
		LLVMCreateEnumAttribute(unit->context,
					LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
	return function;
}

static int call_runtime(struct jit_unit *unit, uint32_t helper, const char *name)
{
	LLVMTypeRef params[] = {unit->i64, unit->i64, unit->i64,
				unit->i64, unit->i64, unit->pointer};
	LLVMValueRef args[ARRAY_SIZE(params)];
	char symbol[HELPER_SYMBOL_MAX];
	LLVMTypeRef type;

	snprintf(symbol, sizeof(symbol), "rt_%s", name);
	if (unit->resolve(symbol, unit->data) == 0)
		return reason_set(unit->reason, -EOPNOTSUPP,
				  "helper %s#%u cannot run in a process: the runtime does not have "
				  "it",
				  name, helper);
	for (unsigned i = 0; i < 5; i++)
		args[i] = i < argument_cnt(helper) ? jit_get(unit, BPF_REG_1 + i)
						   : LLVMGetUndef(unit->i64);
	args[5] = unit->run;
	type = LLVMFunctionType(unit->i64, params, ARRAY_SIZE(params), false);
	jit_set(unit, BPF_REG_0,
		LLVMBuildCall2(unit->builder, type, jit_declare(unit, symbol, type), args,
			       ARRAY_SIZE(args), ""));
	return 0;
}

static void clear_arguments(struct jit_unit *unit)
{
	for (unsigned i = BPF_REG_1; i <= BPF_REG_5; i++)
		jit_set(unit, i, jit_const(unit, 0));
}

/* r6 to r9 and the stack are each function's own, so that nothing has to be kept here. */
static int call_function(struct jit_unit *unit, uint32_t at)
{
	LLVMValueRef function = unit->functions[jit_call_target(unit, at)];
	LLVMValueRef args[6];

	for (unsigned i = 0; i < 5; i++)
		args[i] = jit_get(unit, BPF_REG_1 + i);
	args[5] = unit->run;
	jit_set(unit, BPF_REG_0,
		LLVMBuildCall2(unit->builder, LLVMGlobalGetValueType(function), function, args,
			       ARRAY_SIZE(args), ""));
	clear_arguments(unit);
	return 0;
}

int jit_call(struct jit_unit *unit, uint32_t at)
{
	const struct bpf_insn *insn = &unit->prog->insns[at];
	const uint32_t helper = (uint32_t)insn->imm;
	const char *name = helper < ARRAY_SIZE(helper_names) ? helper_names[helper] : NULL;
	int r = 0;

	if (insn->src_reg == BPF_PSEUDO_CALL)
		return call_function(unit, at);
	if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
		return jit_refuse(unit, at, "a call of a kernel function");
	if (insn->src_reg != 0 || BPF_SRC(insn->code) != BPF_K)
		return jit_refuse(unit, at, "a kind of call");
	if (helper == BPF_FUNC_unspec || !name)
		return reason_set(unit->reason, -EOPNOTSUPP, "helper#%u is not known", helper);
	if (!call_in_place(unit, insn->imm))
		r = call_runtime(unit, helper, name);
	clear_arguments(unit);
	return r;
}
