/* SPDX-License-Identifier: MIT */
/*
 * .eh_frame_hdr is a table of function starts in ascending order, each with the place of its frame
 * description, which has the length.
 */
#include "shim/frames.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Encodings of pointers: how large, and what they are relative to. */
#define ENC_ABSOLUTE 0x00
#define ENC_UDATA4   0x03
#define ENC_SDATA4   0x0b
#define ENC_PCREL    0x10
#define ENC_DATAREL  0x30

#define AUGMENTATION_MAX 8

/* Bytes of a section, and its address. */
struct view {
	const unsigned char *bytes;
	uint64_t vaddr, size;
};

static bool take_u32(const struct view *view, uint64_t vaddr, uint32_t *ret)
{
	uint64_t at = vaddr - view->vaddr;

	if (vaddr < view->vaddr || at + sizeof(*ret) > view->size)
		return false;
	memcpy(ret, view->bytes + at, sizeof(*ret));
	return true;
}

static int find_section(Elf *elf, const char *wanted, struct view *ret_view)
{
	Elf_Scn *scn = NULL;
	size_t names = 0;

	elf_getshdrstrndx(elf, &names);
	while ((scn = elf_nextscn(elf, scn))) {
		const char *name;
		GElf_Shdr shdr;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &shdr))
			continue;
		name = elf_strptr(elf, names, shdr.sh_name);
		data = name && strcmp(name, wanted) == 0 ? elf_getdata(scn, NULL) : NULL;
		if (!data || !data->d_buf)
			continue;
		*ret_view = (struct view){data->d_buf, shdr.sh_addr, data->d_size};
		return 0;
	}
	return -ENOENT;
}

/* The table of .eh_frame_hdr: pairs of 32-bit numbers relative to its start. */
struct table {
	struct view hdr;
	uint64_t entries; /* address of the first */
	uint32_t cnt;
};

static int open_table(Elf *elf, struct table *ret_table)
{
	struct table table;
	int r = find_section(elf, ".eh_frame_hdr", &table.hdr);

	if (r < 0)
		return r;
	/* Version, and encodings of the pointer to .eh_frame, of the count and of the entries. */
	if (table.hdr.size < 12 || table.hdr.bytes[0] != 1 ||
	    table.hdr.bytes[1] != (ENC_PCREL | ENC_SDATA4) || table.hdr.bytes[2] != ENC_UDATA4 ||
	    table.hdr.bytes[3] != (ENC_DATAREL | ENC_SDATA4))
		return -ENOENT;
	memcpy(&table.cnt, table.hdr.bytes + 8, sizeof(table.cnt));
	if (table.cnt > (table.hdr.size - 12) / 8)
		return -ENOENT;
	table.entries = table.hdr.vaddr + 12;
	*ret_table = table;
	return 0;
}

/* Entry @nr: start of its function, and where its description is. */
static void entry_at(const struct table *table, uint32_t nr, uint64_t *ret_start,
		     uint64_t *ret_frame)
{
	uint32_t words[2] = {0};

	take_u32(&table->hdr, table->entries + nr * 8ull, &words[0]);
	take_u32(&table->hdr, table->entries + nr * 8ull + 4, &words[1]);
	*ret_start = table->hdr.vaddr + (uint64_t)(int64_t)(int32_t)words[0];
	*ret_frame = table->hdr.vaddr + (uint64_t)(int64_t)(int32_t)words[1];
}

/* How a common description says that addresses are written; 0 also when it says nothing. */
static uint8_t encoding_of(const struct view *frames, uint64_t common)
{
	uint64_t at = common - frames->vaddr + 8, end;
	char augmentation[AUGMENTATION_MAX];
	uint32_t len;

	if (!take_u32(frames, common, &len))
		return 0;
	end = common - frames->vaddr + 4 + len;
	if (end > frames->size || at + 1 + sizeof(augmentation) > end)
		return 0;
	memcpy(augmentation, frames->bytes + at + 1, sizeof(augmentation));
	at += 1 + strnlen(augmentation, sizeof(augmentation)) + 1;
	if (augmentation[0] != 'z' || !memchr(augmentation, '\0', sizeof(augmentation)))
		return 0;
	/* Alignments of code and data, the return column and the length: a byte each in practice.
	 */
	for (int i = 0; i < 4; i++, at++)
		while (at < end && frames->bytes[at] & 0x80)
			at++;
	for (const char *what = augmentation + 1; *what && at < end; what++) {
		if (*what == 'R')
			return frames->bytes[at];
		if (*what == 'L')
			at++;
		else if (*what == 'P')
			at += 1 + ((frames->bytes[at] & 0x07) == (ENC_SDATA4 & 0x07) ? 4 : 8);
		else if (*what != 'S')
			return 0;
	}
	return 0;
}

static int length_of(const struct view *frames, uint64_t frame, uint64_t *ret_len)
{
	uint32_t size, back, len;

	if (!take_u32(frames, frame, &size) || !take_u32(frames, frame + 4, &back) ||
	    !take_u32(frames, frame + 12, &len) || size < 12 || back > frame + 4 - frames->vaddr ||
	    encoding_of(frames, frame + 4 - back) != (ENC_PCREL | ENC_SDATA4))
		return -ENOENT;
	*ret_len = len;
	return 0;
}

int frames_find(Elf *elf, uint64_t vaddr, uint64_t *ret_start, uint64_t *ret_end,
		uint64_t *ret_next)
{
	uint64_t start = 0, frame, len, next = UINT64_MAX, unused;
	uint32_t low = 0, high;
	struct view frames;
	struct table table;
	int r = open_table(elf, &table);

	if (r == 0)
		r = find_section(elf, ".eh_frame", &frames);
	if (r < 0)
		return r;
	high = table.cnt;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		entry_at(&table, middle, &start, &frame);
		if (start <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return -ENOENT;
	entry_at(&table, low - 1, &start, &frame);
	if (low < table.cnt)
		entry_at(&table, low, &next, &unused);
	r = length_of(&frames, frame, &len);
	if (r < 0 || vaddr - start >= len)
		return -ENOENT;
	*ret_start = start;
	*ret_end = start + len;
	*ret_next = next;
	return 0;
}
