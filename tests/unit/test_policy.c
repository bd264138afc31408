/* SPDX-License-Identifier: MIT */
/*
 * policy/: defaults, every key, every kind of mistake with its line, and the round trip.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "policy/policy.h"

/* A copy without a byte behind it, so that reading past the end does not go unnoticed. */
static int parse_len(enum policy_base base, const char *text, size_t len,
		     struct policy **ret_policy, struct reason *reason)
{
	char *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, len);
	r = policy_parse(base, "p", copy, len, ret_policy, reason);
	free(copy);
	return r;
}

static struct policy *parse(enum policy_base base, const char *text)
{
	struct reason reason = {0};
	struct policy *policy = NULL;
	int r = parse_len(base, text, strlen(text), &policy, &reason);

	if (r < 0)
		fail_msg("%s: %s", text, reason.text);
	assert_non_null(policy);
	return policy;
}

static void assert_refused(const char *text, const char *expected)
{
	struct policy *policy = NULL;
	struct reason reason = {0};

	assert_int_equal(parse_len(POLICY_RUN, text, strlen(text), &policy, &reason), -EINVAL);
	assert_null(policy);
	if (strncmp(reason.text, expected, strlen(expected)) != 0)
		fail_msg("%s: \"%s\", expected \"%s\"", text, reason.text, expected);
}

static void test_defaults(void **state)
{
	static const uint32_t denied[] = {36, 58, 109, 117, 147, 166, 167, 168, 179, 191, 136, 99};
	struct policy *run, *service;

	assert_int_equal(policy_new(POLICY_RUN, &run), 0);
	assert_int_equal(policy_new(POLICY_SERVICE, &service), 0);
	assert_int_equal(policy_check_kernel(run, NULL), 0);
	assert_int_equal(policy_check_kernel(service, NULL), -EPERM);
	assert_int_equal(policy_check_user(run, NULL), 0);
	assert_int_equal(policy_check_user(service, NULL), 0);
	assert_true(policy_host_breakpoints(run));
	assert_false(policy_host_breakpoints(service));
	assert_int_equal(policy_verifier(run), POLICY_VERIFIER_BOTH);
	assert_int_equal(policy_verifier(service), POLICY_VERIFIER_BOTH);
	assert_true(policy_shows_kernel(run));
	assert_false(policy_shows_kernel(service));
	assert_int_equal(policy_check_kfuncs(run, NULL), -EPERM);
	assert_int_equal(policy_check_prog_type(run, BPF_PROG_TYPE_KPROBE, NULL), 0);
	assert_int_equal(policy_check_prog_type(run, BPF_PROG_TYPE_TRACING, NULL), 0);
	assert_int_equal(policy_check_prog_type(run, BPF_PROG_TYPE_XDP, NULL), -EPERM);
	assert_int_equal(policy_check_prog_type(run, 0, NULL), -EPERM);
	assert_int_equal(policy_check_prog_type(run, UINT32_MAX, NULL), -EPERM);
	assert_int_equal(policy_check_map_type(run, BPF_MAP_TYPE_RINGBUF, NULL), 0);
	assert_int_equal(policy_check_map_type(run, BPF_MAP_TYPE_SOCKMAP, NULL), -EPERM);
	assert_int_equal(policy_check_map_type(run, 64, NULL), -EPERM);
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
		assert_int_equal(policy_check_helper(run, denied[i], NULL), -EPERM);
	assert_int_equal(policy_check_helper(run, BPF_FUNC_probe_read, NULL), 0);
	for (int kind = 0; kind < POLICY_ATTACH_COUNT; kind++)
		assert_int_equal(policy_check_attach(service, kind, "x", NULL), 0);
	policy_free(run);
	assert_null(policy_free(service));
	assert_null(policy_free(NULL));
}

static void test_helpers(void **state)
{
	static const uint32_t kernel_memory[] = {4,   45,  113, 115, 35,  158, 175, 153, 154, 126,
						 127, 150, 149, 141, 191, 180, 176, 6,	 177};
	struct policy *policy = parse(POLICY_RUN, "{\"kernel_memory\": \"deny\"}");
	struct reason reason = {0};

	for (size_t i = 0; i < ARRAY_SIZE(kernel_memory); i++)
		assert_int_equal(policy_check_helper(policy, kernel_memory[i], NULL), -EPERM);
	assert_int_equal(policy_check_prog_type(policy, BPF_PROG_TYPE_TRACING, NULL), -EPERM);
	assert_int_equal(policy_check_prog_type(policy, BPF_PROG_TYPE_KPROBE, NULL), 0);
	assert_int_equal(policy_check_kernel_memory(policy, NULL), -EPERM);
	assert_int_equal(policy_check_kfuncs(policy, NULL), -EPERM);
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_probe_read_user, NULL), 0);
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_perf_event_output, NULL), 0);
	assert_int_equal(policy_check_helper(policy, 0, NULL), 0);
	assert_int_equal(policy_check_helper(policy, 212, NULL), 0);
	assert_int_equal(policy_check_helper(policy, UINT32_MAX, NULL), 0);
	/* In a process there is none of it to be seen. */
	assert_int_equal(policy_check_user_helper(policy, BPF_FUNC_trace_printk, NULL), 0);
	assert_int_equal(policy_check_user_helper(policy, 0, NULL), 0);
	assert_int_equal(policy_check_user_helper(policy, 212, NULL), 0);
	assert_int_equal(policy_check_user_helper(policy, UINT32_MAX, NULL), 0);
	assert_int_equal(policy_check_user_helper(policy, BPF_FUNC_send_signal, &reason), -EPERM);
	assert_string_equal(reason.text, "policy: helper bpf_send_signal is denied by \"helpers\"");
	policy_check_helper(policy, 113, &reason);
	assert_string_equal(reason.text, "policy: helper bpf_probe_read_kernel is refused by "
					 "\"kernel_memory\": \"deny\"");
	policy_free(policy);

	policy = parse(POLICY_RUN, "{\"kfuncs\": \"allow\"}");
	assert_int_equal(policy_check_kfuncs(policy, NULL), 0);
	policy_free(policy);
	policy = parse(POLICY_RUN, "{\"kfuncs\": \"allow\", \"kernel_memory\": \"deny\"}");
	assert_int_equal(policy_check_kfuncs(policy, NULL), -EPERM);
	policy_free(policy);

	policy = parse(POLICY_SERVICE, "{\"helpers\": {\"allow\": [\"probe_read\", \"d_path\"], "
				       "\"deny\": [\"trace_printk\"]}}");
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_probe_read, NULL), 0);
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_d_path, NULL), 0);
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_send_signal, NULL), -EPERM);
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_probe_read_kernel, NULL), -EPERM);
	assert_int_equal(policy_check_helper(policy, BPF_FUNC_trace_printk, &reason), -EPERM);
	assert_string_equal(reason.text,
			    "policy: helper bpf_trace_printk is denied by \"helpers\"");
	policy_free(policy);
}

static void test_sets(void **state)
{
	struct policy *policy = parse(POLICY_RUN, "{\"prog_types\": [\"xdp\"], \"map_types\": [], "
						  "\"attach\": [\"uprobe\"]}");
	struct reason reason = {0};

	assert_int_equal(policy_check_prog_type(policy, BPF_PROG_TYPE_XDP, NULL), 0);
	assert_int_equal(policy_check_prog_type(policy, 1, &reason), -EPERM);
	assert_string_equal(reason.text,
			    "policy: program type socket_filter is not in \"prog_types\"");
	assert_int_equal(policy_check_map_type(policy, 77, &reason), -EPERM);
	assert_string_equal(reason.text, "policy: map type 77 is not in \"map_types\"");
	assert_int_equal(policy_check_attach(policy, POLICY_ATTACH_UPROBE, "/bin/x", NULL), 0);
	assert_int_equal(policy_check_attach(policy, POLICY_ATTACH_KPROBE, "x", &reason), -EPERM);
	assert_string_equal(reason.text, "policy: kind of attachment kprobe is not in \"attach\"");
	policy_free(policy);
}

static int check_tracepoint(const struct policy *policy, const char *name, struct reason *reason)
{
	return policy_check_attach(policy, POLICY_ATTACH_TRACEPOINT, name, reason);
}

static void test_targets(void **state)
{
	struct policy *policy = parse(
		POLICY_RUN, "{\"attach_targets\": {\"tracepoint\": [\"sched:*\", \"irq:*_entry\"], "
			    "\"kprobe\": [], \"perf_event\": [\"*\"]}}");
	struct reason reason = {0};

	assert_int_equal(check_tracepoint(policy, "sched:sched_switch", NULL), 0);
	assert_int_equal(check_tracepoint(policy, "irq:softirq_entry", NULL), 0);
	assert_int_equal(check_tracepoint(policy, "irq:softirq_exit", &reason), -EPERM);
	assert_string_equal(reason.text, "policy: tracepoint irq:softirq_exit matches no pattern "
					 "in \"attach_targets\"");
	assert_int_equal(check_tracepoint(policy, NULL, NULL), -EPERM);
	assert_int_equal(policy_check_attach(policy, POLICY_ATTACH_KPROBE, "f", NULL), -EPERM);
	assert_int_equal(policy_check_attach(policy, POLICY_ATTACH_PERF_EVENT, NULL, NULL), 0);
	assert_int_equal(policy_check_attach(policy, POLICY_ATTACH_UPROBE, "/x", NULL), 0);
	policy_free(policy);
}

static int check_kprobe(const char *json, const char *function, uint64_t offset,
			struct reason *reason)
{
	struct policy *policy = parse(POLICY_RUN, json);
	int r = policy_check_kprobe(policy, function, offset, reason);

	policy_free(policy);
	return r;
}

/* vfs_read+4096 is not in vfs_read. */
static void test_kprobes(void **state)
{
	static const char one[] = "{\"attach_targets\": {\"kprobe\": [\"vfs_*\"]}}";
	static const char all[] = "{\"attach_targets\": {\"kprobe\": [\"*\"]}}";
	struct reason reason = {0};

	assert_int_equal(check_kprobe("{}", "vfs_read", 4096, NULL), 0);
	assert_int_equal(check_kprobe(all, "vfs_read", 4096, NULL), 0);
	assert_int_equal(check_kprobe(one, "vfs_read", 0, NULL), 0);
	assert_int_equal(check_kprobe(one, "do_exit", 0, NULL), -EPERM);
	assert_int_equal(check_kprobe(one, "vfs_read", 4096, &reason), -EPERM);
	assert_string_equal(reason.text, "policy: kprobe vfs_read+4096 may be in another function "
					 "and matches no pattern but \"*\" in \"attach_targets\"");
	assert_int_equal(check_kprobe("{\"attach\": []}", "f", 1, &reason), -EPERM);
	assert_string_equal(reason.text, "policy: kind of attachment kprobe is not in \"attach\"");
}

static void test_quotas(void **state)
{
	struct policy *policy = parse(POLICY_RUN, "{\"quotas\": {\"maps\": 2, \"links\": 0, "
						  "\"insns\": 9223372036854775806}}");
	struct reason reason = {0};

	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_MAPS, 1, 1, NULL), 0);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_MAPS, 2, 1, &reason), -EPERM);
	assert_string_equal(reason.text,
			    "policy: 1 more maps with 2 in use exceed the 2 of \"quotas\"");
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_MAPS, 2, UINT64_MAX, NULL),
			 -EPERM);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_MAPS, 3, 0, NULL), -EPERM);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_LINKS, 0, 1, NULL), -EPERM);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_LINKS, 0, 0, NULL), 0);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_INSNS, 0, INT64_MAX - 1, NULL), 0);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_MAP_BYTES, 0, 1u << 30, NULL), 0);
	assert_int_equal(policy_check_quota(policy, POLICY_QUOTA_MAP_BYTES, 1, 1u << 30, NULL),
			 -EPERM);
	policy_free(policy);
}

static void test_syntax(void **state)
{
	static const char *const cases[][2] = {
		{"", "p:1: syntax: unexpected end"},
		{"[]", "p:1: must be one JSON object"},
		{"\n\nnull", "p:"},
		{"{\n\"user\": \"allow\"", "p:2: syntax: unexpected end"},
		{"{}\n\nx", "p:3: syntax: "},
		{"{}{}", "p:1: syntax: "},
		{"{\"user\": \"allow\",}", "p:1: syntax: "},
		{"{'user': 'allow'}", "p:1: syntax: "},
		{"{} // x", "p:1: syntax: "},
		{"{\"x\":[[[[[[[[[[1]]]]]]]]]]}", "p:1: syntax: nested too deeply"},
		{"{\n\"user\": \"all\now\"}", "p:2: syntax: "},
		{"{\"us\ter\": \"allow\"}", "p:1: syntax: "},
		{"{\n\n\"usre\": 1}", "p:3: usre: unknown key"},
		{"{\"\x7f[2J\": 1}", "p:1: ?[2J: unknown key"},
		{"{\"us\\u0065r\": \"deny\"}", "p:1: us\\u0065r: unknown key"},
		{"{\"user\": \"deny\",\n\"kfuncs\": \"deny\",\n\"user\": \"deny\"}",
		 "p:3: user: duplicate key"},
		{"{\"quotas\": {\"maps\": 1,\n\"maps\": 2}}", "p:2: maps: duplicate key"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i][0], cases[i][1]);
}

static void test_words_and_lists(void **state)
{
	static const char *const cases[][2] = {
		{"{\n\"user\":\n\n1}", "p:2: user: must be \"allow\" or \"deny\""},
		{"{\"user\": \"Allow\"}", "p:1: user: must be"},
		{"{\"user\": \"allow\\u0000\"}", "p:1: user: must be"},
		{"{\"kernel\": \"allow\"}", "p:1: kernel: must be \"guarded\" or \"deny\""},
		{"{\"kernel_memory\": null}", "p:1: kernel_memory: must be"},
		{"{\"kfuncs\": true}", "p:1: kfuncs: must be"},
		{"{\"host_breakpoints\": []}", "p:1: host_breakpoints: must be"},
		{"{\n\"verifier\": \"none\"}",
		 "p:2: verifier: must be \"user\", \"kernel\" or \"both\""},
		{"{\"verifier\": 1}", "p:1: verifier: must be"},
		{"{\"prog_types\": \"kprobe\"}", "p:1: prog_types: must be a list of names"},
		{"{\"prog_types\": [\n\"kprobe\",\n\"kprob\"]}",
		 "p:3: prog_types: unknown program type \"kprob\""},
		{"{\"attach\": [\n\"uprobe\"],\n\n\"user\": \"x\"}", "p:4: user: must be"},
		{"{\"map_types\": [\n1]}", "p:2: map_types: must be a list of names"},
		{"{\"map_types\": [\"hash\", \"h\\u001bsh\"]}",
		 "p:1: map_types: unknown map type \"h?sh\""},
		{"{\"attach\": [\"usdt\"]}", "p:1: attach: unknown kind of attachment \"usdt\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i][0], cases[i][1]);
}

static void test_nested_keys(void **state)
{
	static const char *const cases[][2] = {
		{"{\"attach_targets\": []}", "p:1: attach_targets: must be an object"},
		{"{\"attach_targets\": {\n\"usdt\": []}}", "p:2: attach_targets.usdt: unknown key"},
		{"{\"attach_targets\": {\"kprobe\": \"*\"}}", "p:1: attach_targets: must hold"},
		{"{\"attach_targets\": {\"kprobe\": [\"*\",\n{}]}}",
		 "p:2: attach_targets: must hold"},
		{"{\"helpers\": []}", "p:1: helpers: must be an object"},
		{"{\"helpers\": {\"only\": []}}", "p:1: helpers.only: unknown key"},
		{"{\"helpers\": {\"deny\": 1}}", "p:1: helpers.deny: must be a list"},
		{"{\"helpers\": {\"deny\": [1]}}", "p:1: helpers.deny: must be a list"},
		{"{\"helpers\": {\"deny\": [\"bpf_d_path\"]}}",
		 "p:1: helpers.deny: unknown helper \"bpf_d_path\""},
		{"{\"helpers\": {\"deny\": [\"d_path\"],\n\"allow\": [\"d_path\"]}}",
		 "p:2: helpers.allow: \"d_path\" is both allowed and denied"},
		{"{\"quotas\": 1}", "p:1: quotas: must be an object"},
		{"{\"quotas\": {\"map\": 1}}", "p:1: quotas.map: unknown key"},
		{"{\"quotas\": {\"maps\": -1}}", "p:1: quotas.maps: must not be negative"},
		{"{\"quotas\": {\"maps\": -99999999999999999999}}",
		 "p:1: quotas.maps: must not be negative"},
		{"{\"quotas\": {\"maps\": 1.0}}", "p:1: quotas.maps: must be an integer"},
		{"{\"quotas\": {\"maps\": 1e3}}", "p:1: quotas.maps: must be an integer"},
		{"{\"quotas\": {\"maps\": NaN}}", "p:1: "},
		{"{\"quotas\": {\"maps\": \"1\"}}", "p:1: quotas.maps: must be an integer"},
		{"{\"quotas\": {\"maps\": 9223372036854775807}}", "p:1: quotas.maps: is too large"},
		{"{\"quotas\": {\"maps\": 99999999999999999999}}",
		 "p:1: quotas.maps: is too large"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i][0], cases[i][1]);
}

static void test_limits(void **state)
{
	size_t len = (1u << 20) + 1;
	char *text = malloc(len);
	struct reason reason = {0};
	struct policy *policy;

	assert_non_null(text);
	memset(text, ' ', len);
	memcpy(text, "{}", 2);
	assert_int_equal(parse_len(POLICY_RUN, text, len, &policy, &reason), -EINVAL);
	assert_string_equal(reason.text, "p:1: longer than 1048576 bytes");
	assert_int_equal(parse_len(POLICY_RUN, text, len - 1, &policy, &reason), 0);
	policy_free(policy);
	assert_int_equal(parse_len(POLICY_RUN, "{}\n\0", 4, &policy, &reason), -EINVAL);
	assert_string_equal(reason.text, "p:2: syntax: NUL byte");

	/* Duplicates past what the scanner compares still cannot get in: see policy/lines.h. */
	len = (size_t)sprintf(text, "{");
	for (int i = 0; i < 40; i++)
		len += (size_t)sprintf(text + len, "\"k%d\": 1,\n", i);
	len += (size_t)sprintf(text + len, "\"user\": \"deny\", \"user\": \"allow\"}");
	assert_int_equal(parse_len(POLICY_RUN, text, len, &policy, &reason), -EINVAL);
	assert_string_equal(reason.text, "p:1: k0: unknown key");

	len = (size_t)sprintf(text, "{\"attach_targets\": {\"kprobe\": [\n\"%0255d\",\n", 0);
	len += (size_t)sprintf(text + len, "\"%0256d\"]}}", 0);
	assert_int_equal(parse_len(POLICY_RUN, text, len, &policy, &reason), -EINVAL);
	assert_string_equal(reason.text, "p:3: attach_targets: pattern is longer than 255 bytes");
	free(text);
}

static void test_cut_short(void **state)
{
	static const char text[] =
		"{\"user\": \"deny\", \"prog_types\": [\"kprobe\"], \"quotas\": {\"maps\": 1},\n"
		"\"helpers\": {\"deny\": [], \"allow\": [\"d_path\"]},\n"
		"\"attach_targets\": {\"uprobe\": [\"/usr/*\\\\\\\"\"]}}";
	struct policy *policy;
	struct reason reason;

	for (size_t len = 0; len < sizeof(text) - 1; len++)
		assert_int_equal(parse_len(POLICY_RUN, text, len, &policy, &reason), -EINVAL);
	assert_int_equal(parse_len(POLICY_RUN, text, sizeof(text) - 1, &policy, &reason), 0);
	policy_free(policy);
}

static void assert_same(const struct policy *a, const struct policy *b)
{
	assert_int_equal(policy_check_kernel(a, NULL), policy_check_kernel(b, NULL));
	assert_int_equal(policy_check_user(a, NULL), policy_check_user(b, NULL));
	assert_int_equal(policy_check_kfuncs(a, NULL), policy_check_kfuncs(b, NULL));
	assert_int_equal(policy_host_breakpoints(a), policy_host_breakpoints(b));
	assert_int_equal(policy_verifier(a), policy_verifier(b));
	for (uint32_t id = 0; id < 256; id++) {
		assert_int_equal(policy_check_helper(a, id, NULL),
				 policy_check_helper(b, id, NULL));
		assert_int_equal(policy_check_prog_type(a, id, NULL),
				 policy_check_prog_type(b, id, NULL));
		assert_int_equal(policy_check_map_type(a, id, NULL),
				 policy_check_map_type(b, id, NULL));
	}
	for (int kind = 0; kind < POLICY_ATTACH_COUNT; kind++)
		assert_int_equal(policy_check_attach(a, kind, "vfs_read", NULL),
				 policy_check_attach(b, kind, "vfs_read", NULL));
}

static void test_round_trip(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"user\": \"deny\", \"kernel\": \"guarded\", \"kernel_memory\": \"deny\", "
		"\"verifier\": \"user\", "
		"\"kfuncs\": \"allow\", \"prog_types\": [], \"map_types\": [\"insn_array\"], "
		"\"attach\": [\"watchpoint\"], \"attach_targets\": {\"uprobe\": [], "
		"\"kprobe\": [\"\\\"\\u00e9\\\\*\", \"vfs_*\"]}, \"helpers\": {\"deny\": "
		"[\"trace_printk\"], \"allow\": [\"d_path\", \"probe_read\"]}, "
		"\"quotas\": {\"btfs\": 0, \"events\": 9223372036854775806}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		for (int base = POLICY_SERVICE; base <= POLICY_RUN; base++) {
			struct policy *policy = parse(base, texts[i]), *again;
			cleanup_free char *first = NULL, *second = NULL;

			assert_int_equal(policy_dump(policy, &first), 0);
			again = parse(POLICY_RUN + POLICY_SERVICE - base, first);
			assert_int_equal(policy_dump(again, &second), 0);
			assert_string_equal(first, second);
			assert_same(policy, again);
			policy_free(again);
			policy_free(policy);
		}
	}
}

static void test_load(void **state)
{
	char path[] = "/tmp/test_policy.XXXXXX";
	struct reason reason = {0};
	struct policy *policy;
	char expected[128];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\n\"user\": 1}\n", 13), 13);
	assert_int_equal(policy_load(POLICY_RUN, path, &policy, &reason), -EINVAL);
	snprintf(expected, sizeof(expected), "%s:2: user: must be \"allow\" or \"deny\"", path);
	assert_string_equal(reason.text, expected);
	assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
	assert_int_equal(policy_load(POLICY_RUN, path, &policy, &reason), -EFBIG);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, "{}", 2, 0), 2);
	assert_int_equal(policy_load(POLICY_RUN, path, &policy, &reason), 0);
	policy_free(policy);
	close_fd(fd);
	unlink(path);
	assert_int_equal(policy_load(POLICY_RUN, path, &policy, &reason), -ENOENT);
	snprintf(expected, sizeof(expected), "%s: No such file or directory", path);
	assert_string_equal(reason.text, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),    cmocka_unit_test(test_helpers),
		cmocka_unit_test(test_sets),	    cmocka_unit_test(test_targets),
		cmocka_unit_test(test_kprobes),	    cmocka_unit_test(test_quotas),
		cmocka_unit_test(test_syntax),	    cmocka_unit_test(test_words_and_lists),
		cmocka_unit_test(test_nested_keys), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_cut_short),   cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
