/* SPDX-License-Identifier: MIT */
/*
 * Whether five bytes at a probed instruction can be a jump, judged from the file: whole
 * instructions that can be moved, into which nothing jumps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"
#include "base/elf_file.h"
#include "shim/apply.h"
#include "shim/frames.h"
#include "shim/move.h"

#define JUMP_SIZE    5u
#define FUNCTION_MAX (1u << 22) /* bytes of one function that are looked through */
#define PADDING_MAX  64u	/* that is looked at behind it */
#define DECODE_COST  32u	/* decoding a byte takes as long as reading so many */

/* A function and where its bytes are: @start <= site < @end <= @next <= end of the segment. */
struct function {
	uint64_t start, end; /* virtual addresses */
	uint64_t next;	     /* start of what follows, end of the segment at the latest */
	char name[256];
};

/* Executable segment with a file offset. */
static const Elf64_Phdr *segment_of(const struct elf_file *file, uint64_t offset)
{
	for (uint32_t i = 0; i < file->segment_cnt; i++) {
		const Elf64_Phdr *segment = &file->segments[i];

		if (segment->p_type == PT_LOAD && segment->p_flags & PF_X &&
		    offset >= segment->p_offset && offset - segment->p_offset < segment->p_filesz)
			return segment;
	}
	return NULL;
}

/* A function that is looked for among symbols. */
struct search {
	const Elf64_Phdr *segment;
	uint64_t vaddr;
	struct function *function;
	const Elf64_Shdr *table; /* that has @symbol, its symbol */
	Elf64_Sym symbol;
};

/* Narrow the function by one symbol. */
static int narrow(struct elf_file *file, const Elf64_Shdr *table, const Elf64_Sym *symbol,
		  void *data)
{
	struct search *search = data;
	struct function *function = search->function;
	uint64_t start = symbol->st_value, size = symbol->st_size;

	/* Only what lies in the segment as a whole: its bytes are there, and no sum wraps around.
	 */
	if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF ||
	    !elf_segment_has(search->segment, start, size))
		return 0;
	if (start > search->vaddr && start < function->next)
		function->next = start;
	if (search->vaddr < start || search->vaddr - start >= size)
		return 0;
	/* Of several that cover it the widest: more jumps are looked at. */
	if (function->end && size <= function->end - function->start)
		return 0;
	function->start = start;
	function->end = start + size;
	search->table = table;
	search->symbol = *symbol;
	return 0;
}

/* By its frame description. */
static int find_frame(struct elf_file *file, const Elf64_Phdr *segment, uint64_t vaddr,
		      struct function *function)
{
	uint64_t next;
	int r = frames_find(file, vaddr, &function->start, &function->end, &next);

	if (r < 0)
		return r;
	if (!elf_segment_has(segment, function->start, function->end - function->start))
		return -ENOENT;
	if (next < function->next)
		function->next = next;
	return 0;
}

static int find_function(struct elf_file *file, const Elf64_Phdr *segment, uint64_t vaddr,
			 struct function *ret_function)
{
	struct function function = {.next = segment->p_vaddr + segment->p_filesz};
	struct search search = {.segment = segment, .vaddr = vaddr, .function = &function};
	int r = elf_symbols_each(file, narrow, &search);

	if (r == 0 && function.end)
		r = elf_symbol_name(file, search.table, &search.symbol, function.name,
				    sizeof(function.name));
	else if (r == 0)
		r = find_frame(file, segment, vaddr, &function);
	if (r < 0)
		return r;
	if (function.next < function.end)
		function.next = function.end;
	*ret_function = function;
	return 0;
}

/* Whether a direct branch of the instruction at @vaddr leads into the displaced bytes, but not to
 * their first. */
static bool branches_into(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands,
			  uint64_t vaddr, uint64_t site, uint32_t displaced)
{
	ZyanU64 target;

	if (!insn->operand_count || operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	    !operands[0].imm.is_relative)
		return false;
	if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(insn, &operands[0], vaddr, &target)))
		return true;
	return target > site && target < site + displaced;
}

/* Look through a function for branches into the site. */
static int check_branches(const unsigned char *bytes, const struct function *function,
			  uint64_t site, uint32_t displaced, struct reason *reason)
{
	uint64_t size = function->end - function->start;
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint64_t at = 0; at < size;) {
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction insn;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes + at, size - at, &insn,
							 operands))) {
			/* Data between the code: go on byte by byte, which may only see branches
			 * that are none. */
			at++;
			continue;
		}
		if (branches_into(&insn, operands, function->start + at, site, displaced))
			return reason_set(reason, -EOPNOTSUPP,
					  "%s jumps to the bytes that a jump would replace",
					  function->name[0] ? function->name : "the function");
		at += insn.length;
	}
	return 0;
}

/* Whether what begins at @bytes is padding for @wanted bytes at least; @len may be looked at. */
static bool is_padding(const unsigned char *bytes, uint64_t len, uint64_t wanted)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint64_t at = 0; at < wanted;) {
		ZydisDecodedInstruction insn;

		if (bytes[at] == 0xcc || bytes[at] == 0x00) {
			at++;
			continue;
		}
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes + at,
								len - at, &insn)) ||
		    insn.mnemonic != ZYDIS_MNEMONIC_NOP)
			return false;
		at += insn.length;
	}
	return true;
}

/*
 * How many bytes of whole instructions make room. @bytes start at the site; behind @in_function of
 * them the function ends, and padding may follow.
 */
static int count_displaced(const unsigned char *bytes, uint64_t in_function, uint64_t available,
			   uint32_t *ret_displaced, struct reason *reason)
{
	uint32_t len = 0;
	bool ends = false;
	int r;

	while (len < JUMP_SIZE && len < in_function && !ends) {
		r = move_check(bytes + len, in_function - len, &len, &ends, JUMP_SIZE, reason);
		if (r < 0)
			return r;
	}
	if (len >= JUMP_SIZE) {
		*ret_displaced = len;
		return 0;
	}
	if (!ends)
		return reason_set(reason, -EOPNOTSUPP,
				  "the function is shorter than a jump and runs on");
	if (available < JUMP_SIZE || !is_padding(bytes + len, available - len, JUMP_SIZE - len))
		return reason_set(reason, -EOPNOTSUPP,
				  "%u bytes to the end of the function's code: no room for a jump",
				  len);
	*ret_displaced = JUMP_SIZE;
	return 0;
}

/* The bytes of the function and what follows it; owned by the caller. */
static int read_function(struct elf_file *file, const Elf64_Phdr *segment,
			 struct function *function, unsigned char **ret_bytes,
			 struct reason *reason)
{
	cleanup_free unsigned char *bytes = NULL;
	uint64_t size;
	int r;

	if (function->end - function->start > FUNCTION_MAX)
		return reason_set(reason, -EOPNOTSUPP, "its function is larger than %u bytes",
				  FUNCTION_MAX);
	if (function->next - function->end > PADDING_MAX)
		function->next = function->end + PADDING_MAX;
	size = function->next - function->start;
	bytes = malloc(size + ZYDIS_MAX_INSTRUCTION_LENGTH);
	if (!bytes)
		return -ENOMEM;
	r = elf_file_charge(file, size * DECODE_COST);
	if (r == 0)
		r = elf_file_read(file, function->start - segment->p_vaddr + segment->p_offset,
				  bytes, size);
	if (r == 0)
		*ret_bytes = take_ptr(&bytes);
	return r;
}

/*
 * How Go's compiler has functions ask for room: the end of the stack, from the goroutine in r14 or,
 * before Go 1.17, in the thread's memory, compared with where the stack pointer is or, in r12, will
 * be. Frames of more than 4 KB ask otherwise.
 */
static const struct {
	unsigned char bytes[13];
	uint32_t len, distance_at, distance_len; /* of a number in it */
} checks[] = {
	{{0x49, 0x3b, 0x66, 0x10}, 4, 0, 0},
	{{0x4c, 0x8d, 0x64, 0x24, 0, 0x4d, 0x3b, 0x66, 0x10}, 9, 4, 1},
	{{0x4c, 0x8d, 0xa4, 0x24, 0, 0, 0, 0, 0x4d, 0x3b, 0x66, 0x10}, 12, 4, 4},
	{{0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x61, 0x10}, 13, 0, 0},
};

/* The check that begins at @bytes and leads to a jump. Return: whether there is one. */
static bool match_check(const unsigned char *bytes, uint64_t len, struct shim_want *want)
{
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		const uint32_t size = checks[i].len, at = checks[i].distance_at;
		unsigned char plain[sizeof(checks[i].bytes)];

		if (len < size + 6)
			continue;
		memcpy(plain, bytes, size);
		memset(plain + at, 0, checks[i].distance_len);
		if (memcmp(plain, checks[i].bytes, size) != 0)
			continue;
		/* jbe */
		if (bytes[size] == 0x76) {
			want->check_end = size + 2;
			want->check_target = (int32_t)(size + 2) + (int8_t)bytes[size + 1];
		} else if (bytes[size] == 0x0f && bytes[size + 1] == 0x86) {
			memcpy(&want->check_target, bytes + size + 2, sizeof(want->check_target));
			want->check_end = size + 6;
			want->check_target += (int32_t)(size + 6);
		} else {
			continue;
		}
		memcpy(want->check, bytes, size);
		want->check_len = size;
		return true;
	}
	return false;
}

/*
 * A probe takes about 350 bytes of the stack before it is on another, and functions that have asked
 * for room have 800. Others may be called with next to none.
 */
static int find_check(const unsigned char *bytes, const struct function *function, uint64_t vaddr,
		      struct shim_want *want, struct reason *reason)
{
	if (vaddr != function->start || !match_check(bytes, function->end - function->start, want))
		return reason_set(reason, -EOPNOTSUPP,
				  "only the first instruction of a function that asks for room on "
				  "its stack can be probed in a Go program");
	return 0;
}

static int check(struct elf_file *file, struct shim_want *want, struct reason *reason)
{
	const Elf64_Phdr *segment = segment_of(file, want->offset);
	cleanup_free unsigned char *bytes = NULL;
	struct function function;
	uint32_t displaced = 0;
	uint64_t vaddr;
	int r;

	if (!segment)
		return -EINVAL;
	vaddr = want->offset - segment->p_offset + segment->p_vaddr;
	r = find_function(file, segment, vaddr, &function);
	if (r == -ENOENT)
		return reason_set(
			reason, -EOPNOTSUPP,
			"neither a symbol nor a frame description covers the site, so what "
			"jumps there is not known");
	if (r == 0)
		r = read_function(file, segment, &function, &bytes, reason);
	if (r == 0)
		r = count_displaced(bytes + (vaddr - function.start), function.end - vaddr,
				    function.next - vaddr, &displaced, reason);
	if (r == 0)
		r = check_branches(bytes, &function, vaddr, displaced, reason);
	if (r == 0 && want->small_stack)
		r = find_check(bytes, &function, vaddr, want, reason);
	if (r < 0)
		return r;
	want->displaced = displaced;
	want->original_len = displaced;
	memcpy(want->original, bytes + (vaddr - function.start), displaced);
	return 0;
}

int shim_site_check(struct elf_file *file, struct shim_want *ret_want, struct reason *reason)
{
	return shim_file_error(check(file, ret_want, reason), reason);
}

int shim_file_error(int error, struct reason *reason)
{
	if (error != -E2BIG)
		return error;
	return reason_set(reason, -EOPNOTSUPP,
			  "too much would have to be read of its symbols and code (more than %llu "
			  "GiB, or %u sections)",
			  ELF_FILE_BUDGET >> 30, ELF_FILE_HEADERS_MAX);
}

int shim_file_traits(struct elf_file *file, struct reason *reason)
{
	/* Which of them there are depends on how it is linked. */
	static const char *const go[] = {".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo",
					 ".note.go.buildid"};
	const Elf64_Shdr *section;
	Elf64_Sym symbol;
	int traits = 0, r = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(go) && r == -ENOENT; i++)
		r = elf_section_find(file, go[i], &section);
	if (r == 0)
		traits |= SHIM_TRAIT_GO;
	if (r == 0 || r == -ENOENT)
		r = elf_symbol_find(file, "__cxa_throw", &symbol);
	if (r == 0)
		traits |= SHIM_TRAIT_THROWS;
	return r < 0 && r != -ENOENT ? shim_file_error(r, reason) : traits;
}
