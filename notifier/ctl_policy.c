/* SPDX-License-Identifier: MIT */
/*
 * bpfshimctl policy: checks and shows policy files with the daemon's own parser.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "notifier/ctl.h"
#include "policy/policy.h"

static int usage(void)
{
	fputs("Usage: bpfshimctl policy check FILE [--base run|service]\n"
	      "       bpfshimctl policy show [FILE] [--base run|service]\n",
	      stderr);
	return CTL_USAGE;
}

static int failed(const char *what, int error, const struct reason *reason)
{
	if (reason->text[0])
		fprintf(stderr, "%s\n", reason->text);
	else
		fprintf(stderr, "bpfshimctl: %s: %s\n", what, strerror(-error));
	return CTL_FAILED;
}

static int check(enum policy_base base, const char *file)
{
	struct reason reason = {0};
	struct policy *policy;
	int r = policy_load(base, file, &policy, &reason);

	if (r < 0)
		return failed(file, r, &reason);
	policy_free(policy);
	printf("%s: ok\n", file);
	return CTL_OK;
}

static int show(enum policy_base base, const char *file)
{
	struct reason reason = {0};
	struct policy *policy;
	cleanup_free char *text = NULL;
	int r;

	r = file ? policy_load(base, file, &policy, &reason) : policy_new(base, &policy);
	if (r < 0)
		return failed(file ? file : "policy", r, &reason);
	r = policy_dump(policy, &text);
	policy_free(policy);
	if (r < 0)
		return failed("policy", r, &reason);
	puts(text);
	return CTL_OK;
}

int ctl_policy(int argc, char **argv)
{
	static const struct option options[] = {{"base", required_argument, NULL, 'b'}, {0}};
	/* The daemon has no other mode than --run so far. */
	enum policy_base base = POLICY_RUN;
	const char *verb, *file;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'b')
			return usage();
		if (strcmp(optarg, "service") == 0)
			base = POLICY_SERVICE;
		else if (strcmp(optarg, "run") == 0)
			base = POLICY_RUN;
		else
			return usage();
	}
	if (optind == argc || argc - optind > 2)
		return usage();
	verb = argv[optind];
	file = argv[optind + 1];
	if (strcmp(verb, "show") == 0)
		return show(base, file);
	if (strcmp(verb, "check") == 0 && file)
		return check(base, file);
	return usage();
}
