/* SPDX-License-Identifier: MIT */
/*
 * Loading and running small programs on the live kernel, for unit tests that compare what it
 * really does. Needs root. Programs are RAW_TRACEPOINT ones: the kernel runs those on demand in
 * the calling task (BPF_PROG_TEST_RUN) without any attach.
 */
#pragma once

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "kernel-bridge/insns.h"

#define LIVE_LOG_SIZE 65536

/* Return: fd or -errno. @log has LIVE_LOG_SIZE bytes, or is NULL. */
static inline int live_load(const struct insns_prog *prog, int btf_fd, uint32_t level, char *log)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insns = (uintptr_t)prog->insns,
		.insn_cnt = prog->cnt,
		.license = (uintptr_t) "GPL",
		.log_level = log ? level : 0,
		.log_buf = log ? (uintptr_t)log : 0,
		.log_size = log && level ? LIVE_LOG_SIZE : 0,
	};

	if (!attr.log_level)
		attr.log_buf = 0;
	if (log)
		log[0] = '\0';
	if (btf_fd >= 0) {
		attr.prog_btf_fd = btf_fd;
		attr.func_info = (uintptr_t)prog->func_info.data;
		attr.func_info_cnt = prog->func_info.cnt;
		attr.func_info_rec_size = prog->func_info.cnt ? prog->func_info.rec_size : 0;
		attr.line_info = (uintptr_t)prog->line_info.data;
		attr.line_info_cnt = prog->line_info.cnt;
		attr.line_info_rec_size = prog->line_info.cnt ? prog->line_info.rec_size : 0;
		attr.core_relos = (uintptr_t)prog->core_relos.data;
		attr.core_relo_cnt = prog->core_relos.cnt;
		attr.core_relo_rec_size = prog->core_relos.cnt ? prog->core_relos.rec_size : 0;
	}
	return sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* Runs with @arg as the tracepoint's first argument. Return: 0 or -errno. */
static inline int live_run(int fd, uint64_t arg, uint32_t *ret_value)
{
	uint64_t args[2] = {arg, 0};
	union bpf_attr attr = {
		.test.prog_fd = fd,
		.test.ctx_in = (uintptr_t)args,
		.test.ctx_size_in = sizeof(args),
	};
	int r = sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	if (r >= 0)
		*ret_value = attr.test.retval;
	return r;
}

/* An array map of one u64. Return: fd or -errno. */
static inline int live_cell(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};

	return sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static inline uint64_t live_cell_take(int fd)
{
	uint32_t key = 0;
	uint64_t value = 0, zero = 0;
	union bpf_attr attr = {.map_fd = fd, .key = (uintptr_t)&key, .value = (uintptr_t)&value};

	if (sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0)
		return UINT64_MAX;
	attr.value = (uintptr_t)&zero;
	if (sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) < 0)
		return UINT64_MAX;
	return value;
}
