/* SPDX-License-Identifier: MIT */
/*
 * bpfshimd --run: an embedded daemon for one command tree.
 */
#pragma once

#include <stdbool.h>

/**
 * struct run_options
 * @verify_only: programs are verified, and never run
 * @policy: file or NULL for the defaults
 * @argv: command, NULL-terminated
 */
struct run_options {
	bool unprivileged, verify_only;
	const char *policy;
	char *const *argv;
};

/** run_main() - run the command. Return: its exit status, 128 + N, or 125 when we failed. */
int run_main(const struct run_options *options);
