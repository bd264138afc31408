/* SPDX-License-Identifier: MIT */
/*
 * The compiled-in defaults and the questions. Called by notifier/ before anything is carried out;
 * never talks to the kernel, never logs.
 */
#include "policy/policy.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdlib.h>

#include "policy/internal.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Tracing, and the socket filters that libbpf and BCC load to probe for features. */
#define DEFAULT_PROG_TYPES                                                                         \
	(BIT(BPF_PROG_TYPE_KPROBE) | BIT(BPF_PROG_TYPE_TRACEPOINT) |                               \
	 BIT(BPF_PROG_TYPE_PERF_EVENT) | BIT(BPF_PROG_TYPE_RAW_TRACEPOINT) |                       \
	 BIT(BPF_PROG_TYPE_TRACING) | BIT(BPF_PROG_TYPE_SOCKET_FILTER))

#define DEFAULT_MAP_TYPES                                                                          \
	(BIT(BPF_MAP_TYPE_HASH) | BIT(BPF_MAP_TYPE_ARRAY) | BIT(BPF_MAP_TYPE_PROG_ARRAY) |         \
	 BIT(BPF_MAP_TYPE_PERF_EVENT_ARRAY) | BIT(BPF_MAP_TYPE_PERCPU_HASH) |                      \
	 BIT(BPF_MAP_TYPE_PERCPU_ARRAY) | BIT(BPF_MAP_TYPE_STACK_TRACE) |                          \
	 BIT(BPF_MAP_TYPE_CGROUP_ARRAY) | BIT(BPF_MAP_TYPE_LRU_HASH) |                             \
	 BIT(BPF_MAP_TYPE_LRU_PERCPU_HASH) | BIT(BPF_MAP_TYPE_LPM_TRIE) |                          \
	 BIT(BPF_MAP_TYPE_ARRAY_OF_MAPS) | BIT(BPF_MAP_TYPE_HASH_OF_MAPS) |                        \
	 BIT(BPF_MAP_TYPE_QUEUE) | BIT(BPF_MAP_TYPE_STACK) | BIT(BPF_MAP_TYPE_BLOOM_FILTER) |      \
	 BIT(BPF_MAP_TYPE_RINGBUF))

static const uint64_t default_quotas[POLICY_QUOTA_COUNT] = {
	[POLICY_QUOTA_PROGS] = 4096,	     [POLICY_QUOTA_MAPS] = 4096,
	[POLICY_QUOTA_MAP_BYTES] = 1u << 30, [POLICY_QUOTA_INSNS] = 1000000,
	[POLICY_QUOTA_LINKS] = 16384,	     [POLICY_QUOTA_EVENTS] = 16384,
	[POLICY_QUOTA_BTFS] = 4096,	     [POLICY_QUOTA_CLOCK_RATE] = 10000,
};

int policy_new(enum policy_base base, struct policy **ret_policy)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	bool run = base == POLICY_RUN;

	if (!policy)
		return -ENOMEM;
	policy->user = policy->prefer_user = true;
	policy->kernel = run;
	policy->kernel_memory = run;
	policy->host_breakpoints = run;
	policy->verifier = POLICY_VERIFIER_BOTH;
	policy->prog_types = DEFAULT_PROG_TYPES;
	policy->map_types = DEFAULT_MAP_TYPES;
	policy->attach = BIT(POLICY_ATTACH_COUNT) - 1;
	for (uint32_t id = 1; id < POLICY_HELPER_COUNT; id++)
		policy->helpers[id] = policy_helpers[id].deny ? POLICY_DENIED : POLICY_UNSAID;
	for (int quota = 0; quota < POLICY_QUOTA_COUNT; quota++)
		policy->quotas[quota] = default_quotas[quota];
	*ret_policy = policy;
	return 0;
}

void policy_globs_deinit(struct policy_globs *globs)
{
	for (uint32_t i = 0; i < globs->cnt; i++)
		free(globs->globs[i]);
	free(globs->globs);
	*globs = (struct policy_globs){0};
}

struct policy *policy_free(struct policy *policy)
{
	if (!policy)
		return NULL;
	for (int kind = 0; kind < POLICY_ATTACH_COUNT; kind++)
		policy_globs_deinit(&policy->targets[kind]);
	free(policy);
	return NULL;
}

static int check_type(uint64_t set, const struct policy_set *key, uint32_t id,
		      struct reason *reason)
{
	const char *name = policy_name(key->names, id);

	if (id < POLICY_TYPE_MAX && (set & BIT(id)))
		return 0;
	if (name)
		return reason_set(reason, -EPERM, "policy: %s %s is not in \"%s\"", key->what, name,
				  key->key);
	return reason_set(reason, -EPERM, "policy: %s %u is not in \"%s\"", key->what, id,
			  key->key);
}

int policy_check_kernel(const struct policy *policy, struct reason *reason)
{
	if (policy->kernel)
		return 0;
	return reason_set(reason, -EPERM,
			  "policy: programs in the kernel are refused by \"kernel\": \"deny\"");
}

int policy_check_user(const struct policy *policy, struct reason *reason)
{
	if (policy->user)
		return 0;
	return reason_set(reason, -EPERM,
			  "policy: programs in user space are refused by \"user\": \"deny\"");
}

int policy_check_prog_type(const struct policy *policy, uint32_t type, struct reason *reason)
{
	int r = check_type(policy->prog_types, &policy_sets[0], type, reason);

	/* Their arguments are typed kernel pointers, which they follow without any helper. */
	if (r == 0 && (type == BPF_PROG_TYPE_TRACING || type == BPF_PROG_TYPE_LSM))
		r = policy_check_kernel_memory(policy, reason);
	return r;
}

int policy_check_map_type(const struct policy *policy, uint32_t type, struct reason *reason)
{
	return check_type(policy->map_types, &policy_sets[1], type, reason);
}

static bool glob_matches(const char *glob, const char *target)
{
	return fnmatch(glob, target, 0) == 0;
}

/* What has no name is covered by "*" only. */
static bool is_target(const struct policy_globs *globs, const char *target,
		      bool (*matches)(const char *glob, const char *target))
{
	bool found = !globs->set;

	for (uint32_t i = 0; i < globs->cnt && !found; i++)
		found = matches(globs->globs[i], target ? target : "");
	return found;
}

int policy_check_attach(const struct policy *policy, enum policy_attach kind, const char *target,
			struct reason *reason)
{
	int r = check_type(policy->attach, &policy_sets[2], kind, reason);

	if (r < 0 || is_target(&policy->targets[kind], target, glob_matches))
		return r;
	return reason_set(
		reason, -EPERM, "policy: %s %.255s matches no pattern in \"attach_targets\"",
		policy_name(&policy_attach_names, kind), target ? target : "without a target");
}

bool policy_has_targets(const struct policy *policy, enum policy_attach kind)
{
	return policy->targets[kind].set;
}

int policy_check_kprobe(const struct policy *policy, const char *function, uint64_t offset,
			struct reason *reason)
{
	int r = policy_check_attach(policy, POLICY_ATTACH_KPROBE, offset ? NULL : function, reason);

	if (r < 0 && offset && (policy->attach & BIT(POLICY_ATTACH_KPROBE)))
		reason_set(reason, r,
			   "policy: kprobe %.255s+%" PRIu64 " may be in another function and "
			   "matches no pattern but \"*\" in \"attach_targets\"",
			   function, offset);
	return r;
}

int policy_check_file(const struct policy *policy, const char *path, const char *name,
		      bool (*matches)(const char *pattern, const char *name), struct reason *reason)
{
	int r = check_type(policy->attach, &policy_sets[2], POLICY_ATTACH_UPROBE, reason);

	if (r < 0 || is_target(&policy->targets[POLICY_ATTACH_UPROBE], name, matches))
		return r;
	return reason_set(reason, -EPERM,
			  "policy: uprobe %.255s%s matches no pattern in \"attach_targets\"", path,
			  name ? "" : ", by which the host knows no such file,");
}

int policy_check_helper(const struct policy *policy, uint32_t helper, struct reason *reason)
{
	const struct policy_helper *known;

	if (helper == 0 || helper >= POLICY_HELPER_COUNT)
		return 0;
	known = &policy_helpers[helper];
	switch ((enum policy_verdict)policy->helpers[helper]) {
	case POLICY_ALLOWED:
		return 0;
	case POLICY_DENIED:
		return reason_set(reason, -EPERM, "policy: helper bpf_%s is denied by \"helpers\"",
				  known->name);
	case POLICY_UNSAID:
		break;
	}
	if (policy->kernel_memory || !known->kernel_memory)
		return 0;
	return reason_set(reason, -EPERM,
			  "policy: helper bpf_%s is refused by \"kernel_memory\": \"deny\"",
			  known->name);
}

int policy_check_user_helper(const struct policy *policy, uint32_t helper, struct reason *reason)
{
	if (helper >= POLICY_HELPER_COUNT || policy->helpers[helper] != POLICY_DENIED)
		return 0;
	return policy_check_helper(policy, helper, reason);
}

int policy_check_kernel_memory(const struct policy *policy, struct reason *reason)
{
	if (policy->kernel_memory)
		return 0;
	return reason_set(
		reason, -EPERM,
		"policy: reading kernel memory is refused by \"kernel_memory\": \"deny\"");
}

int policy_check_kfuncs(const struct policy *policy, struct reason *reason)
{
	/* Some return typed kernel pointers, bpf_rdonly_cast() makes one of any number. */
	if (policy->kfuncs)
		return policy_check_kernel_memory(policy, reason);
	return reason_set(reason, -EPERM,
			  "policy: kernel functions are refused by \"kfuncs\": \"deny\"");
}

int policy_check_quota(const struct policy *policy, enum policy_quota quota, uint64_t used,
		       uint64_t more, struct reason *reason)
{
	uint64_t limit = policy->quotas[quota];

	/* Not used + more: the sum of what a guest asks for may wrap around. */
	if (used <= limit && more <= limit - used)
		return 0;
	return reason_set(reason, -EPERM,
			  "policy: %" PRIu64 " more %s with %" PRIu64 " in use exceed the %" PRIu64
			  " of \"quotas\"",
			  more, policy_name(&policy_quota_names, quota), used, limit);
}

bool policy_host_breakpoints(const struct policy *policy)
{
	return policy->host_breakpoints;
}

enum policy_verifier policy_verifier(const struct policy *policy)
{
	return (enum policy_verifier)policy->verifier;
}

bool policy_shows_kernel(const struct policy *policy)
{
	return policy->kernel && policy->kernel_memory;
}

bool policy_prefers_user(const struct policy *policy)
{
	return policy->user && (policy->prefer_user || !policy->kernel);
}
