/* SPDX-License-Identifier: MIT */
/*
 * See gate.h. Maps are described as the kernel has them, whether or not traced processes could use
 * them.
 */
#include "notifier/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/license.h"
#include "base/log.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/cmd_prog_user.h"
#include "notifier/prog_maps.h"

#define TIMEOUT_MS 10000

/* Maps of one program. @contents: of those that do not change, owned */
struct shapes {
	struct gate *gate;
	uint32_t ids[VERIFIER_MAPS_MAX];
	struct verifier_map maps[VERIFIER_MAPS_MAX];
	unsigned char *contents[VERIFIER_MAPS_MAX];
};

static int find_map(int fd, void *data)
{
	struct shapes *shapes = data;
	struct gate *gate = shapes->gate;
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), at = gate->map_cnt;
	int r = kobject_info(fd, &info, &len);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < gate->map_cnt; i++)
		if (shapes->ids[i] == info.id)
			return (int)i;
	if (at == VERIFIER_MAPS_MAX)
		return -E2BIG;
	shapes->ids[at] = info.id;
	shapes->maps[at] = (struct verifier_map){.type = info.type,
						 .key_size = info.key_size,
						 .value_size = info.value_size,
						 .max_entries = info.max_entries,
						 .flags = info.map_flags};
	shapes->contents[at] = prog_maps_contents(fd, &shapes->maps[at]);
	shapes->maps[at].contents = shapes->contents[at];
	gate->map_fds[at] = fd;
	gate->map_cnt++;
	return (int)at;
}

/* A program that is wrong, and not one that we cannot judge, or whose log found no room. */
static bool is_refusal(int verdict)
{
	return verdict != -EOPNOTSUPP && verdict != -E2BIG && verdict != -ENOMEM &&
	       verdict != -ENOSPC;
}

static void judge(struct gate *gate, const struct worker_answer *answer)
{
	gate->answer = answer;
	gate->error = answer->verdict;
	if (answer->verdict == 0)
		gate->verdict = GATE_ACCEPTED;
	else
		gate->verdict = is_refusal(answer->verdict) ? GATE_REFUSED : GATE_UNDECIDED;
}

static void fail(struct gate *gate, const struct call *call, int error)
{
	gate->verdict = GATE_UNDECIDED;
	gate->error = error;
	log_notice("tenant=%s: a program was not verified: %s", call->tenant->name,
		   gate->why.text[0] ? gate->why.text : strerrordesc_np(-error));
}

static int ask(struct call *call, const struct abi_prog_load *attr, struct bpf_insn *insns,
	       const int *fd_array, const char *license, uint32_t log_level, uint32_t log_size,
	       struct gate *gate)
{
	struct shapes shapes = {.gate = gate};
	struct worker_request request = {.prog = {.insns = insns,
						  .cnt = attr->insn_cnt,
						  .type = attr->prog_type,
						  .attach_type = attr->expected_attach_type,
						  .gpl = license_is_gpl(license),
						  .maps = shapes.maps},
					 .log_level = log_level,
					 .log_size = log_level ? log_size : 0};
	int r = prog_maps_index(insns, attr->insn_cnt, fd_array, find_map, &shapes);

	request.prog.map_cnt = gate->map_cnt;
	if (r == 0)
		r = worker_ask(call->tenant->worker, &request, TIMEOUT_MS, &gate->own, &gate->why);
	for (uint32_t i = 0; i < gate->map_cnt; i++)
		free(shapes.contents[i]);
	return r;
}

int gate_ask(struct call *call, const struct abi_prog_load *attr, const struct bpf_insn *insns,
	     const int *fd_array, const char *license, const struct prog_user *user,
	     uint32_t log_level, uint32_t log_size, struct gate *ret_gate)
{
	cleanup_free struct bpf_insn *copy = NULL;
	int r;

	if (user->answered) {
		judge(ret_gate, &user->answer);
		return 0;
	}
	if (!call->tenant->worker) {
		reason_set(&ret_gate->why, 0, "no bpfshim-worker beside the daemon");
		fail(ret_gate, call, -EIO);
		return 0;
	}
	r = call_alloc(call, attr->insn_cnt * sizeof(*copy), &copy);
	if (r < 0)
		return r;
	memcpy(copy, insns, attr->insn_cnt * sizeof(*copy));
	r = ask(call, attr, copy, fd_array, license, log_level, log_size, ret_gate);
	if (r == 0)
		judge(ret_gate, &ret_gate->own);
	else
		fail(ret_gate, call, r);
	return 0;
}

/* Of a text that is too long the end. Source: bpf_vlog_finalize(), kernel/bpf/log.c, Linux 6.12. */
int gate_deliver_log(const struct gate *gate, struct guestlog *log, int error,
		     uint32_t *ret_true_size)
{
	const struct worker_answer *answer = gate->answer;
	size_t len, room;

	if (!answer || !answer->log || !log->level)
		return error;
	*ret_true_size = answer->log_true_size;
	if (!log->buf || !log->size)
		return error;
	room = log->size - 1;
	len = strlen(answer->log);
	memcpy(log->buf, answer->log + (len > room ? len - room : 0), len > room ? room : len);
	log->buf[len > room ? room : len] = '\0';
	return answer->log_true_size > log->size ? -ENOSPC : error;
}

void gate_deinit(struct gate *gate)
{
	worker_answer_deinit(&gate->own);
	gate->answer = NULL;
}
