/* SPDX-License-Identifier: MIT */
/*
 * Helpers as data. Source of arguments and licenses: struct bpf_func_proto of each,
 * kernel/bpf/helpers.c and kernel/trace/bpf_trace.c, Linux 6.12.
 */
#include "verifier/helpers.h"

#include <linux/bpf.h>
#include <stddef.h>

#define TYPE(t) (1ull << BPF_MAP_TYPE_##t)
#define ELEMENTS                                                                                   \
	(TYPE(HASH) | TYPE(ARRAY) | TYPE(PERCPU_HASH) | TYPE(PERCPU_ARRAY) | TYPE(LRU_HASH) |      \
	 TYPE(LRU_PERCPU_HASH) | TYPE(LPM_TRIE))
/* Programs that may look at the task that runs, and where. Who it is any may ask by Linux 6.18;
 * where the kernel is older it says so. */
#define TRACING                                                                                    \
	(1ull << BPF_PROG_TYPE_KPROBE | 1ull << BPF_PROG_TYPE_TRACEPOINT |                         \
	 1ull << BPF_PROG_TYPE_PERF_EVENT | 1ull << BPF_PROG_TYPE_RAW_TRACEPOINT)
#define TC	   (1ull << BPF_PROG_TYPE_SCHED_CLS | 1ull << BPF_PROG_TYPE_SCHED_ACT)
#define XDP	   (1ull << BPF_PROG_TYPE_XDP)
#define ON_SOCKETS (1ull << BPF_PROG_TYPE_SOCKET_FILTER | 1ull << BPF_PROG_TYPE_CGROUP_SKB)
/* The bytes may be elsewhere afterwards. */
#define CHANGES_PACKET(who) .types = (who), .kernel_only = true, .moves_packet = true
#define READ_ARGS                                                                                  \
	{                                                                                          \
		ARG_MEM_OUT, ARG_SIZE_OR_0, ARG_ANY                                                \
	}

static const struct helper_row rows[] = {
	[BPF_FUNC_map_lookup_elem] = {"map_lookup_elem",
				      RET_VALUE_OR_NULL,
				      {ARG_MAP, ARG_KEY},
				      .takes_packets = true,
				      .map_types =
					      ELEMENTS | TYPE(ARRAY_OF_MAPS) | TYPE(HASH_OF_MAPS)},
	[BPF_FUNC_map_update_elem] = {"map_update_elem",
				      RET_SCALAR,
				      {ARG_MAP, ARG_KEY, ARG_VALUE, ARG_ANY},
				      .takes_packets = true,
				      .map_types = ELEMENTS},
	[BPF_FUNC_map_delete_elem] = {"map_delete_elem",
				      RET_SCALAR,
				      {ARG_MAP, ARG_KEY},
				      .takes_packets = true,
				      .map_types = ELEMENTS},
	[BPF_FUNC_probe_read] = {"probe_read", RET_SCALAR, READ_ARGS, .gpl = true,
				 .types = TRACING},
	[BPF_FUNC_ktime_get_ns] = {"ktime_get_ns", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_prandom_u32] = {"get_prandom_u32", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_smp_processor_id] = {"get_smp_processor_id", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_skb_store_bytes] = {"skb_store_bytes",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY, ARG_MEM, ARG_SIZE, ARG_ANY},
				      CHANGES_PACKET(TC)},
	[BPF_FUNC_l3_csum_replace] = {"l3_csum_replace",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY, ARG_ANY},
				      CHANGES_PACKET(TC)},
	[BPF_FUNC_l4_csum_replace] = {"l4_csum_replace",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY, ARG_ANY},
				      CHANGES_PACKET(TC)},
	[BPF_FUNC_clone_redirect] = {"clone_redirect",
				     RET_SCALAR,
				     {ARG_CTX, ARG_ANY, ARG_ANY},
				     CHANGES_PACKET(TC)},
	[BPF_FUNC_skb_vlan_push] = {"skb_vlan_push",
				    RET_SCALAR,
				    {ARG_CTX, ARG_ANY, ARG_ANY},
				    CHANGES_PACKET(TC)},
	[BPF_FUNC_skb_vlan_pop] = {"skb_vlan_pop", RET_SCALAR, {ARG_CTX}, CHANGES_PACKET(TC)},
	[BPF_FUNC_tail_call] = {"tail_call",
				RET_VOID,
				{ARG_CTX, ARG_MAP, ARG_ANY},
				.map_types = TYPE(PROG_ARRAY)},
	[BPF_FUNC_get_current_pid_tgid] = {"get_current_pid_tgid", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_current_uid_gid] = {"get_current_uid_gid", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_current_comm] = {"get_current_comm", RET_SCALAR, {ARG_MEM_OUT, ARG_SIZE}},
	[BPF_FUNC_perf_event_output] = {"perf_event_output",
					RET_SCALAR,
					{ARG_CTX, ARG_MAP, ARG_ANY, ARG_MEM, ARG_SIZE_OR_0},
					.map_types = TYPE(PERF_EVENT_ARRAY),
					.gpl = true},
	[BPF_FUNC_redirect] = {"redirect",
			       RET_SCALAR,
			       {ARG_ANY, ARG_ANY},
			       .kernel_only = true,
			       .types = TC | XDP},
	[BPF_FUNC_skb_load_bytes] = {"skb_load_bytes",
				     RET_SCALAR,
				     {ARG_CTX, ARG_ANY, ARG_MEM_OUT, ARG_SIZE},
				     .types = TC | ON_SOCKETS,
				     .kernel_only = true},
	[BPF_FUNC_get_stackid] = {"get_stackid",
				  RET_SCALAR,
				  {ARG_CTX, ARG_MAP, ARG_ANY},
				  .map_types = TYPE(STACK_TRACE),
				  .gpl = true,
				  .types = TRACING},
	[BPF_FUNC_skb_change_proto] = {"skb_change_proto",
				       RET_SCALAR,
				       {ARG_CTX, ARG_ANY, ARG_ANY},
				       CHANGES_PACKET(TC)},
	[BPF_FUNC_get_hash_recalc] =
		{"get_hash_recalc", RET_SCALAR, {ARG_CTX}, .kernel_only = true, .types = TC},
	[BPF_FUNC_current_task_under_cgroup] = {"current_task_under_cgroup",
						RET_SCALAR,
						{ARG_MAP, ARG_ANY},
						.map_types = TYPE(CGROUP_ARRAY),
						.kernel_only = true},
	[BPF_FUNC_get_stack] = {"get_stack",
				RET_LENGTH,
				{ARG_CTX, ARG_MEM_OUT, ARG_SIZE_OR_0, ARG_ANY},
				.gpl = true,
				.kernel_only = true,
				.types = TRACING},
	[BPF_FUNC_get_current_task] =
		{"get_current_task", RET_SCALAR, {ARG_NONE}, .gpl = true, .kernel_only = true},
	[BPF_FUNC_get_numa_node_id] = {"get_numa_node_id", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_skb_change_tail] = {"skb_change_tail",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY, ARG_ANY},
				      CHANGES_PACKET(TC)},
	[BPF_FUNC_skb_pull_data] = {"skb_pull_data",
				    RET_SCALAR,
				    {ARG_CTX, ARG_ANY},
				    CHANGES_PACKET(TC)},
	[BPF_FUNC_skb_change_head] = {"skb_change_head",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY, ARG_ANY},
				      CHANGES_PACKET(TC)},
	[BPF_FUNC_xdp_adjust_head] = {"xdp_adjust_head",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY},
				      CHANGES_PACKET(XDP)},
	[BPF_FUNC_probe_read_str] = {"probe_read_str", RET_LENGTH, READ_ARGS, .gpl = true,
				     .types = TRACING},
	[BPF_FUNC_skb_adjust_room] = {"skb_adjust_room",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY, ARG_ANY, ARG_ANY},
				      CHANGES_PACKET(TC)},
	[BPF_FUNC_xdp_adjust_meta] = {"xdp_adjust_meta",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY},
				      CHANGES_PACKET(XDP)},
	[BPF_FUNC_xdp_adjust_tail] = {"xdp_adjust_tail",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY},
				      CHANGES_PACKET(XDP)},
	[BPF_FUNC_skb_load_bytes_relative] = {"skb_load_bytes_relative",
					      RET_SCALAR,
					      {ARG_CTX, ARG_ANY, ARG_MEM_OUT, ARG_SIZE, ARG_ANY},
					      .types = TC | ON_SOCKETS,
					      .kernel_only = true},
	[BPF_FUNC_get_current_cgroup_id] = {"get_current_cgroup_id", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_map_push_elem] = {"map_push_elem",
				    RET_SCALAR,
				    {ARG_MAP, ARG_VALUE, ARG_ANY},
				    .takes_packets = true,
				    .map_types = TYPE(QUEUE) | TYPE(STACK) | TYPE(BLOOM_FILTER)},
	[BPF_FUNC_map_pop_elem] = {"map_pop_elem",
				   RET_SCALAR,
				   {ARG_MAP, ARG_VALUE_OUT},
				   .takes_packets = true,
				   .map_types = TYPE(QUEUE) | TYPE(STACK)},
	[BPF_FUNC_map_peek_elem] = {"map_peek_elem",
				    RET_SCALAR,
				    {ARG_MAP, ARG_VALUE_OUT},
				    .takes_packets = true,
				    .map_types = TYPE(QUEUE) | TYPE(STACK) | TYPE(BLOOM_FILTER)},
	[BPF_FUNC_probe_read_user] = {"probe_read_user", RET_SCALAR, READ_ARGS, .gpl = true},
	[BPF_FUNC_probe_read_kernel] = {"probe_read_kernel", RET_SCALAR, READ_ARGS, .gpl = true,
					.kernel_only = true},
	[BPF_FUNC_probe_read_user_str] = {"probe_read_user_str", RET_LENGTH, READ_ARGS,
					  .gpl = true},
	[BPF_FUNC_probe_read_kernel_str] = {"probe_read_kernel_str", RET_LENGTH, READ_ARGS,
					    .gpl = true, .kernel_only = true},
	[BPF_FUNC_ringbuf_output] = {"ringbuf_output",
				     RET_SCALAR,
				     {ARG_MAP, ARG_MEM, ARG_SIZE_OR_0, ARG_ANY},
				     .map_types = TYPE(RINGBUF)},
	[BPF_FUNC_ringbuf_reserve] = {"ringbuf_reserve",
				      RET_RECORD_OR_NULL,
				      {ARG_MAP, ARG_RECORD_SIZE, ARG_ANY},
				      .map_types = TYPE(RINGBUF)},
	[BPF_FUNC_ringbuf_submit] = {"ringbuf_submit", RET_SCALAR, {ARG_RECORD, ARG_ANY}},
	[BPF_FUNC_ringbuf_discard] = {"ringbuf_discard", RET_SCALAR, {ARG_RECORD, ARG_ANY}},
	[BPF_FUNC_ringbuf_query] = {"ringbuf_query",
				    RET_SCALAR,
				    {ARG_MAP, ARG_ANY},
				    .map_types = TYPE(RINGBUF)},
	[BPF_FUNC_ktime_get_boot_ns] = {"ktime_get_boot_ns", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_ktime_get_tai_ns] = {"ktime_get_tai_ns", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_for_each_map_elem] = {"for_each_map_elem",
					RET_SCALAR,
					{ARG_MAP, ARG_FUNC, ARG_STACK_OR_NULL, ARG_ANY},
					.map_types = ELEMENTS & ~TYPE(LPM_TRIE),
					.calls_back = true},
	[BPF_FUNC_loop] = {"loop",
			   RET_SCALAR,
			   {ARG_ANY, ARG_FUNC, ARG_STACK_OR_NULL, ARG_ANY},
			   .calls_back = true},
	[BPF_FUNC_map_lookup_percpu_elem] = {"map_lookup_percpu_elem",
					     RET_VALUE_OR_NULL,
					     {ARG_MAP, ARG_KEY, ARG_ANY},
					     .takes_packets = true,
					     .map_types = TYPE(PERCPU_HASH) | TYPE(PERCPU_ARRAY) |
							  TYPE(LRU_PERCPU_HASH)},
	[BPF_FUNC_get_func_ip] =
		{"get_func_ip", RET_SCALAR, {ARG_CTX}, .types = TRACING, .gpl = true},
	[BPF_FUNC_get_attach_cookie] = {"get_attach_cookie",
					RET_SCALAR,
					{ARG_CTX},
					.types = TRACING},
};

const struct helper_row *helper_row(uint32_t id)
{
	return id < sizeof(rows) / sizeof(rows[0]) && rows[id].name ? &rows[id] : NULL;
}

uint64_t helper_map_types(void)
{
	uint64_t types = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		types |= rows[i].map_types;
	return types;
}
