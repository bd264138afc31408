/* SPDX-License-Identifier: MIT */
/* What both halves of helpers.c know. */
#pragma once

#define HELPERS_TEXT 32
#define HELPERS_OUT  96
#define HELPERS_IPS  16

/**
 * struct helpers_text - of one text
 * @consumed, @unsigned_consumed, @number, @compared, @len, @short_len, @traced: what helpers
 *	returned or wrote
 */
struct helpers_text {
	long long consumed, unsigned_consumed, number, compared, len, short_len, traced;
	char out[HELPERS_OUT], cut[8];
};

/** struct helpers_stack - @user: bytes, and the addresses; others: with those flags */
struct helpers_stack {
	long long user, skipped, kernel, kernel_skipped, bad_flags, odd_size;
	unsigned long long ips[HELPERS_IPS], outer[HELPERS_IPS];
	unsigned long long pid_tgid, jiffies;
	unsigned int ids[2];
	long long named, unnamed;
};

/** struct helpers_copy - what a program that may sleep reads */
struct helpers_copy {
	long long read, fault;
	char bytes[HELPERS_TEXT];
};

/** struct helpers_act - what helpers returned that do something */
struct helpers_act {
	long long sent, sent_thread, sent_bad, written, unwritten;
};
