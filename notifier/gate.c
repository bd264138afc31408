/* SPDX-License-Identifier: MIT */
/*
 * See gate.h. Maps are described as the kernel has them, whether or not traced processes could use
 * them.
 */
#include "notifier/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/license.h"
#include "base/log.h"
#include "kernel-bridge/kobject.h"
#include "notifier/call.h"
#include "notifier/cmd_prog_user.h"
#include "notifier/prog_maps.h"
#include "verifier/worker.h"

#define TIMEOUT_MS   10000
#define OWN_LOG_SIZE (1u << 20) /* of our text where it is shown only if the kernel has none */

/** enum gate_verdict - @GATE_UNDECIDED: not covered, too much for it, or no worker to ask */
enum gate_verdict {
	GATE_NOT_ASKED,
	GATE_ACCEPTED,
	GATE_REFUSED,
	GATE_UNDECIDED,
};

/**
 * struct gate - one program at the gate
 * @request, @info, @user, @log: borrowed; @user may be NULL
 * @error: -errno that goes with a refusal, or why it is undecided
 * @answer: the worker's, @own or that of @user, or NULL
 * @map_fds: our descriptors of the program's maps, borrowed; @map_cnt of them
 */
struct gate {
	struct call *call;
	const struct kprog_request *request;
	const struct verifier_info *info;
	const struct prog_user *user;
	struct guestlog *log;
	enum gate_verdict verdict;
	int error;
	const struct worker_answer *answer;
	struct worker_answer own;
	struct reason why;
	int map_fds[VERIFIER_MAPS_MAX];
	uint32_t map_cnt;
};

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
	struct object_table *table = &gate->call->tenant->table;
	uint32_t len = sizeof(info), at = gate->map_cnt;
	const struct object *object;
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
	pthread_mutex_lock(&gate->call->tenant->lock);
	object = object_by_real_id(table, KOBJECT_MAP, info.id);
	if (object)
		shapes->maps[at].fields = object->fields;
	pthread_mutex_unlock(&gate->call->tenant->lock);
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

static void fail(struct gate *gate, int error)
{
	gate->verdict = GATE_UNDECIDED;
	gate->error = error;
	log_notice("tenant=%s: a program was not verified: %s", gate->call->tenant->name,
		   gate->why.text[0] ? gate->why.text : strerrordesc_np(-error));
}

/* @insns: a copy, which is changed */
static int ask_worker(struct gate *gate, struct bpf_insn *insns, uint32_t log_level,
		      uint32_t log_size)
{
	const struct abi_prog_load *attr = &gate->request->attr;
	struct shapes shapes = {.gate = gate};
	struct worker_request request = {.prog = {.insns = insns,
						  .cnt = attr->insn_cnt,
						  .type = attr->prog_type,
						  .attach_type = attr->expected_attach_type,
						  .gpl = license_is_gpl(gate->request->license),
						  .sleepable = attr->prog_flags & BPF_F_SLEEPABLE,
						  .maps = shapes.maps,
						  .info = *gate->info},
					 .log_level = log_level,
					 .log_size = log_level ? log_size : 0};
	int r = prog_maps_index(insns, attr->insn_cnt, gate->request->fd_array, find_map, &shapes);

	request.prog.map_cnt = gate->map_cnt;
	if (r == 0)
		r = worker_ask(gate->call->tenant->worker, &request, TIMEOUT_MS, &gate->own,
			       &gate->why);
	for (uint32_t i = 0; i < gate->map_cnt; i++)
		free(shapes.contents[i]);
	return r;
}

/* Return: 0, or -ENOMEM. */
static int ask(struct gate *gate, uint32_t log_level, uint32_t log_size)
{
	const uint64_t size = gate->request->attr.insn_cnt * sizeof(struct bpf_insn);
	cleanup_free struct bpf_insn *copy = NULL;
	int r;

	if (gate->user && gate->user->answered) {
		judge(gate, &gate->user->answer);
		return 0;
	}
	if (prog_user_is_odd(&gate->request->attr)) {
		reason_set(&gate->why, 0, "%s", prog_user_is_odd(&gate->request->attr));
		fail(gate, -EOPNOTSUPP);
		return 0;
	}
	if (!gate->call->tenant->worker) {
		reason_set(&gate->why, 0, "no bpfshim-worker beside the daemon");
		fail(gate, -EIO);
		return 0;
	}
	r = call_alloc(gate->call, size, &copy);
	if (r < 0)
		return r;
	memcpy(copy, gate->request->prog.insns, size);
	r = ask_worker(gate, copy, log_level, log_size);
	if (r == 0)
		judge(gate, &gate->own);
	else
		fail(gate, r);
	return 0;
}

/*
 * @text in the place of what the log holds; of one that is too long the end. @true_size: that of
 * the text when it was whole, with its end. Return: @error, or -ENOSPC. Source:
 * bpf_vlog_finalize(), kernel/bpf/log.c, Linux 6.12.
 */
static int show_text(struct guestlog *log, const char *text, uint32_t true_size, int error,
		     uint32_t *ret_true_size)
{
	size_t len, room;

	if (!log->level)
		return error;
	*ret_true_size = true_size;
	if (!log->buf || !log->size)
		return error;
	room = log->size - 1;
	len = strlen(text);
	memcpy(log->buf, text + (len > room ? len - room : 0), len > room ? room : len);
	log->buf[len > room ? room : len] = '\0';
	return true_size > log->size ? -ENOSPC : error;
}

static int show_log(const struct gate *gate, int error, uint32_t *ret_true_size)
{
	const struct worker_answer *answer = gate->answer;

	if (!answer || !answer->log)
		return error;
	return show_text(gate->log, answer->log, answer->log_true_size, error, ret_true_size);
}

/* Ours alone decides: of what it refuses the kernel sees nothing. */
static int ask_alone(struct gate *gate)
{
	int r = ask(gate, gate->log->level, gate->log->size);

	if (r < 0 || gate->verdict == GATE_ACCEPTED)
		return r;
	if (!gate->answer)
		gate->call->reason = gate->why;
	return gate->error;
}

/*
 * What the kernel's verifier cannot be trusted with: it does not see that an atomic operation that
 * fetches from the stack takes its number from there, leaves out ways that the program does take,
 * and so lets it read and write out of bounds. Whether such an operation is on the stack is for a
 * verifier to say, and ours could not. Seen with Linux 6.18 (backtrack_insn(),
 * kernel/bpf/verifier.c).
 *
 * Return: the instruction, or -1.
 */
static int64_t find_mistrusted(const struct kprog_request *request)
{
	const struct bpf_insn *insn = request->prog.insns;

	for (uint32_t i = 0; i < request->attr.insn_cnt; i++)
		if (BPF_CLASS(insn[i].code) == BPF_STX && BPF_MODE(insn[i].code) == BPF_ATOMIC &&
		    (insn[i].imm & BPF_FETCH))
			return i;
	return -1;
}

static int refuse_mistrusted(struct gate *gate, int64_t at, uint32_t *ret_true_size)
{
	char text[256];
	int len = snprintf(text, sizeof(text),
			   "%lld: an atomic operation that fetches, in a program that bpfshim's "
			   "verifier did not check: the kernel's is mistaken about such\n",
			   (long long)at);

	reason_set(&gate->call->reason, -EOPNOTSUPP, "%.*s", len - 1, text);
	return show_text(gate->log, text, (uint32_t)len + 1, -EOPNOTSUPP, ret_true_size);
}

/*
 * Both must accept. Who else refuses is asked too, since stock tools know the kernel's words: ours
 * are shown where the kernel would have taken the program.
 */
static int ask_first(struct gate *gate, uint32_t *ret_true_size)
{
	int r = ask(gate, 0, 0);
	int64_t mistrusted = gate->verdict == GATE_UNDECIDED ? find_mistrusted(gate->request) : -1;

	if (r == 0 && mistrusted >= 0)
		return refuse_mistrusted(gate, mistrusted, ret_true_size);
	if (r < 0 || gate->verdict != GATE_REFUSED)
		return r;
	r = kprog_try(gate->request, ret_true_size);
	if (r < 0)
		return r;
	/* Logs take long; this one is hardly ever needed. */
	if (gate->log->level && gate->answer == &gate->own) {
		worker_answer_deinit(&gate->own);
		gate->map_cnt = 0;
		r = ask(gate, gate->log->level, OWN_LOG_SIZE);
		if (r < 0)
			return r;
	}
	reason_set(&gate->call->reason, gate->error,
		   "refused by bpfshim's verifier alone: see \"verifier\" in bpfshim-policy(5)");
	return show_log(gate, gate->error, ret_true_size);
}

/*
 * The kernel does not show its own stack to a program that may not read its memory. A program is
 * believed to write before it reads only if that was proved.
 */
static void restrict_program(const struct gate *gate, struct kprog_request *request)
{
	if (policy_shows_kernel(gate->call->tenant->policy))
		return;
	if (request->attr.prog_type == BPF_PROG_TYPE_SOCKET_FILTER)
		request->unprivileged = true;
	else
		request->clear_stack =
			gate->verdict != GATE_ACCEPTED || gate->answer->facts.reads_unwritten;
}

int gate_load(struct call *call, struct kprog_request *request, const struct verifier_info *info,
	      const struct prog_user *user, struct guestlog *log, struct kprog_result *ret_result)
{
	struct gate gate = {
		.call = call, .request = request, .info = info, .user = user, .log = log};
	enum policy_verifier verifier = policy_verifier(call->tenant->policy);
	uint32_t *true_size = &ret_result->log_true_size;
	int r = 0;

	if (verifier == POLICY_VERIFIER_USER) {
		r = ask_alone(&gate);
		if (r < 0)
			r = show_log(&gate, r, true_size);
	} else if (verifier == POLICY_VERIFIER_BOTH) {
		r = ask_first(&gate, true_size);
	}
	if (r == 0) {
		restrict_program(&gate, request);
		r = kprog_load(request, ret_result, &call->reason);
		if (r == 0 && verifier == POLICY_VERIFIER_USER)
			r = show_log(&gate, 0, true_size);
	}
	worker_answer_deinit(&gate.own);
	return r;
}

int gate_verify_only(struct call *call, const struct kprog_request *request,
		     const struct verifier_info *info, const struct prog_user *user,
		     struct guestlog *log, struct kprog_result *ret_result)
{
	struct gate gate = {
		.call = call, .request = request, .info = info, .user = user, .log = log};
	int r = ask_alone(&gate);
	bool asked = gate.answer == &gate.own;

	r = show_log(&gate, r, &ret_result->log_true_size);
	if (r == 0)
		r = ret_result->fd =
			kprog_stub(&request->attr, asked ? gate.map_fds : user->map_fds,
				   asked ? gate.map_cnt : user->map_cnt);
	worker_answer_deinit(&gate.own);
	return r < 0 ? r : 0;
}
