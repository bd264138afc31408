/* SPDX-License-Identifier: MIT */
/*
 * Whether five bytes at a probed instruction can be a jump, judged from the file: whole
 * instructions that can be moved, into which nothing jumps.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"
#include "shim/apply.h"
#include "shim/frames.h"
#include "shim/move.h"
#include "shim/symbols.h"

#define JUMP_SIZE    5u
#define FUNCTION_MAX (1u << 22) /* bytes of one function that are looked through */

/* A function and where its bytes are. */
struct function {
	uint64_t start, end; /* virtual addresses */
	uint64_t next;	     /* start of what follows, end of the segment at the latest */
	char name[256];
};

/* Virtual address of a file offset within an executable segment. */
static int offset_to_vaddr(Elf *elf, uint64_t offset, GElf_Phdr *ret_phdr, uint64_t *ret_vaddr)
{
	size_t cnt = 0;

	elf_getphdrnum(elf, &cnt);
	for (size_t i = 0; i < cnt; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(elf, (int)i, &phdr) || phdr.p_type != PT_LOAD ||
		    !(phdr.p_flags & PF_X))
			continue;
		if (offset >= phdr.p_offset && offset - phdr.p_offset < phdr.p_filesz) {
			*ret_phdr = phdr;
			*ret_vaddr = offset - phdr.p_offset + phdr.p_vaddr;
			return 0;
		}
	}
	return -EINVAL;
}

/* Narrow @function by one symbol table. */
static void search_symbols(Elf *elf, Elf_Scn *scn, const GElf_Shdr *shdr, uint64_t vaddr,
			   struct function *function)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t cnt = shdr->sh_entsize ? shdr->sh_size / shdr->sh_entsize : 0;

	for (size_t i = 0; data && i < cnt; i++) {
		const char *name;
		GElf_Sym sym;

		if (!gelf_getsym(data, (int)i, &sym) || GELF_ST_TYPE(sym.st_info) != STT_FUNC ||
		    sym.st_shndx == SHN_UNDEF)
			continue;
		if (sym.st_value > vaddr && sym.st_value < function->next)
			function->next = sym.st_value;
		if (vaddr < sym.st_value || vaddr - sym.st_value >= sym.st_size)
			continue;
		/* Of several that cover it the widest: more jumps are looked at. */
		if (function->end && sym.st_size <= function->end - function->start)
			continue;
		function->start = sym.st_value;
		function->end = sym.st_value + sym.st_size;
		name = elf_strptr(elf, shdr->sh_link, sym.st_name);
		strncpy(function->name, name ? name : "", sizeof(function->name) - 1);
	}
}

static int find_function(Elf *elf, const GElf_Phdr *phdr, uint64_t vaddr,
			 struct function *ret_function)
{
	struct function function = {.next = phdr->p_vaddr + phdr->p_filesz};
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr shdr;

		if (gelf_getshdr(scn, &shdr) &&
		    (shdr.sh_type == SHT_SYMTAB || shdr.sh_type == SHT_DYNSYM))
			search_symbols(elf, scn, &shdr, vaddr, &function);
	}
	if (!function.end) {
		uint64_t next;
		int r = frames_find(elf, vaddr, &function.start, &function.end, &next);

		if (r < 0)
			return r;
		if (next < function.next)
			function.next = next;
	}
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

static int check(int fd, Elf *elf, struct shim_want *want, struct reason *reason)
{
	cleanup_free unsigned char *bytes = NULL;
	struct function function;
	uint64_t vaddr, size;
	uint32_t displaced = 0;
	GElf_Phdr phdr;
	ssize_t n;
	int r;

	r = offset_to_vaddr(elf, want->offset, &phdr, &vaddr);
	if (r < 0)
		return r;
	r = find_function(elf, &phdr, vaddr, &function);
	if (r < 0)
		return reason_set(
			reason, -EOPNOTSUPP,
			"neither a symbol nor a frame description covers the site, so what "
			"jumps there is not known");
	size = function.next - function.start;
	if (size > FUNCTION_MAX)
		size = function.end - function.start;
	if (size > FUNCTION_MAX)
		return reason_set(reason, -EOPNOTSUPP, "its function is larger than %u bytes",
				  FUNCTION_MAX);
	bytes = malloc(size + ZYDIS_MAX_INSTRUCTION_LENGTH);
	if (!bytes)
		return -ENOMEM;
	n = pread(fd, bytes, size, (off_t)(function.start - phdr.p_vaddr + phdr.p_offset));
	if (n != (ssize_t)size)
		return -EINVAL;
	r = count_displaced(bytes + (vaddr - function.start), function.end - vaddr,
			    function.next - vaddr, &displaced, reason);
	if (r == 0)
		r = check_branches(bytes, &function, vaddr, displaced, reason);
	if (r < 0)
		return r;
	want->displaced = displaced;
	want->original_len = displaced;
	memcpy(want->original, bytes + (vaddr - function.start), displaced);
	return 0;
}

int shim_site_check(int file_fd, struct shim_want *ret_want, struct reason *reason)
{
	Elf *elf;
	GElf_Ehdr ehdr;
	int r;

	elf_version(EV_CURRENT);
	elf = elf_begin(file_fd, ELF_C_READ, NULL);
	if (!elf)
		return -EINVAL;
	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &ehdr) ||
	    ehdr.e_machine != EM_X86_64 || gelf_getclass(elf) != ELFCLASS64)
		r = -EINVAL;
	else
		r = check(file_fd, elf, ret_want, reason);
	elf_end(elf);
	return r;
}

static unsigned int traits_of(Elf *elf)
{
	Elf_Scn *scn = NULL;
	unsigned int traits = 0;
	size_t names = 0;
	GElf_Sym sym;

	elf_getshdrstrndx(elf, &names);
	while ((scn = elf_nextscn(elf, scn))) {
		const char *name;
		GElf_Shdr shdr;

		if (!gelf_getshdr(scn, &shdr))
			continue;
		name = elf_strptr(elf, names, shdr.sh_name);
		if (name && strcmp(name, ".gopclntab") == 0)
			traits |= SHIM_TRAIT_GO;
	}
	if (symbols_find(elf, "__cxa_throw", &sym))
		traits |= SHIM_TRAIT_THROWS;
	return traits;
}

unsigned int shim_file_traits(int file_fd)
{
	unsigned int traits = 0;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_begin(file_fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF)
		traits = traits_of(elf);
	elf_end(elf);
	return traits;
}
