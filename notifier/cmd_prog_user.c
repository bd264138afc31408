/* SPDX-License-Identifier: MIT */
/*
 * Programs on their way to the worker: maps become indices, the license a flag.
 */
#include "notifier/cmd_prog_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/license.h"
#include "kernel-bridge/kobject.h"
#include "kernel-bridge/kprog.h"
#include "notifier/call.h"
#include "notifier/prog_maps.h"
#include "verifier/worker.h"

#define TIMEOUT_MS 10000

/* Maps of one program as it names them. @contents: of those that do not change, owned. @special:
 * one has values that no program in a process can use; its place in @maps is empty */
struct map_refs {
	struct call *call;
	struct prog_user *user;
	struct uspace_map *maps[VERIFIER_MAPS_MAX];
	uint32_t real_ids[VERIFIER_MAPS_MAX];
	struct verifier_map shapes[VERIFIER_MAPS_MAX];
	unsigned char *contents[VERIFIER_MAPS_MAX];
	uint32_t cnt;
	bool special;
};

/* As the kernel has it, with nothing in the region. Return: its index, or -errno */
static int add_special(struct map_refs *refs, int fd, const struct btf_fields *fields)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	int r = kobject_info(fd, &info, &len);

	if (r < 0)
		return r;
	refs->special = true;
	refs->user->map_fds[refs->cnt] = fd;
	refs->shapes[refs->cnt] = (struct verifier_map){.type = info.type,
							.key_size = info.key_size,
							.value_size = info.value_size,
							.max_entries = info.max_entries,
							.flags = info.map_flags,
							.fields = *fields};
	return (int)refs->cnt++;
}

/* Index of the map behind our descriptor @fd, which is added when it is new. */
static int map_index(int fd, void *data)
{
	struct map_refs *refs = data;
	struct call *call = refs->call;
	struct prog_user *user = refs->user;
	enum kobject_kind kind;
	struct object *object;
	struct uspace_map *map = NULL;
	struct btf_fields fields = {0};
	uint32_t real_id;
	int r;

	r = kobject_identify(fd, &kind, &real_id);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < refs->cnt; i++)
		if (refs->real_ids[i] == real_id)
			return (int)i;
	if (refs->cnt == VERIFIER_MAPS_MAX)
		return -E2BIG;
	pthread_mutex_lock(&call->tenant->lock);
	object = object_by_real_id(&call->tenant->table, KOBJECT_MAP, real_id);
	if (object && object->umap)
		map = uspace_map_ref(object->umap);
	if (object)
		fields = object->fields;
	pthread_mutex_unlock(&call->tenant->lock);
	refs->real_ids[refs->cnt] = real_id;
	if (!map && fields.kinds)
		return add_special(refs, fd, &fields);
	if (!map)
		return reason_set(&user->why, -EOPNOTSUPP,
				  "it uses a map of a kind that only the kernel has");
	user->map_fds[refs->cnt] = fd;
	refs->shapes[refs->cnt] = (struct verifier_map){
		.type = map->record.type,
		.key_size = map->record.key_size,
		.value_size = map->record.value_size,
		.max_entries = map->record.max_entries,
		.flags = map->record.flags,
		.inner = {map->inner.type, map->inner.key_size, map->inner.value_size,
			  map->inner.max_entries, map->inner.flags}};
	refs->contents[refs->cnt] = prog_maps_contents(fd, &refs->shapes[refs->cnt]);
	refs->shapes[refs->cnt].contents = refs->contents[refs->cnt];
	refs->maps[refs->cnt] = map;
	return (int)refs->cnt++;
}

/* Such a program does not run in processes; why it is refused everywhere is said all the same. */
static int verify_special(struct map_refs *refs, const struct verifier_prog *prog,
			  const struct guestlog *log)
{
	const struct worker_request request = {
		.prog = *prog, .log_level = log->level, .log_size = log->size};
	struct prog_user *user = refs->user;
	int r = worker_ask(refs->call->tenant->worker, &request, TIMEOUT_MS, &user->answer,
			   &user->why);

	if (r < 0)
		return r;
	user->answered = user->answer.verdict < 0 && user->answer.verdict != -EOPNOTSUPP;
	if (!user->answered)
		worker_answer_deinit(&user->answer);
	return reason_set(&user->why, user->answered ? 0 : -EOPNOTSUPP,
			  "it uses a map with locks, timers or the like in its values");
}

/* As map_index(), of a program that only the kernel can run; what only the kernel has is no matter.
 */
static int map_note(int fd, void *data)
{
	struct reason why = ((struct map_refs *)data)->user->why;
	int r = map_index(fd, data);

	if (r != -EOPNOTSUPP && r != -E2BIG)
		return r;
	((struct map_refs *)data)->user->why = why;
	return 0;
}

static void refs_deinit(struct map_refs *refs)
{
	for (uint32_t i = 0; i < refs->cnt; i++) {
		uspace_map_unref(refs->maps[i]);
		free(refs->contents[i]);
	}
}

/* Contents of its maps must be in the kernel while it runs there. */
static int note_maps(struct call *call, uint32_t cnt, struct bpf_insn *insns, const int *fd_array,
		     struct prog_user *user)
{
	struct map_refs refs = {.call = call, .user = user};
	struct uspace_map *here[VERIFIER_MAPS_MAX];
	int r = prog_maps_index(insns, cnt, fd_array, map_note, &refs);

	uint32_t cnt_here = 0;

	user->map_cnt = refs.cnt;
	for (uint32_t i = 0; i < refs.cnt; i++)
		if (refs.maps[i])
			here[cnt_here++] = refs.maps[i];
	if (r == 0)
		r = uspace_prog_new_kernel(call->tenant->uspace, here, cnt_here, &user->why,
					   &user->prog);
	refs_deinit(&refs);
	/* Descriptors that are none are refused by the kernel. */
	return r == -ENOMEM ? r : 0;
}

static int ask(struct call *call, const struct abi_prog_load *attr, struct bpf_insn *insns,
	       const int *fd_array, const char *license, const struct verifier_info *info,
	       const struct guestlog *log, struct prog_user *user)
{
	struct map_refs refs = {.call = call, .user = user};
	struct verifier_prog prog = {.insns = insns,
				     .cnt = attr->insn_cnt,
				     .type = attr->prog_type,
				     .attach_type = attr->expected_attach_type,
				     .gpl = license_is_gpl(license),
				     .sleepable = attr->prog_flags & BPF_F_SLEEPABLE,
				     .maps = refs.shapes,
				     .info = *info};
	int r = prog_maps_index(insns, attr->insn_cnt, fd_array, map_index, &refs);

	prog.map_cnt = user->map_cnt = refs.cnt;
	if (r == 0 && refs.special) {
		r = verify_special(&refs, &prog, log);
	} else if (r == 0) {
		r = uspace_prog_new(call->tenant->uspace, &prog, refs.maps, log->level, log->size,
				    &user->answer, &user->prog, &user->why);
		user->answered = r == 0;
	}
	refs_deinit(&refs);
	return r;
}

/* What the policy refuses by name is refused wherever the program runs. */
static void check_helpers(struct call *call, struct prog_user *user)
{
	const uint64_t *helpers = user->answer.facts.helpers;
	struct reason reason = {0};

	for (uint32_t id = 0; id < 256; id++) {
		if (!(helpers[id / 64] >> (id % 64) & 1) ||
		    policy_check_user_helper(call->tenant->policy, id, &reason) == 0)
			continue;
		uspace_prog_refuse(user->prog, &reason);
		return;
	}
}

const char *prog_user_is_odd(const struct abi_prog_load *attr)
{
	/* The kernel would change instructions by them. libbpf does that itself. */
	if (attr->core_relo_cnt)
		return "it has CO-RE relocations for the kernel to do";
	if (attr->prog_flags & BPF_F_STRICT_ALIGNMENT)
		return "it wants its alignment to be checked";
	return NULL;
}

bool prog_user_fits(const struct tenant *tenant, uint32_t type)
{
	switch (type) {
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
		return true;
	case BPF_PROG_TYPE_KPROBE:
		return !tenant->verify_only;
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_XDP:
		return tenant->verify_only;
	default:
		return false;
	}
}

int prog_user_load(struct call *call, const struct abi_prog_load *attr,
		   const struct bpf_insn *insns, const int *fd_array, const char *license,
		   const struct verifier_info *info, const struct guestlog *log,
		   struct prog_user *ret_user)
{
	cleanup_free struct bpf_insn *copy = NULL;
	int r;

	reason_set(&ret_user->why, 0, "programs of this type do not run in processes");
	if (!call->tenant->uspace)
		return 0;
	r = call_alloc(call, attr->insn_cnt * sizeof(*copy), &copy);
	if (r < 0)
		return r;
	memcpy(copy, insns, attr->insn_cnt * sizeof(*copy));
	r = -EOPNOTSUPP;
	if (prog_user_is_odd(attr)) {
		reason_set(&ret_user->why, 0, "%s", prog_user_is_odd(attr));
	} else if (prog_user_fits(call->tenant, attr->prog_type)) {
		reason_clear(&ret_user->why);
		r = ask(call, attr, copy, fd_array, license, info, log, ret_user);
	}
	if (r == 0 && ret_user->answer.verdict == 0)
		check_helpers(call, ret_user);
	/* No room or no worker: it may still run in the kernel. */
	if (r != -EOPNOTSUPP && r != -ENOSPC && r != -EIO && r != -ETIMEDOUT)
		return r;
	memcpy(copy, insns, attr->insn_cnt * sizeof(*copy));
	return note_maps(call, attr->insn_cnt, copy, fd_array, ret_user);
}

/* Copy the worker's text to where the tool's log is kept. */
static void deliver_log(struct guestlog *log, const struct worker_answer *answer)
{
	size_t len;

	if (!log->buf || !log->size || !answer->log)
		return;
	len = strnlen(answer->log, log->size - 1);
	memcpy(log->buf, answer->log, len);
	log->buf[len] = '\0';
}

int prog_user_stub(struct call *call, const struct abi_prog_load *attr, struct prog_user *user,
		   struct guestlog *log, uint32_t *ret_true_size)
{
	if (user->answered) {
		deliver_log(log, &user->answer);
		*ret_true_size = user->answer.log_true_size;
		if (user->answer.verdict < 0)
			return user->answer.verdict;
	}
	if (!user->prog || !user->prog->code)
		return reason_set(&call->reason, -EPERM,
				  "the program cannot run in traced processes (%.300s), and the "
				  "policy refuses the kernel",
				  user->prog ? user->prog->why_not.text : user->why.text);
	return kprog_stub(attr, user->map_fds, user->map_cnt);
}

void prog_user_deinit(struct prog_user *user)
{
	user->prog = uspace_prog_unref(user->prog);
	if (user->answered)
		worker_answer_deinit(&user->answer);
	user->answered = false;
}
