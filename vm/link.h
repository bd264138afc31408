/* SPDX-License-Identifier: MIT */
/*
 * A linker for one object that LLVM made: code and constants are laid out for their place in the
 * region and every reference is resolved there and then, so that nothing is left to load or to
 * look up in a target. What it does not know it refuses by name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "vm/code.h"

/**
 * struct link_request - what to lay out; borrowed
 * @object, @size: ELF64 relocatable object for x86-64
 * @entry: name of the function that has to be the first byte of the result
 * @place: where in the region the result will stand (bytes from its base, 64-byte aligned)
 * @resolve: where in the region an undefined symbol stands, 0 when there is none of that name
 * @target: what such a symbol is to code_place(); NULL: nobody wants to move the result
 * @data: passed to both
 */
struct link_request {
	const void *object;
	size_t size;
	const char *entry;
	uint64_t place;
	uint64_t (*resolve)(const char *name, void *data);
	uint32_t (*target)(const char *name, void *data);
	void *data;
};

/**
 * struct link_result - owned by the caller, link_result_deinit()
 * @relocs: of references to undefined symbols, if they were asked for
 */
struct link_result {
	void *code;
	size_t len;
	struct code_reloc *relocs;
	uint32_t reloc_cnt;
};

/**
 * link_object() - lay out .text, then .rodata, and resolve what they refer to
 * @ret_result: untouched on failure
 *
 * Sections that nothing at run time reads are dropped. Writable data has no place in the region's
 * code and is refused.
 *
 * Errors: -EOPNOTSUPP a section, symbol or relocation that is not known, -EINVAL malformed or the
 * entry is not first, -ERANGE a distance that does not fit, -ENOMEM.
 * Source: System V ABI, AMD64 supplement, chapter 4 (object files).
 */
int link_object(const struct link_request *request, struct link_result *ret_result,
		struct reason *reason);
void link_result_deinit(struct link_result *result);
