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
/* Programs that may ask who runs, and where. */
#define TRACING                                                                                    \
	(1ull << BPF_PROG_TYPE_KPROBE | 1ull << BPF_PROG_TYPE_TRACEPOINT |                         \
	 1ull << BPF_PROG_TYPE_PERF_EVENT | 1ull << BPF_PROG_TYPE_RAW_TRACEPOINT)
#define READ_ARGS                                                                                  \
	{                                                                                          \
		ARG_MEM_OUT, ARG_SIZE_OR_0, ARG_ANY                                                \
	}

static const struct helper_row rows[] = {
	[BPF_FUNC_map_lookup_elem] = {"map_lookup_elem",
				      RET_VALUE_OR_NULL,
				      {ARG_MAP, ARG_KEY},
				      .map_types = ELEMENTS},
	[BPF_FUNC_map_update_elem] = {"map_update_elem",
				      RET_SCALAR,
				      {ARG_MAP, ARG_KEY, ARG_VALUE, ARG_ANY},
				      .map_types = ELEMENTS},
	[BPF_FUNC_map_delete_elem] = {"map_delete_elem",
				      RET_SCALAR,
				      {ARG_MAP, ARG_KEY},
				      .map_types = ELEMENTS},
	[BPF_FUNC_probe_read] = {"probe_read", RET_SCALAR, READ_ARGS, .gpl = true,
				 .types = TRACING},
	[BPF_FUNC_ktime_get_ns] = {"ktime_get_ns", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_trace_printk] = {"trace_printk",
				   RET_SCALAR,
				   {ARG_MEM, ARG_SIZE}, /* as many more as it is given */
				   .gpl = true},
	[BPF_FUNC_get_prandom_u32] = {"get_prandom_u32", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_smp_processor_id] = {"get_smp_processor_id", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_current_pid_tgid] = {"get_current_pid_tgid", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_current_uid_gid] = {"get_current_uid_gid",
					  RET_SCALAR,
					  {ARG_NONE},
					  .types = TRACING},
	[BPF_FUNC_get_current_comm] = {"get_current_comm",
				       RET_SCALAR,
				       {ARG_MEM_OUT, ARG_SIZE},
				       .types = TRACING},
	[BPF_FUNC_perf_event_output] = {"perf_event_output",
					RET_SCALAR,
					{ARG_CTX, ARG_MAP, ARG_ANY, ARG_MEM, ARG_SIZE_OR_0},
					.map_types = TYPE(PERF_EVENT_ARRAY),
					.gpl = true},
	[BPF_FUNC_skb_load_bytes] = {"skb_load_bytes",
				     RET_SCALAR,
				     {ARG_CTX, ARG_ANY, ARG_MEM_OUT, ARG_SIZE},
				     .types = 1ull << BPF_PROG_TYPE_SOCKET_FILTER,
				     .kernel_only = true},
	[BPF_FUNC_get_stackid] = {"get_stackid",
				  RET_SCALAR,
				  {ARG_CTX, ARG_MAP, ARG_ANY},
				  .map_types = TYPE(STACK_TRACE),
				  .gpl = true,
				  .types = TRACING},
	[BPF_FUNC_probe_write_user] = {"probe_write_user",
				       RET_SCALAR,
				       {ARG_ANY, ARG_MEM, ARG_SIZE},
				       .gpl = true,
				       .types = TRACING},
	[BPF_FUNC_current_task_under_cgroup] = {"current_task_under_cgroup",
						RET_SCALAR,
						{ARG_MAP, ARG_ANY},
						.map_types = TYPE(CGROUP_ARRAY),
						.kernel_only = true,
						.types = TRACING},
	/* Not for uprobes: the kernel refuses to attach a program that calls it. */
	[BPF_FUNC_override_return] = {"override_return",
				      RET_SCALAR,
				      {ARG_CTX, ARG_ANY},
				      .gpl = true,
				      .kernel_only = true,
				      .types = 1ull << BPF_PROG_TYPE_KPROBE},
	[BPF_FUNC_get_stack] = {"get_stack",
				RET_LENGTH,
				{ARG_CTX, ARG_MEM_OUT, ARG_SIZE_OR_0, ARG_ANY},
				.gpl = true,
				.types = TRACING},
	[BPF_FUNC_get_current_task] =
		{"get_current_task", RET_SCALAR, {ARG_NONE}, .gpl = true, .kernel_only = true},
	[BPF_FUNC_get_numa_node_id] = {"get_numa_node_id", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_probe_read_str] = {"probe_read_str", RET_LENGTH, READ_ARGS, .gpl = true,
				     .types = TRACING},
	[BPF_FUNC_get_current_cgroup_id] = {"get_current_cgroup_id",
					    RET_SCALAR,
					    {ARG_NONE},
					    .types = TRACING},
	[BPF_FUNC_map_push_elem] = {"map_push_elem",
				    RET_SCALAR,
				    {ARG_MAP, ARG_VALUE, ARG_ANY},
				    .map_types = TYPE(QUEUE) | TYPE(STACK) | TYPE(BLOOM_FILTER)},
	[BPF_FUNC_map_pop_elem] = {"map_pop_elem",
				   RET_SCALAR,
				   {ARG_MAP, ARG_VALUE_OUT},
				   .map_types = TYPE(QUEUE) | TYPE(STACK)},
	[BPF_FUNC_map_peek_elem] = {"map_peek_elem",
				    RET_SCALAR,
				    {ARG_MAP, ARG_VALUE_OUT},
				    .map_types = TYPE(QUEUE) | TYPE(STACK) | TYPE(BLOOM_FILTER)},
	[BPF_FUNC_strtol] = {"strtol", RET_SCALAR, {ARG_MEM, ARG_SIZE, ARG_ANY, ARG_LONG_OUT}},
	[BPF_FUNC_strtoul] = {"strtoul", RET_SCALAR, {ARG_MEM, ARG_SIZE, ARG_ANY, ARG_LONG_OUT}},
	[BPF_FUNC_send_signal] = {"send_signal", RET_SCALAR, {ARG_ANY}, .types = TRACING},
	[BPF_FUNC_probe_read_user] = {"probe_read_user", RET_SCALAR, READ_ARGS, .gpl = true},
	[BPF_FUNC_probe_read_kernel] = {"probe_read_kernel", RET_SCALAR, READ_ARGS, .gpl = true,
					.kernel_only = true},
	[BPF_FUNC_probe_read_user_str] = {"probe_read_user_str", RET_LENGTH, READ_ARGS,
					  .gpl = true},
	[BPF_FUNC_probe_read_kernel_str] = {"probe_read_kernel_str", RET_LENGTH, READ_ARGS,
					    .gpl = true, .kernel_only = true},
	[BPF_FUNC_send_signal_thread] = {"send_signal_thread",
					 RET_SCALAR,
					 {ARG_ANY},
					 .types = TRACING},
	[BPF_FUNC_jiffies64] = {"jiffies64", RET_SCALAR, {ARG_NONE}},
	[BPF_FUNC_get_ns_current_pid_tgid] = {"get_ns_current_pid_tgid",
					      RET_SCALAR,
					      {ARG_ANY, ARG_ANY, ARG_MEM_OUT, ARG_SIZE}},
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
	[BPF_FUNC_copy_from_user] = {"copy_from_user",
				     RET_SCALAR,
				     READ_ARGS,
				     .types = TRACING,
				     .sleeps = true},
	/* No program that traces may call it. */
	[BPF_FUNC_ktime_get_coarse_ns] = {"ktime_get_coarse_ns",
					  RET_SCALAR,
					  {ARG_NONE},
					  .types = 1ull << BPF_PROG_TYPE_CGROUP_SOCK},
	[BPF_FUNC_snprintf] = {"snprintf",
			       RET_SCALAR,
			       {ARG_MEM_OUT_OR_NULL, ARG_SIZE_OR_0, ARG_CONST_STR, ARG_MEM_OR_NULL,
				ARG_SIZE_OR_0},
			       .gpl = true},
	[BPF_FUNC_for_each_map_elem] = {"for_each_map_elem",
					RET_SCALAR,
					{ARG_MAP, ARG_FUNC, ARG_STACK_OR_NULL, ARG_ANY},
					.map_types = ELEMENTS & ~TYPE(LPM_TRIE),
					.calls_back = true},
	[BPF_FUNC_trace_vprintk] = {"trace_vprintk",
				    RET_SCALAR,
				    {ARG_MEM, ARG_SIZE, ARG_MEM_OR_NULL, ARG_SIZE_OR_0},
				    .gpl = true},
	[BPF_FUNC_strncmp] = {"strncmp", RET_SCALAR, {ARG_MEM, ARG_SIZE, ARG_CONST_STR}},
	/* For fentry and fexit programs, which the kernel alone runs. */
	[BPF_FUNC_get_func_arg] = {"get_func_arg",
				   RET_SCALAR,
				   {ARG_CTX, ARG_ANY, ARG_LONG_OUT},
				   .types = 1ull << BPF_PROG_TYPE_TRACING,
				   .kernel_only = true},
	[BPF_FUNC_get_func_ret] = {"get_func_ret",
				   RET_SCALAR,
				   {ARG_CTX, ARG_LONG_OUT},
				   .types = 1ull << BPF_PROG_TYPE_TRACING,
				   .kernel_only = true},
	[BPF_FUNC_get_func_arg_cnt] = {"get_func_arg_cnt",
				       RET_SCALAR,
				       {ARG_CTX},
				       .types = 1ull << BPF_PROG_TYPE_TRACING,
				       .kernel_only = true},
	[BPF_FUNC_loop] = {"loop",
			   RET_SCALAR,
			   {ARG_ANY, ARG_FUNC, ARG_STACK_OR_NULL, ARG_ANY},
			   .calls_back = true},
	[BPF_FUNC_map_lookup_percpu_elem] = {"map_lookup_percpu_elem",
					     RET_VALUE_OR_NULL,
					     {ARG_MAP, ARG_KEY, ARG_ANY},
					     .map_types = TYPE(PERCPU_HASH) | TYPE(PERCPU_ARRAY) |
							  TYPE(LRU_PERCPU_HASH)},
	[BPF_FUNC_get_func_ip] = {"get_func_ip",
				  RET_SCALAR,
				  {ARG_CTX},
				  .types = 1ull << BPF_PROG_TYPE_KPROBE,
				  .gpl = true},
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
