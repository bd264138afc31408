/* SPDX-License-Identifier: MIT */
/*
 * .eh_frame_hdr is a table of function starts in ascending order, each with the place of its frame
 * description, which has the length.
 */
#include "shim/frames.h"

#include <errno.h>
#include <string.h>

/* Encodings of pointers: how large, and what they are relative to. */
#define ENC_UDATA4  0x03
#define ENC_SDATA4  0x0b
#define ENC_PCREL   0x10
#define ENC_DATAREL 0x30

#define AUGMENTATION_MAX 8
#define COMMON_MAX	 64 /* bytes of a common description up to its encodings */

/* What begins .eh_frame_hdr, the encodings being those that are known; pairs follow of 32-bit
 * numbers relative to its start: a function, its description. */
struct header {
	uint8_t version, frame_encoding, count_encoding, table_encoding;
	int32_t frame;
	uint32_t cnt;
};

struct table {
	struct elf_file *file;
	const Elf64_Shdr *hdr, *frames;
	uint32_t cnt;
};

static int open_table(struct elf_file *file, struct table *ret_table)
{
	struct table table = {.file = file};
	struct header header;
	int r = elf_section_find(file, ".eh_frame_hdr", &table.hdr);

	if (r == 0)
		r = elf_section_find(file, ".eh_frame", &table.frames);
	if (r == 0)
		r = elf_section_read(file, table.hdr, 0, &header, sizeof(header));
	if (r < 0)
		return r;
	if (header.version != 1 || header.frame_encoding != (ENC_PCREL | ENC_SDATA4) ||
	    header.count_encoding != ENC_UDATA4 ||
	    header.table_encoding != (ENC_DATAREL | ENC_SDATA4))
		return -ENOENT;
	table.cnt = header.cnt;
	*ret_table = table;
	return 0;
}

/* Entry @nr: start of its function, and where its description is in .eh_frame. */
static int entry_at(const struct table *table, uint32_t nr, uint64_t *ret_start,
		    uint64_t *ret_frame)
{
	int32_t words[2];
	int r = elf_section_read(table->file, table->hdr,
				 sizeof(struct header) + nr * (uint64_t)sizeof(words), words,
				 sizeof(words));

	if (r < 0)
		return r;
	*ret_start = table->hdr->sh_addr + (uint64_t)(int64_t)words[0];
	/* Outside it wraps around to what is no offset in the section. */
	*ret_frame = table->hdr->sh_addr + (uint64_t)(int64_t)words[1] - table->frames->sh_addr;
	return 0;
}

/* How the common description of @len bytes says that addresses are written; 0 also when it says
 * nothing. */
static uint8_t encoding_of(const unsigned char *bytes, size_t len)
{
	const char *augmentation = (const char *)bytes + 9;
	size_t at;

	if (len < 9 + AUGMENTATION_MAX || augmentation[0] != 'z' ||
	    !memchr(augmentation, '\0', AUGMENTATION_MAX))
		return 0;
	at = 9 + strlen(augmentation) + 1;
	/* Alignments of code and data, the return column and the length: a byte each in practice.
	 */
	for (int i = 0; i < 4; i++, at++)
		while (at < len && bytes[at] & 0x80)
			at++;
	for (const char *what = augmentation + 1; *what && at < len; what++) {
		if (*what == 'R')
			return bytes[at];
		if (*what == 'L')
			at++;
		else if (*what == 'P')
			at += 1 + ((bytes[at] & 0x07) == (ENC_SDATA4 & 0x07) ? 4 : 8);
		else if (*what != 'S')
			return 0;
	}
	return 0;
}

/* Whether the common description at offset @at has addresses that we know. */
static int check_common(const struct table *table, uint64_t at)
{
	unsigned char bytes[COMMON_MAX];
	size_t len = sizeof(bytes);
	uint32_t size;
	int r = elf_section_read(table->file, table->frames, at, &size, sizeof(size));

	if (r < 0)
		return r;
	if (size < len - 4)
		len = 4 + size;
	if (table->frames->sh_size - at < len)
		return -ENOENT;
	r = elf_section_read(table->file, table->frames, at, bytes, len);
	if (r < 0)
		return r;
	return encoding_of(bytes, len) == (ENC_PCREL | ENC_SDATA4) ? 0 : -ENOENT;
}

/* Length of the function that is described at offset @at. */
static int length_of(const struct table *table, uint64_t at, uint32_t *ret_len)
{
	struct {
		uint32_t size, back, start, len;
	} frame;
	int r = elf_section_read(table->file, table->frames, at, &frame, sizeof(frame));

	if (r < 0)
		return r;
	if (frame.size < sizeof(frame) - 4 || frame.back > at + 4)
		return -ENOENT;
	r = check_common(table, at + 4 - frame.back);
	if (r == 0)
		*ret_len = frame.len;
	return r;
}

/* How many functions start at @vaddr or below. */
static int count_below(const struct table *table, uint64_t vaddr, uint32_t *ret_cnt)
{
	uint32_t low = 0, high = table->cnt;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t start, unused;
		int r = entry_at(table, middle, &start, &unused);

		if (r < 0)
			return r;
		if (start <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_cnt = low;
	return 0;
}

int frames_find(struct elf_file *file, uint64_t vaddr, uint64_t *ret_start, uint64_t *ret_end,
		uint64_t *ret_next)
{
	uint64_t start, frame, next = UINT64_MAX, unused;
	struct table table;
	uint32_t cnt, len = 0;
	int r = open_table(file, &table);

	if (r == 0)
		r = count_below(&table, vaddr, &cnt);
	if (r < 0)
		return r;
	if (!cnt)
		return -ENOENT;
	r = entry_at(&table, cnt - 1, &start, &frame);
	if (r == 0 && cnt < table.cnt)
		r = entry_at(&table, cnt, &next, &unused);
	if (r == 0)
		r = length_of(&table, frame, &len);
	if (r < 0)
		return r;
	/* A table out of order may lead anywhere. */
	if (start > vaddr || vaddr - start >= len || start > UINT64_MAX - len)
		return -ENOENT;
	*ret_start = start;
	*ret_end = start + len;
	*ret_next = next;
	return 0;
}
