/* SPDX-License-Identifier: MIT */
/*
 * PROG_LOAD: copy everything the argument points to, translate its descriptors, ask the policy,
 * have the kernel load the guarded program (kernel-bridge/kprog.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel-bridge/kprog.h"
#include "notifier/call.h"
#include "notifier/cmd_prog_user.h"
#include "notifier/commands.h"
#include "notifier/gate.h"
#include "notifier/guestlog.h"

#define FDS_MAX	     512u /* different descriptors in one program; the kernel takes 64 maps */
#define RECORDS_MAX  (64u << 20)
#define LICENSE_SIZE 128

/* Descriptors of the guest found in a program, and our duplicates of them. */
struct fd_set_of_prog {
	uint32_t cnt;
	int guest[FDS_MAX], own[FDS_MAX];
};

/* Everything copied for one load. */
struct load {
	struct call *call;
	struct kprog_request request;
	struct fd_set_of_prog fds;
	struct prog_user user;
	struct guestlog *log;
	char license[LICENSE_SIZE], bad_fd[64];
	int *fd_array;
	void *btf;
	struct verifier_info info;
};

static void load_deinit(struct load *load)
{
	for (uint32_t i = 0; i < load->fds.cnt; i++)
		close_fd(load->fds.own[i]);
	insns_prog_deinit(&load->request.prog);
	prog_user_deinit(&load->user);
	free(load->fd_array);
	free(load->btf);
}

/* Our duplicate of a map (or, with @btf, BTF) descriptor of the guest; made once per program. */
static int translate_fd(struct load *load, int guest_fd, enum kobject_kind kind, int32_t *ret_fd)
{
	struct fd_set_of_prog *fds = &load->fds;
	struct object object;
	int r, fd;

	for (uint32_t i = 0; i < fds->cnt; i++) {
		if (fds->guest[i] == guest_fd) {
			*ret_fd = fds->own[i];
			return 0;
		}
	}
	if (fds->cnt == FDS_MAX)
		return -E2BIG;
	r = call_get_object(load->call, guest_fd, kind, &fd, &object);
	if ((r == -EBADF || r == -EINVAL) && kind == KOBJECT_MAP)
		/* The verifier's words, kernel/bpf/verifier.c, Linux 6.18. */
		snprintf(load->bad_fd, sizeof(load->bad_fd),
			 "fd %d is not pointing to valid bpf_map\n", guest_fd);
	if (r < 0)
		return r;
	fds->guest[fds->cnt] = guest_fd;
	fds->own[fds->cnt++] = fd;
	*ret_fd = fd;
	return 0;
}

static int copy_from_guest(struct load *load, uint64_t addr, uint64_t len, void **ret)
{
	cleanup_free void *copy = NULL;
	int r;

	if (len == 0)
		return 0;
	if (len > RECORDS_MAX)
		return -E2BIG;
	r = call_alloc(load->call, len, &copy);
	if (r == 0)
		r = guest_read(&load->call->guest, addr, copy, len);
	if (r == 0)
		*ret = take_ptr(&copy);
	return r;
}

static int copy_records(struct load *load, uint64_t addr, uint32_t cnt, uint32_t rec_size,
			struct insns_records *ret)
{
	int r;

	if (!cnt)
		return 0;
	/* The kernel's own bounds: check_btf_func(), kernel/bpf/verifier.c. */
	if (rec_size < 8 || rec_size > 252 || rec_size % 4)
		return -EINVAL;
	r = copy_from_guest(load, addr, (uint64_t)cnt * rec_size, &ret->data);
	if (r < 0)
		return r;
	ret->cnt = cnt;
	ret->rec_size = rec_size;
	return 0;
}

static int copy_program(struct load *load)
{
	const struct abi_prog_load *attr = &load->request.attr;
	struct insns_prog *prog = &load->request.prog;
	ssize_t len;
	int r;

	if (attr->insn_cnt == 0 || attr->insn_cnt > INSNS_MAX)
		return -E2BIG;
	len = guest_read_string(&load->call->guest, attr->license, load->license, LICENSE_SIZE);
	if (len < 0 && len != -ENAMETOOLONG)
		return (int)len;
	load->license[LICENSE_SIZE - 1] = '\0';
	r = copy_from_guest(load, attr->insns, (uint64_t)attr->insn_cnt * sizeof(struct bpf_insn),
			    (void **)&prog->insns);
	if (r < 0)
		return r;
	prog->cnt = attr->insn_cnt;
	r = copy_records(load, attr->func_info, attr->func_info_cnt, attr->func_info_rec_size,
			 &prog->func_info);
	if (r == 0)
		r = copy_records(load, attr->line_info, attr->line_info_cnt,
				 attr->line_info_rec_size, &prog->line_info);
	if (r == 0)
		r = copy_records(load, attr->core_relos, attr->core_relo_cnt,
				 attr->core_relo_rec_size, &prog->core_relos);
	return r;
}

static bool is_ld_imm64(const struct bpf_insn *insn)
{
	return insn->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static bool is_fd_index(const struct bpf_insn *insn)
{
	return is_ld_imm64(insn) &&
	       (insn->src_reg == BPF_PSEUDO_MAP_IDX || insn->src_reg == BPF_PSEUDO_MAP_IDX_VALUE);
}

/* Descriptors named by position: rebuild the array with what the program uses of it. */
static int translate_fd_array(struct load *load)
{
	struct abi_prog_load *attr = &load->request.attr;
	const struct insns_prog *prog = &load->request.prog;
	uint32_t cnt = attr->fd_array_cnt;
	cleanup_free int32_t *guest = NULL;
	int r;

	if (!attr->fd_array)
		return 0;
	for (uint32_t i = 0; i < prog->cnt; i++) {
		uint32_t at = (uint32_t)prog->insns[i].imm;

		if (!is_fd_index(&prog->insns[i]))
			continue;
		if (at >= FDS_MAX)
			return -EINVAL;
		if (at >= cnt)
			cnt = at + 1;
	}
	if (cnt > FDS_MAX)
		return -EINVAL;
	if (!cnt)
		return 0;
	r = copy_from_guest(load, attr->fd_array, (uint64_t)cnt * sizeof(*guest), (void **)&guest);
	if (r < 0 || !guest)
		return r;
	load->fd_array = calloc(cnt, sizeof(*load->fd_array));
	if (!load->fd_array)
		return -ENOMEM;
	load->request.fd_array = load->fd_array;
	for (uint32_t i = 0; i < attr->fd_array_cnt; i++) {
		r = translate_fd(load, guest[i], KOBJECT_MAP, &load->fd_array[i]);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < prog->cnt; i++) {
		uint32_t at = (uint32_t)prog->insns[i].imm;

		if (!is_fd_index(&prog->insns[i]))
			continue;
		r = translate_fd(load, guest[at], KOBJECT_MAP, &load->fd_array[at]);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool takes_callback(const struct insns_prog *prog)
{
	for (uint32_t i = 0; i < prog->cnt; i++)
		if (is_ld_imm64(&prog->insns[i]) && prog->insns[i++].src_reg == BPF_PSEUDO_FUNC)
			return true;
	return false;
}

/*
 * Kernel functions are called where the guard has let the program through. Those that keep a
 * callback for later (bpf_wq_set_callback(), bpf_task_work_schedule_*()) would run it where no
 * guard holds. Their ids differ from kernel to kernel; but each must be given the address of a
 * subprogram, so a program has kernel functions or callbacks, not both.
 */
static int check_kfunc(const struct load *load, const struct bpf_insn *insn)
{
	struct call *call = load->call;
	int r;

	if (call->tenant->verify_only)
		return 0;
	r = policy_check_kfuncs(call->tenant->policy, &call->reason);
	if (r < 0)
		return r;
	/* The module's BTF would be looked up behind what translate_fd_array() makes. */
	if (insn->off)
		return reason_set(&call->reason, -EPERM,
				  "functions of kernel modules are not served");
	if (load->request.attr.prog_type == BPF_PROG_TYPE_SOCKET_FILTER)
		return reason_set(&call->reason, -EPERM,
				  "a socket's program, which has no guard, may not call kernel "
				  "functions");
	if (takes_callback(&load->request.prog))
		return reason_set(&call->reason, -EPERM,
				  "kernel functions and callbacks in one program: a callback that "
				  "runs later has no guard");
	return 0;
}

/* A variable of the kernel leads to all that its type points to, by loads without any helper. */
static int check_variable(const struct load *load, int32_t module)
{
	struct call *call = load->call;
	int r;

	if (call->tenant->verify_only)
		return 0;
	r = policy_check_kernel_memory(call->tenant->policy, &call->reason);
	if (r == 0 && module)
		r = reason_set(&call->reason, -EPERM, "variables of kernel modules are not served");
	if (r == 0 && load->request.attr.prog_type == BPF_PROG_TYPE_SOCKET_FILTER)
		r = reason_set(&call->reason, -EPERM,
			       "a socket's program, which has no guard, may not read kernel "
			       "variables");
	return r;
}

static int translate_insns(struct load *load)
{
	const struct insns_prog *prog = &load->request.prog;
	int r = 0;

	for (uint32_t i = 0; i < prog->cnt && r == 0; i++) {
		struct bpf_insn *insn = &prog->insns[i];

		if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
			r = check_kfunc(load, insn);
		if (!is_ld_imm64(insn))
			continue;
		if (insn->src_reg == BPF_PSEUDO_MAP_FD || insn->src_reg == BPF_PSEUDO_MAP_VALUE)
			r = translate_fd(load, insn->imm, KOBJECT_MAP, &insn->imm);
		else if (insn->src_reg == BPF_PSEUDO_BTF_ID)
			r = check_variable(load, i + 1 < prog->cnt ? insn[1].imm : 0);
		i++;
	}
	return r;
}

/*
 * Programs of uprobes may not need the kernel, nor those of raw tracepoints that only run on
 * request. Socket filters do run in it, whatever the policy's
 * "kernel" says: libraries load them to probe for features before they load anything else. What
 * they may do is bounded by socket_helper(); "prog_types" without socket_filter refuses them.
 */
static bool kernel_needed(const struct call *call, const struct abi_prog_load *attr)
{
	if (attr->prog_type == BPF_PROG_TYPE_SOCKET_FILTER)
		return false;
	return !prog_user_fits(call->tenant, attr->prog_type) || !call->tenant->uspace;
}

/* Whether the policy and the guard let it run at all. */
static int check_placement(struct call *call, const struct abi_prog_load *attr)
{
	const struct policy *policy = call->tenant->policy;
	int r = kernel_needed(call, attr) ? policy_check_kernel(policy, &call->reason) : 0;
	if (r == 0)
		r = policy_check_prog_type(policy, attr->prog_type, &call->reason);
	if (r == 0 && !kprog_serves(attr->prog_type))
		r = reason_set(&call->reason, -EPERM,
			       "programs of type %u are not served: no guard fits them",
			       attr->prog_type);
	return r;
}

/* What the program is, before a byte of it is looked at. */
static int check_kind(struct call *call, const struct abi_prog_load *attr)
{
	int r = 0;

	/* Nonsense gets the kernel's answer, before the policy has an opinion. */
	if (attr->insn_cnt == 0)
		return -E2BIG;
	if (attr->prog_type == BPF_PROG_TYPE_UNSPEC)
		return -EINVAL;
	/* What never runs does no harm. */
	if (!call->tenant->verify_only)
		r = check_placement(call, attr);
	if (r == 0)
		r = call_reserve(call, POLICY_QUOTA_PROGS, 1);
	if (r == 0)
		r = policy_check_quota(call->tenant->policy, POLICY_QUOTA_INSNS, 0, attr->insn_cnt,
				       &call->reason);
	if (r < 0)
		return r;
	if (attr->prog_ifindex)
		return reason_set(&call->reason, -EPERM, "programs for a device are not served");
	if (attr->prog_token_fd || attr->attach_btf_obj_fd)
		return reason_set(&call->reason, -EPERM,
				  "tokens, and programs attached to programs, are not served");
	if (attr->prog_type == BPF_PROG_TYPE_TRACING &&
	    (attr->expected_attach_type == BPF_TRACE_ITER ||
	     attr->expected_attach_type == BPF_MODIFY_RETURN))
		return reason_set(&call->reason, -EPERM,
				  "iterators and modify_return programs act beyond the tenant");
	return 0;
}

/*
 * A socket's program has no guard and runs with whoever sends as its current task, who may be
 * outside of the tenant: it gets what reads the packet and the tenant's own maps, and nothing that
 * looks at the task or at the kernel's memory.
 */
static bool socket_helper(uint32_t helper)
{
	switch (helper) {
	case BPF_FUNC_map_lookup_elem:
	case BPF_FUNC_map_update_elem:
	case BPF_FUNC_map_delete_elem:
	case BPF_FUNC_map_push_elem:
	case BPF_FUNC_map_pop_elem:
	case BPF_FUNC_map_peek_elem:
	case BPF_FUNC_ktime_get_ns:
	case BPF_FUNC_ktime_get_boot_ns:
	case BPF_FUNC_ktime_get_coarse_ns:
	case BPF_FUNC_ktime_get_tai_ns:
	case BPF_FUNC_jiffies64:
	case BPF_FUNC_strtol:
	case BPF_FUNC_strtoul:
	case BPF_FUNC_strncmp:
	case BPF_FUNC_loop:
	case BPF_FUNC_for_each_map_elem:
	case BPF_FUNC_map_lookup_percpu_elem:
	case BPF_FUNC_spin_lock:
	case BPF_FUNC_spin_unlock:
	case BPF_FUNC_get_prandom_u32:
	case BPF_FUNC_get_smp_processor_id:
	case BPF_FUNC_get_numa_node_id:
	case BPF_FUNC_tail_call:
	case BPF_FUNC_skb_load_bytes:
	case BPF_FUNC_skb_load_bytes_relative:
	case BPF_FUNC_perf_event_output:
	case BPF_FUNC_ringbuf_output:
	case BPF_FUNC_ringbuf_reserve:
	case BPF_FUNC_ringbuf_submit:
	case BPF_FUNC_ringbuf_discard:
		return true;
	default:
		return false;
	}
}

static bool helper_denied(uint32_t helper, void *data)
{
	const struct call *call = data;

	if (call->attr.prog_load.prog_type == BPF_PROG_TYPE_SOCKET_FILTER && !socket_helper(helper))
		return true;
	return policy_check_helper(call->tenant->policy, helper, NULL) < 0;
}

static struct verifier_records records_of(const struct insns_records *records)
{
	return (struct verifier_records){records->data, records->cnt, records->rec_size};
}

/* What the program says of its functions and lines; of the BTF the kernel has the only copy that
 * nobody changes. */
static int read_info(struct load *load)
{
	struct abi_prog_load *attr = &load->request.attr;
	int32_t fd = -1;
	int r;

	if (!attr->func_info_cnt && !attr->line_info_cnt && !attr->prog_btf_fd)
		return 0;
	r = translate_fd(load, (int)attr->prog_btf_fd, KOBJECT_BTF, &fd);
	attr->prog_btf_fd = (uint32_t)fd;
	if (r < 0 || (!attr->func_info_cnt && !attr->line_info_cnt))
		return r;
	r = kobject_btf(fd, &load->btf, &load->info.btf_len);
	load->info.btf = load->btf;
	load->info.funcs = records_of(&load->request.prog.func_info);
	load->info.lines = records_of(&load->request.prog.line_info);
	return r;
}

static int prog_load(struct load *load, struct kprog_result *ret_result)
{
	struct abi_prog_load *attr = &load->request.attr;
	struct call *call = load->call;
	int r;

	r = check_kind(call, attr);
	if (r == 0)
		r = copy_program(load);
	/* All is copied: from here on nothing the guest changes matters. */
	if (r == 0 && !guest_valid(&call->guest))
		r = -ESRCH;
	if (r == 0)
		r = translate_insns(load);
	if (r == 0)
		r = translate_fd_array(load);
	if (r == 0)
		r = read_info(load);
	if (r == 0)
		r = prog_user_load(call, attr, load->request.prog.insns, load->fd_array,
				   load->license, &load->info, load->log, &load->user);
	if (r < 0)
		return r;
	if (call->tenant->verify_only)
		return gate_verify_only(call, &load->request, &load->info, &load->user, load->log,
					ret_result);
	if (prog_user_fits(call->tenant, attr->prog_type) &&
	    policy_check_kernel(call->tenant->policy, NULL) < 0) {
		r = prog_user_stub(call, attr, &load->user, load->log, &ret_result->log_true_size);
		ret_result->fd = r < 0 ? -1 : r;
		return r < 0 ? r : 0;
	}
	return gate_load(call, &load->request, &load->info, &load->user, load->log, ret_result);
}

int cmd_prog_load(struct call *call)
{
	const struct abi_prog_load *attr = &call->attr.prog_load;
	struct load *load = calloc(1, sizeof(*load));
	struct kprog_result result = {.fd = -1, .timer_fd = -1};
	struct object object = {.type = attr->prog_type,
				.attach_type = attr->expected_attach_type,
				.size = attr->insn_cnt};
	const uint32_t true_size_at = offsetof(struct abi_prog_load, log_true_size);
	struct guestlog log;
	int r, delivered;

	if (!load)
		return -ENOMEM;
	r = guestlog_init(&log, call, attr->log_level, attr->log_buf, attr->log_size);
	if (r < 0) {
		free(load);
		return r;
	}
	load->call = call;
	load->log = &log;
	load->request = (struct kprog_request){
		.attr = *attr,
		.attr_size = call->attr_size < sizeof(*attr) ? call->attr_size : sizeof(*attr),
		.license = load->license,
		.log_level = log.level,
		.log_size = log.size,
		.log_buf = log.buf,
		.scope = &call->tenant->scope,
		.denied = helper_denied,
		.denied_data = call,
	};
	r = prog_load(load, &result);
	guestlog_add_line(&log, load->bad_fd);
	object.uprog = take_ptr(&load->user.prog);
	load_deinit(load);
	free(load);
	guestlog_add_reason(&log, call->reason.text);
	delivered = guestlog_deliver(&log, call);
	if (delivered == 0 && call->attr_size >= true_size_at + sizeof(result.log_true_size))
		delivered = call_write_attr(call, true_size_at, &result.log_true_size,
					    sizeof(result.log_true_size));
	if (r == 0)
		r = delivered;
	memcpy(object.name, attr->prog_name, sizeof(object.name));
	object.timer_fd = result.timer_fd;
	if (r == 0)
		r = call_add_object(call, KOBJECT_PROG, result.fd, &object);
	uspace_prog_unref(object.uprog);
	if (r < 0) {
		close_fd(object.timer_fd);
		close_fd(result.fd);
		return r;
	}
	return call_reply_fd(call, result.fd);
}
