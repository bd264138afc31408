/* SPDX-License-Identifier: MIT */
/*
 * Between nested.c and nested.bpf.c.
 */
#pragma once

#define NESTED_KEYS    16
#define NESTED_NUMBERS 4

struct nested_totals {
	__u64 calls, no_buffer, no_element, strangers, kernel_calls;
};
