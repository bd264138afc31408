/* SPDX-License-Identifier: MIT */
/*
 * The argument of bpf(2), one struct per command.
 *
 * The kernel's union bpf_attr grows with every release and its header on Debian 12 is that of 6.1;
 * these structs are complete up to Linux 6.18 and name only what a command reads. Source:
 * include/uapi/linux/bpf.h, Linux 6.18. Pointers are guest addresses unless said otherwise.
 */
#pragma once

#include <assert.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#define ABI_ATTR_MAX 256 /* room for any union bpf_attr so far (168 bytes in 6.18) */

/* Commands newer than 6.1's header. */
#define ABI_BPF_PROG_BIND_MAP	       35
#define ABI_BPF_TOKEN_CREATE	       36
#define ABI_BPF_PROG_STREAM_READ_BY_FD 37
#define ABI_BPF_PROG_ASSOC_STRUCT_OPS  38

/* Attach types newer than 6.1's header. */
#define ABI_BPF_TRACE_UPROBE_MULTI 48

/* Map types newer than 6.1's header. */
#define ABI_MAP_TYPE_INSN_ARRAY 34

/* An error of the kernel's own, in no user header: include/linux/errno.h, Linux 6.18. */
#define ABI_ENOTSUPP 524

struct abi_map_create {
	uint32_t map_type, key_size, value_size, max_entries, map_flags, inner_map_fd, numa_node;
	char map_name[16];
	uint32_t map_ifindex, btf_fd, btf_key_type_id, btf_value_type_id, btf_vmlinux_value_type_id;
	uint64_t map_extra;
	int32_t value_type_btf_obj_fd, map_token_fd;
};
static_assert(sizeof(struct abi_map_create) == 80, "BPF_MAP_CREATE");

struct abi_map_elem {
	uint32_t map_fd;
	uint64_t key, value, flags;
};
static_assert(sizeof(struct abi_map_elem) == 32, "BPF_MAP_*_ELEM");

struct abi_map_batch {
	uint64_t in_batch, out_batch, keys, values;
	uint32_t count, map_fd;
	uint64_t elem_flags, flags;
};
static_assert(sizeof(struct abi_map_batch) == 56, "BPF_MAP_*_BATCH");

struct abi_prog_load {
	uint32_t prog_type, insn_cnt;
	uint64_t insns, license;
	uint32_t log_level, log_size;
	uint64_t log_buf;
	uint32_t kern_version, prog_flags;
	char prog_name[16];
	uint32_t prog_ifindex, expected_attach_type, prog_btf_fd, func_info_rec_size;
	uint64_t func_info;
	uint32_t func_info_cnt, line_info_rec_size;
	uint64_t line_info;
	uint32_t line_info_cnt, attach_btf_id, attach_btf_obj_fd, core_relo_cnt;
	uint64_t fd_array, core_relos;
	uint32_t core_relo_rec_size, log_true_size;
	int32_t prog_token_fd;
	uint32_t fd_array_cnt;
};
static_assert(sizeof(struct abi_prog_load) == 152, "BPF_PROG_LOAD");

struct abi_test_run {
	uint32_t prog_fd, retval, data_size_in, data_size_out;
	uint64_t data_in, data_out;
	uint32_t repeat, duration, ctx_size_in, ctx_size_out;
	uint64_t ctx_in, ctx_out;
	uint32_t flags, cpu, batch_size;
};
static_assert(offsetof(struct abi_test_run, batch_size) == 72, "BPF_PROG_TEST_RUN");

struct abi_obj_path {
	uint64_t pathname;
	uint32_t bpf_fd, file_flags;
	int32_t path_fd;
};

struct abi_get_id {
	uint32_t id, next_id, open_flags;
	int32_t token_fd;
};
static_assert(sizeof(struct abi_get_id) == 16, "BPF_*_GET_FD_BY_ID");

struct abi_info {
	uint32_t bpf_fd, info_len;
	uint64_t info;
};
static_assert(sizeof(struct abi_info) == 16, "BPF_OBJ_GET_INFO_BY_FD");

struct abi_raw_tracepoint_open {
	uint64_t name;
	uint32_t prog_fd, pad;
	uint64_t cookie;
};
static_assert(sizeof(struct abi_raw_tracepoint_open) == 24, "BPF_RAW_TRACEPOINT_OPEN");

struct abi_btf_load {
	uint64_t btf, log_buf;
	uint32_t btf_size, log_size, log_level, log_true_size, flags;
	int32_t token_fd;
};
static_assert(sizeof(struct abi_btf_load) == 40, "BPF_BTF_LOAD");

struct abi_task_fd_query {
	uint32_t pid, fd, flags, buf_len;
	uint64_t buf;
	uint32_t prog_id, fd_type;
	uint64_t probe_offset, probe_addr;
};
static_assert(sizeof(struct abi_task_fd_query) == 48, "BPF_TASK_FD_QUERY");

struct abi_link_create {
	uint32_t prog_fd, target_fd, attach_type, flags;
	union {
		struct {
			uint64_t cookie;
		} perf_event;
		struct {
			uint32_t target_btf_id, pad;
			uint64_t cookie;
		} tracing;
		struct {
			uint32_t flags, cnt;
			uint64_t syms, addrs, cookies;
		} kprobe_multi;
		struct {
			uint64_t path, offsets, ref_ctr_offsets, cookies;
			uint32_t cnt, flags, pid;
		} uprobe_multi;
	};
};
static_assert(offsetof(struct abi_link_create, uprobe_multi.pid) == 56, "BPF_LINK_CREATE");

struct abi_link_update {
	uint32_t link_fd, new_prog_fd, flags, old_prog_fd;
};

struct abi_link_detach {
	uint32_t link_fd;
};

/** union abi_attr - one copied argument, zero-filled behind what the caller gave */
union abi_attr {
	unsigned char bytes[ABI_ATTR_MAX];
	uint64_t align;
	struct abi_map_create map_create;
	struct abi_map_elem map_elem;
	struct abi_map_batch map_batch;
	struct abi_prog_load prog_load;
	struct abi_test_run test_run;
	struct abi_obj_path obj_path;
	struct abi_get_id get_id;
	struct abi_info info;
	struct abi_raw_tracepoint_open raw_tracepoint_open;
	struct abi_btf_load btf_load;
	struct abi_task_fd_query task_fd_query;
	struct abi_link_create link_create;
	struct abi_link_update link_update;
	struct abi_link_detach link_detach;
};
