/* SPDX-License-Identifier: MIT */
/*
 * Handlers of the bpf() commands, by file. Called by commands.c with a checked copy of the
 * argument; results as in call.h.
 */
#pragma once

struct call;

/** command_copy_attr() - copy the argument once by the kernel's size rules. Return: 0, -E2BIG,
 * -EFAULT. */
int command_copy_attr(struct call *call, uint64_t addr, uint32_t size);

/* cmd_map.c */
int cmd_map_create(struct call *call);
int cmd_map_lookup(struct call *call);

/* cmd_prog.c */
int cmd_prog_load(struct call *call);
int cmd_prog_test_run(struct call *call);

/* cmd_btf.c */
int cmd_btf_load(struct call *call);

/* cmd_id.c */
int cmd_prog_next_id(struct call *call);
int cmd_map_next_id(struct call *call);
int cmd_btf_next_id(struct call *call);
int cmd_link_next_id(struct call *call);
int cmd_prog_by_id(struct call *call);
int cmd_map_by_id(struct call *call);
int cmd_btf_by_id(struct call *call);
int cmd_link_by_id(struct call *call);

/* cmd_info.c */
int cmd_info(struct call *call);
int cmd_task_fd_query(struct call *call);

/* cmd_link.c */
int cmd_link_create(struct call *call);
int cmd_link_update(struct call *call);
int cmd_link_detach(struct call *call);
int cmd_raw_tracepoint_open(struct call *call);

/* cmd_pin.c */
int cmd_obj_pin(struct call *call);
int cmd_obj_get(struct call *call);
