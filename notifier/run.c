/* SPDX-License-Identifier: MIT */
/*
 * Life of an embedded daemon: prepare what the tree needs, start it, serve it, and leave nothing
 * behind. The order of the steps in run_prepare() is the order in which run_cleanup() undoes them.
 */
#include "notifier/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "notifier/cgroup.h"
#include "notifier/container.h"
#include "notifier/control.h"
#include "notifier/fdpass.h"
#include "notifier/keeper.h"
#include "notifier/mounts.h"
#include "notifier/pending.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"

#define POOL_THREADS	4
#define EXIT_OURS	125
#define CLEANUP_TIME_MS 5000
#define DRAIN_TIME_MS	1000

struct run {
	const struct run_options *options;
	struct policy *policy;
	struct cgroup *cgroup;
	int keeper;
	struct container container;
	struct loop *loop;
	struct pool *pool;
	struct tenant tenant;
	bool serving;
	struct control *control;
	struct loop_source exit_source, signal_source;
	int status;
};

static void run_exited(struct loop_source *source, uint32_t events)
{
	struct run *run = container_of(source, struct run, exit_source);

	loop_stop(run->loop);
}

static void run_signalled(struct loop_source *source, uint32_t events)
{
	struct run *run = container_of(source, struct run, signal_source);
	struct signalfd_siginfo info;

	/* A signal of the terminal reaches the command by itself. */
	if (read(source->fd, &info, sizeof(info)) == sizeof(info) && info.ssi_code != SI_KERNEL)
		sys_pidfd_send_signal(run->container.pidfd, (int)info.ssi_signo);
}

static void forwarded_signals(sigset_t *set)
{
	static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(set, signals[i]);
}

/* A probe takes two or three descriptors, and tools attach hundreds. */
static void raise_fd_limit(struct rlimit *ret_old)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, ret_old);
	limit = *ret_old;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int run_prepare(struct run *run, struct reason *reason)
{
	const struct run_options *options = run->options;
	char socket_path[108];
	int r;

	if (geteuid() != 0)
		return reason_set(reason, -EPERM, "--run needs root");
	r = options->policy ? policy_load(POLICY_RUN, options->policy, &run->policy, reason)
			    : policy_new(POLICY_RUN, &run->policy);
	if (r == 0)
		r = cgroup_new(&run->cgroup, reason);
	if (r < 0 || !run->cgroup)
		return r;
	snprintf(socket_path, sizeof(socket_path), CONTROL_DIR "/%d.sock", getpid());
	r = pending_new(&run->tenant.pending);
	if (r < 0)
		return r;
	run->keeper = keeper_start(run->cgroup, socket_path, run->tenant.pending);
	if (run->keeper < 0)
		return run->keeper;
	r = mounts_private(reason);
	if (r == 0)
		r = mounts_prepare(options->unprivileged, &run->tenant.trace_pipe, reason);
	return r;
}

static int run_start(struct run *run, const sigset_t *mask, struct reason *reason)
{
	struct container_options options = {
		.unprivileged = run->options->unprivileged,
		.cgroup_fd = run->cgroup->fd,
		.argv = run->options->argv,
		.mask = *mask,
	};
	struct rlimit old;
	int r;

	r = container_start(&options, &run->container, reason);
	if (r < 0)
		return r;
	raise_fd_limit(&old);
	signal(SIGPIPE, SIG_IGN);
	r = loop_new(&run->loop);
	if (r == 0)
		r = pool_new(POOL_THREADS, &run->pool);
	return r;
}

/* Describe the tree in the terms of kernel programs. */
static int run_scope(struct run *run)
{
	struct scope *scope = &run->tenant.scope;
	char path[40];
	struct stat st;

	scope->cgroup_id = run->cgroup->id;
	scope->cgroup_level = run->cgroup->level;
	if (!run->options->unprivileged)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", run->container.pid);
	if (stat(path, &st) < 0)
		return -errno;
	scope->translate_pids = true;
	scope->pidns_dev = st.st_dev;
	scope->pidns_ino = st.st_ino;
	scope->translate_uids = true;
	scope->host_uid_base = scope->host_gid_base = CONTAINER_ID;
	scope->uid_count = scope->gid_count = 1;
	return 0;
}

static int run_serve(struct run *run, const sigset_t *signals)
{
	struct tenant *tenant = &run->tenant;
	int r, listener = fdpass_recv(run->container.sync_fd);

	if (listener < 0)
		return listener;
	snprintf(tenant->name, sizeof(tenant->name), "run-%d", run->container.pid);
	tenant->pid = run->container.pid;
	tenant->policy = run->policy;
	tenant->verify_only = run->options->verify_only;
	tenant->cgroup = run->cgroup;
	tenant->loop = run->loop;
	tenant->pool = run->pool;
	r = run_scope(run);
	if (r == 0)
		r = tenant_init(tenant, take_fd(&listener));
	close_fd(listener);
	if (r < 0)
		return r;
	run->serving = true;
	r = keeper_give_listener(run->keeper, tenant->listener);
	if (r < 0)
		return r;
	if (tenant->uspace)
		keeper_give_region(run->keeper, tenant->uspace->code_rw_fd);
	r = control_new(run->loop, run->pool, tenant, &run->control);
	if (r < 0)
		log_notice("no control socket: %s", strerrordesc_np(-r));
	run->exit_source = (struct loop_source){.fd = run->container.pidfd, .fn = run_exited};
	run->signal_source.fn = run_signalled;
	run->signal_source.fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	r = loop_add(run->loop, &run->exit_source, EPOLLIN);
	if (r == 0)
		r = loop_add(run->loop, &run->signal_source, EPOLLIN);
	if (r == 0 && write(run->container.sync_fd, "x", 1) != 1)
		r = -EPIPE;
	run->container.sync_fd = close_fd(run->container.sync_fd);
	return r < 0 ? r : loop_run(run->loop);
}

/* Everything the command left running ends here; what it attached goes before the maps do. */
static void run_cleanup(struct run *run)
{
	int status, busy = 0;

	if (run->cgroup) {
		cgroup_kill(run->cgroup);
		cgroup_wait_empty(run->cgroup, CLEANUP_TIME_MS);
	}
	if (run->container.pid > 0 && waitpid(run->container.pid, &status, 0) > 0 && !run->status)
		run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (run->serving)
		busy = tenant_deinit(&run->tenant);
	control_free(run->control);
	if (run->cgroup) {
		int r = cgroup_remove(run->cgroup);

		if (r < 0)
			log_error("cannot remove cgroup %s: %s", run->cgroup->path,
				  strerrordesc_np(-r));
	}
	if (run->keeper >= 0)
		keeper_dismiss(run->keeper);
	/* A thread may still sit in a call whose process is gone; then the exit frees everything.
	 */
	if (busy < 0 || (run->pool && pool_drain(run->pool, DRAIN_TIME_MS) < 0))
		return;
	tenant_free_programs(&run->tenant);
	run->loop = loop_free(run->loop);
	run->cgroup = cgroup_free(run->cgroup);
	run->policy = policy_free(run->policy);
}

int run_main(const struct run_options *options)
{
	/* Static: a thread that still sits in a call may use it until the process is gone. */
	static struct run run = {.keeper = -1};
	struct reason reason = {0};
	sigset_t signals, mask;
	int r;

	run.options = options;
	forwarded_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, &mask);
	r = run_prepare(&run, &reason);
	if (r == 0)
		r = run_start(&run, &mask, &reason);
	if (r == 0)
		r = run_serve(&run, &signals);
	if (r < 0) {
		log_error("%s", reason.text[0] ? reason.text : strerrordesc_np(-r));
		run.status = EXIT_OURS;
	}
	run_cleanup(&run);
	return run.status;
}
