/* SPDX-License-Identifier: MIT */
/*
 * The maps, programs and BTF objects of one tenant, keyed by kernel object.
 *
 * The tenant's processes hold the real descriptors; we hold none, so an object dies when its last
 * holder does. Entries of dead objects are swept when the table is counted or listed. Ids shown to
 * the tenant are its own (1, 2, 3, ...): kernel-wide numbers would tell it about others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/btf_fields.h"
#include "base/list.h"
#include "kernel-bridge/kobject.h"

#define OBJECT_NAME_MAX 16

struct attachment_facts;
struct uspace_map;
struct uspace_prog;

/* Kernel id of vmlinux' BTF, which tools look for under this very number. */
#define OBJECT_BTF_VMLINUX 1

/**
 * struct object - one live kernel object of the tenant
 * @id: as the tenant sees it
 * @real_id: as the kernel numbers it
 * @type: map or program type
 * @size: map: bytes; program: instructions as loaded by the tenant; link: its weight
 * @attach_type: program: expected_attach_type
 * @hidden_flags: map: flags that were added to what the tool asked for
 * @fields: map: what its values have in them besides data
 * @timer_fd: program: the variant without guard for timer events (see cmd_prog.c), or -1; owned
 * @umap: map: its part in USER placement, or NULL; a reference
 * @uprog: program: likewise
 * @link: link that is or was pinned: what to tell of it once nothing but the pin holds it; owned
 */
struct object {
	struct list node;
	enum kobject_kind kind;
	uint32_t id, real_id, type, attach_type, hidden_flags;
	uint64_t size;
	struct btf_fields fields;
	char name[OBJECT_NAME_MAX];
	int timer_fd;
	struct uspace_map *umap;
	struct uspace_prog *uprog;
	struct attachment_facts *link;
};

/* Table of one tenant. The caller holds the tenant's lock around every function. */
struct object_table {
	struct list objects;
	uint32_t last_id[KOBJECT_LINK + 1];
};

void object_table_init(struct object_table *table);
void object_table_deinit(struct object_table *table);

/** object_new_id() - next tenant-visible id of a kind; also used for links */
uint32_t object_new_id(struct object_table *table, enum kobject_kind kind);

/** object_add() - Return: 0 or -ENOMEM. @ret_object belongs to the table. */
int object_add(struct object_table *table, enum kobject_kind kind, uint32_t real_id,
	       struct object **ret_object);

/* Lookups: NULL when the tenant has no such object. */
struct object *object_by_real_id(struct object_table *table, enum kobject_kind kind, uint32_t id);
struct object *object_by_id(struct object_table *table, enum kobject_kind kind, uint32_t id);

/** object_sweep() - forget objects that the kernel no longer has */
void object_sweep(struct object_table *table);

/** object_next_id() - smallest id above @after, or 0 */
uint32_t object_next_id(struct object_table *table, enum kobject_kind kind, uint32_t after);

/** object_count() - number of objects of a kind and the sum of their sizes (may be NULL) */
uint64_t object_count(struct object_table *table, enum kobject_kind kind, uint64_t *ret_size);

/** object_forget() - remove an entry whose hand-over failed */
void object_forget(struct object *object);
