/* SPDX-License-Identifier: MIT */
/*
 * See prog_maps.h.
 */
#include "notifier/prog_maps.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "kernel-bridge/insns.h"
#include "kernel-bridge/kobject.h"

#define CONTENTS_MAX                                                                               \
	(64u << 10) /* of one map: constants are few, and this is read at each load                \
		     */

unsigned char *prog_maps_contents(int fd, const struct verifier_map *map)
{
	cleanup_free unsigned char *value = NULL;
	uint32_t zero = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)fd, .key = (uintptr_t)&zero};

	if (map->type != BPF_MAP_TYPE_ARRAY || map->max_entries != 1 ||
	    !(map->flags & BPF_F_RDONLY_PROG) || map->value_size > CONTENTS_MAX ||
	    !kobject_is_frozen(fd))
		return NULL;
	value = malloc(map->value_size);
	attr.value = (uintptr_t)value;
	if (!value || sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0)
		return NULL;
	return take_ptr(&value);
}

int prog_maps_index(struct bpf_insn *insns, uint32_t cnt, const int *fd_array, prog_maps_find *find,
		    void *data)
{
	for (uint32_t i = 0; i < cnt; i++) {
		struct bpf_insn *insn = &insns[i];
		bool by_index = insn->src_reg == BPF_PSEUDO_MAP_IDX ||
				insn->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
		bool value = insn->src_reg == BPF_PSEUDO_MAP_VALUE ||
			     insn->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
		int r;

		if (!insn_is_ld_imm64(insn))
			continue;
		i++;
		if (!by_index && !value && insn->src_reg != BPF_PSEUDO_MAP_FD)
			continue;
		if (by_index && !fd_array)
			return -EINVAL;
		r = find(by_index ? fd_array[insn->imm] : insn->imm, data);
		if (r < 0)
			return r;
		insn->src_reg = value ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD;
		insn->imm = r;
	}
	return 0;
}
