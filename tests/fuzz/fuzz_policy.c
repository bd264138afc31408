/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a policy file: it is refused with a reason, or it answers every question and its
 * dump is the same policy again.
 */
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static void ask(const struct policy *policy)
{
	struct reason reason;

	policy_check_kernel(policy, &reason);
	policy_check_user(policy, &reason);
	policy_check_kfuncs(policy, &reason);
	policy_host_breakpoints(policy);
	for (uint32_t id = 0; id < 256; id++) {
		policy_check_prog_type(policy, id, &reason);
		policy_check_map_type(policy, id, &reason);
		policy_check_helper(policy, id, &reason);
	}
	for (int kind = 0; kind < POLICY_ATTACH_COUNT; kind++) {
		policy_check_attach(policy, kind, NULL, &reason);
		policy_check_attach(policy, kind, "a:b", &reason);
	}
	for (int quota = 0; quota < POLICY_QUOTA_COUNT; quota++) {
		policy_check_quota(policy, quota, 1, UINT64_MAX, &reason);
		/* Once a limit admits UINT64_MAX the sum would wrap: no file may say so. */
		if (policy_check_quota(policy, quota, 0, UINT64_MAX, NULL) == 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *first = NULL, *second = NULL;
	enum policy_base base = size % 2 ? POLICY_RUN : POLICY_SERVICE;
	struct reason reason = {0};
	struct policy *policy;

	if (policy_parse(base, "f", (const char *)data, size, &policy, &reason) < 0) {
		if (strncmp(reason.text, "f:", 2) != 0 || strncmp(reason.text, "f:0:", 4) == 0)
			abort();
		return 0;
	}
	ask(policy);
	if (policy_dump(policy, &first) < 0)
		abort();
	policy_free(policy);
	/* Escapes make a dump longer than what it came from; only that may refuse it. */
	if (strlen(first) > 1u << 20)
		return 0;
	if (policy_parse(POLICY_RUN, "f", first, strlen(first), &policy, &reason) < 0)
		abort();
	if (policy_dump(policy, &second) < 0 || strcmp(first, second) != 0)
		abort();
	policy_free(policy);
	return 0;
}
