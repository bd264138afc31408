/* SPDX-License-Identifier: MIT */
/*
 * What the verifier knows of each helper: one row each.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/** enum helper_arg - what a helper takes in a register */
enum helper_arg {
	ARG_NONE,
	ARG_ANY,
	ARG_CTX,
	ARG_MAP,
	ARG_KEY,	 /* of the map before it */
	ARG_VALUE,	 /* of the map before it */
	ARG_VALUE_OUT,	 /* the same, written by the helper */
	ARG_MEM,	 /* readable; its size follows */
	ARG_MEM_OR_NULL, /* likewise, or 0 with a size of 0 */
	ARG_MEM_OUT,	 /* written by the helper; its size follows */
	ARG_MEM_OUT_OR_NULL,
	ARG_SIZE, /* of the memory before it, at least 1 */
	ARG_SIZE_OR_0,
	ARG_RECORD_SIZE,   /* of a record to reserve: a constant */
	ARG_RECORD,	   /* reserved, and released by this */
	ARG_LENGTH,	   /* a constant: of the memory that is returned */
	ARG_DYNPTR,	   /* there is one */
	ARG_DYNPTR_LOCAL,  /* made by this, of memory */
	ARG_DYNPTR_RECORD, /* made by this, of a record that must be released */
	ARG_DYNPTR_END,	   /* such a one, released by this */
	ARG_FUNC,	   /* called by the helper */
	ARG_LOCK,	   /* of a value, taken by this */
	ARG_LOCK_END,	   /* given back */
	ARG_STACK_OR_NULL, /* handed to that function */
	ARG_LONG_OUT,	   /* 8 aligned bytes, written by the helper */
	ARG_CONST_STR,	   /* text with an end, which nobody can change */
};

/** enum helper_ret - RET_LENGTH: a negative errno, or at most the size that was given */
enum helper_ret {
	RET_SCALAR,
	RET_VOID,
	RET_LENGTH,
	RET_VALUE_OR_NULL,
	RET_RECORD_OR_NULL,
	RET_SLICE_OR_NULL,
};

/**
 * struct helper_row
 * @map_types: bit per BPF_MAP_TYPE_* that ARG_MAP may be
 * @types: bit per BPF_PROG_TYPE_* that may call it, 0 for all that are covered
 * @kernel_only: only the kernel can serve it
 * @calls_back: it calls its ARG_FUNC, any number of times
 * @sleeps: only for programs that may sleep
 * @takes_packets: its memory may be a packet's; @moves_packet: afterwards it may be elsewhere
 */
struct helper_row {
	const char *name;
	enum helper_ret ret;
	enum helper_arg args[5];
	uint64_t map_types, types;
	bool gpl, kernel_only, calls_back, sleeps, takes_packets, moves_packet;
};

/** helper_map_types() - bit per BPF_MAP_TYPE_* that some row knows */
uint64_t helper_map_types(void);

/** helper_row() - NULL for helpers the verifier does not cover */
const struct helper_row *helper_row(uint32_t id);

/* Number of helpers of Linux 6.12: __BPF_FUNC_MAX_ID, include/uapi/linux/bpf.h */
#define HELPER_KNOWN_MAX 212u
