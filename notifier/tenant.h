/* SPDX-License-Identifier: MIT */
/*
 * One tenant: a container or a command tree, its listener, its policy and all it holds.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "kernel-bridge/scope.h"
#include "notifier/loop.h"
#include "notifier/object.h"
#include "notifier/pool.h"
#include "policy/policy.h"

struct cgroup;
struct crew;
struct pending;
struct uspace;
struct worker;

/**
 * struct tenant
 * @name: for log lines and bpfshimctl ps
 * @pid: first process, in our numbering
 * @policy, @cgroup, @loop, @pool: not owned
 * @listener: seccomp listener; owned
 * @pending: calls under way, or NULL: nobody would answer them in our place; not owned
 * @crew: threads serving it; owned
 * @trace_pipe: where what its programs print goes, 0: into our log; owned by who made the tenant
 * @uspace: programs in traced processes, or NULL where the policy or the host has none; owned
 * @worker_fd: executable of the workers
 * @worker: where programs are verified and compiled, or NULL where the policy or the host has none;
 * owned
 * @moving: held while attachments move into the kernel (place_move())
 * @verify_only: programs are verified and never run
 * @ids_in_maps: set once the tenant made a map of maps or programs: lookups need ids translated
 * @lock: guards the tables below
 * @memory: bytes that calls in flight have charged
 * @last_event: number of the newest event
 * @outputs: perf events for output that the tenant may hold: its own, so nobody says when one is
 * closed
 */
struct tenant {
	char name[64];
	pid_t pid;
	const struct policy *policy;
	struct cgroup *cgroup;
	struct scope scope;
	struct loop *loop;
	struct pool *pool;
	int listener;
	struct pending *pending;
	struct crew *crew;
	int trace_pipe;
	struct uspace *uspace;
	struct worker *worker;
	int worker_fd;
	pthread_mutex_t moving;
	bool verify_only;
	struct loop_source sweep;
	bool sweeping;
	atomic_bool ids_in_maps;
	pthread_mutex_t lock;
	struct object_table table;
	struct list attachments;
	struct list anchors;
	uint64_t reserved[POLICY_QUOTA_COUNT];
	uint64_t memory, outputs, last_event;
};

/**
 * tenant_init() - serve @listener
 * @listener: taken over, also on failure
 *
 * The other fields that are "not owned" are set by the caller before.
 *
 * Return: 0 or -errno.
 */
int tenant_init(struct tenant *tenant, int listener);

/**
 * tenant_deinit() - stop serving; everything attached is detached
 *
 * Return: 0, or -ETIMEDOUT when a thread still sits in a call: the tenant must then stay valid.
 */
int tenant_deinit(struct tenant *tenant);

/** tenant_free_programs() - the worker and what traced processes run; once nobody is in a call */
void tenant_free_programs(struct tenant *tenant);

/** tenant_has_pid() - whether a process, in our numbering, belongs to the tenant */
bool tenant_has_pid(const struct tenant *tenant, pid_t pid);

/**
 * tenant_reserve() - policy_check_quota() against what the tenant holds and has reserved; on
 * success @more is reserved, until tenant_release()
 *
 * Return: 0 or -EPERM with a reason.
 */
int tenant_reserve(struct tenant *tenant, enum policy_quota quota, uint64_t more,
		   struct reason *reason);

/** tenant_release() - what was reserved is there by now, or will not be. @amounts: by quota */
void tenant_release(struct tenant *tenant, const uint64_t *amounts);

/**
 * tenant_charge() - @bytes of the daemon's memory for as long as a call lasts
 *
 * What calls of one tenant hold at the same time is bounded, whatever they ask for.
 *
 * Return: 0, or -ENOMEM with a reason.
 */
int tenant_charge(struct tenant *tenant, uint64_t bytes, struct reason *reason);
void tenant_uncharge(struct tenant *tenant, uint64_t bytes);

/** tenant_count_output() - a perf event for output was handed over */
void tenant_count_output(struct tenant *tenant);

/** tenant_sweep_objects() - forget what is gone, now: what it had is needed */
void tenant_sweep_objects(struct tenant *tenant);
/** tenant_watch_objects() - something was added: sweep the table until it is empty again */
void tenant_watch_objects(struct tenant *tenant);
