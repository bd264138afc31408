/* SPDX-License-Identifier: MIT */
/*
 * Instructions at another address: the same effect, including what they push and where they go.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"

/* Bytes of code that move_code() may need for what a jump displaces, with the jump back. */
#define MOVE_MAX 77u

/** struct move_map - where each moved instruction went; offsets from the first */
struct move_map {
	uint32_t cnt;
	struct {
		uint8_t from, to;
	} at[8];
};

/**
 * move_check() - whether the instruction at @bytes can be moved
 * @left: bytes to the end of the function
 * @len: in: bytes displaced before it; out: with it
 * @ret_ends: control never reaches what follows it
 * @wanted: bytes that are to be displaced in all: a call must be the last of them
 *
 * Errors: -EOPNOTSUPP with a reason.
 */
int move_check(const unsigned char *bytes, uint64_t left, uint32_t *len, bool *ret_ends,
	       uint32_t wanted, struct reason *reason);

/**
 * move_code() - move @len bytes of instructions from address @from to @to, and jump back behind
 * them
 * @code: what the instructions are
 * @ret_code: MOVE_MAX bytes; @ret_len of them are used
 *
 * Errors: -ERANGE an operand is out of reach from there, -EOPNOTSUPP.
 */
int move_code(const unsigned char *code, uint32_t len, uint64_t from, uint64_t to,
	      unsigned char *ret_code, uint32_t *ret_len, struct move_map *ret_map);
