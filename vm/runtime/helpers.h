/* SPDX-License-Identifier: MIT */
/*
 * The helpers of the runtime. All of them take the program's five argument registers and the run,
 * so that the caller need not know how many a helper uses; the result is the program's r0.
 *
 * Results and errors are those of the kernel's helpers (kernel/bpf/helpers.c,
 * kernel/trace/bpf_trace.c, Linux 6.18) unless said otherwise at the definition.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vm/runtime/runtime.h"

/* RT_HELPERS() - X(BPF_FUNC_* number, name) for every helper there is */
#define RT_HELPERS(X)                                                                              \
	X(1, map_lookup_elem)                                                                      \
	X(2, map_update_elem)                                                                      \
	X(3, map_delete_elem)                                                                      \
	X(4, probe_read)                                                                           \
	X(5, ktime_get_ns)                                                                         \
	X(6, trace_printk)                                                                         \
	X(7, get_prandom_u32)                                                                      \
	X(8, get_smp_processor_id)                                                                 \
	X(9, skb_store_bytes)                                                                      \
	X(14, get_current_pid_tgid)                                                                \
	X(15, get_current_uid_gid)                                                                 \
	X(16, get_current_comm)                                                                    \
	X(26, skb_load_bytes)                                                                      \
	X(27, get_stackid)                                                                         \
	X(25, perf_event_output)                                                                   \
	X(36, probe_write_user)                                                                    \
	X(42, get_numa_node_id)                                                                    \
	X(45, probe_read_str)                                                                      \
	X(67, get_stack)                                                                           \
	X(68, skb_load_bytes_relative)                                                             \
	X(80, get_current_cgroup_id)                                                               \
	X(87, map_push_elem)                                                                       \
	X(88, map_pop_elem)                                                                        \
	X(89, map_peek_elem)                                                                       \
	X(105, strtol)                                                                             \
	X(106, strtoul)                                                                            \
	X(109, send_signal)                                                                        \
	X(112, probe_read_user)                                                                    \
	X(114, probe_read_user_str)                                                                \
	X(117, send_signal_thread)                                                                 \
	X(118, jiffies64)                                                                          \
	X(120, get_ns_current_pid_tgid)                                                            \
	X(125, ktime_get_boot_ns)                                                                  \
	X(130, ringbuf_output)                                                                     \
	X(131, ringbuf_reserve)                                                                    \
	X(132, ringbuf_submit)                                                                     \
	X(133, ringbuf_discard)                                                                    \
	X(134, ringbuf_query)                                                                      \
	X(148, copy_from_user)                                                                     \
	X(160, ktime_get_coarse_ns)                                                                \
	X(164, for_each_map_elem)                                                                  \
	X(165, snprintf)                                                                           \
	X(173, get_func_ip)                                                                        \
	X(174, get_attach_cookie)                                                                  \
	X(177, trace_vprintk)                                                                      \
	X(181, loop)                                                                               \
	X(182, strncmp)                                                                            \
	X(195, map_lookup_percpu_elem)                                                             \
	X(197, dynptr_from_mem)                                                                    \
	X(198, ringbuf_reserve_dynptr)                                                             \
	X(199, ringbuf_submit_dynptr)                                                              \
	X(200, ringbuf_discard_dynptr)                                                             \
	X(201, dynptr_read)                                                                        \
	X(202, dynptr_write)                                                                       \
	X(203, dynptr_data)                                                                        \
	X(208, ktime_get_tai_ns)

#define RT_HELPER_ARGS                                                                             \
	uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5, struct rt_run *run
#define RT_HELPER_DECLARE(number, name) uint64_t rt_##name(RT_HELPER_ARGS);
RT_HELPERS(RT_HELPER_DECLARE)
