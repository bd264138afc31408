/* SPDX-License-Identifier: MIT */
/*
 * Loading a program by the rules of those who may load programs and no more: whoever has
 * CAP_PERFMON may read stack that was never written, keep addresses of the kernel in maps and
 * speculate past bounds (Source: bpf_allow_ptr_leaks() and the like, include/linux/bpf.h,
 * Linux 6.12).
 */
#pragma once

#include "base/bpf_abi.h"

/**
 * unprivileged_prog_load() - BPF_PROG_LOAD without CAP_PERFMON and CAP_SYS_ADMIN
 *
 * Only the calling thread is without them, and only for the call. Programs of types that trace
 * cannot be loaded like that.
 *
 * Return: descriptor, owned by the caller, or -errno.
 */
int unprivileged_prog_load(struct abi_prog_load *attr, uint32_t size);
