/* SPDX-License-Identifier: MIT */
/*
 * Object files for `bpfshimctl verify`: libbpf does all its work, and no kernel sees the result.
 */
#pragma once

#include <bpf/libbpf.h>

#include "verifier/verifier.h"

/**
 * struct object_load - one program as it would have been loaded
 * @prog: refers to the others; maps are named by their index
 */
struct object_load {
	const char *name;
	struct verifier_prog prog;
	struct verifier_map maps[VERIFIER_MAPS_MAX];
	int map_fds[VERIFIER_MAPS_MAX];
	struct bpf_insn *insns;
	void *btf, *funcs, *lines;
	int error;
};

/**
 * object_load() - relocate the program @name of a freshly opened @object. One thread at a time.
 *
 * Errors: what libbpf says of the object; -ENOENT nothing was loaded; -E2BIG too many maps.
 * Owns: @ret_load owns its instructions, object_load_deinit() also after a failure.
 */
int object_load(struct bpf_object *object, const char *name, struct object_load *ret_load);
void object_load_deinit(struct object_load *load);

/** struct object_real - what the kernel said: @verdict 0 or -errno, @ms how long it took */
struct object_real {
	const char *name;
	bool seen;
	int verdict;
	double ms;
};

/**
 * object_load_real() - load the program @name of a freshly opened @object into the kernel
 *
 * Errors: what libbpf says when it did not come to loading it.
 * Owns: the program goes with @object.
 */
int object_load_real(struct bpf_object *object, const char *name, struct object_real *ret_real);
