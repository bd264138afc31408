/* SPDX-License-Identifier: MIT */
/*
 * The commands of bpf(2), one row each; and the rules by which the kernel copies their argument.
 * To add a command: README.md, "Add a command in five steps".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/call.h"
#include "notifier/commands.h"
#include "notifier/uspace.h"

/*
 * @size: bytes of the argument we understand; a non-zero byte behind it is refused
 * @handle: NULL for commands refused with @refusal
 * @native: decided by the command number alone: the kernel needs nothing but descriptors the
 *          caller holds already, so it is left to it
 */
struct command {
	const char *name;
	uint32_t size;
	int (*handle)(struct call *call);
	bool native, element;
	int refusal;
};

/* Native unless maps of the tenant have their contents in traced processes. */
#define ELEMENT(cmd, last, fn)                                                                     \
	{                                                                                          \
		.name = cmd, .size = offsetof(struct abi_map_elem, last) + sizeof(uint64_t),       \
		.handle = fn, .element = true                                                      \
	}
#define BATCH(cmd)                                                                                 \
	{                                                                                          \
		.name = cmd, .size = sizeof(struct abi_map_batch), .handle = uspace_batch,         \
		.element = true                                                                    \
	}
#define NATIVE(cmd)                                                                                \
	{                                                                                          \
		.name = cmd, .native = true                                                        \
	}
#define SERVED(cmd, type, fn)                                                                      \
	{                                                                                          \
		.name = cmd, .size = sizeof(type), .handle = fn                                    \
	}
#define REFUSED(cmd, error)                                                                        \
	{                                                                                          \
		.name = cmd, .refusal = error                                                      \
	}

static const struct command commands[] = {
	[BPF_MAP_CREATE] = SERVED("MAP_CREATE", struct abi_map_create, cmd_map_create),
	[BPF_MAP_LOOKUP_ELEM] = ELEMENT("MAP_LOOKUP_ELEM", flags, cmd_map_lookup),
	[BPF_MAP_UPDATE_ELEM] = ELEMENT("MAP_UPDATE_ELEM", flags, uspace_elem),
	[BPF_MAP_DELETE_ELEM] = ELEMENT("MAP_DELETE_ELEM", key, uspace_elem),
	[BPF_MAP_GET_NEXT_KEY] = ELEMENT("MAP_GET_NEXT_KEY", value, uspace_elem),
	[BPF_PROG_LOAD] = SERVED("PROG_LOAD", struct abi_prog_load, cmd_prog_load),
	[BPF_OBJ_PIN] = SERVED("OBJ_PIN", struct abi_obj_path, cmd_obj_pin),
	[BPF_OBJ_GET] = SERVED("OBJ_GET", struct abi_obj_path, cmd_obj_get),
	[BPF_PROG_ATTACH] = REFUSED("PROG_ATTACH", EPERM),
	[BPF_PROG_DETACH] = REFUSED("PROG_DETACH", EPERM),
	[BPF_PROG_TEST_RUN] = SERVED(
		"PROG_TEST_RUN", struct { char bytes[76]; }, cmd_prog_test_run),
	[BPF_PROG_GET_NEXT_ID] = SERVED("PROG_GET_NEXT_ID", struct abi_get_id, cmd_prog_next_id),
	[BPF_MAP_GET_NEXT_ID] = SERVED("MAP_GET_NEXT_ID", struct abi_get_id, cmd_map_next_id),
	[BPF_PROG_GET_FD_BY_ID] = SERVED("PROG_GET_FD_BY_ID", struct abi_get_id, cmd_prog_by_id),
	[BPF_MAP_GET_FD_BY_ID] = SERVED("MAP_GET_FD_BY_ID", struct abi_get_id, cmd_map_by_id),
	[BPF_OBJ_GET_INFO_BY_FD] = SERVED("OBJ_GET_INFO_BY_FD", struct abi_info, cmd_info),
	[BPF_PROG_QUERY] = REFUSED("PROG_QUERY", EPERM),
	[BPF_RAW_TRACEPOINT_OPEN] = SERVED("RAW_TRACEPOINT_OPEN", struct abi_raw_tracepoint_open,
					   cmd_raw_tracepoint_open),
	[BPF_BTF_LOAD] = SERVED("BTF_LOAD", struct abi_btf_load, cmd_btf_load),
	[BPF_BTF_GET_FD_BY_ID] = SERVED("BTF_GET_FD_BY_ID", struct abi_get_id, cmd_btf_by_id),
	[BPF_TASK_FD_QUERY] = SERVED("TASK_FD_QUERY", struct abi_task_fd_query, cmd_task_fd_query),
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] =
		ELEMENT("MAP_LOOKUP_AND_DELETE_ELEM", flags, uspace_elem),
	[BPF_MAP_FREEZE] = NATIVE("MAP_FREEZE"),
	[BPF_BTF_GET_NEXT_ID] = SERVED("BTF_GET_NEXT_ID", struct abi_get_id, cmd_btf_next_id),
	[BPF_MAP_LOOKUP_BATCH] = BATCH("MAP_LOOKUP_BATCH"),
	[BPF_MAP_LOOKUP_AND_DELETE_BATCH] = BATCH("MAP_LOOKUP_AND_DELETE_BATCH"),
	[BPF_MAP_UPDATE_BATCH] = BATCH("MAP_UPDATE_BATCH"),
	[BPF_MAP_DELETE_BATCH] = BATCH("MAP_DELETE_BATCH"),
	[BPF_LINK_CREATE] = SERVED(
		"LINK_CREATE", struct { char bytes[64]; }, cmd_link_create),
	[BPF_LINK_UPDATE] = SERVED("LINK_UPDATE", struct abi_link_update, cmd_link_update),
	[BPF_LINK_GET_FD_BY_ID] = SERVED("LINK_GET_FD_BY_ID", struct abi_get_id, cmd_link_by_id),
	[BPF_LINK_GET_NEXT_ID] = SERVED("LINK_GET_NEXT_ID", struct abi_get_id, cmd_link_next_id),
	[BPF_ENABLE_STATS] = REFUSED("ENABLE_STATS", EPERM),
	[BPF_ITER_CREATE] = REFUSED("ITER_CREATE", EPERM),
	[BPF_LINK_DETACH] = SERVED("LINK_DETACH", struct abi_link_detach, cmd_link_detach),
	[ABI_BPF_PROG_BIND_MAP] = NATIVE("PROG_BIND_MAP"),
	/* A token holds what a mount by host root delegated, which ours does not. */
	[ABI_BPF_TOKEN_CREATE] = NATIVE("TOKEN_CREATE"),
	[ABI_BPF_PROG_STREAM_READ_BY_FD] = REFUSED("PROG_STREAM_READ_BY_FD", EINVAL),
	[ABI_BPF_PROG_ASSOC_STRUCT_OPS] = REFUSED("PROG_ASSOC_STRUCT_OPS", EINVAL),
};

bool command_is_native(const struct tenant *tenant, int cmd)
{
	if (cmd < 0 || (size_t)cmd >= ARRAY_SIZE(commands))
		return false;
	if (commands[cmd].element && tenant->uspace && atomic_load(&tenant->uspace->resident))
		return false;
	if (tenant->uspace &&
	    (cmd == BPF_MAP_UPDATE_ELEM || cmd == BPF_MAP_DELETE_ELEM ||
	     cmd == BPF_MAP_UPDATE_BATCH || cmd == BPF_MAP_DELETE_BATCH ||
	     cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH) &&
	    atomic_load(&tenant->uspace->tables))
		return false;
	if ((cmd == BPF_MAP_UPDATE_ELEM || cmd == BPF_MAP_DELETE_ELEM) && tenant->uspace)
		return !atomic_load(&tenant->uspace->output_maps);
	/* Looking up a map or program in a map gives its id, which the tenant knows by another. */
	if (cmd == BPF_MAP_LOOKUP_ELEM)
		return !tenant->ids_in_maps;
	if (commands[cmd].element)
		return true;
	return commands[cmd].native;
}

static bool all_zero(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

int command_copy_attr(struct call *call, uint64_t addr, uint32_t size)
{
	uint32_t known = kobject_attr_size();
	long page = sysconf(_SC_PAGESIZE);
	int r;

	/* bpf_check_uarg_tail_zero(), kernel/bpf/syscall.c: size, then tail, then the copy. */
	if (size > page)
		return -E2BIG;
	if (known > sizeof(call->attr))
		known = sizeof(call->attr);
	if (size > known) {
		r = guest_zero(&call->guest, addr + known, size - known);
		if (r < 0)
			return r;
	}
	call->attr_size = size < known ? size : known;
	memset(&call->attr, 0, sizeof(call->attr));
	return guest_read(&call->guest, addr, &call->attr, call->attr_size);
}

int call_bpf(struct call *call)
{
	int cmd = (int)call->notif.data.args[0];
	const struct command *command;
	int r;

	if (cmd == USPACE_FD_CMD)
		return uspace_give_fd(call);
	r = command_copy_attr(call, call->notif.data.args[1], (uint32_t)call->notif.data.args[2]);
	if (r < 0)
		return r;
	if (cmd < 0 || (size_t)cmd >= ARRAY_SIZE(commands) || !commands[cmd].name) {
		snprintf(call->name, sizeof(call->name), "bpf(%d)", cmd);
		return -EINVAL;
	}
	command = &commands[cmd];
	snprintf(call->name, sizeof(call->name), "%s", command->name);
	if (command->native)
		return CALL_CONTINUE;
	if (!command->handle)
		return -command->refusal;
	/* CHECK_ATTR() of the kernel, and what is newer than we are. */
	if (!all_zero(call->attr.bytes + command->size, sizeof(call->attr) - command->size))
		return -EINVAL;
	/* What was read is this caller's only if it still waits. */
	if (!guest_valid(&call->guest))
		return -ESRCH;
	return command->handle(call);
}
