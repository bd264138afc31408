/* SPDX-License-Identifier: MIT */
/*
 * BPF_PROG_TEST_RUN of programs on packets, in the process that asks.
 */
#pragma once

#include <stdint.h>

struct call;
struct uspace_prog;

/**
 * test_run_packet() - run one that is on no socket and on no device
 * @type: BPF_PROG_TYPE_XDP, or one whose context is a struct __sk_buff
 *
 * The call is answered then, unless there was an error: the kernel's.
 */
int test_run_packet(struct call *call, struct uspace_prog *prog, uint32_t type);
