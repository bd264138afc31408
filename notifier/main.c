/* SPDX-License-Identifier: MIT */
/*
 * Command line of bpfshimd.
 */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "notifier/init.h"
#include "notifier/run.h"

#define MMAP_THRESHOLD (256 << 10)

static const char usage[] =
	"usage: bpfshimd --run [--unprivileged] [--verify-only] [--policy FILE] [--verbose] --\n"
	"                CMD [ARGS...]\n"
	"       bpfshimd --help | --version\n"
	"\n"
	"  --run            serve one command tree and exit with the command's status\n"
	"  --unprivileged   run it as root of new user, mount and pid namespaces (host uid 65534)\n"
	"  --verify-only    programs are verified, by us alone, and never run\n"
	"  --policy FILE    what the tree may do: bpfshim-policy(5)\n"
	"  --verbose        one line for every intercepted call\n";

static int usage_error(const char *text)
{
	fprintf(stderr, "bpfshimd: %s\n%s", text, usage);
	return 125;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"run", no_argument, NULL, 'r'},	 {"unprivileged", no_argument, NULL, 'u'},
		{"verify-only", no_argument, NULL, 'o'}, {"policy", required_argument, NULL, 'p'},
		{"verbose", no_argument, NULL, 'v'},	 {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	 {NULL, 0, NULL, 0},
	};
	struct run_options run = {0};
	bool do_run = false;
	int c;

	if (argc > 1 && strcmp(argv[1], INIT_VERB) == 0)
		return init_main(argc, argv);
	/* "+": everything behind the first word that is no option belongs to the command. */
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			do_run = true;
			break;
		case 'u':
			run.unprivileged = true;
			break;
		case 'o':
			run.verify_only = true;
			break;
		case 'p':
			run.policy = optarg;
			break;
		case 'v':
			log_set_level(LOG_DEBUG);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("bpfshimd " BPFSHIM_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 125;
		}
	}
	if (!do_run)
		return usage_error("nothing to do without --run");
	if (optind == argc)
		return usage_error("--run needs a command");
	/* What is large goes back to the kernel when it is freed, not into the heaps of threads. */
	mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	run.argv = argv + optind;
	return run_main(&run);
}
