/* SPDX-License-Identifier: MIT */
/*
 * What a dynptr is on a program's stack. Only helpers write it, but the stack belongs to a process:
 * its numbers are read once, and what they let through is the process' own memory in any case.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

/**
 * struct rt_dynptr - as large as BPF's: struct bpf_dynptr, include/uapi/linux/bpf.h, Linux 6.12
 * @data: address of the memory, 0 for none
 * @size: bytes of it
 */
struct rt_dynptr {
	uint64_t data;
	uint32_t size, pad;
};
static_assert(sizeof(struct rt_dynptr) == 16, "two slots of a stack");
