/* SPDX-License-Identifier: MIT */
/*
 * Dynptrs: two slots of the stack that helpers alone fill, and that say where memory is and how
 * much. What lies there is looked at when the program runs; here it is known that the slots hold
 * such a thing, of which kind it is, and who has got addresses from it. Source:
 * process_dynptr_func(), mark_stack_slots_dynptr(), destroy_if_dynptr_stack_slot(),
 * kernel/bpf/verifier.c, Linux 6.12.
 */
#pragma once

#include "verifier/internal.h"

#define DYNPTR_SIZE 16

enum dynptr_kind { DYNPTR_ANY, DYNPTR_LOCAL, DYNPTR_RECORD };

/** dynptr_take_place() - before @size bytes at @off of frame @frame are replaced: what was there is
 *  none any more. Return: 0, or -errno if it must be released instead */
int dynptr_take_place(struct walk *walk, uint32_t frame, int off, unsigned int size);

/** dynptr_find() - the first of so many bytes that belongs to one, or 0, which is no such offset */
int dynptr_find(const struct walk *walk, uint32_t frame, int off, unsigned int size);

/** dynptr_new() - a helper makes one where @regno points to */
int dynptr_new(struct walk *walk, uint32_t regno, enum dynptr_kind kind);

/** dynptr_use() - that there is one where @regno points to. @ret_id: its own */
int dynptr_use(struct walk *walk, uint32_t regno, enum dynptr_kind kind, uint32_t *ret_id);

/** dynptr_ref_of() - reference by which dynptr @id is held, 0 for none */
uint32_t dynptr_ref_of(const struct walk *walk, uint32_t id);

/** dynptr_check_release() - that there is one that may be released; @ret_ref: by that reference */
int dynptr_check_release(struct walk *walk, uint32_t regno, uint32_t *ret_ref);

/** dynptr_release() - after dynptr_check_release(): it is none any more */
int dynptr_release(struct walk *walk, uint32_t regno);
