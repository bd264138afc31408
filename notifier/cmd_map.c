/* SPDX-License-Identifier: MIT */
/*
 * Maps. Creation needs privilege and is carried out here; element commands are native (commands.c)
 * but for lookups that return ids.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "notifier/call.h"
#include "notifier/commands.h"
#include "notifier/uspace.h"

static bool is_map_in_map(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

/* Whether a lookup answers with the id of what stands in the map. */
static bool holds_objects(uint32_t type)
{
	return is_map_in_map(type) || type == BPF_MAP_TYPE_PROG_ARRAY;
}

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* Upper estimate of what the kernel will allocate; ring buffers count their size in max_entries. */
static uint64_t map_bytes(const struct abi_map_create *attr)
{
	uint64_t value = ((uint64_t)attr->value_size + 7) & ~7ull, bytes;

	if (attr->map_type == BPF_MAP_TYPE_RINGBUF)
		return attr->max_entries;
	if (is_per_cpu(attr->map_type))
		value *= (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
	if (__builtin_mul_overflow((uint64_t)attr->max_entries, value + attr->key_size + 48,
				   &bytes))
		return UINT64_MAX;
	return bytes;
}

static int map_check(struct call *call, const struct abi_map_create *attr)
{
	struct tenant *tenant = call->tenant;
	int r;

	if (attr->map_type == BPF_MAP_TYPE_UNSPEC)
		return -EINVAL;
	r = policy_check_map_type(tenant->policy, attr->map_type, &call->reason);
	if (r == 0)
		r = call_reserve(call, POLICY_QUOTA_MAPS, 1);
	if (r == 0)
		r = call_reserve(call, POLICY_QUOTA_MAP_BYTES, map_bytes(attr));
	if (r < 0)
		return r;
	if (attr->map_ifindex)
		return reason_set(&call->reason, -EPERM, "maps on a network device are not served");
	if (attr->map_token_fd || attr->value_type_btf_obj_fd || attr->btf_vmlinux_value_type_id)
		return -EINVAL;
	return 0;
}

/* Whether programs in traced processes can use the map is settled here, once. */
static int map_add_uspace(struct call *call, const struct abi_map_create *attr, int fd,
			  const struct uspace_map *inner, struct object *object)
{
	enum kobject_kind kind;
	uint32_t real_id;
	int r;

	/* Locks and timers the runtime does not have. */
	if (!call->tenant->uspace || object->fields.kinds)
		return 0;
	r = kobject_identify(fd, &kind, &real_id);
	if (r == 0)
		r = uspace_map_new(call->tenant->uspace, attr, real_id, inner, &object->umap);
	/* Maps that are gone may not have been looked for yet. */
	if (r == -ENOSPC) {
		tenant_sweep_objects(call->tenant);
		r = uspace_map_new(call->tenant->uspace, attr, real_id, inner, &object->umap);
	}
	if (r == 0)
		object->umap->hidden_flags = object->hidden_flags;
	/* Too large or of another kind: then only the kernel's programs use it. */
	return r == -ENOMEM ? r : 0;
}

/* An array that targets can map serves the kernel's programs, the tool and them alike. */
static int map_create(struct call *call, struct abi_map_create *attr, uint32_t size,
		      uint32_t *ret_hidden)
{
	int fd = -1;

	*ret_hidden = 0;
	if (call->tenant->uspace && attr->map_type == BPF_MAP_TYPE_ARRAY &&
	    !(attr->map_flags & ~(BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG | BPF_F_INNER_MAP))) {
		attr->map_flags |= BPF_F_MMAPABLE;
		fd = sys_bpf(BPF_MAP_CREATE, attr, size);
		if (fd >= 0)
			*ret_hidden = BPF_F_MMAPABLE;
		else
			attr->map_flags &= ~(uint32_t)BPF_F_MMAPABLE;
	}
	return fd >= 0 ? fd : sys_bpf(BPF_MAP_CREATE, attr, size);
}

/* The part of our map behind @fd that processes see, with a reference, or NULL. */
static struct uspace_map *uspace_part(struct call *call, int fd)
{
	struct uspace_map *map = NULL;
	enum kobject_kind kind;
	struct object *object;
	uint32_t id;

	if (fd < 0 || kobject_identify(fd, &kind, &id) < 0)
		return NULL;
	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, KOBJECT_MAP, id);
	if (object && object->umap)
		map = uspace_map_ref(object->umap);
	pthread_mutex_unlock(&call->tenant->lock);
	return map;
}

int cmd_map_create(struct call *call)
{
	struct abi_map_create attr = call->attr.map_create;
	uint32_t size = call->attr_size < sizeof(attr) ? call->attr_size : (uint32_t)sizeof(attr);
	cleanup_fd int inner = -1, btf = -1, fd = -1;
	struct object object = {.type = attr.map_type, .timer_fd = -1};
	struct btf_fields fields = {0};
	struct uspace_map *like;
	uint32_t hidden;
	int r;

	r = map_check(call, &attr);
	if (r < 0)
		return r;
	if (is_map_in_map(attr.map_type)) {
		r = call_get_object(call, (int)attr.inner_map_fd, KOBJECT_MAP, &inner, &object);
		if (r < 0)
			return r;
	}
	if (holds_objects(attr.map_type))
		call->tenant->ids_in_maps = true;
	attr.inner_map_fd = inner >= 0 ? (uint32_t)inner : 0;
	if (attr.btf_key_type_id || attr.btf_value_type_id) {
		r = call_get_object(call, (int)attr.btf_fd, KOBJECT_BTF, &btf, &object);
		if (r < 0)
			return r;
	}
	attr.btf_fd = btf >= 0 ? (uint32_t)btf : 0;
	if (attr.btf_value_type_id) {
		r = kobject_btf_fields(btf, attr.btf_value_type_id, &fields);
		/* A type that there is not: the kernel says so. */
		if (r < 0 && r != -EINVAL)
			return r;
	}
	fd = map_create(call, &attr, size, &hidden);
	if (fd < 0)
		return fd;
	object = (struct object){.type = attr.map_type,
				 .size = map_bytes(&attr),
				 .hidden_flags = hidden,
				 .fields = fields,
				 .timer_fd = -1};
	memcpy(object.name, attr.map_name, sizeof(object.name));
	like = uspace_part(call, inner);
	r = map_add_uspace(call, &attr, fd, like, &object);
	uspace_map_unref(like);
	if (r == 0)
		r = call_add_object(call, KOBJECT_MAP, fd, &object);
	uspace_map_unref(object.umap);
	if (r < 0)
		return r;
	return call_reply_fd(call, take_fd(&fd));
}

/*
 * A lookup in a map of maps or programs answers with an id. Any other map is left to the kernel:
 * what is decided here from the descriptor only chooses who translates a number.
 */
static int map_lookup_id(struct call *call);

int cmd_map_lookup(struct call *call)
{
	int r = uspace_elem(call);

	if (r != CALL_CONTINUE || !call->tenant->ids_in_maps)
		return r;
	return map_lookup_id(call);
}

static int map_lookup_id(struct call *call)
{
	struct abi_map_elem attr = call->attr.map_elem;
	cleanup_fd int fd = guest_get_fd(&call->guest, (int)attr.map_fd);
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), id = 0;
	cleanup_free unsigned char *key = NULL;
	enum kobject_kind kind;
	struct object *held;
	int r;

	if (fd < 0)
		return fd;
	if (kobject_identify(fd, &kind, &id) < 0 || kind != KOBJECT_MAP)
		return -EINVAL;
	r = kobject_info(fd, &info, &len);
	if (r < 0)
		return r;
	if (!holds_objects(info.type))
		return CALL_CONTINUE;
	kind = is_map_in_map(info.type) ? KOBJECT_MAP : KOBJECT_PROG;
	key = malloc(info.key_size);
	if (!key)
		return -ENOMEM;
	r = guest_read(&call->guest, attr.key, key, info.key_size);
	if (r < 0)
		return r;
	r = sys_bpf(BPF_MAP_LOOKUP_ELEM,
		    &(struct abi_map_elem){.map_fd = (uint32_t)fd,
					   .key = (uintptr_t)key,
					   .value = (uintptr_t)&id,
					   .flags = attr.flags},
		    sizeof(struct abi_map_elem));
	if (r < 0)
		return r;
	pthread_mutex_lock(&call->tenant->lock);
	held = object_by_real_id(&call->tenant->table, kind, id);
	id = held ? held->id : 0;
	pthread_mutex_unlock(&call->tenant->lock);
	return guest_write(&call->guest, attr.value, &id, sizeof(id));
}
