/* SPDX-License-Identifier: MIT */
/*
 * The same program with maps of the same shapes here, compiled, and in the kernel, and how long it
 * takes in each. Programs name maps by index.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insn_build.h"
#include "tests/unit/fake_region.h"
#include "vm/jit.h"

#define VM_MAPS	      32u
#define VM_INSNS      4096u
#define VM_RECORDS    REGION_CODE
#define VM_CODE	      (REGION_CODE + FAKE_PAGE)
#define VM_ROUNDS_MAX 101u

struct vm_map {
	uint32_t type, key_size, value_size, max_entries, flags;
};

/**
 * struct vm_bench - both sides
 * @code_at: where the next program of ours goes
 */
struct vm_bench {
	unsigned char *base;
	struct region_map *maps;
	int fds[VM_MAPS];
	uint32_t map_cnt, slots;
	uint64_t used, code_at;
};

/** struct vm_prog - one program on both sides @code: offset of ours; @fd: the kernel's */
struct vm_prog {
	uint64_t code;
	int fd;
};

static inline void vm_check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench: %s failed\n", what);
	exit(1);
}

static inline void vm_init(struct vm_bench *bench, uint32_t slots)
{
	*bench = (struct vm_bench){.base = fake_region(slots), .slots = slots, .code_at = VM_CODE};
	bench->maps = (void *)(bench->base + VM_RECORDS);
	/* Targets have the vDSO's, which this one leads to. */
	((struct region_config *)(bench->base + REGION_CONFIG))->clock_gettime =
		(uint64_t)clock_gettime;
}

/* Return: its index */
static inline uint32_t vm_map(struct vm_bench *bench, const struct vm_map *map)
{
	const uint32_t index = bench->map_cnt++;
	struct region_map *record = &bench->maps[index];
	union bpf_attr attr = {.map_type = map->type,
			       .key_size = map->key_size,
			       .value_size = map->value_size,
			       .max_entries = map->max_entries,
			       .map_flags = map->flags};

	vm_check(index < VM_MAPS, "too many maps");
	*record = (struct region_map){.type = map->type,
				      .key_size = map->key_size,
				      .value_size = map->value_size,
				      .max_entries = map->max_entries,
				      .flags = map->flags & ~(uint32_t)BPF_F_MMAPABLE,
				      .id = index + 1,
				      .seed = 99,
				      .data = REGION_MAPS + bench->used};
	vm_check(rt_map_layout(record, bench->slots) == 0, "the layout of a map");
	bench->used += (record->data_size + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;
	bench->fds[index] = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	vm_check(bench->fds[index] >= 0, "a map of the kernel");
	return index;
}

/* The same element on both sides, of all processors. */
static inline void vm_put(struct vm_bench *bench, uint32_t map, const void *key, const void *value)
{
	union bpf_attr attr = {.map_fd = (uint32_t)bench->fds[map],
			       .key = (uintptr_t)key,
			       .value = (uintptr_t)value};

	vm_check(rt_map_write(bench->base, &bench->maps[map], key, value, BPF_ANY) == 0,
		 "an element");
	vm_check(sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) == 0,
		 "an element of the kernel's");
}

static inline void vm_compile(struct vm_bench *bench, const struct bpf_insn *insns, uint32_t cnt,
			      struct vm_prog *prog)
{
	struct code_map places[VM_MAPS];
	const struct jit_prog request = {.insns = insns,
					 .cnt = cnt,
					 .maps = bench->maps,
					 .map_cnt = bench->map_cnt,
					 .tier = JIT_FULL};
	struct reason reason = {0};
	struct link_result result;

	for (uint32_t i = 0; i < bench->map_cnt; i++)
		places[i] = (struct code_map){VM_RECORDS + i * sizeof(bench->maps[0]),
					      bench->maps[i].data};
	if (jit_compile(&request, &result, &reason) < 0) {
		fprintf(stderr, "bench: %s\n", reason.text);
		exit(1);
	}
	vm_check(code_place(result.code, result.len, result.relocs, result.reloc_cnt,
			    bench->code_at, places, bench->map_cnt) == 0,
		 "code in its place");
	memcpy(bench->base + bench->code_at, result.code, result.len);
	prog->code = bench->code_at;
	bench->code_at += (result.len + 63) / 64 * 64;
	link_result_deinit(&result);
}

static inline void vm_load(struct vm_bench *bench, const struct bpf_insn *insns, uint32_t cnt,
			   uint32_t type, struct vm_prog *prog)
{
	static char log[1 << 20];
	struct bpf_insn copy[VM_INSNS];
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)copy,
			       .insn_cnt = cnt,
			       .license = (uintptr_t) "GPL"};

	vm_check(cnt <= VM_INSNS, "a program too long");
	memcpy(copy, insns, cnt * sizeof(*copy));
	for (uint32_t i = 0; i < cnt; i++)
		if (copy[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    (copy[i].src_reg == BPF_PSEUDO_MAP_FD ||
		     copy[i].src_reg == BPF_PSEUDO_MAP_VALUE))
			copy[i].imm = bench->fds[copy[i].imm];
	prog->fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (prog->fd >= 0)
		return;
	attr.log_level = 1;
	attr.log_buf = (uintptr_t)log;
	attr.log_size = sizeof(log);
	sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	fprintf(stderr, "bench: the kernel: %s\n",
		log + (strlen(log) > 800 ? strlen(log) - 800 : 0));
	exit(1);
}

static inline uint64_t vm_run(const struct vm_bench *bench, const struct vm_prog *prog,
			      const void *ctx, uint32_t slot)
{
	struct rt_run run = {.base = bench->base, .slot = slot, .stack = (uint64_t)&run};
	uint64_t (*entry)(const void *, struct rt_run *) = NULL;
	void *at = bench->base + prog->code;

	memcpy(&entry, &at, sizeof(at));
	return entry(ctx, &run);
}

static inline double vm_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/** struct vm_times - of some rounds */
struct vm_times {
	double ns[VM_ROUNDS_MAX];
	uint32_t cnt;
};

static inline int vm_compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static inline double vm_median(struct vm_times *times)
{
	qsort(times->ns, times->cnt, sizeof(times->ns[0]), vm_compare);
	return times->ns[times->cnt / 2];
}
