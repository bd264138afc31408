/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the JIT share: one program on its way into LLVM's representation.
 *
 *	jit.c		LLVM set up, passes, object, link
 *	jit_orc.c	LLVM's linker, for programs that run where they are compiled
 *	jit_flow.c	instruction by instruction: blocks, jumps, constants, exit
 *	jit_alu.c	arithmetic
 *	jit_mem.c	loads, stores, atomics
 *	jit_call.c	helpers, and lookups without them
 *	jit_packet.c	loads from packets
 *	jit_tail.c	tail calls
 *
 * Everything undefined in LLVM but defined in eBPF (division by 0, wide shifts) is guarded where it
 * is built. Bytes the program never wrote are some fixed value, not LLVM's undefined one: a
 *verifier that lets a program read them and check what it got must be able to rely on the check.
 */
#pragma once

#include <llvm-c/Core.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/jit.h"
#include "vm/runtime/runtime.h"

#define JIT_REGS  11 /* r0 to r10 */
#define JIT_STACK 512

/* Newer than Debian 12's header. Source: include/uapi/linux/bpf.h, Linux 6.18, and RFC 9669. */
#define JIT_MEMSX	  0x80
#define JIT_JCOND	  0xe0
#define JIT_LOAD_ACQUIRE  0x100
#define JIT_STORE_RELEASE 0x110

/** enum jit_tag_kind - what is known of a register's value where the builder stands */
enum jit_tag_kind {
	JIT_TAG_NONE,
	JIT_TAG_MAP,   /* address of the record of map @value */
	JIT_TAG_STACK, /* r10 + @value */
};
struct jit_tag {
	enum jit_tag_kind kind;
	int32_t value;
};

/**
 * struct jit_unit - one program under translation
 * @functions: by instruction; NULL where no function begins
 * @end: behind the last instruction of the function at hand
 * @blocks: by instruction; NULL where no jump leads
 * @regs: r0 to r9, memory that LLVM turns into values
 * @turns: how often may_goto may still be passed
 * @stack, @frame: the program's 512 bytes; their end, which is r10
 * @tags: of r0 to r10; true within a block
 * @resolve: place of a runtime function in the region by name, 0 unknown
 */
struct jit_unit {
	const struct jit_prog *prog;
	LLVMContextRef context;
	LLVMModuleRef module;
	LLVMBuilderRef builder;
	LLVMTypeRef i8, i32, i64, pointer;
	LLVMValueRef function, run, turns, stack, frame;
	LLVMValueRef regs[JIT_REGS - 1];
	LLVMValueRef *functions;
	uint32_t end;
	LLVMBasicBlockRef *blocks;
	struct jit_tag tags[JIT_REGS];
	uint64_t (*resolve)(const char *name, void *data);
	void *data;
	struct reason *reason;
};

/** struct jit_runtime - where helpers stand; see struct jit_unit */
struct jit_runtime {
	uint64_t (*resolve)(const char *name, void *data);
	void *data;
};

/** JIT_ENTRY - the program's name in its object */
#define JIT_ENTRY "prog"

/**
 * jit_object_for() - what jit_compile_for() lays out: an ELF64 object, as LLVM made it
 * @ret_object: owned by the caller (LLVMDisposeMemoryBuffer()); untouched on failure
 */
int jit_object_for(const struct jit_prog *prog, const struct jit_runtime *runtime,
		   LLVMMemoryBufferRef *ret_object, struct reason *reason);

/** jit_compile_for() - jit_compile() with a runtime other than the built-in one */
int jit_compile_for(const struct jit_prog *prog, const struct jit_runtime *runtime,
		    struct link_result *ret_result, struct reason *reason);

/** jit_translate() - add function "prog", and those it calls behind it, to the unit's module;
 *  errors as jit_compile() */
int jit_translate(struct jit_unit *unit);

/* Registers. jit_get() and jit_set() take r0 to r10 and r0 to r9. */
LLVMValueRef jit_get(struct jit_unit *unit, unsigned reg);
void jit_set(struct jit_unit *unit, unsigned reg, LLVMValueRef value);
LLVMValueRef jit_const(struct jit_unit *unit, uint64_t value);
/** jit_symbol() - address of what the linker knows by @name, as a pointer */
LLVMValueRef jit_symbol(struct jit_unit *unit, const char *name);
/** jit_intrinsic() - call of LLVM's function of that name for one type */
LLVMValueRef jit_intrinsic(struct jit_unit *unit, const char *name, LLVMTypeRef type,
			   LLVMValueRef arg);
/** jit_refuse() - -EOPNOTSUPP and a reason that names the instruction at @at */
int jit_refuse(struct jit_unit *unit, uint32_t at, const char *what);

/* One instruction each; 0 or -errno with a reason. */
int jit_alu(struct jit_unit *unit, uint32_t at);
int jit_load(struct jit_unit *unit, uint32_t at);
int jit_store(struct jit_unit *unit, uint32_t at);
int jit_atomic(struct jit_unit *unit, uint32_t at);
int jit_call(struct jit_unit *unit, uint32_t at);
int jit_packet_load(struct jit_unit *unit, uint32_t at);
/** jit_declare() - the declaration of a function of the runtime; added to the module by its first
 *  call */
LLVMValueRef jit_declare(struct jit_unit *unit, const char *symbol, LLVMTypeRef type);
/** jit_is_main() - whether the function at hand is the program, and not called by it */
bool jit_is_main(const struct jit_unit *unit);
/** jit_tail_call() - bpf_tail_call() with its arguments in r1 to r3 */
void jit_tail_call(struct jit_unit *unit);
/** jit_call_target() - instruction that a call of a subprogram at @at leads to; may be outside */
int64_t jit_call_target(const struct jit_unit *unit, uint32_t at);

/** jit_read() - the @size (BPF_W, ...) bytes at [@reg + @off], loaded once; of that width */
LLVMValueRef jit_read(struct jit_unit *unit, unsigned reg, int16_t off, uint8_t size);
