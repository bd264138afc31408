/* SPDX-License-Identifier: MIT */
/* Numbers by which calls of work() tell drain.bpf.c to write to a perf event array. */
#pragma once

#define DRAIN_EVENT 0x123456701ull
#define DRAIN_FLOOD 0x123456702ull
#define DRAIN_NOISE 0x123456703ull
