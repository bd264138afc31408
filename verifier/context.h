/* SPDX-License-Identifier: MIT */
/*
 * What each type of program is handed in r1, and what it may read of that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "verifier/verifier.h"

/**
 * enum context_access - whether bytes of it may be read, or written
 * @CONTEXT_POINTER: they are an address of a kind that the verifier does not know
 * @CONTEXT_PACKET, @CONTEXT_PACKET_META, @CONTEXT_PACKET_END: they are read as such an address
 */
enum context_access {
	CONTEXT_NO,
	CONTEXT_YES,
	CONTEXT_POINTER,
	CONTEXT_PACKET,
	CONTEXT_PACKET_META,
	CONTEXT_PACKET_END,
};

/** context_is_covered() - whether the verifier knows what programs of @type are handed */
bool context_is_covered(uint32_t type);
/** context_is_memory() - it is bytes of whoever runs the program, and may be used as such */
bool context_is_memory(uint32_t type);
/** context_access() - @size bytes at @off of what @prog is handed */
enum context_access context_access(const struct verifier_prog *prog, int64_t off, unsigned int size,
				   bool write);

/** context_packet_is_writable() - whether programs of @type may write where packets are */
bool context_packet_is_writable(uint32_t type);
/** context_has_packet_loads() - whether they have BPF_LD | BPF_ABS and BPF_IND */
bool context_has_packet_loads(uint32_t type);
