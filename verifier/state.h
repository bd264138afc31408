/* SPDX-License-Identifier: MIT */
/*
 * What is known at one point of one path: the frames of the functions that are being run, each with
 * its registers and its stack. Shared by the verifier's files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "verifier/origin.h"
#include "verifier/range.h"
#include "verifier/verifier.h"

#define REGS	  11u
#define STACK_MAX 512
#define SLOTS	  (STACK_MAX / 8)
#define FRAMES	  8u /* MAX_CALL_FRAMES, include/linux/bpf_verifier.h, Linux 6.12 */
#define REFS_MAX  16u
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define INSNS_MAX 20000u /* a fuzzer has better things to do than to count to a million */
#else
#define INSNS_MAX 1000000u /* processed; BPF_COMPLEXITY_LIMIT_INSNS, Linux 6.12 */
#endif
#define JUMPS_MAX   8192u     /* BPF_COMPLEXITY_LIMIT_JMP_SEQ */
#define VAR_OFF_MAX (1 << 29) /* BPF_MAX_VAR_OFF */

enum reg_type {
	REG_NONE, /* never written, or of no use any more */
	REG_SCALAR,
	REG_CTX,
	REG_STACK,
	REG_MAP,	   /* the map itself */
	REG_FUNC,	   /* a function that a helper may call */
	REG_KEY,	   /* a map's key, as a callback sees it */
	REG_VALUE,	   /* a map's value */
	REG_VALUE_OR_NULL, /* what a lookup returned; @id tells which lookup */
	REG_RECORD,	   /* of a ring buffer, reserved under reference @id */
	REG_RECORD_OR_NULL,
	REG_SLICE, /* memory that dynptr @dynptr leads to */
	REG_SLICE_OR_NULL,
	REG_DYNPTR, /* one that is not the program's, or half of one on the stack, see dynptr.h */
	REG_PACKET, /* into a packet, see packet.h; @id tells what was added that is no constant */
	REG_PACKET_META,
	REG_PACKET_END,
};

/* As numbers of 64 bits, or of 32: the upper half is zero before and after. */
enum added { ADDED_NONE, ADDED_64, ADDED_32 };

/**
 * struct reg
 * @frame: REG_STACK: whose stack
 * @map: index of the map; REG_FUNC: its first instruction
 * @inner: it is one that was found in that map, or of one
 * @id: REG_*_OR_NULL, REG_RECORD: which call it came from. Scalars: those that share one are
 *linked, see link.c: equal, but for what was @added to them
 * @dynptr: REG_SLICE*: id of its dynptr; REG_DYNPTR: reference by which it is held, 0 for none. The
 *	latter's @map is its kind, @off how far into it
 * @size: REG_RECORD, REG_SLICE: bytes; REG_PACKET, REG_PACKET_META: how many there are, less @off
 * @off: pointers: constant part of the offset; scalars with an @id: what was @added
 * @origin: scalars, see origin.h
 * @r64, @r32: scalar: the value and its lower half. Pointers: @r64 is the variable part of the
 * offset
 */
struct reg {
	uint8_t type, frame, added;
	bool inner;
	uint32_t map, id, dynptr, size;
	int32_t off;
	uint32_t origin;
	struct range r64, r32;
};

enum byte_type { BYTE_NONE, BYTE_SPILL, BYTE_MISC, BYTE_ZERO, BYTE_DYNPTR };

/**
 * struct slot - eight bytes of stack
 * @spilled: valid when the lowest byte is BYTE_SPILL; with fewer than eight of that it is a number
 * of which so many bytes were stored. With BYTE_DYNPTR, which all eight are then, it is a
 * REG_DYNPTR.
 */
struct slot {
	uint8_t bytes[8];
	struct reg spilled;
};

/** slot_spilled() - how many bytes of a register the slot holds, from its lowest on */
static inline unsigned int slot_spilled(const struct slot *slot)
{
	unsigned int size = 0;

	while (size < 8 && slot->bytes[size] == BYTE_SPILL)
		size++;
	return size;
}

/**
 * struct frame - of one function that is being run
 * @slots: @slots[N] are the bytes from -8 * (N + 1); @slot_cnt of them are in use, owned
 * @refs: as a caller it is shared by states and does not change
 * @start: first instruction of the function; @call: the one that called it
 * @callback: helper that calls it, 0 for a plain call
 * @turns: callbacks that were walked for the call at hand, the @loop-th of all that call back
 * @run: which run of the function this is; the turns of one call that calls back are one run
 */
struct frame {
	struct reg regs[REGS];
	struct slot *slots;
	uint32_t slot_cnt, refs;
	uint32_t start, call, callback, turns, loop, run;
};

/**
 * struct state
 * @top: frame of the function at hand; @callers: the others, outermost first
 * @written: bit per frame and slot: all of it was written since the last remembered state
 * @refs: what was acquired and must be released: its id, the instruction that did it, and the frame
 *of the callback in which it did, 0 for none
 * @unrolled, @may_gotos: callbacks entered, may_goto passed
 * @returned: a callback has just ended; the call goes on
 * @locked: the lock of a value of map @lock_map, found by call @lock_id, is held
 */
struct state {
	struct frame top;
	struct frame *callers[FRAMES - 1];
	uint32_t caller_cnt;
	uint32_t ref_cnt, unrolled, may_gotos;
	bool returned, locked;
	uint32_t lock_map, lock_id;
	uint64_t written[FRAMES];
	struct {
		uint32_t id, at, callback;
	} refs[REFS_MAX];
};

/** state_copy() - Return: 0 or -ENOMEM */
int state_copy(struct state *to, const struct state *from);
void state_deinit(struct state *state);

static inline const struct frame *state_frame(const struct state *state, uint32_t index)
{
	return index == state->caller_cnt ? &state->top : state->callers[index];
}

/** state_own() - the frame to be changed, by this state alone. Return: NULL without memory */
struct frame *state_own(struct state *state, uint32_t index);

/** state_enter() - the frame at hand becomes a caller; the new one is empty. Return: 0 or -ENOMEM
 */
int state_enter(struct state *state);
/** state_leave() - back to the caller. Return: 0 or -ENOMEM, then nothing is changed */
int state_leave(struct state *state);

/** frame_slot() - slot of byte offset @off (negative), made if there is none; NULL without memory
 */
struct slot *frame_slot(struct frame *frame, int off);
/** frame_peek() - the same to be read; one that never was written is empty */
const struct slot *frame_peek(const struct frame *frame, int off);

/**
 * enum covering - how much must agree
 * @COVERS_NEEDED: all that @b can be, @a can be, where something was proved from it
 * @COVERS_ALL: everywhere
 * @COVERS_SAME: both are the same
 */
enum covering { COVERS_NEEDED, COVERS_ALL, COVERS_SAME };

/** state_covers() - what was proved from @a holds from @b, too. The functions at hand must be the
 * same. */
bool state_covers(const struct origins *origins, const struct state *a, const struct state *b,
		  enum covering how);
/** state_same_calls() - the same functions, called from the same places */
bool state_same_calls(const struct state *a, const struct state *b);

/** state_same_runs() - with the same calls, the very same runs of them */
bool state_same_runs(const struct state *a, const struct state *b);

/** state_each_if() - call @act for each register that @match says yes to, in all frames and
 * spilled. Return: 0 or -ENOMEM */
int state_each_if(struct state *state, bool (*match)(const struct reg *reg, const void *key),
		  const void *key, void (*act)(struct reg *reg, void *data), void *data);

/** state_each() - likewise for each with @id */
int state_each(struct state *state, uint32_t id, void (*act)(struct reg *reg, void *data),
	       void *data);

static inline bool reg_is_pointer(const struct reg *reg)
{
	return reg->type > REG_SCALAR;
}

static inline bool reg_is_const(const struct reg *reg)
{
	return reg->type == REG_SCALAR && range_is_const(&reg->r64);
}

void reg_set_unknown(struct reg *reg);
void reg_set_const(struct reg *reg, uint64_t value);
/** reg_set_bounded() - a value read from memory, of @size bytes */
void reg_set_bounded(struct reg *reg, unsigned int size, bool is_signed);
void reg_set_none(struct reg *reg);
/**
 * reg_set_r64(), reg_set_r32() - a scalar; the other half follows. A 32-bit result is
 * zero-extended. Its origin is none; who computed it from others sets that.
 */
void reg_set_r64(struct reg *reg, const struct range *r64);
void reg_set_r32(struct reg *reg, const struct range *r32);
/** reg_narrow() - carry what one half says to the other. Return: false when nothing is left. */
bool reg_narrow(struct reg *reg);
