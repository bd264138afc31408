/* SPDX-License-Identifier: MIT */
/*
 * Reading ELF files that somebody else wrote and may change meanwhile: x86-64 only, by plain reads
 * (a mapping of a file that shrinks raises SIGBUS), with buffers of fixed size, and never more than
 * a budget of bytes in all. Whatever a header claims, memory and time are bounded.
 */
#pragma once

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_FILE_HEADERS_MAX 4096u	  /* sections, or segments */
#define ELF_FILE_BUDGET	     (4ull << 30) /* bytes read for one request */

/**
 * struct elf_file - an open file
 * @fd: borrowed
 * @budget: bytes that may still be read; once there are too few all reads fail
 * @names: section with the sections' names, or NULL
 * @buffer: for what is read piece by piece
 */
struct elf_file {
	int fd;
	uint64_t budget;
	uint32_t segment_cnt, section_cnt;
	Elf64_Phdr *segments;
	Elf64_Shdr *sections;
	const Elf64_Shdr *names;
	unsigned char *buffer;
};

/**
 * elf_file_open() - read the headers
 * @fd: readable, a regular file
 * @budget: ELF_FILE_BUDGET, or less
 *
 * Segments are checked: where their bytes are, in the file and in memory, does not wrap around.
 *
 * Errors: -EINVAL no ELF file for x86-64, or its headers are not all there; -E2BIG more headers
 * than ELF_FILE_HEADERS_MAX; -ENOMEM. Then there is nothing to close.
 */
int elf_file_open(struct elf_file *file, int fd, uint64_t budget);
void elf_file_close(struct elf_file *file);

/** elf_file_charge() - take @cost off the budget. Errors: -E2BIG. */
int elf_file_charge(struct elf_file *file, uint64_t cost);

/**
 * elf_file_read() - @size bytes at offset @at of the file
 *
 * Errors: -EINVAL they are not all there, -E2BIG too few are left of the budget. So do the
 * others below.
 */
int elf_file_read(struct elf_file *file, uint64_t at, void *ret_bytes, size_t size);

/** elf_section_read() - likewise, of a section */
int elf_section_read(struct elf_file *file, const Elf64_Shdr *section, uint64_t at, void *ret_bytes,
		     size_t size);

/** elf_section_find() - the first section of that name. Errors: -ENOENT. */
int elf_section_find(struct elf_file *file, const char *name, const Elf64_Shdr **ret_section);

/** elf_segment_has() - whether the file has all of [@vaddr, @vaddr + @size) in @segment */
bool elf_segment_has(const Elf64_Phdr *segment, uint64_t vaddr, uint64_t size);

/** elf_symbol_fn - Return: 0 to see the next, anything else to stop */
typedef int elf_symbol_fn(struct elf_file *file, const Elf64_Shdr *table, const Elf64_Sym *symbol,
			  void *data);

/** elf_symbols_each() - all symbols of one .symtab and one .dynsym. Return: what @fn returned last.
 */
int elf_symbols_each(struct elf_file *file, elf_symbol_fn *fn, void *data);

/** elf_symbol_name() - what fits of the name of a symbol of @table; empty when it has none */
int elf_symbol_name(struct elf_file *file, const Elf64_Shdr *table, const Elf64_Sym *symbol,
		    char *ret_name, size_t size);

/** elf_symbol_find() - a symbol of that name which the file defines. Errors: -ENOENT. */
int elf_symbol_find(struct elf_file *file, const char *name, Elf64_Sym *ret_symbol);
