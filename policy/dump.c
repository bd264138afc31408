/* SPDX-License-Identifier: MIT */
/*
 * A policy as JSON. Every key is written out, so that the text means the same over any defaults.
 */
#include "policy/policy.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "policy/internal.h"

/* Each add_*() takes over @value, NULL for want of memory included. */
static bool add_key(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool add_text(struct json_object *list, const char *text)
{
	struct json_object *value = json_object_new_string(text);

	if (value && json_object_array_add(list, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool dump_set(struct json_object *root, const struct policy_set *key, uint64_t set)
{
	struct json_object *list = json_object_new_array();

	if (!add_key(root, key->key, list))
		return false;
	for (uint32_t id = 0; id < key->names->cnt; id++)
		if ((set & UINT64_C(1) << id) && !add_text(list, policy_name(key->names, id)))
			return false;
	return true;
}

static bool dump_targets(struct json_object *root, const struct policy *policy)
{
	struct json_object *targets = json_object_new_object();

	if (!add_key(root, "attach_targets", targets))
		return false;
	for (uint32_t kind = 0; kind < POLICY_ATTACH_COUNT; kind++) {
		const struct policy_globs *globs = &policy->targets[kind];
		struct json_object *list;

		if (!globs->set)
			continue;
		list = json_object_new_array();
		if (!add_key(targets, policy_name(&policy_attach_names, kind), list))
			return false;
		for (uint32_t i = 0; i < globs->cnt; i++)
			if (!add_text(list, globs->globs[i]))
				return false;
	}
	return true;
}

static bool dump_helpers(struct json_object *root, const struct policy *policy)
{
	struct json_object *helpers = json_object_new_object();
	struct json_object *deny, *allow;

	if (!add_key(root, "helpers", helpers))
		return false;
	deny = json_object_new_array();
	if (!add_key(helpers, "deny", deny))
		return false;
	allow = json_object_new_array();
	if (!add_key(helpers, "allow", allow))
		return false;
	for (uint32_t id = 1; id < POLICY_HELPER_COUNT; id++) {
		uint8_t verdict = policy->helpers[id];

		if (verdict != POLICY_UNSAID &&
		    !add_text(verdict == POLICY_DENIED ? deny : allow, policy_helpers[id].name))
			return false;
	}
	return true;
}

static bool dump_quotas(struct json_object *root, const struct policy *policy)
{
	struct json_object *quotas = json_object_new_object();

	if (!add_key(root, "quotas", quotas))
		return false;
	for (uint32_t quota = 0; quota < POLICY_QUOTA_COUNT; quota++)
		if (!add_key(quotas, policy_name(&policy_quota_names, quota),
			     json_object_new_uint64(policy->quotas[quota])))
			return false;
	return true;
}

static bool dump(struct json_object *root, const struct policy *policy)
{
	const char *base = (const char *)policy;

	for (size_t i = 0; i < POLICY_SWITCH_COUNT; i++) {
		const struct policy_switch *key = &policy_switches[i];
		bool yes = *(const bool *)(base + key->offset);

		if (!add_key(root, key->key, json_object_new_string(yes ? key->yes : key->no)))
			return false;
	}
	if (!add_key(root, "verifier",
		     json_object_new_string(policy_name(&policy_verifier_names, policy->verifier))))
		return false;
	for (size_t i = 0; i < POLICY_SET_COUNT; i++)
		if (!dump_set(root, &policy_sets[i],
			      *(const uint64_t *)(base + policy_sets[i].offset)))
			return false;
	return dump_targets(root, policy) && dump_helpers(root, policy) &&
	       dump_quotas(root, policy);
}

int policy_dump(const struct policy *policy, char **ret_text)
{
	struct json_object *root = json_object_new_object();
	const char *text = NULL;
	char *copy;

	if (root && dump(root, policy))
		text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
								    JSON_C_TO_STRING_NOSLASHESCAPE);
	copy = text ? strdup(text) : NULL;
	json_object_put(root);
	if (!copy)
		return -ENOMEM;
	*ret_text = copy;
	return 0;
}
