/* SPDX-License-Identifier: MIT */
/*
 * What a tenant may do: pure questions to a parsed JSON file. Called by notifier/ before anything
 * is carried out; never talks to the kernel, never logs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"

/** enum policy_base - the compiled-in defaults a file starts from (bpfshim-policy.5) */
enum policy_base {
	POLICY_SERVICE, /* user allow, kernel deny */
	POLICY_RUN,	/* started by root for one command: user allow, kernel guarded */
};

/** enum policy_attach - kinds of attachment; names in the file are the lower-case words */
enum policy_attach {
	POLICY_ATTACH_UPROBE, /* uprobe, uretprobe, USDT, uprobe_multi */
	POLICY_ATTACH_KPROBE, /* kprobe, kretprobe, kprobe_multi */
	POLICY_ATTACH_TRACEPOINT,
	POLICY_ATTACH_RAW_TRACEPOINT, /* raw_tracepoint and tp_btf */
	POLICY_ATTACH_PERF_EVENT,     /* software, hardware, profile, interval */
	POLICY_ATTACH_WATCHPOINT,
	POLICY_ATTACH_COUNT,
};

/** enum policy_quota - per-tenant limits; names in the file are the lower-case words */
enum policy_quota {
	POLICY_QUOTA_PROGS,	 /* loaded programs */
	POLICY_QUOTA_MAPS,	 /* maps */
	POLICY_QUOTA_MAP_BYTES,	 /* bytes in all maps */
	POLICY_QUOTA_INSNS,	 /* instructions of one program */
	POLICY_QUOTA_LINKS,	 /* attachments */
	POLICY_QUOTA_EVENTS,	 /* open perf events */
	POLICY_QUOTA_BTFS,	 /* loaded BTF objects */
	POLICY_QUOTA_CLOCK_RATE, /* ticks per second of one clock that interrupts everybody */
	POLICY_QUOTA_COUNT,
};

/** enum policy_verifier - whose word counts for programs in the kernel (bpfshim-policy.5) */
enum policy_verifier {
	POLICY_VERIFIER_KERNEL, /* the kernel's alone */
	POLICY_VERIFIER_USER,	/* ours first: what it refuses or does not cover stays out */
	POLICY_VERIFIER_BOTH,	/* both must accept; the kernel decides what ours does not cover */
};

struct policy;

/** policy_new() - the compiled-in defaults. Return: 0 or -ENOMEM. Owns: free with policy_free() */
int policy_new(enum policy_base base, struct policy **ret_policy);

/**
 * policy_parse() - defaults of @base overridden by JSON text
 * @name: shown in errors (a file name)
 * @reason: first error as "NAME:LINE: KEY: what is wrong"
 *
 * Unknown keys, wrong types and duplicate keys are errors.
 *
 * Return: 0, -EINVAL (see @reason) or -ENOMEM.
 */
int policy_parse(enum policy_base base, const char *name, const char *text, size_t len,
		 struct policy **ret_policy, struct reason *reason);

/** policy_load() - policy_parse() on a file. Errors: also those of open(2) and read(2). */
int policy_load(enum policy_base base, const char *path, struct policy **ret_policy,
		struct reason *reason);

/** policy_dump() - JSON that policy_parse() turns into an equal policy. Errors: -ENOMEM. */
int policy_dump(const struct policy *policy, char **ret_text);

/** policy_free() - accepts NULL. Return: NULL. */
struct policy *policy_free(struct policy *policy);

/*
 * The questions. Each returns 0 for yes or -EPERM with @reason set to one sentence that names what
 * was refused and the key that refuses it, e.g.
 *   policy: program type socket_filter is not in "prog_types"
 */
int policy_check_kernel(const struct policy *policy, struct reason *reason);
/** programs that run in the traced process */
int policy_check_user(const struct policy *policy, struct reason *reason);
int policy_check_prog_type(const struct policy *policy, uint32_t type, struct reason *reason);
int policy_check_map_type(const struct policy *policy, uint32_t type, struct reason *reason);
/** @target: "category:name" of a tracepoint, name of a raw tracepoint, or NULL */
int policy_check_attach(const struct policy *policy, enum policy_attach kind, const char *target,
			struct reason *reason);
/** policy_has_targets() - whether the answer depends on the target */
bool policy_has_targets(const struct policy *policy, enum policy_attach kind);
/** @offset: from the start of @function; not 0: an address without a name, since the kernel does
 *  not ask where the function ends */
int policy_check_kprobe(const struct policy *policy, const char *function, uint64_t offset,
			struct reason *reason);
/** @path: as the caller named the file, for the reason; @name: what it is called, or NULL;
 *  @matches: whether one pattern of the policy's means it, "" standing for NULL */
int policy_check_file(const struct policy *policy, const char *path, const char *name,
		      bool (*matches)(const char *pattern, const char *name),
		      struct reason *reason);
/** @helper: BPF_FUNC_* id; ids the policy does not know are allowed here, the verifier decides */
int policy_check_helper(const struct policy *policy, uint32_t helper, struct reason *reason);
/** the same for a program in the traced process, where no helper shows the kernel's memory */
int policy_check_user_helper(const struct policy *policy, uint32_t helper, struct reason *reason);
/** typed kernel pointers and kernel variables, which programs follow without a helper */
int policy_check_kernel_memory(const struct policy *policy, struct reason *reason);
/** kernel functions (kfuncs) called by id; they reach kernel memory, so that is asked, too */
int policy_check_kfuncs(const struct policy *policy, struct reason *reason);
/** @used: what the tenant holds already; @more: what it asks for */
int policy_check_quota(const struct policy *policy, enum policy_quota quota, uint64_t used,
		       uint64_t more, struct reason *reason);

/** policy_host_breakpoints() - may a kernel uprobe reach processes outside the tenant (guarded) */
bool policy_host_breakpoints(const struct policy *policy);
/** policy_prefers_user() - uprobes run in the traced process where they can; also when they may run
 *  nowhere else */
bool policy_prefers_user(const struct policy *policy);

/** policy_verifier() - see enum policy_verifier */
enum policy_verifier policy_verifier(const struct policy *policy);
/** policy_shows_kernel() - programs may run in the kernel and read its memory: nothing is kept from
 *  them, so nothing need be done against less than that */
bool policy_shows_kernel(const struct policy *policy);

/* Names as the file spells them; NULL for numbers without one. */
const char *policy_prog_type_name(uint32_t type);
const char *policy_map_type_name(uint32_t type);
const char *policy_attach_name(enum policy_attach kind);
