/* SPDX-License-Identifier: MIT */
/*
 * See runtime.h. A helper whose arguments are not described here is refused: nothing that it reads
 * or writes would have been looked at.
 */
#include "vm/interp/runtime.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "vm/interp/run.h"
#include "vm/runtime/dynptr.h"
#include "vm/runtime/helpers.h"
#include "vm/runtime/map.h"

#define GRANTS_MAX 65536u
#define TEXT_MAX   4096u
#define RDONLY	   (1u << 7) /* BPF_F_RDONLY_PROG */
#define WRONLY	   (1u << 8) /* BPF_F_WRONLY_PROG */

enum result { RESULT_NUMBER, RESULT_VALUE, RESULT_RECORD, RESULT_DYNPTR };

/**
 * struct signature - what a helper takes, a letter for each of r1 to r5, and what it gives
 *	m map; k key of that map; v value of it; V the same, to be written
 *	i bytes, to be read, whose number is in the next register; o the same, to be written
 *	n a number of 64 bits, to be written; s text up to its end
 *	f function; r record; c context with the addresses of a packet; . anything
 *	d dynptr to be made; D one; R one of a record, which is given back
 */
struct signature {
	const char *args;
	enum result result;
};

static const struct signature signatures[INTERP_HELPERS] = {
	[BPF_FUNC_map_lookup_elem] = {"mk", RESULT_VALUE},
	[BPF_FUNC_map_update_elem] = {"mkv."},
	[BPF_FUNC_map_delete_elem] = {"mk"},
	[BPF_FUNC_probe_read] = {"o.."},
	[BPF_FUNC_ktime_get_ns] = {""},
	[BPF_FUNC_trace_printk] = {"i...."},
	[BPF_FUNC_get_prandom_u32] = {""},
	[BPF_FUNC_get_smp_processor_id] = {""},
	[BPF_FUNC_skb_store_bytes] = {"c.i."},
	[BPF_FUNC_get_current_pid_tgid] = {""},
	[BPF_FUNC_get_current_uid_gid] = {""},
	[BPF_FUNC_get_current_comm] = {"o."},
	[BPF_FUNC_perf_event_output] = {".m.i."},
	[BPF_FUNC_skb_load_bytes] = {"c.o."},
	[BPF_FUNC_get_stackid] = {".m."},
	[BPF_FUNC_probe_write_user] = {".i."},
	[BPF_FUNC_get_numa_node_id] = {""},
	[BPF_FUNC_probe_read_str] = {"o.."},
	[BPF_FUNC_get_stack] = {".o.."},
	[BPF_FUNC_skb_load_bytes_relative] = {"c.o.."},
	[BPF_FUNC_get_current_cgroup_id] = {""},
	[BPF_FUNC_map_push_elem] = {"mv."},
	[BPF_FUNC_map_pop_elem] = {"mV"},
	[BPF_FUNC_map_peek_elem] = {"mV"},
	[BPF_FUNC_strtol] = {"i..n"},
	[BPF_FUNC_strtoul] = {"i..n"},
	[BPF_FUNC_send_signal] = {"."},
	[BPF_FUNC_probe_read_user] = {"o.."},
	[BPF_FUNC_probe_read_user_str] = {"o.."},
	[BPF_FUNC_send_signal_thread] = {"."},
	[BPF_FUNC_jiffies64] = {""},
	[BPF_FUNC_get_ns_current_pid_tgid] = {"..o."},
	[BPF_FUNC_ktime_get_boot_ns] = {""},
	[BPF_FUNC_ringbuf_output] = {"mi.."},
	[BPF_FUNC_ringbuf_reserve] = {"m..", RESULT_RECORD},
	[BPF_FUNC_ringbuf_submit] = {"r."},
	[BPF_FUNC_ringbuf_discard] = {"r."},
	[BPF_FUNC_ringbuf_query] = {"m."},
	[BPF_FUNC_copy_from_user] = {"o.."},
	[BPF_FUNC_ktime_get_coarse_ns] = {""},
	[BPF_FUNC_for_each_map_elem] = {"mf.."},
	[BPF_FUNC_snprintf] = {"o.si."},
	[BPF_FUNC_get_func_ip] = {"."},
	[BPF_FUNC_get_attach_cookie] = {"."},
	[BPF_FUNC_trace_vprintk] = {"i.i."},
	[BPF_FUNC_loop] = {".f.."},
	[BPF_FUNC_strncmp] = {"i.s"},
	[BPF_FUNC_map_lookup_percpu_elem] = {"mk.", RESULT_VALUE},
	[BPF_FUNC_dynptr_from_mem] = {"o..d"},
	[BPF_FUNC_ringbuf_reserve_dynptr] = {"m..d", RESULT_DYNPTR},
	[BPF_FUNC_ringbuf_submit_dynptr] = {"R."},
	[BPF_FUNC_ringbuf_discard_dynptr] = {"R."},
	[BPF_FUNC_dynptr_read] = {"o.D.."},
	[BPF_FUNC_dynptr_write] = {"D.i.."},
	[BPF_FUNC_dynptr_data] = {"D.."},
	[BPF_FUNC_ktime_get_tai_ns] = {""},
};

static void grant(struct interp_run *run, struct interp_grant grant)
{
	struct interp_runtime *runtime = interp_data(run);

	for (uint32_t i = 0; i < runtime->grant_cnt; i++)
		if (runtime->grants[i].start == grant.start && runtime->grants[i].len == grant.len)
			return;
	if (runtime->grant_cnt == runtime->grant_cap) {
		uint32_t cap = runtime->grant_cap ? 2 * runtime->grant_cap : 16;
		struct interp_grant *grown =
			cap <= GRANTS_MAX ? realloc(runtime->grants, cap * sizeof(*grown)) : NULL;

		if (!grown) {
			interp_refuse(run, -ENOMEM, "too many values and records at once");
			return;
		}
		runtime->grants = grown;
		runtime->grant_cap = cap;
	}
	runtime->grants[runtime->grant_cnt++] = grant;
}

/* Wherever a helper says that it is: whoever shares the map's memory may have written anything
 * there, and what the helper made of that is looked at as well. */
static bool is_in_map(const struct interp_runtime *runtime, const struct region_map *map,
		      uint64_t start, uint64_t len)
{
	const uint64_t at = start - (uint64_t)runtime->run.base - map->data;

	return at <= map->data_size && map->data_size - at >= len;
}

static void grant_in_map(struct interp_run *run, const struct region_map *map, uint64_t start,
			 uint64_t len, uint32_t flags)
{
	const struct interp_runtime *runtime = interp_data(run);

	if (!is_in_map(runtime, map, start, len)) {
		interp_refuse(run, -EFAULT, "a helper gave %#llx, which is not the map's",
			      (unsigned long long)start);
		return;
	}
	grant(run, (struct interp_grant){.start = start,
					 .len = len,
					 .map = map,
					 .readable = !(flags & WRONLY),
					 .writable = !(flags & RDONLY)});
}

static bool leads_to_maps(const struct region_map *map)
{
	return map->type == MAP_TYPE_ARRAY_OF_MAPS || map->type == MAP_TYPE_HASH_OF_MAPS;
}

static void grant_value(struct interp_run *run, const struct region_map *map, uint64_t value)
{
	/* A map is nothing to be read, only to be handed to helpers. */
	if (leads_to_maps(map))
		grant(run, (struct interp_grant){.start = value, .map = map, .is_map = true});
	else
		grant_in_map(run, map, value, map->value_size, map->flags);
}

static bool is_granted(const struct interp_grant *grant, uint64_t address, uint64_t len, bool write)
{
	return address - grant->start < grant->len &&
	       grant->len - (address - grant->start) >= len &&
	       (write ? grant->writable : grant->readable);
}

static bool allows(void *data, uint64_t address, uint64_t len, bool write)
{
	struct interp_runtime *runtime = data;

	/* Mostly it is the one it was before. */
	if (runtime->last < runtime->grant_cnt &&
	    is_granted(&runtime->grants[runtime->last], address, len, write))
		return true;
	for (uint32_t i = 0; i < runtime->grant_cnt; i++) {
		runtime->last = i;
		if (is_granted(&runtime->grants[i], address, len, write))
			return true;
	}
	return false;
}

/* One that the program names, or that another map led to. */
static const struct region_map *find_map(const struct interp_runtime *runtime, uint64_t address)
{
	const uint64_t at = address - (uint64_t)runtime->maps;

	if (at % sizeof(struct region_map) == 0 &&
	    at / sizeof(struct region_map) < runtime->map_cnt)
		return (const void *)address;
	for (uint32_t i = 0; i < runtime->grant_cnt; i++)
		if (runtime->grants[i].start == address && runtime->grants[i].is_map)
			return (const void *)address;
	return NULL;
}

static bool is_record(const struct interp_runtime *runtime, uint64_t address)
{
	for (uint32_t i = 0; i < runtime->grant_cnt; i++)
		if (runtime->grants[i].start == address &&
		    runtime->grants[i].map->type == MAP_TYPE_RINGBUF)
			return true;
	return false;
}

static bool allows_text(const struct interp_run *run, uint64_t address)
{
	for (uint32_t i = 0; i < TEXT_MAX; i++) {
		if (!interp_allows(run, address + i, 1, false))
			return false;
		if (!*(const volatile char *)(address + i))
			return true;
	}
	return false;
}

/* That there is one, of memory that is the program's. */
static bool is_dynptr(struct interp_run *run, uint64_t address)
{
	const struct rt_dynptr *dynptr = (const void *)address;

	return interp_allows(run, address, sizeof(*dynptr), true) &&
	       (!dynptr->data || interp_allows(run, dynptr->data, dynptr->size, true));
}

/* One that was made for a program on packets, and the packet. */
static bool is_packet(const struct interp_run *run, uint64_t address)
{
	const struct __sk_buff *skb = (const void *)address;

	return interp_allows(run, address, sizeof(*skb), false) && skb->data <= skb->data_end &&
	       interp_allows(run, skb->data, skb->data_end - skb->data, true);
}

static bool check_argument(struct interp_run *run, char kind, const uint64_t *arg,
			   const struct region_map **map)
{
	const struct interp_runtime *runtime = interp_data(run);

	switch (kind) {
	case 'm':
		*map = find_map(runtime, *arg);
		return *map;
	case 'k':
		return interp_allows(run, *arg, (*map)->key_size, false);
	case 'v':
		return interp_allows(run, *arg, (*map)->value_size, false);
	case 'V': /* A filter is asked with a value. */
		return interp_allows(run, *arg, (*map)->value_size, (*map)->type != MAP_TYPE_BLOOM);
	case 'i':
	case 'o':
		return interp_allows(run, arg[0], arg[1], kind == 'o');
	case 'n':
		return interp_allows(run, *arg, sizeof(uint64_t), true);
	case 's':
		return allows_text(run, *arg);
	case 'f':
		return arg[0] >> 32 == INTERP_FUNCTION >> 32;
	case 'r':
		return is_record(runtime, *arg);
	case 'c':
		return is_packet(run, *arg);
	case 'd':
		return interp_allows(run, *arg, sizeof(struct rt_dynptr), true);
	case 'D':
		return is_dynptr(run, *arg);
	case 'R':
		return is_dynptr(run, *arg) &&
		       (!((const struct rt_dynptr *)*arg)->data ||
			is_record(runtime, ((const struct rt_dynptr *)*arg)->data));
	default:
		return true;
	}
}

static void drop_record(struct interp_runtime *runtime, uint64_t record)
{
	for (uint32_t i = 0; i < runtime->grant_cnt; i++)
		if (runtime->grants[i].start == record)
			runtime->grants[i--] = runtime->grants[--runtime->grant_cnt];
}

/* The key of an array's element stands on the runtime's stack. */
static void grant_key(struct interp_runtime *runtime, const struct region_map *map, uint64_t key)
{
	if (map_is_hash(map))
		grant_in_map(runtime->interp, map, key, map->key_size, RDONLY);
	else
		grant(runtime->interp,
		      (struct interp_grant){
			      .start = key, .len = map->key_size, .map = map, .readable = true});
}

static void grant_record(struct interp_run *run, const struct region_map *map, uint64_t record,
			 uint64_t size)
{
	grant(run, (struct interp_grant){.start = record,
					 .len = size,
					 .map = map,
					 .readable = true,
					 .writable = true});
}

/* The runtime calls this where compiled code has the program's function. */
static uint64_t call_back(RT_HELPER_ARGS)
{
	struct interp_runtime *runtime = container_of(run, struct interp_runtime, run);
	const uint64_t args[5] = {r1, r2, r3, r4, r5};
	const struct interp_runtime kept = *runtime;
	uint64_t r0 = 0;

	if (runtime->helper == BPF_FUNC_for_each_map_elem) {
		const struct region_map *map = (const void *)r1;

		grant_key(runtime, map, r2);
		grant_value(runtime->interp, map, r3);
	}
	if (runtime->interp->failed ||
	    interp_callback(runtime->interp, runtime->function, args, &r0) < 0)
		return 1;
	/* The callback may have called back itself. */
	runtime->function = kept.function;
	runtime->helper = kept.helper;
	return r0;
}

typedef uint64_t (*helper_fn)(RT_HELPER_ARGS);

static uint64_t call(struct interp_run *run, uint32_t number, helper_fn helper,
		     const uint64_t *args)
{
	const struct signature *signature = &signatures[number];
	struct interp_runtime *runtime = interp_data(run);
	const struct region_map *map = NULL;
	uint64_t a[6] = {args[0], args[1], args[2], args[3], args[4]}, r0;

	if (!signature->args)
		return interp_refuse(run, -EOPNOTSUPP, "what helper %u takes is not known here",
				     number);
	for (uint32_t i = 0; signature->args[i]; i++) {
		if (!check_argument(run, signature->args[i], &a[i], &map))
			return interp_refuse(run, -EFAULT,
					     "argument %u of helper %u is not the program's: %#llx",
					     i + 1, number, (unsigned long long)args[i]);
		if (signature->args[i] == 'f') {
			runtime->function = a[i];
			a[i] = (uint64_t)call_back;
		}
	}
	runtime->helper = number;
	runtime->interp = run;
	if (signature->args[0] == 'r')
		drop_record(runtime, a[0]);
	if (signature->args[0] == 'R')
		drop_record(runtime, ((const struct rt_dynptr *)a[0])->data);
	r0 = helper(a[0], a[1], a[2], a[3], a[4], &runtime->run);
	if (r0 && signature->result == RESULT_VALUE)
		grant_value(run, map, r0);
	else if (r0 && signature->result == RESULT_RECORD)
		grant_record(run, map, r0, a[1]);
	else if (!r0 && signature->result == RESULT_DYNPTR)
		grant_record(run, map, ((const struct rt_dynptr *)a[3])->data,
			     ((const struct rt_dynptr *)a[3])->size);
	return r0;
}

#define CALL(number, name)                                                                         \
	static uint64_t call_##name(struct interp_run *run, const uint64_t args[5])                \
	{                                                                                          \
		return call(run, number, rt_##name, args);                                         \
	}
RT_HELPERS(CALL)

#define ENTRY(number, name) [number] = call_##name,
static const interp_helper helpers[INTERP_HELPERS] = {RT_HELPERS(ENTRY)};

/* Such a value needs no lookup. */
static bool is_direct(const struct region_map *map)
{
	return map->type == MAP_TYPE_ARRAY && map->max_entries == 1;
}

static int constant(void *data, const struct bpf_insn *insn, uint64_t *ret_value)
{
	struct interp_runtime *runtime = data;
	const struct region_map *map;

	if ((uint32_t)insn->imm >= runtime->map_cnt)
		return -EBADF;
	map = &runtime->maps[insn->imm];
	if (insn->src_reg == BPF_PSEUDO_MAP_FD) {
		*ret_value = (uint64_t)map;
		return 0;
	}
	if (insn->src_reg != BPF_PSEUDO_MAP_VALUE || !is_direct(map) ||
	    (uint32_t)insn[1].imm >= map->value_size)
		return -EINVAL;
	*ret_value = (uint64_t)runtime->run.base + map->data + (uint32_t)insn[1].imm;
	return 0;
}

void interp_runtime_begin(struct interp_runtime *runtime, struct interp *interp)
{
	runtime->run.turns = 0;
	interp->helpers = helpers;
	interp->constant = constant;
	interp->allows = allows;
	interp->data = runtime;
	runtime->grant_cnt = 0;
	if (runtime->grant_cap < runtime->map_cnt) {
		struct interp_grant *grown =
			realloc(runtime->grants, runtime->map_cnt * sizeof(*grown));

		if (!grown)
			return; /* then such values are not the program's */
		runtime->grants = grown;
		runtime->grant_cap = runtime->map_cnt;
	}
	for (uint32_t i = 0; i < runtime->map_cnt; i++)
		if (is_direct(&runtime->maps[i]))
			runtime->grants[runtime->grant_cnt++] = (struct interp_grant){
				.start = (uint64_t)runtime->run.base + runtime->maps[i].data,
				.len = runtime->maps[i].value_size,
				.map = &runtime->maps[i],
				.readable = !(runtime->maps[i].flags & WRONLY),
				.writable = !(runtime->maps[i].flags & RDONLY)};
}

void interp_runtime_deinit(struct interp_runtime *runtime)
{
	free(runtime->grants);
	runtime->grants = NULL;
	runtime->grant_cnt = runtime->grant_cap = 0;
}
