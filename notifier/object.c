/* SPDX-License-Identifier: MIT */
/*
 * Table of kernel objects; see object.h.
 */
#include "notifier/object.h"

#include <errno.h>
#include <stdlib.h>

#include "notifier/uspace.h"

void object_table_init(struct object_table *table)
{
	*table = (struct object_table){0};
	list_init(&table->objects);
	table->last_id[KOBJECT_BTF] = OBJECT_BTF_VMLINUX;
}

void object_table_deinit(struct object_table *table)
{
	struct object *object, *tmp;

	list_for_each_safe(object, tmp, &table->objects, node) object_forget(object);
}

uint32_t object_new_id(struct object_table *table, enum kobject_kind kind)
{
	return ++table->last_id[kind];
}

int object_add(struct object_table *table, enum kobject_kind kind, uint32_t real_id,
	       struct object **ret_object)
{
	struct object *object = calloc(1, sizeof(*object));

	if (!object)
		return -ENOMEM;
	object->kind = kind;
	object->real_id = real_id;
	object->id = object_new_id(table, kind);
	object->timer_fd = -1;
	list_append(&table->objects, &object->node);
	*ret_object = object;
	return 0;
}

struct object *object_by_real_id(struct object_table *table, enum kobject_kind kind, uint32_t id)
{
	struct object *object;

	list_for_each(object, &table->objects,
		      node) if (object->kind == kind && object->real_id == id) return object;
	return NULL;
}

struct object *object_by_id(struct object_table *table, enum kobject_kind kind, uint32_t id)
{
	struct object *object;

	list_for_each(object, &table->objects,
		      node) if (object->kind == kind && object->id == id) return object;
	return NULL;
}

void object_sweep(struct object_table *table)
{
	struct object *object, *tmp;

	list_for_each_safe(object, tmp, &table->objects,
			   node) if (!kobject_alive(object->kind, object->real_id))
		object_forget(object);
}

uint32_t object_next_id(struct object_table *table, enum kobject_kind kind, uint32_t after)
{
	struct object *object;
	uint32_t next = 0;

	list_for_each(object, &table->objects,
		      node) if (object->kind == kind && object->id > after &&
				(!next || object->id < next)) next = object->id;
	return next;
}

uint64_t object_count(struct object_table *table, enum kobject_kind kind, uint64_t *ret_size)
{
	struct object *object;
	uint64_t count = 0, size = 0;

	list_for_each(object, &table->objects, node)
	{
		if (object->kind != kind)
			continue;
		count++;
		size += object->size;
	}
	if (ret_size)
		*ret_size = size;
	return count;
}

void object_forget(struct object *object)
{
	list_remove(&object->node);
	close_fd(object->timer_fd);
	if (object->umap)
		uspace_table_clear(object->umap);
	uspace_map_unref(object->umap);
	uspace_prog_unref(object->uprog);
	free(object->link);
	free(object);
}
