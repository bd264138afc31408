/* SPDX-License-Identifier: MIT */
/*
 * JSON text to a policy. Whoever writes the file wants to know the first mistake and its line; a
 * file with a mistake never takes effect in part.
 *
 * Text is read twice: json-c decides what is valid and holds the values, policy/lines.h the line
 * numbers. Both list values in the order of the text, so reading them in step pairs them.
 */
#include "policy/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "policy/internal.h"
#include "policy/lines.h"

struct reader {
	const char *name;
	struct policy *policy;
	struct lines lines;
	uint32_t next; /* value whose line was not taken yet */
	struct reason *reason;
};

#define refuse(reader, line, key, fmt, ...)                                                        \
	reason_set((reader)->reason, -EINVAL, "%s:%u: %s: " fmt, (reader)->name, line, key,        \
		   ##__VA_ARGS__)

/* Every value is taken exactly once: a skipped one would shift all lines behind it. */
static uint32_t take_line(struct reader *reader)
{
	return reader->next < reader->lines.cnt ? reader->lines.lines[reader->next++] : 0;
}

static void *member(struct policy *policy, size_t offset)
{
	return (char *)policy + offset;
}

/* A string of the file as a C string, or NULL when it is none or hides something behind a NUL. */
static const char *text_of(struct json_object *value)
{
	const char *text;

	if (!json_object_is_type(value, json_type_string))
		return NULL;
	text = json_object_get_string(value);
	return strlen(text) == (size_t)json_object_get_string_len(value) ? text : NULL;
}

static int refuse_name(struct reader *reader, uint32_t line, const char *key, const char *what,
		       const char *name)
{
	char shown[64];

	return refuse(reader, line, key, "unknown %s \"%s\"", what,
		      lines_printable(shown, sizeof(shown), name, strlen(name)));
}

static int refuse_key(struct reader *reader, uint32_t line, const char *prefix, const char *key)
{
	char shown[64];

	lines_printable(shown, sizeof(shown), key, strlen(key));
	return reason_set(reader->reason, -EINVAL, "%s:%u: %s%s%s: unknown key", reader->name, line,
			  prefix, *prefix ? "." : "", shown);
}

static int read_switch(struct reader *reader, const struct policy_switch *key,
		       struct json_object *value)
{
	uint32_t line = take_line(reader);
	const char *word = text_of(value);
	bool *field = member(reader->policy, key->offset);

	if (word && strcmp(word, key->yes) == 0)
		*field = true;
	else if (word && strcmp(word, key->no) == 0)
		*field = false;
	else
		return refuse(reader, line, key->key, "must be \"%s\" or \"%s\"", key->yes,
			      key->no);
	return 0;
}

static int read_verifier(struct reader *reader, struct json_object *value)
{
	uint32_t line = take_line(reader);
	const char *word = text_of(value);
	int id = word ? policy_name_id(&policy_verifier_names, word) : -ENOENT;

	if (id < 0)
		return refuse(reader, line, "verifier", "must be \"user\", \"kernel\" or \"both\"");
	reader->policy->verifier = (uint8_t)id;
	return 0;
}

static int read_set(struct reader *reader, const struct policy_set *key, struct json_object *value)
{
	uint32_t line = take_line(reader);
	uint64_t set = 0;

	if (!json_object_is_type(value, json_type_array))
		return refuse(reader, line, key->key, "must be a list of names");
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		const char *name = text_of(json_object_array_get_idx(value, i));
		int id;

		line = take_line(reader);
		if (!name)
			return refuse(reader, line, key->key, "must be a list of names");
		id = policy_name_id(key->names, name);
		if (id < 0)
			return refuse_name(reader, line, key->key, key->what, name);
		set |= UINT64_C(1) << id;
	}
	*(uint64_t *)member(reader->policy, key->offset) = set;
	return 0;
}

static int read_globs(struct reader *reader, enum policy_attach kind, struct json_object *value)
{
	struct policy_globs *globs = &reader->policy->targets[kind];
	uint32_t line = take_line(reader);
	size_t cnt;

	if (!json_object_is_type(value, json_type_array))
		return refuse(reader, line, "attach_targets", "must hold lists of patterns");
	cnt = json_object_array_length(value);
	globs->globs = calloc(cnt ? cnt : 1, sizeof(*globs->globs));
	if (!globs->globs)
		return -ENOMEM;
	globs->set = true;
	for (size_t i = 0; i < cnt; i++) {
		const char *glob = text_of(json_object_array_get_idx(value, i));

		line = take_line(reader);
		if (!glob)
			return refuse(reader, line, "attach_targets",
				      "must hold lists of patterns");
		if (strlen(glob) > POLICY_GLOB_MAX)
			return refuse(reader, line, "attach_targets",
				      "pattern is longer than %u bytes", POLICY_GLOB_MAX);
		globs->globs[i] = strdup(glob);
		if (!globs->globs[i])
			return -ENOMEM;
		globs->cnt++;
	}
	return 0;
}

static int read_targets(struct reader *reader, struct json_object *value)
{
	uint32_t line = take_line(reader);

	if (!json_object_is_type(value, json_type_object))
		return refuse(reader, line, "attach_targets", "must be an object");
	json_object_object_foreach(value, key, list)
	{
		int kind = policy_name_id(&policy_attach_names, key);
		int r;

		if (kind < 0)
			return refuse_key(reader, take_line(reader), "attach_targets", key);
		r = read_globs(reader, kind, list);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_helper_list(struct reader *reader, const char *key, enum policy_verdict verdict,
			    uint8_t *said, struct json_object *value)
{
	uint32_t line = take_line(reader);

	if (!json_object_is_type(value, json_type_array))
		return refuse(reader, line, key, "must be a list of names");
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		const char *name = text_of(json_object_array_get_idx(value, i));
		int id;

		line = take_line(reader);
		if (!name)
			return refuse(reader, line, key, "must be a list of names");
		id = policy_helper_id(name);
		if (id < 0)
			return refuse_name(reader, line, key, "helper", name);
		if (said[id] != POLICY_UNSAID && said[id] != verdict)
			return refuse(reader, line, key, "\"%s\" is both allowed and denied", name);
		said[id] = verdict;
		reader->policy->helpers[id] = verdict;
	}
	return 0;
}

static int read_helpers(struct reader *reader, struct json_object *value)
{
	uint32_t line = take_line(reader);
	uint8_t said[POLICY_HELPER_COUNT] = {0};

	if (!json_object_is_type(value, json_type_object))
		return refuse(reader, line, "helpers", "must be an object");
	json_object_object_foreach(value, key, list)
	{
		int r;

		if (strcmp(key, "deny") == 0)
			r = read_helper_list(reader, "helpers.deny", POLICY_DENIED, said, list);
		else if (strcmp(key, "allow") == 0)
			r = read_helper_list(reader, "helpers.allow", POLICY_ALLOWED, said, list);
		else
			r = refuse_key(reader, take_line(reader), "helpers", key);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_quotas(struct reader *reader, struct json_object *value)
{
	uint32_t line = take_line(reader);

	if (!json_object_is_type(value, json_type_object))
		return refuse(reader, line, "quotas", "must be an object");
	json_object_object_foreach(value, key, number)
	{
		int quota = policy_name_id(&policy_quota_names, key);
		char path[32];

		line = take_line(reader);
		if (quota < 0)
			return refuse_key(reader, line, "quotas", key);
		snprintf(path, sizeof(path), "quotas.%s", key);
		if (!json_object_is_type(number, json_type_int))
			return refuse(reader, line, path, "must be an integer");
		if (json_object_get_int64(number) < 0)
			return refuse(reader, line, path, "must not be negative");
		/* json-c turns what does not fit into the nearest number that does. */
		if (json_object_get_uint64(number) >= INT64_MAX)
			return refuse(reader, line, path, "is too large");
		reader->policy->quotas[quota] = json_object_get_uint64(number);
	}
	return 0;
}

static int read_key(struct reader *reader, const char *key, struct json_object *value)
{
	for (size_t i = 0; i < POLICY_SWITCH_COUNT; i++)
		if (strcmp(key, policy_switches[i].key) == 0)
			return read_switch(reader, &policy_switches[i], value);
	for (size_t i = 0; i < POLICY_SET_COUNT; i++)
		if (strcmp(key, policy_sets[i].key) == 0)
			return read_set(reader, &policy_sets[i], value);
	if (strcmp(key, "attach_targets") == 0)
		return read_targets(reader, value);
	if (strcmp(key, "helpers") == 0)
		return read_helpers(reader, value);
	if (strcmp(key, "quotas") == 0)
		return read_quotas(reader, value);
	if (strcmp(key, "verifier") == 0)
		return read_verifier(reader, value);
	return refuse_key(reader, take_line(reader), "", key);
}

static int read_root(struct reader *reader, struct json_object *root)
{
	uint32_t line = take_line(reader);

	if (!json_object_is_type(root, json_type_object))
		return reason_set(reader->reason, -EINVAL, "%s:%u: must be one JSON object",
				  reader->name, line ? line : 1);
	json_object_object_foreach(root, key, value)
	{
		int r = read_key(reader, key, value);

		if (r < 0)
			return r;
	}
	return 0;
}

static const char *syntax_error(enum json_tokener_error error)
{
	if (error == json_tokener_continue)
		return "unexpected end of the text";
	if (error == json_tokener_error_depth)
		return "nested too deeply";
	return json_tokener_error_desc(error);
}

/* One strict JSON value and nothing but white space around it. */
static int parse_json(const char *name, const char *text, size_t len, struct json_object **ret_root,
		      struct reason *reason)
{
	struct json_tokener *tok = json_tokener_new_ex(POLICY_DEPTH_MAX);
	enum json_tokener_error error;
	struct json_object *root;
	size_t end;
	int r = 0;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tok, text, (int)len);
	error = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	if (error != json_tokener_success)
		r = reason_set(reason, -EINVAL, "%s:%u: syntax: %s", name, lines_at(text, len, end),
			       syntax_error(error));
	while (r == 0 && end < len) {
		if (!strchr(" \t\r\n", text[end]))
			r = reason_set(reason, -EINVAL, "%s:%u: syntax: text behind the object",
				       name, lines_at(text, len, end));
		end++;
	}
	json_tokener_free(tok);
	if (r < 0) {
		json_object_put(root);
		return r;
	}
	*ret_root = root;
	return 0;
}

int policy_parse(enum policy_base base, const char *name, const char *text, size_t len,
		 struct policy **ret_policy, struct reason *reason)
{
	struct reader reader = {.name = name, .reason = reason};
	struct json_object *root = NULL;
	const char *nul = len ? memchr(text, '\0', len) : NULL;
	int r;

	if (len > POLICY_FILE_MAX)
		return reason_set(reason, -EINVAL, "%s:1: longer than %u bytes", name,
				  POLICY_FILE_MAX);
	if (nul)
		return reason_set(reason, -EINVAL, "%s:%u: syntax: NUL byte", name,
				  lines_at(text, len, (size_t)(nul - text)));
	r = parse_json(name, text, len, &root, reason);
	if (r < 0)
		return r;
	r = lines_scan(name, text, len, &reader.lines, reason);
	if (r == 0)
		r = policy_new(base, &reader.policy);
	if (r == 0)
		r = read_root(&reader, root);
	lines_deinit(&reader.lines);
	json_object_put(root);
	if (r < 0) {
		policy_free(reader.policy);
		return r;
	}
	*ret_policy = reader.policy;
	return 0;
}

int policy_load(enum policy_base base, const char *path, struct policy **ret_policy,
		struct reason *reason)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r = read_file(AT_FDCWD, path, POLICY_FILE_MAX, &text, &len);

	if (r == -EFBIG)
		return reason_set(reason, r, "%s:1: longer than %u bytes", path, POLICY_FILE_MAX);
	if (r < 0)
		return reason_set(reason, r, "%s: %s", path, strerror(-r));
	return policy_parse(base, path, text, len, ret_policy, reason);
}
