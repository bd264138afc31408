/* SPDX-License-Identifier: MIT */
/*
 * bpfshimctl(1): picks the verb. Holds no state and changes nothing in the system.
 */
#include "notifier/ctl.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

struct verb {
	const char *name;
	const char *usage;
	const char *summary;
	int (*run)(int argc, char **argv);
};

static const struct verb verbs[] = {
	{"ps", "ps [--json]", "list tenants, their programs, maps and links", ctl_ps},
	{"policy", "policy check FILE [--base run|service]", "look for mistakes in a policy file",
	 ctl_policy},
	{NULL, "policy show [FILE] [--base run|service]", "print the policy that is in effect",
	 NULL},
	{"vm", "vm [--engine interp|jit|orc|kernel] [HEX MEMORY]", "run the program on standard input",
	 ctl_vm},
	{NULL, "vm --check FILE.tsv [--engine ENGINE]", "run a file of cases", NULL},
	{"verify", "verify FILE.o [--program NAME]", "the verdict on programs of an object file",
	 ctl_verify},
};

static void usage(FILE *stream)
{
	fputs("Usage: bpfshimctl VERB [ARGS...]\n\n", stream);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(stream, "  %-48s %s\n", verbs[i].usage, verbs[i].summary);
	fputs("\n  --help     print this\n  --version  print the version\n", stream);
}

static int finish(int status)
{
	/* A full disk or a closed pipe must not look like an answer. */
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("bpfshimctl: standard output");
	return CTL_FAILED;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
		usage(stdout);
		return finish(CTL_OK);
	}
	if (strcmp(name, "--version") == 0) {
		puts("bpfshimctl " BPFSHIM_VERSION);
		return finish(CTL_OK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (verbs[i].run && strcmp(name, verbs[i].name) == 0)
			return finish(verbs[i].run(argc - 1, argv + 1));
	if (*name)
		fprintf(stderr, "bpfshimctl: unknown verb %s\n", name);
	usage(stderr);
	return CTL_USAGE;
}
