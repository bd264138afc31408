/* SPDX-License-Identifier: MIT */
/*
 * Whether the kernel's verifier forgot at a comparison what it knew, as its log tells: after
 * r7 s<= 19 an unsigned r7 < 34 leaves it with a signed maximum of 33, and a way that no number
 * within the bounds can go it walks with one that is not (Linux 6.18). What it refuses then may be
 * right.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/** struct forgets_bounds - as a log shows them; @known: of a number */
struct forgets_bounds {
	bool known;
	int64_t smin, smax;
	uint64_t umin, umax;
};

/* "name=other=12,": @ret_value is what all names up to the number have. Return: behind it */
static inline const char *forgets_number(const char *at, const char **ret_value)
{
	const char *value = at;

	while ((at = strpbrk(at, "=,)")) && *at == '=')
		value = ++at;
	*ret_value = value;
	return at;
}

static inline void forgets_bound(struct forgets_bounds *bounds, const char *name, const char *value)
{
	const char *end = strchr(name, '=');

	for (; end && name < value; name = end + 1, end = strchr(name, '=')) {
		if (!strncmp(name, "smin=", 5))
			bounds->smin = (int64_t)strtoull(value, NULL, 0);
		else if (!strncmp(name, "smax=", 5))
			bounds->smax = (int64_t)strtoull(value, NULL, 0);
		else if (!strncmp(name, "umin=", 5))
			bounds->umin = strtoull(value, NULL, 0);
		else if (!strncmp(name, "umax=", 5))
			bounds->umax = strtoull(value, NULL, 0);
	}
}

/* @at: behind "R7=" */
static inline struct forgets_bounds forgets_parse(const char *at)
{
	struct forgets_bounds bounds = {true, INT64_MIN, INT64_MAX, 0, UINT64_MAX};

	at += *at == 'P';
	if (*at == '-' || (*at >= '0' && *at <= '9')) {
		bounds.umin = bounds.umax = strtoull(at, NULL, 0);
		bounds.smin = bounds.smax = (int64_t)bounds.umin;
		return bounds;
	}
	at += *at == 'P';
	if (strncmp(at, "scalar(", 7) != 0)
		return (struct forgets_bounds){0};
	at += 7;
	while (at && *at != ')') {
		const char *name = at, *value;

		if (!strncmp(at, "var_off=", 8))
			break;
		at = forgets_number(at, &value);
		forgets_bound(&bounds, name, value);
		at += at && *at == ',';
	}
	return bounds;
}

static inline bool forgets_some(const struct forgets_bounds *before,
				const struct forgets_bounds *after)
{
	return before->known && after->known &&
	       (after->smin < before->smin || after->smax > before->smax ||
		after->umin < before->umin || after->umax > before->umax);
}

/** forgets() - @log: of a program that was refused, at level 1 */
static inline bool forgets(const char *log)
{
	struct forgets_bounds known[10] = {0};
	int compared = -1;

	for (const char *at = log; *at; at++) {
		struct forgets_bounds now;

		/* Registers of another function have the same names. */
		if (!strncmp(at, "frame", 5) || !strncmp(at, "call", 4))
			memset(known, 0, sizeof(known));
		if (!strncmp(at, ") if ", 5))
			compared = at[6] - '0';
		if (at[0] != 'R' || at[1] < '0' || at[1] > '9' || at[2] != '=')
			continue;
		now = forgets_parse(at + 3);
		if (at[1] - '0' == compared) {
			if (forgets_some(&known[compared], &now))
				return true;
			compared = -1;
		}
		known[at[1] - '0'] = now;
	}
	return false;
}
