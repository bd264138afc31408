/* SPDX-License-Identifier: MIT */
/*
 * Maps that a program names, as the verifier wants them named: by their place in a list.
 */
#pragma once

#include <linux/bpf.h>
#include <stdint.h>

#include "verifier/verifier.h"

/**
 * typedef prog_maps_find - place in the list of the map behind our descriptor @fd
 *
 * Return: it, or -errno, which ends the search.
 */
typedef int prog_maps_find(int fd, void *data);

/**
 * prog_maps_index() - descriptors in @insns become places, named the same way whichever of the
 * four forms was used
 * @fd_array: our descriptors, with as many as @insns name, or NULL
 *
 * Return: 0, -EINVAL for a place in an array that there is not, or what @find returned.
 */
int prog_maps_index(struct bpf_insn *insns, uint32_t cnt, const int *fd_array, prog_maps_find *find,
		    void *data);

/**
 * prog_maps_contents() - the only value of a map that nobody can change: neither tool nor program
 *
 * Return: @map->value_size bytes, owned by the caller, or NULL for another map or one too large.
 */
unsigned char *prog_maps_contents(int fd, const struct verifier_map *map);
