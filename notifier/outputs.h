/* SPDX-License-Identifier: MIT */
/*
 * Perf events that the tenant's processes hold: found by looking, because nobody says when one is
 * closed.
 */
#pragma once

#include <stdint.h>

/** outputs_count() - different perf events among the descriptors of a cgroup's processes; an upper
 * bound when there are very many */
uint64_t outputs_count(int cgroup_fd);
