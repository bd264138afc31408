/* SPDX-License-Identifier: MIT */
/*
 * What all engines look like to the test that compares them: each is a side with maps of its own,
 * on which a program is loaded and run.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/engines_gen.h"
#include "verifier/verifier.h"

#define SIDE_KEY   16u	 /* bytes, at most */
#define SIDE_VALUE 4096u /* of all processors */

/**
 * struct side - one engine
 * @reset: empty maps
 * @load: the program that @run runs; Return 0, or -errno and @why
 * @run: r0, or of the kernel its lower half. -errno and @why
 * @value: of MIX_DATA or MIX_OUT, where it stands
 * @next_key, @read: as tools do; 0 or -errno
 * @pop: take what a queue or stack has; 0 or -errno
 * @record: the next one of MIX_RING, NULL: none
 */
struct side {
	const char *name;
	void (*reset)(struct side *side);
	int (*load)(struct side *side, const struct mix *mix, const struct verifier_facts *facts);
	int (*run)(struct side *side, const uint64_t *ctx, uint64_t *ret_r0);
	const unsigned char *(*value)(struct side *side, uint32_t map);
	int (*next_key)(struct side *side, uint32_t map, const void *key, void *ret_key);
	int (*read)(struct side *side, uint32_t map, const void *key, void *ret_value);
	int (*pop)(struct side *side, uint32_t map, void *ret_value);
	const unsigned char *(*record)(struct side *side, uint32_t *ret_size);
	char why[4096];
};

/* Processors that there may be, which is how many values a per-CPU map has. */
static inline uint32_t side_cpus(void)
{
	static uint32_t cpus;
	uint32_t from, to = 0;
	FILE *file;

	if (cpus)
		return cpus;
	file = fopen("/sys/devices/system/cpu/possible", "re");
	if (!file || fscanf(file, "%u-%u", &from, &to) < 1)
		abort();
	fclose(file);
	cpus = to + 1;
	return cpus;
}

/* What our verifier says of it; @ret_why: the log's end, until the next one. */
static inline int side_verify(const struct mix *mix, struct verifier_facts *facts,
			      const char **ret_why)
{
	static char text[1 << 16];
	struct verifier_map maps[MIX_MAPS];
	struct verifier_log log = {.level = 1, .buf = text, .size = sizeof(text)};
	const struct verifier_prog prog = {.insns = mix->insns,
					   .cnt = mix->cnt,
					   .type = BPF_PROG_TYPE_KPROBE,
					   .gpl = true,
					   .maps = maps,
					   .map_cnt = MIX_MAPS};
	int r;

	for (uint32_t i = 0; i < MIX_MAPS; i++)
		maps[i] = (struct verifier_map){mix_maps[i].type, mix_maps[i].key_size,
						mix_maps[i].value_size, mix_maps[i].max_entries,
						mix_maps[i].flags};
	for (uint32_t i = MIX_OUTER; i <= MIX_OUTER_HASH; i++)
		maps[i].inner = (struct verifier_shape){
			mix_maps[MIX_INNER_A].type, mix_maps[MIX_INNER_A].key_size,
			mix_maps[MIX_INNER_A].value_size, mix_maps[MIX_INNER_A].max_entries,
			mix_maps[MIX_INNER_A].flags};
	text[0] = '\0';
	r = verifier_check(&prog, &log, facts);
	*ret_why = text + (strlen(text) > 300 ? strlen(text) - 300 : 0);
	return r;
}
