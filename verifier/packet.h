/* SPDX-License-Identifier: MIT */
/*
 * Packets: how many bytes behind a pointer there are is known from comparisons with the packet's
 * end alone. Source: find_good_pkt_pointers(), try_match_pkt_pointers(), check_packet_access(),
 * kernel/bpf/verifier.c, Linux 6.12.
 */
#pragma once

#include "verifier/internal.h"

/*
 * As @size of a pointer: it was compared and found behind the packet's end, or at least at it.
 * That is remembered to leave out ways that cannot be gone; nothing may be read there.
 */
#define PACKET_BEYOND UINT32_MAX
#define PACKET_AT_END (UINT32_MAX - 1)

static inline bool packet_has_ended(const struct reg *reg)
{
	return reg->size >= PACKET_AT_END;
}

static inline bool reg_is_packet(const struct reg *reg)
{
	return reg->type == REG_PACKET || reg->type == REG_PACKET_META;
}

/** packet_access() - @size bytes at @insn_off of where @reg points into a packet */
int packet_access(struct walk *walk, const struct reg *reg, uint32_t regno, int insn_off,
		  uint64_t size, bool write);

/** packet_check_arg() - that a helper may be handed memory of a packet */
int packet_check_arg(struct walk *walk, const struct reg *reg, bool takes_packets);

/** packet_moved() - a helper has changed it: nothing is known of where it is. Return: 0 or -ENOMEM
 */
int packet_moved(struct state *state);

/**
 * packet_branch() - a comparison of a pointer into a packet with the end of what may be read
 *
 * Return: 1 when it was one and the path goes on at @ret_next, 0 when it was none, or -errno
 */
int packet_branch(struct walk *walk, const struct bpf_insn *insn, const struct reg *src,
		  uint32_t taken, uint32_t *ret_next);

/** packet_load() - BPF_LD | BPF_ABS and BPF_IND: a number of the packet that r6's context is of */
int packet_load(struct walk *walk, const struct bpf_insn *insn);
