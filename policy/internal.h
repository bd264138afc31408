/* SPDX-License-Identifier: MIT */
/*
 * What the files of policy/ share: the parsed policy and the tables of names. Not for other
 * folders.
 */
#pragma once

#include "base/cleanup.h"
#include "policy/policy.h"

#define POLICY_FILE_MAX	    (1u << 20) /* bytes of JSON text */
#define POLICY_DEPTH_MAX    8	       /* nested objects and arrays */
#define POLICY_GLOB_MAX	    255u       /* bytes of one pattern in "attach_targets" */
#define POLICY_TYPE_MAX	    64u	       /* program and map types fit a 64-bit set */
#define POLICY_HELPER_COUNT 212u       /* helpers of Linux 6.18 */

/** enum policy_verdict - what is said about one helper by name */
enum policy_verdict {
	POLICY_UNSAID, /* allowed, unless another key refuses it */
	POLICY_DENIED,
	POLICY_ALLOWED, /* named in "allow": also "kernel_memory" does not refuse it */
};

/** struct policy_globs - patterns of one kind of attachment; @set tells none from empty */
struct policy_globs {
	bool set;
	uint32_t cnt;
	char **globs;
};

struct policy {
	bool user;
	bool kernel;
	bool kernel_memory;
	bool kfuncs;
	bool host_breakpoints;
	bool prefer_user;
	uint8_t verifier;    /* enum policy_verifier */
	uint64_t prog_types; /* bit per BPF_PROG_TYPE_* */
	uint64_t map_types;  /* bit per BPF_MAP_TYPE_* */
	uint64_t attach;     /* bit per enum policy_attach */
	struct policy_globs targets[POLICY_ATTACH_COUNT];
	uint8_t helpers[POLICY_HELPER_COUNT]; /* enum policy_verdict */
	uint64_t quotas[POLICY_QUOTA_COUNT];
};

/** struct policy_names - id to name; ids without a name are not known */
struct policy_names {
	const char *const *names;
	uint32_t cnt;
};

/** struct policy_helper - a helper and which default refuses it */
struct policy_helper {
	const char *name;
	bool deny;	    /* in "helpers.deny" unless the file says otherwise */
	bool kernel_memory; /* shows memory of the kernel or of other tasks, to whoever */
};

/** struct policy_switch - a key that takes one of two words */
struct policy_switch {
	const char *key;
	const char *no, *yes;
	size_t offset; /* of the bool in struct policy */
};

#define POLICY_SWITCH_COUNT 6u
extern const struct policy_switch policy_switches[POLICY_SWITCH_COUNT];

extern const struct policy_names policy_verifier_names;

/** struct policy_set - a key that takes a list of names */
struct policy_set {
	const char *key;
	const char *what; /* one element, for errors */
	const struct policy_names *names;
	size_t offset; /* of the uint64_t in struct policy */
};

#define POLICY_SET_COUNT 3u
extern const struct policy_set policy_sets[POLICY_SET_COUNT];

extern const struct policy_names policy_prog_type_names;
extern const struct policy_names policy_map_type_names;
extern const struct policy_names policy_attach_names;
extern const struct policy_names policy_quota_names;
extern const struct policy_helper policy_helpers[POLICY_HELPER_COUNT];

/** policy_name() - name of @id, or NULL */
const char *policy_name(const struct policy_names *names, uint32_t id);

/** policy_name_id() - id of a name, or -ENOENT */
int policy_name_id(const struct policy_names *names, const char *name);

/** policy_helper_id() - id of a helper's name without "bpf_", or -ENOENT */
int policy_helper_id(const char *name);

/** policy_globs_deinit() - free the patterns; leaves "any target" */
void policy_globs_deinit(struct policy_globs *globs);
