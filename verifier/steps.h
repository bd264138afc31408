/* SPDX-License-Identifier: MIT */
/*
 * The walk in the log, as the kernel shows it at levels 1 and 2: each instruction, and what is
 * known afterwards of what it read and wrote. Level 1 keeps the path that led to the error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct walk;

/** steps_wanted() - whether the log shows instructions */
bool steps_wanted(const struct walk *walk);
/** steps_path() - a path begins at @walk->at, after a jump at @from, or at the start if @is_first
 */
void steps_path(struct walk *walk, bool is_first, uint32_t from);
/** steps_before(), steps_after() - around the instruction at hand, while the path goes on to @next
 */
void steps_before(struct walk *walk);
void steps_after(struct walk *walk, uint32_t next);
/** steps_safe() - a state that covers this one was walked from */
void steps_safe(struct walk *walk);
