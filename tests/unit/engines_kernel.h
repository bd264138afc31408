/* SPDX-License-Identifier: MIT */
/*
 * The live kernel as an engine: programs are raw tracepoints, which BPF_PROG_TEST_RUN runs in the
 * calling task on numbers of one's own. Needs root.
 */
#pragma once

#include <linux/btf.h>

#include "base/sys.h"
#include "tests/unit/func_types.h"
#include "tests/unit/engines_side.h"
#include "tests/unit/ring_reader.h"

#define KERNEL_LOG (1u << 20)

struct kernel_side {
	struct side side;
	int fds[MIX_MAPS], btf_fd, prog_fd;
	unsigned char *values[2]; /* MIX_DATA's and MIX_OUT's */
	struct ring_reader ring;
};

static inline struct kernel_side *kernel_side(struct side *side)
{
	return container_of(side, struct kernel_side, side);
}

static inline void kernel_side_close(struct kernel_side *k)
{
	k->prog_fd = close_fd(k->prog_fd);
	for (uint32_t i = 0; i < 2; i++)
		if (k->values[i])
			munmap(k->values[i], READER_PAGE);
	if (k->ring.fd >= 0)
		reader_close(&k->ring);
	k->ring.fd = -1;
	for (uint32_t i = 0; i < MIX_MAPS; i++)
		k->fds[i] = i == MIX_RING ? -1 : close_fd(k->fds[i]);
}

static inline void kernel_side_init(struct kernel_side *k)
{
	memset(k->fds, -1, sizeof(k->fds));
	k->prog_fd = k->ring.fd = -1;
	k->btf_fd = func_types_load();
	reader_check(k->btf_fd >= 0, "types of functions");
}

static inline void kernel_side_deinit(struct kernel_side *k)
{
	kernel_side_close(k);
	close_fd(k->btf_fd);
}

static inline void kernel_side_nest(struct kernel_side *k, uint32_t outer)
{
	for (uint32_t key = 0; key < ARRAY_SIZE(mix_inner); key++) {
		union bpf_attr attr = {.map_fd = (uint32_t)k->fds[outer],
				       .key = (uintptr_t)&key,
				       .value = (uintptr_t)&k->fds[mix_inner[key]]};

		if (mix_inner[key])
			reader_check(sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) == 0,
				     "a map in a map");
	}
}

static inline void kernel_side_reset(struct side *side)
{
	struct kernel_side *k = kernel_side(side);

	kernel_side_close(k);
	k->ring = reader_open(mix_maps[MIX_RING].max_entries);
	k->fds[MIX_RING] = k->ring.fd;
	for (uint32_t i = 0; i < MIX_MAPS; i++) {
		union bpf_attr attr = {.map_type = mix_maps[i].type,
				       .key_size = mix_maps[i].key_size,
				       .value_size = mix_maps[i].value_size,
				       .max_entries = mix_maps[i].max_entries,
				       .map_flags = mix_maps[i].flags,
				       .inner_map_fd =
					       mix_is_outer(i) ? (uint32_t)k->fds[MIX_INNER_A] : 0};

		if (i != MIX_RING)
			k->fds[i] = sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
		reader_check(k->fds[i] >= 0, "a map of the kernel");
		if (mix_is_outer(i))
			kernel_side_nest(k, i);
		if (i > MIX_OUT)
			continue;
		k->values[i] = mmap(NULL, READER_PAGE, PROT_READ, MAP_SHARED, k->fds[i], 0);
		reader_check(k->values[i] != MAP_FAILED, "mmap of an array");
	}
}

static inline int kernel_side_load(struct side *side, const struct mix *mix,
				   const struct verifier_facts *facts)
{
	static char log[KERNEL_LOG];
	struct kernel_side *k = kernel_side(side);
	struct bpf_func_info funcs[1 + MIX_FUNCS];
	struct bpf_insn insns[MIX_INSNS];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insns = (uintptr_t)insns,
		.insn_cnt = mix->cnt,
		.license = (uintptr_t) "GPL",
		.prog_btf_fd = (uint32_t)k->btf_fd,
		.func_info = (uintptr_t)funcs,
		.func_info_rec_size = sizeof(funcs[0]),
		.func_info_cnt = func_records(mix->insns, mix->cnt, funcs, ARRAY_SIZE(funcs))};

	(void)facts;
	memcpy(insns, mix->insns, mix->cnt * sizeof(*insns));
	for (uint32_t i = 0; i < mix->cnt; i++)
		if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) &&
		    (insns[i].src_reg == BPF_PSEUDO_MAP_FD ||
		     insns[i].src_reg == BPF_PSEUDO_MAP_VALUE))
			insns[i].imm = k->fds[insns[i].imm];
	close_fd(k->prog_fd);
	k->prog_fd = sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (k->prog_fd >= 0)
		return 0;
	attr.log_level = 1;
	attr.log_buf = (uintptr_t)log;
	attr.log_size = sizeof(log);
	log[0] = '\0';
	close_fd(sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr)));
	snprintf(side->why, sizeof(side->why), "%.1500s",
		 log + (strlen(log) > 1500 ? strlen(log) - 1500 : 0));
	return k->prog_fd;
}

static inline int kernel_side_run(struct side *side, const uint64_t *ctx, uint64_t *ret_r0)
{
	union bpf_attr attr = {.test = {.prog_fd = (uint32_t)kernel_side(side)->prog_fd,
					.ctx_in = (uintptr_t)ctx,
					.ctx_size_in = MIX_CTX * 8}};
	int r = sys_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));

	*ret_r0 = attr.test.retval;
	return r;
}

static inline const unsigned char *kernel_side_value(struct side *side, uint32_t map)
{
	return kernel_side(side)->values[map];
}

static inline int kernel_side_elem(struct side *side, int cmd, uint32_t map, const void *key,
				   void *ret)
{
	union bpf_attr attr = {.map_fd = (uint32_t)kernel_side(side)->fds[map],
			       .key = (uintptr_t)key,
			       .value = (uintptr_t)ret};

	return sys_bpf(cmd, &attr, sizeof(attr));
}

static inline int kernel_side_next_key(struct side *side, uint32_t map, const void *key,
				       void *ret_key)
{
	return kernel_side_elem(side, BPF_MAP_GET_NEXT_KEY, map, key, ret_key);
}

static inline int kernel_side_read(struct side *side, uint32_t map, const void *key,
				   void *ret_value)
{
	return kernel_side_elem(side, BPF_MAP_LOOKUP_ELEM, map, key, ret_value);
}

static inline int kernel_side_pop(struct side *side, uint32_t map, void *ret_value)
{
	return kernel_side_elem(side, BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, NULL, ret_value);
}

static inline const unsigned char *kernel_side_record(struct side *side, uint32_t *ret_size)
{
	return reader_next(&kernel_side(side)->ring, ret_size);
}

#define KERNEL_SIDE                                                                                \
	{                                                                                          \
		.name = "kernel", .reset = kernel_side_reset, .load = kernel_side_load,            \
		.run = kernel_side_run, .value = kernel_side_value,                                \
		.next_key = kernel_side_next_key, .read = kernel_side_read,                        \
		.pop = kernel_side_pop, .record = kernel_side_record,                              \
	}
