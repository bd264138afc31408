/* SPDX-License-Identifier: MIT */
/*
 * Which memory of a process lasts.
 */
#include "shim/steady.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define PAGE	    4096ull
#define PHDRS_MAX   32u
#define IMAGES_MAX  96u /* objects that are looked at */
#define DYNAMIC_MAX 96u /* entries of a dynamic section */
#define NEEDED_MAX  64u /* of one object */
#define NAME_SIZE   64u

/**
 * struct image - an ELF object that is mapped as loaders map them
 * @first: index of the mapping with its header
 * @bias: of its addresses
 * @strings: address of its string table, 0 none
 * @size: of its file
 * @wanted: it is linked to
 */
struct image {
	uint32_t first, phdr_cnt;
	uint64_t bias, size, strings;
	Elf64_Phdr phdrs[PHDRS_MAX];
	uint64_t needed[NEEDED_MAX];
	uint32_t needed_cnt;
	bool dynamic, wanted, same_name;
	char name[NAME_SIZE];
};

struct images {
	const struct maps *maps;
	uint32_t cnt;
	struct image image[IMAGES_MAX];
};

static bool read_all(const struct images *images, uint64_t address, void *buf, size_t len)
{
	return sys_process_read(images->maps->pid, address, buf, len) == (ssize_t)len;
}

/* Terminated; a longer one is none of a library we know. */
static bool read_name(const struct images *images, uint64_t address, char *name)
{
	ssize_t len = sys_process_read(images->maps->pid, address, name, NAME_SIZE);

	return len > 0 && memchr(name, '\0', (size_t)len) && name[0];
}

static bool file_size(const struct maps *maps, const struct map_entry *entry, uint64_t *ret_size)
{
	struct stat st;
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, maps->pid,
		 entry->start, entry->end);
	if (stat(path, &st) < 0 || st.st_ino != entry->ino)
		return false;
	*ret_size = (uint64_t)st.st_size;
	return true;
}

static bool may_be_header(const struct map_entry *entry)
{
	return entry->ino && !entry->shared && entry->readable && entry->offset == 0;
}

/* The header, and what says where its segments are. */
static bool read_header(const struct images *images, uint32_t first, struct image *ret_image)
{
	const struct map_entry *entry = &images->maps->entries[first];
	Elf64_Ehdr ehdr;

	if (!may_be_header(entry) || !read_all(images, entry->start, &ehdr, sizeof(ehdr)) ||
	    memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_machine != EM_X86_64 ||
	    ehdr.e_phentsize != sizeof(Elf64_Phdr) || ehdr.e_phnum > PHDRS_MAX ||
	    ehdr.e_phoff > entry->end - entry->start)
		return false;
	ret_image->first = first;
	ret_image->phdr_cnt = ehdr.e_phnum;
	if (!read_all(images, entry->start + ehdr.e_phoff, ret_image->phdrs,
		      ehdr.e_phnum * sizeof(Elf64_Phdr)))
		return false;
	for (uint32_t i = 0; i < ret_image->phdr_cnt; i++) {
		const Elf64_Phdr *phdr = &ret_image->phdrs[i];

		if (phdr->p_type != PT_LOAD)
			continue;
		ret_image->bias = entry->start - (phdr->p_vaddr & -PAGE);
		return phdr->p_offset < PAGE && file_size(images->maps, entry, &ret_image->size);
	}
	return false;
}

/* Code is mapped as code: a file that is only looked at is no object. */
static bool is_loaded(const struct images *images, const struct image *image)
{
	const struct map_entry *header = &images->maps->entries[image->first];

	for (uint32_t i = 0; i < image->phdr_cnt; i++) {
		const Elf64_Phdr *phdr = &image->phdrs[i];
		const struct map_entry *entry;

		if (phdr->p_type != PT_LOAD || !(phdr->p_flags & PF_X))
			continue;
		entry = maps_find(images->maps, image->bias + phdr->p_vaddr);
		if (!entry || entry->ino != header->ino || !entry->executable ||
		    entry->offset + (image->bias + phdr->p_vaddr - entry->start) != phdr->p_offset)
			return false;
		return true;
	}
	return false;
}

/* glibc makes the addresses of dynamic sections real ones, musl leaves them as they are. */
static uint64_t dynamic_address(const struct image *image, uint64_t value)
{
	return value < image->bias ? image->bias + value : value;
}

static void read_dynamic(const struct images *images, struct image *image, const Elf64_Phdr *phdr)
{
	Elf64_Dyn dyn[DYNAMIC_MAX];
	uint64_t soname = 0, cnt = phdr->p_memsz / sizeof(dyn[0]);
	bool named = false;

	if (cnt > DYNAMIC_MAX ||
	    !read_all(images, image->bias + phdr->p_vaddr, dyn, cnt * sizeof(dyn[0])))
		return;
	for (uint64_t i = 0; i < cnt && dyn[i].d_tag != DT_NULL; i++) {
		if (dyn[i].d_tag == DT_STRTAB)
			image->strings = dynamic_address(image, dyn[i].d_un.d_ptr);
		else if (dyn[i].d_tag == DT_NEEDED && image->needed_cnt < NEEDED_MAX)
			image->needed[image->needed_cnt++] = dyn[i].d_un.d_val;
		else if (dyn[i].d_tag == DT_SONAME) {
			soname = dyn[i].d_un.d_val;
			named = true;
		}
	}
	if (!image->strings || !named || !read_name(images, image->strings + soname, image->name))
		image->name[0] = '\0';
}

static struct image *add_image(struct images *images, uint32_t first)
{
	struct image *image = &images->image[images->cnt];

	if (images->cnt == IMAGES_MAX)
		return NULL;
	*image = (struct image){0};
	if (!read_header(images, first, image) || !is_loaded(images, image))
		return NULL;
	for (uint32_t i = 0; i < image->phdr_cnt; i++) {
		image->dynamic |= image->phdrs[i].p_type == PT_INTERP;
		if (image->phdrs[i].p_type == PT_DYNAMIC)
			read_dynamic(images, image, &image->phdrs[i]);
	}
	for (uint32_t i = 0; i < images->cnt; i++) {
		if (!image->name[0] || strcmp(image->name, images->image[i].name) != 0)
			continue;
		/* One of them is in a namespace of its own, and may leave: nobody knows which. */
		image->same_name = true;
		images->image[i].same_name = true;
	}
	images->cnt++;
	return image;
}

/* Everything that @image was linked with, and that was linked with. The loop ends: each is wanted
 * once. */
static void want_needed(struct images *images, struct image *image)
{
	for (uint32_t i = 0; i < image->needed_cnt; i++) {
		char name[NAME_SIZE];

		if (!image->strings || !read_name(images, image->strings + image->needed[i], name))
			continue;
		for (uint32_t j = 0; j < images->cnt; j++) {
			struct image *found = &images->image[j];

			if (found->wanted || found->same_name || strcmp(found->name, name) != 0)
				continue;
			found->wanted = true;
			want_needed(images, found);
			break;
		}
	}
}

static void add_range(struct steady *steady, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	for (uint32_t i = 0; i < steady->cnt; i++) {
		if (steady->ranges[i].end == start) {
			steady->ranges[i].end = end;
			return;
		}
	}
	if (steady->cnt < REGION_STEADY_MAX)
		steady->ranges[steady->cnt++] = (struct region_range){start, end};
}

/* What of a segment can be read. Behind its file's end there is nothing but a signal. */
static void add_segment(const struct images *images, const struct image *image,
			const Elf64_Phdr *phdr, struct steady *steady)
{
	const struct maps *maps = images->maps;
	uint64_t start = (image->bias + phdr->p_vaddr) & -PAGE;
	uint64_t end = (image->bias + phdr->p_vaddr + phdr->p_memsz + PAGE - 1) & -PAGE;
	uint64_t file_end = (image->size + PAGE - 1) & -PAGE;

	for (uint32_t i = image->first; i < maps->cnt && maps->entries[i].start < end; i++) {
		const struct map_entry *entry = &maps->entries[i];
		uint64_t from = entry->start < start ? start : entry->start;
		uint64_t to = entry->end < end ? entry->end : end;

		/* What can be written may be protected for a while: guard pages in arrays. */
		if (entry->end <= start || !entry->readable || entry->writable || entry->shared)
			continue;
		if (entry->ino && entry->ino != maps->entries[image->first].ino)
			continue;
		if (entry->ino && entry->offset >= file_end)
			continue;
		if (entry->ino && to - entry->start > file_end - entry->offset)
			to = entry->start + (file_end - entry->offset);
		add_range(steady, from, to);
	}
}

static void add_segments(const struct images *images, const struct image *image,
			 struct steady *steady)
{
	for (uint32_t i = 0; i < image->phdr_cnt; i++)
		if (image->phdrs[i].p_type == PT_LOAD)
			add_segment(images, image, &image->phdrs[i], steady);
}

/* Of the auxiliary vector: where the kernel put executable and loader. */
static bool read_auxv(pid_t pid, uint64_t *ret_phdr, uint64_t *ret_loader)
{
	cleanup_free char *text = NULL;
	char path[40];
	size_t len;

	*ret_phdr = *ret_loader = 0;
	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	if (read_file(AT_FDCWD, path, 4096, &text, &len) < 0)
		return false;
	for (size_t at = 0; at + 16 <= len; at += 16) {
		uint64_t entry[2];

		memcpy(entry, text + at, sizeof(entry));
		if (entry[0] == AT_PHDR)
			*ret_phdr = entry[1];
		if (entry[0] == AT_BASE)
			*ret_loader = entry[1];
	}
	return *ret_phdr != 0;
}

/* Index of the mapping that has @address; maps->cnt: none. */
static uint32_t index_of(const struct maps *maps, uint64_t address)
{
	const struct map_entry *entry = maps_find(maps, address);

	return entry ? (uint32_t)(entry - maps->entries) : maps->cnt;
}

static void find_images(struct images *images, uint32_t exe, uint32_t loader)
{
	const struct maps *maps = images->maps;
	struct image *first = exe < maps->cnt ? add_image(images, exe) : NULL;

	if (!first)
		return;
	first->wanted = true;
	for (uint32_t i = 0; i < maps->cnt && first->dynamic; i++) {
		struct image *image = i == exe ? NULL : add_image(images, i);

		if (image && i == loader)
			image->wanted = true;
	}
	want_needed(images, first);
}

void steady_find(const struct maps *maps, bool begun, struct steady *ret_steady)
{
	cleanup_free struct images *images = malloc(sizeof(*images));
	uint64_t phdr, loader;

	*ret_steady = (struct steady){0};
	if (!images || !read_auxv(maps->pid, &phdr, &loader))
		return;
	images->maps = maps;
	images->cnt = 0;
	find_images(images, index_of(maps, phdr), loader ? index_of(maps, loader) : maps->cnt);
	for (uint32_t i = 0; i < maps->cnt; i++)
		if (maps->entries[i].stack && maps->entries[i].readable)
			add_range(ret_steady, maps->entries[i].start, maps->entries[i].end);
	for (uint32_t i = 0; i < images->cnt; i++)
		if (images->image[i].wanted && (begun || images->image[0].dynamic))
			add_segments(images, &images->image[i], ret_steady);
}

/* Whether all of it can be read now, too. */
static bool still_mapped(const struct maps *maps, const struct region_range *range)
{
	uint64_t at = range->start;

	for (uint32_t i = 0; i < maps->cnt && at < range->end; i++) {
		const struct map_entry *entry = &maps->entries[i];

		if (entry->end <= at)
			continue;
		if (entry->start > at || !entry->readable)
			return false;
		at = entry->end;
	}
	return at >= range->end;
}

static bool is_known(const struct region_range *known, uint64_t cnt,
		     const struct region_range *range)
{
	for (uint64_t i = 0; i < cnt; i++)
		if (known[i].start <= range->start && range->end <= known[i].end)
			return true;
	return false;
}

int steady_add(const struct tracee *tracee, const struct maps *maps, uint64_t base,
	       const struct steady *steady)
{
	const uint64_t at = base + REGION_CONFIG;
	struct region_config config;
	int r = tracee_read(tracee, at, &config, sizeof(config));

	if (r < 0)
		return r;
	if (config.steady_cnt > REGION_STEADY_MAX)
		return 0;
	for (uint32_t i = 0; i < steady->cnt && config.steady_cnt < REGION_STEADY_MAX && r == 0;
	     i++) {
		const struct region_range *range = &steady->ranges[i];

		if (is_known(config.steady, config.steady_cnt, range) || !still_mapped(maps, range))
			continue;
		config.steady[config.steady_cnt] = *range;
		r = tracee_write(tracee,
				 at + offsetof(struct region_config, steady) +
					 config.steady_cnt * sizeof(*range),
				 range, sizeof(*range));
		config.steady_cnt++;
	}
	if (r < 0)
		return r;
	return tracee_write(tracee, at + offsetof(struct region_config, steady_cnt),
			    &config.steady_cnt, sizeof(config.steady_cnt));
}
