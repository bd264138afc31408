/* SPDX-License-Identifier: MIT */
/*
 * What the files of the verifier share while a program is walked.
 */
#pragma once

#include "base/btf_types.h"
#include "verifier/state.h"
#include "verifier/verifier.h"
#include "verifier/watch.h"

#define SUBPROGS_MAX 256u /* BPF_MAX_SUBPROGS, include/linux/bpf_verifier.h, Linux 6.12 */

/** struct text - a log as it grows; the tail is kept when it is too much */
struct text {
	char *bytes;
	size_t len, cap, dropped;
};

/**
 * struct explored - a state that was walked from
 * @next: others at the same instruction @at
 * @parent: the one the path came from; held until all paths from here have ended
 * @loop: head of a loop: a state further up that covered what came from here before its own paths
 *	had ended: until they have, not all that was needed of this state is known
 * @refs: of the list, of children and of paths that are walked
 * @branches: paths from here that have not ended; @depth: states above it
 * @read: per frame, bit per slot: it was read on a path from here
 * @cleaned: slots that were not read are forgotten
 * @is_head: it covered a path when its own had not ended
 */
struct explored {
	struct explored *next, *parent, *loop;
	uint32_t at, refs, branches, depth;
	uint32_t hits, misses;
	bool cleaned, is_head;
	uint64_t read[FRAMES];
	struct state state;
};

/**
 * struct arrival - a path that ended at @known, which covered it, when not all that @known needs
 * was known
 * @state: as it was there; it came from @parent
 */
struct arrival {
	struct arrival *next;
	struct explored *known, *parent;
	struct state state;
};

/** struct pending - a path that is still to be walked; @from: the jump, @said: log there was then
 */
struct pending {
	struct state state;
	struct explored *parent;
	uint32_t at, from;
	size_t said;
};

enum touched { TOUCHED_NONE, TOUCHED_CTX, TOUCHED_MEMORY };

/** enum func_arg - what a global function takes in a register; see global.h */
enum func_arg { FUNC_NUMBER, FUNC_CTX, FUNC_MEMORY, FUNC_MEMORY_OR_NULL, FUNC_DYNPTR };

/**
 * struct subprog - a function of the program
 * @start: its first instruction; it ends where the next begins
 * @depth: bytes of its own stack that it uses
 * @type_id: of its BTF_KIND_FUNC, 0 if nothing is known
 * @name: of that, "" for none
 * @global: verified by itself, for all that its type lets it be given
 * @called: on a path that was walked; @walked: by itself
 * @args_known: the rest is
 * @args, @arg_sizes: of @arg_cnt registers from r1 on; the latter of FUNC_MEMORY* (bytes)
 */
struct subprog {
	uint32_t start, depth, type_id;
	const char *name;
	bool global, called, walked, args_known;
	uint8_t arg_cnt, args[5];
	uint32_t arg_sizes[5];
};

/**
 * struct insn_facts - of one instruction
 * @live: registers that may be read later, on whatever path
 * @subprog: the function it stands in
 * @compare: states are compared here; @always: and each is remembered
 * @touched: what it accessed on the paths so far
 */
struct insn_facts {
	uint16_t live, subprog;
	bool compare, always;
	uint8_t touched;
};

/**
 * struct walk - one verification
 * @at: instruction at hand; @state: of the path at hand, which came from @parent
 * @remembered, @jumped: instructions and jumps that were processed when a state was last remembered
 * @slots_touched, @width, @frame_before, @said: see steps.c: of the instruction at hand
 * @types: of the program's BTF; @line: the one that was shown last, see info_find_line()
 * @watch: of a test, NULL for none
 */
struct walk {
	const struct verifier_prog *prog;
	struct verifier_facts *facts;
	uint32_t level;
	struct text text;
	struct insn_facts *insns;
	struct subprog subprogs[SUBPROGS_MAX];
	uint32_t subprog_cnt;
	uint32_t at, last_id, last_run, jumps;
	struct state state;
	struct explored *parent;
	struct origins origins;
	struct pending *pending;
	uint32_t pending_cnt, pending_cap;
	struct explored **explored;
	struct arrival *arrivals;
	uint32_t states, peak, remembered, jumped;
	uint64_t slots_touched;
	uint32_t width, frame_before;
	size_t said;
	struct btf_types types;
	uint32_t line;
	const struct verifier_watch *watch;
};

/** walk_say() - add to the log */
void walk_say(struct walk *walk, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** walk_fail() - say why and return @error */
int walk_fail(struct walk *walk, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** walk_reg() - register of the frame at hand */
static inline struct reg *walk_reg(struct walk *walk, uint32_t regno)
{
	return &walk->state.top.regs[regno];
}

/** walk_map() - what is known of the map that @reg is, or is of */
static inline struct verifier_map walk_map(const struct walk *walk, const struct reg *reg)
{
	const struct verifier_map *map = &walk->prog->maps[reg->map];
	const struct verifier_shape *inner = &map->inner;

	if (!reg->inner)
		return *map;
	return (struct verifier_map){.type = inner->type,
				     .key_size = inner->key_size,
				     .value_size = inner->value_size,
				     .max_entries = inner->max_entries,
				     .flags = inner->flags};
}

/** need_value() - the proof depends on which number @reg is */
static inline void need_value(struct walk *walk, const struct reg *reg)
{
	if (reg->type == REG_SCALAR)
		origin_mark(&walk->origins, reg->origin);
}

/** link_scalar() - before @reg is copied: what is learnt of one copy holds for the other */
static inline void link_scalar(struct walk *walk, struct reg *reg)
{
	if (reg->type == REG_SCALAR && !reg->id && !range_is_const(&reg->r64))
		reg->id = ++walk->last_id;
}

/* insn.c: what an instruction is */
bool insn_is_ld_imm64(const struct bpf_insn *insn);
bool insn_is_call(const struct bpf_insn *insn);
/** insn_is_func() - ld_imm64 of a function's address; insn_calls() - a function of the program */
bool insn_is_func(const struct bpf_insn *insn);
bool insn_calls(const struct bpf_insn *insn);
bool insn_is_may_goto(const struct bpf_insn *insn);
bool insn_is_tail_call(const struct bpf_insn *insn);
/** insn_target() - where a jump, a call of a function or the address of one leads */
int64_t insn_target(const struct bpf_insn *insn, uint32_t at);
/** insn_next() - where else than in called functions it goes on: up to two places. Return: how many
 */
uint32_t insn_next(const struct bpf_insn *insn, uint32_t at, int64_t *ret);
/** insn_uses() - registers it reads, and writes. Reading too much is safe. */
void insn_uses(const struct bpf_insn *insn, uint16_t *ret_reads, uint16_t *ret_writes);

/** opcode_check() - opcodes.c: that there is such an instruction */
int opcode_check(struct walk *walk, const struct bpf_insn *insn);

/* cfg.c */
int cfg_check(struct walk *walk);
/** cfg_check_depth() - that no chain of calls has too much stack. Fills in @facts->stack_depth. */
int cfg_check_depth(struct walk *walk);
/** cfg_subprog() - the function that starts at @start, which there is */
uint32_t cfg_subprog(const struct walk *walk, uint32_t start);

/* explored.c */
/** explored_visit() - Return: 1 when this state was walked before, 0 when not, or -errno */
int explored_visit(struct walk *walk);
/** explored_end() - the path at hand has ended */
void explored_end(struct walk *walk);
/** explored_read() - slot @slot of frame @frame was read */
void explored_read(struct walk *walk, uint32_t frame, uint32_t slot);
/**
 * explored_widen() - before another turn through @at: numbers of @state that changed since the last
 * one and that nothing depends on become anything, so that turns come to look the same. Return: 0
 * or -ENOMEM
 */
int explored_widen(struct walk *walk, struct state *state, uint32_t at);
void explored_put(struct explored *explored);
/** explored_forget() - all states, when no path is walked */
void explored_forget(struct walk *walk);

/* memory.c: @size in bytes */
int memory_load(struct walk *walk, const struct bpf_insn *insn);
int memory_store(struct walk *walk, const struct bpf_insn *insn);
int memory_atomic(struct walk *walk, const struct bpf_insn *insn);
/** memory_range() - a helper reads or writes up to @max bytes at what @reg points to */
int memory_range(struct walk *walk, uint32_t regno, uint64_t min, uint64_t max, bool write);
/** memory_context() - a function reads and writes so many bytes of the context, which is memory */
int memory_context(struct walk *walk, uint32_t regno, uint32_t size);
/** read_reg() - that a register holds something */
int read_reg(struct walk *walk, uint32_t regno);
const char *reg_type_name(uint8_t type);

/* stack.c */
int stack_load(struct walk *walk, const struct reg *at, uint32_t regno, int insn_off,
	       unsigned int size, bool is_signed, struct reg *ret);
int stack_store(struct walk *walk, const struct reg *at, uint32_t regno, int insn_off,
		unsigned int size, const struct reg *value);
/** stack_number() - the number of @size bytes that is known to stand where @at points, which may be
 *  read; the proof depends on it. Return: whether there is one */
bool stack_number(struct walk *walk, const struct reg *at, unsigned int size, uint64_t *ret_number);
/** stack_range() - see memory_range() */
int stack_range(struct walk *walk, const struct reg *at, uint32_t regno, uint64_t min, uint64_t max,
		bool write);

/* arg.c: arguments of helpers. Return: 0 or -errno */
/** arg_long_out() - that a helper may write 8 bytes there, as one */
int arg_long_out(struct walk *walk, uint32_t regno);
/** arg_const_str() - that there is a string with an end, which nobody can change */
int arg_const_str(struct walk *walk, uint32_t regno);
/** arg_format() - that such a string is a format for so many bytes of arguments as register @len
 *  says */
int arg_format(struct walk *walk, uint32_t format, uint32_t len);

/* alu.c */
int alu_insn(struct walk *walk, const struct bpf_insn *insn);

/* call.c */
/** ref_acquire() - @id must be released. Return: 0 or -errno */
int ref_acquire(struct walk *walk, uint32_t id);

/* call.c: of a helper; func.c: functions of the program */
int call_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next);
int func_call(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next);
/** func_callback() - walk @func as helper @helper calls it, later; its registers are @regs[1..5] */
int func_callback(struct walk *walk, const struct reg *func, uint32_t helper,
		  const struct reg *regs);
/** func_tail_call() - a function goes on as another program: what that returns is its caller's.
 * Pushes that way */
int func_tail_call(struct walk *walk);
/** func_packet_end() - a load from behind the packet's end ends the function, which returns 0. Pushes
 * that way */
int func_packet_end(struct walk *walk);
/** func_exit() - Return: 1 at the end of the path */
int func_exit(struct walk *walk, uint32_t *ret_next);

/* info.c: what BTF says of functions and lines. Return: 0 or -errno */
/** info_open() - records of functions, as far as they can be judged before functions are known */
int info_open(struct walk *walk);
/** info_match() - records of functions and lines against the functions that there are */
int info_match(struct walk *walk);
/** info_find_line() - the record of the line that instruction @at is of, counted from 1; 0: none */
uint32_t info_find_line(const struct walk *walk, uint32_t at);
void info_get_line(const struct walk *walk, uint32_t line, struct bpf_line_info *ret_line);
void info_close(struct walk *walk);

/* global.c: functions that are verified by themselves. Return: 0 or -errno */
/** global_call() - that @insn gives function @subprog what it takes; what is known after it */
int global_call(struct walk *walk, uint32_t subprog);
/** global_enter() - registers as function @subprog finds them */
int global_enter(struct walk *walk, uint32_t subprog);
/** global_note_main() - what is odd about the type of the program itself is said, and no more */
void global_note_main(struct walk *walk);

/* branch.c: Return 0, or -errno; @ret_next is where the path goes on, the other way may be pending
 */
int branch_insn(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next);
int branch_may_goto(struct walk *walk, const struct bpf_insn *insn, uint32_t *ret_next);
/** walk_push() - walk @state from @at later; takes it over, whatever is returned */
int walk_push(struct walk *walk, struct state *state, uint32_t at);
