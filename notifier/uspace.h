/* SPDX-License-Identifier: MIT */
/*
 * USER placement of one tenant: its region (shim/region.h), and the maps, programs and attachments
 * that live in it.
 *
 * uspace_alloc.c	addresses in it
 * uspace.c	the region itself: memory files, our mapping, what targets map
 * uspace_map.c	maps: a record each, contents here or in the kernel
 * uspace_prog.c	programs: verified and compiled by the worker
 * uspace_cache.h	those that were loaded before
 * uspace_tier.h	their better code, made while they run
 * uspace_link.c	attachments: sites, and which processes have them
 * uspace_check.c	what a file says about its sites
 * uspace_elem.c, uspace_batch.c	the tool's commands on maps that live here
 * uspace_limit.h	how long a call may be at it
 * uspace_event.c	events on their way to the tool's perf buffers and ring buffers
 * uspace_output.c	perf buffers, and what was lost on the way
 * uspace_retire.c	waiting for runs that may still see what was taken away
 * uspace_ring.c	ring buffers, and what waits for room in them
 * uspace_table.c	maps of programs and of maps
 * uspace_test_run.c	programs that run because somebody asks for it
 * uspace_unwind.c	unwinders that come into processes with return probes
 */
#pragma once

#include <linux/bpf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bpf_abi.h"
#include "base/list.h"
#include "base/reason.h"
#include "notifier/uspace_cache.h"
#include "shim/region.h"
#include "verifier/verifier.h"
#include "verifier/worker.h"

struct call;
struct forward;
struct late;
struct object;
struct ringbuf;
struct shim_test_run;
struct tenant;
struct tiers;
struct uspace_output;
struct uspace_plan;
struct uspace_entry;
struct shim_extent;

/* Command number by which a stopped target asks for the region's files; no kernel has it. */
#define USPACE_FD_CMD 0x62700001

/**
 * struct uspace_space - addresses of one kind (uspace_alloc.c)
 * @next: what was never used begins here
 * @unit: sizes are multiples of it
 * @free: extents given back, @free_size bytes; @resting: those of code which may be in use
 * @is_code: processes execute or believe what stands there
 * @again: not before this is it tried to make room (CLOCK_MONOTONIC, ms)
 */
struct uspace_space {
	uint64_t start, next, end, unit, free_size;
	struct list free, resting;
	bool is_code;
	int64_t again;
};

/**
 * struct uspace_text - lines that programs printed; the event thread's
 * @second: in which there were so many @lines in our log
 * @dropped: not shown since then, or since the tree's pipe had room
 */
struct uspace_text {
	time_t second;
	uint32_t lines, dropped;
};

/**
 * struct uspace
 * @base: our mapping: text, code, shared part and maps at their offsets
 * @code_fd: read-only descriptor of text and code, for targets
 * @code_rw_fd: the same, writable: for the keeper, which switches everything off
 * @shared_fd: shared part and maps
 * @void_fd: zeros, for where an array was
 * @nonce: second half of what a target must know to be given the files
 * @seccomp_filters: how many every process of the tenant has
 * @resident: number of maps whose contents are in the region: element commands are looked at
 * @output_maps: number of perf event arrays: what tools put into them is looked at
 * @tables: number of maps of programs and of maps: likewise, and what they take out
 * @mapped: counts up when plans come to have more segments (struct region_config)
 * @plan_serial: counts plans that are made, guarded by @apply; of a map: the last that it is in
 * @output_events: descriptors of tools' events that are held for them; guarded by @lock
 * @worker: for programs that are being loaded; @tiers has its own
 * @plan: what targets are to look like; replaced as a whole
 * @test_run: program that is about to be run on request; guarded by @apply
 * @late: catches processes that load a probed file later
 * @callers: children at work on processes that wait for an answer; guarded by @apply
 * @unwinders, @unwinder_cnt: files that are watched for it; guarded by @apply
 * @unwinders_in: mount namespace in which they were looked for last
 * @left_behind: some process could not be changed once, and may have jumps that nothing tells of
 * @missed: processes that load a probed file and could not be caught
 * @rings_busy: ring buffers that records were found for, each with a reference; the event thread's
 * @stuck: by slot, the run that uspace_retire_wait() has waited for in vain
 * @lock: guards allocation and the lists; never held while targets are stopped
 * @apply: held while targets are changed, so that changes reach them in order
 */
struct uspace {
	struct tenant *tenant;
	unsigned char *base;
	int code_fd, code_rw_fd, shared_fd, void_fd;
	uint64_t nonce;
	uint32_t seccomp_filters;
	struct uspace_space code, map_memory, arrays;
	uint32_t last_map_id;
	uint64_t counters_used[REGION_ATTACH_MAX / 64];
	atomic_uint resident, output_maps, tables;
	uint32_t mapped, plan_serial;
	uint32_t output_events;
	struct worker *worker;
	struct tiers *tiers;
	struct cache cache;
	struct uspace_plan *plan;
	struct uspace_prog *test_run;
	struct late *late;
	pid_t callers[16];
	uint32_t caller_cnt;
	struct {
		dev_t dev;
		ino_t ino;
	} unwinders[32];
	uint32_t unwinder_cnt;
	uint64_t unwinders_in;
	atomic_uint missed;
	atomic_bool left_behind;
	pthread_mutex_t lock, apply;
	struct list maps, sites, rings_busy;
	pthread_t events;
	atomic_bool events_running, events_stop;
	atomic_uint events_passes;
	struct uspace_text text;
	uint64_t stuck[REGION_SLOTS_MAX];
};

/**
 * struct uspace_ring - a ring buffer; the event thread's
 * @writer: open while a program that uses it is attached; changed under the region's @lock
 * @next: position of the record that is to be taken next; what is before it was taken, or nobody
 *	waits for it any more
 * @ahead: bytes to the nearest record behind @next that was seen in this pass, 0: none
 * @gap_at, @gap_since: a @next that was missing then (ms)
 * @idle: claims of programs when nothing was on its way last
 * @busy, @node: in the region's @rings_busy
 */
struct uspace_ring {
	struct ringbuf *writer;
	uint64_t next, ahead, gap_at, idle;
	int64_t gap_since;
	bool busy;
	struct list node;
};

/**
 * uspace_map - a map that USER programs can use; counted, its memory goes with the last reference
 * @record: as in the region, trusted
 * @record_offset: where in the region
 * @real_id: the tool's kernel map
 * @resident: contents are in the region, the kernel's map is an empty shell, but for what the tool
 *	pushed to a bloom filter: that is in both
 * @mapped: array: its memory is the kernel's, which targets map; else it is in the region like that
 *of other maps; guarded by the region's @lock, does not change once a program names the map
 * @hidden_flags: flags that the tool did not ask for
 * @progs: programs that name it; guarded by the region's @lock
 * @settled: it has been used in traced processes; @reached: at any time, by any way
 * @kernel_users: attachments in the kernel whose program uses it, and maps of maps that it stands
 *	in, as often as it does, which have such
 * @users: attachments in traced processes, and entries of program arrays that they use, likewise;
 *	both guarded by the region's @apply, as are moves of the contents; but @users becomes less
 *at any time
 * @forward: perf event array: how its events reach the tool; opened by the first attachment; set
 *	under the region's @lock
 * @outputs: perf event array: by slot, the tool's buffers; @events_fd: our array with the same
 * @outputs_lock: guards them; held while one is exchanged in the kernel's map, or told of losses;
 *	before the region's @lock
 * @ring: ring buffer: how its records reach the tool's
 * @table: map of programs or maps: by slot; changes hold @apply but the last, and the region's
 *@lock
 * @inner: map of maps: record of one like those in it
 * @inner_flags: what the tool asked for when it made that
 */
struct uspace_map {
	struct list node;
	struct uspace *uspace;
	unsigned int refs;
	struct region_map record;
	uint64_t record_offset;
	uint32_t real_id;
	atomic_bool resident;
	unsigned int kernel_users;
	atomic_uint users;
	bool settled, reached, mapped;
	uint32_t hidden_flags;
	unsigned int progs;
	struct forward *forward;
	struct uspace_output *outputs;
	int events_fd;
	pthread_mutex_t outputs_lock;
	struct uspace_ring ring;
	struct uspace_entry *table;
	uint32_t plan_serial;
	struct region_map inner;
	uint32_t inner_flags;
};

/**
 * uspace_prog - a program as far as USER placement is concerned; counted
 * @code, @size: where it stands in the region, 0 when it cannot be placed there: see @why_not;
 *changed with the region's @apply held
 * @room, @room_size: for better code, 0 none: taken when the program is loaded, so that whoever
 *maps the one maps the other
 * @first, @first_size: where it stood before, 0 nowhere else: kept until the program is freed, some
 *	process may be in it for as long
 * @full: it is better code than the first
 * @entry: what that is made from, until it has been; a reference. @wanted: it has been asked for;
 *both are guarded by the tiers' lock
 * @prints: lines for our log
 * @ctx_size: how much of its context it may read (bytes)
 */
struct uspace_prog {
	unsigned int refs;
	struct uspace *uspace;
	uint64_t code, size, first, first_size, room, room_size;
	struct cache_entry *entry;
	bool full, wanted, prints;
	uint32_t map_cnt, ctx_size;
	struct uspace_map *maps[VERIFIER_MAPS_MAX];
	struct reason why_not;
};

/* uspace.c */

/**
 * uspace_new() - an empty region for @tenant
 *
 * Return: 0, -EOPNOTSUPP with a reason when this host cannot do it, or -errno.
 */
int uspace_new(struct tenant *tenant, struct uspace **ret_uspace, struct reason *reason);

/** uspace_free() - detach from all targets. Accepts NULL. Return: NULL. */
struct uspace *uspace_free(struct uspace *uspace);

/** uspace_give_fd() - answer to USPACE_FD_CMD */
int uspace_give_fd(struct call *call);

/* uspace_alloc.c */

void uspace_space_init(struct uspace_space *space, uint64_t start, uint64_t size, uint64_t unit);
void uspace_space_deinit(struct uspace_space *space);
/** uspace_space_take() - Return: offset in the region, or 0 when there is no room */
uint64_t uspace_space_take(struct uspace *uspace, struct uspace_space *space, uint64_t size);
/** uspace_space_give() - nobody is sent there any more; it is used again once nobody can be there.
 *  @at: 0 is nothing */
void uspace_space_give(struct uspace *uspace, struct uspace_space *space, uint64_t at,
		       uint64_t size);
/** uspace_space_give_unused() - nobody ever was sent there: it can be used again at once */
void uspace_space_give_unused(struct uspace *uspace, struct uspace_space *space, uint64_t at,
			      uint64_t size);

/**
 * uspace_space_resting() - what uspace_space_wake() would make free, when there is little room
 * @ret_since: for it
 * @ret_extents: ascending; owned by the caller
 *
 * Return: how many, also 0 when there is room, or when that was asked a moment ago; -ENOMEM
 */
int uspace_space_resting(struct uspace *uspace, struct uspace_space *space, int64_t *ret_since,
			 struct shim_extent **ret_extents);
/** uspace_space_wake() - nobody is in what was given back before @since */
void uspace_space_wake(struct uspace *uspace, struct uspace_space *space, int64_t since);

/** uspace_reclaim() - when there is little room for code: see, in another thread, whether what was given
 *  back can be used again, for which all targets are stopped one by one (uspace_reclaim.c) */
void uspace_reclaim(struct uspace *uspace);

/* uspace_map.c */

/**
 * uspace_map_new() - give a map that was just created a record
 * @real_id: kernel id
 * @inner: map of maps: one like those that will be in it, or NULL when processes cannot use such
 *
 * Return: 0 and a reference, or -EOPNOTSUPP when USER programs cannot use such a map, -ENOMEM,
 * -ENOSPC.
 */
int uspace_map_new(struct uspace *uspace, const struct abi_map_create *attr, uint32_t real_id,
		   const struct uspace_map *inner, struct uspace_map **ret_map);
struct uspace_map *uspace_map_ref(struct uspace_map *map);
/** uspace_map_by_id() - by the number in its record, with a reference, or NULL: whoever writes to a
 *  ring chooses it */
struct uspace_map *uspace_map_by_id(struct uspace *uspace, uint32_t id);
/** uspace_map_unref() - accepts NULL; takes the region's lock. Return: NULL. */
struct uspace_map *uspace_map_unref(struct uspace_map *map);

/**
 * uspace_map_settle() - one more attachment in traced processes: the contents come into the region
 *
 * The caller of this and of the next two holds the region's @apply.
 *
 * Errors: -EOPNOTSUPP with a reason when a program in the kernel uses it too.
 */
int uspace_map_settle(struct uspace_map *map, struct reason *reason);
/** uspace_map_leave() - one less; the contents stay where they are */
void uspace_map_leave(struct uspace_map *map);

/**
 * uspace_map_return() - bring the contents back into the kernel's map
 *
 * Errors: -EBUSY while attachments in traced processes use it, -EOPNOTSUPP for a bloom filter they
 * have used, -ETIMEDOUT when they do not let its contents be read to the end.
 */
int uspace_map_return(struct uspace_map *map);

/** uspace_map_kernel_enter() - one more attachment in the kernel, after uspace_map_return();
 *  uspace_map_kernel_leave() - one less. The caller holds the region's @apply. */
void uspace_map_kernel_enter(struct uspace_map *map);
void uspace_map_kernel_leave(struct uspace_map *map);

/**
 * uspace_map_to_memory() - an array that targets would have to map gets its memory in the region
 *
 * For one that comes to stand in a map of maps: nothing has to be done to processes then, however
 * many of them there are.
 *
 * Errors: -EOPNOTSUPP for one that the tool may map itself, or that a program names; it stays as it
 * is. -ENOSPC.
 */
int uspace_map_to_memory(struct uspace_map *map);

/* uspace_move.c, called by uspace_map.c only @fd: the tool's map */

int uspace_move_in(struct uspace_map *map, int fd);
int uspace_move_out(struct uspace_map *map, int fd);

/* uspace_prog.c */

/**
 * uspace_prog_new() - have a program verified and compiled
 * @insns: with maps by index into @maps
 * @ret_answer: the worker's, for its verdict and log; owned by the caller also on failure of the
 *	verdict, untouched on -errno
 *
 * Return: 0 (see the verdict, and @ret_prog->code), or -errno with a reason when there was no
 *answer.
 */
int uspace_prog_new(struct uspace *uspace, const struct verifier_prog *prog,
		    struct uspace_map *const *maps, uint32_t log_level, uint32_t log_size,
		    struct worker_answer *ret_answer, struct uspace_prog **ret_prog,
		    struct reason *reason);
/** uspace_prog_new_kernel() - one that only the kernel can run, for @why: what its maps are.
 * Return: 0 or -ENOMEM. */
int uspace_prog_new_kernel(struct uspace *uspace, struct uspace_map *const *maps, uint32_t map_cnt,
			   const struct reason *why, struct uspace_prog **ret_prog);
/** uspace_prog_records() - of its maps, as the worker is told of them: without where they are
 *  @ret_records: room for all */
void uspace_prog_records(const struct uspace_prog *prog, struct region_map *ret_records);
/**
 * uspace_prog_replace() - other code for the same program, wherever it is attached, now and later
 *
 * Runs under way go on in the old one. Takes the region's @apply. Errors: -ENOSPC, -EINVAL, -ERANGE
 * with a reason: nothing was changed.
 */
int uspace_prog_replace(struct uspace_prog *prog, const struct worker_answer *answer,
			struct reason *reason);
/** uspace_prog_refuse() - it has no USER placement after all; before anybody else knows @prog */
void uspace_prog_refuse(struct uspace_prog *prog, const struct reason *why);
struct uspace_prog *uspace_prog_ref(struct uspace_prog *prog);
struct uspace_prog *uspace_prog_unref(struct uspace_prog *prog);

/**
 * uspace_prog_settle() - one more use of it in processes: the contents of its maps come into the
 * region; pair with uspace_prog_leave(). The caller of both holds the region's @apply.
 *
 * Errors: those of uspace_map_settle(); nothing was changed.
 */
int uspace_prog_settle(struct uspace_prog *prog, struct reason *reason);
void uspace_prog_leave(struct uspace_prog *prog);

/**
 * uspace_prog_kernel_enter() - one more attachment of the program runs in the kernel: the contents
 * of its maps go there; pair with uspace_prog_kernel_leave(). Both take the region's @apply.
 *
 * Errors: with a reason, -EPERM when attachments in traced processes use one of its maps, -EBUSY
 * when they do not let one be read to the end.
 */
int uspace_prog_kernel_enter(struct uspace_prog *prog, struct reason *reason);
void uspace_prog_kernel_leave(struct uspace_prog *prog);
/* The same for who holds it. */
int uspace_prog_kernel_enter_held(struct uspace_prog *prog, struct reason *reason);
void uspace_prog_kernel_leave_held(struct uspace_prog *prog);

/* uspace_test_run.c */

/**
 * uspace_test_run() - have the caller run a program
 * @run: all but its first four members
 *
 * Takes the region's @apply until it has run. The call is answered then, unless there was an error.
 *
 * Errors: -EOPNOTSUPP with a reason: a map of it is used in the kernel; -EPERM with a reason.
 */
int uspace_test_run(struct call *call, struct uspace_prog *prog, struct shim_test_run *run);

/* uspace_link.c */

/**
 * struct uspace_link_request - what to attach; borrowed
 * @prog_fd: kernel object the tool holds for it, which holds its maps
 * @file_fd, @path: the probed file
 * @offsets, @cookies, @semaphores: @cnt of them; the last two may be NULL; semaphores are offsets
 *	in the file, 0 for none
 * @pid: one process in our numbering, or -1
 * @caller: the process that asks
 * @whole: fail unless every process could be reached: there is another way to serve them
 */
struct uspace_link_request {
	struct uspace_prog *prog;
	int prog_fd;
	int file_fd;
	const uint64_t *offsets, *cookies, *semaphores;
	uint32_t cnt;
	bool at_return;
	pid_t pid, caller;
	bool whole;
};

struct uspace_link;

/**
 * uspace_link_new() - attach; returns when every process that runs now has it
 *
 * Errors: -EOPNOTSUPP with a reason when the site cannot have USER placement; those of the kernel.
 */
int uspace_link_new(struct uspace *uspace, const struct uspace_link_request *request,
		    struct uspace_link **ret_link, struct reason *reason);

/** uspace_link_free() - detach from all processes. Accepts NULL. Return: NULL. */
struct uspace_link *uspace_link_free(struct uspace_link *link);

/*
 * Moving into the kernel; the caller of all of these holds the region's @apply.
 *
 * uspace_link_suspend() - its points are taken away, from wherever uspace_targets_hold() comes to
 *	after it; its program's maps are used by one less. -ENOMEM, -EMFILE: nothing was changed
 * uspace_link_resume() - the opposite, after which uspace_targets_apply() brings them back;
 *	errors: those of uspace_map_settle() and uspace_targets_add()
 * uspace_link_touches() - whether one cannot stay when the other goes: they share a map, or a file
 */
int uspace_link_suspend(struct uspace_link *link);
int uspace_link_resume(struct uspace_link *link, struct reason *reason);
bool uspace_link_touches(const struct uspace_link *a, const struct uspace_link *b);
/** uspace_link_is_in() - whether it has a point in a file */
bool uspace_link_is_in(const struct uspace_link *link, dev_t dev, ino_t ino);
/** uspace_link_forget() - a suspended one that has moved, or whose points are to stay away */
void uspace_link_forget(struct uspace_link *link);
/** uspace_link_prog(), uspace_link_prog_fd() - its program, and the kernel's; not owned */
struct uspace_prog *uspace_link_prog(const struct uspace_link *link);
int uspace_link_prog_fd(const struct uspace_link *link);
uint64_t uspace_link_cookie(const struct uspace_link *link);

/** struct uspace_link_stats - for bpfshimctl ps */
struct uspace_link_stats {
	uint64_t hits, missed;
	uint32_t targets, unreached; /* processes that have it; that run on without it */
	bool full;		     /* better code than the first is in place */
	uint32_t filtered; /* that had it, until they asked for seccomp filters of their own */
};
void uspace_link_stats(struct uspace_link *link, struct uspace_link_stats *ret_stats);

/* uspace_elem.c */

/** uspace_elem() - BPF_MAP_*_ELEM and _GET_NEXT_KEY of a map in the region.
 *  Return: result of the call, or CALL_CONTINUE when the map is the kernel's. */
int uspace_elem(struct call *call);

/** uspace_batch() - the same for BPF_MAP_*_BATCH */
int uspace_batch(struct call *call);

/* uspace_text.c, called by the event thread */

/** uspace_text_take() - a line that a program printed
 *  @data: room for REGION_EVENT_MAX bytes */
void uspace_text_take(struct uspace *uspace, uint32_t slot, const struct region_event *event,
		      unsigned char *data);
/** uspace_text_report() - how many were not shown */
void uspace_text_report(struct uspace *uspace);

/* uspace_event.c */

/** uspace_events_start() - from now on events are moved; idempotent */
int uspace_events_start(struct uspace *uspace);
/**
 * uspace_events_settle() - until events that were written before the call are in the tool's buffers
 *
 * For calls after which a tool takes what it finds there for everything. Gives up after a
 * second or so: nobody waits for ever for a thread whose rings others write to.
 */
void uspace_events_settle(struct uspace *uspace);
/** uspace_events_stop() - ends the thread */
void uspace_events_stop(struct uspace *uspace);

/* uspace_unwind.c */

/** uspace_unwind_watch() - before return probes are attached: catch processes that load an unwinder
 *  from where the caller's loader would find one. Errors: those of fanotify, with a reason. */
int uspace_unwind_watch(struct call *call);
/** uspace_unwind_is() - whether a watched file is one of these */
bool uspace_unwind_is(const struct uspace *uspace, dev_t dev, ino_t ino);

/* uspace_output.c */

/** uspace_outputs_new() - for a perf event array that is being made; sets the size of its counters.
 *  Return: 0, or what the kernel says of such an array. */
int uspace_outputs_new(struct uspace_map *map);
void uspace_outputs_free(struct uspace_map *map);

/** uspace_output_update() - the tool's BPF_MAP_UPDATE_ELEM of a perf event array, done for it.
 *  Return: result of the call, or CALL_CONTINUE when the kernel must say what is wrong with it. */
int uspace_output_update(struct call *call, struct uspace_map *map);
/** uspace_output_delete() - likewise BPF_MAP_DELETE_ELEM */
int uspace_output_delete(struct call *call, struct uspace_map *map);

/**
 * uspace_output_report() - have the kernel tell the tool what was lost since the last report
 *
 * The kernel does so in front of the next event of that buffer: call it before events are flushed
 * that were read from the ring after the loss. Only for the event thread.
 */
void uspace_output_report(struct uspace_map *map, uint32_t slot);

/**
 * uspace_outputs_look() - the same for one map, whether or not an event of its is read any more:
 * others may have filled the ring
 * @last: what the call before returned, 0 at first: maps take turns. Only for the event thread.
 */
uint32_t uspace_outputs_look(struct uspace *uspace, uint32_t last);

/* uspace_table.c */

/**
 * struct uspace_entry - what stands in a map of programs or of maps
 * @prog, @map: one of them, a reference
 * @foreign: something stands there that processes cannot use
 */
struct uspace_entry {
	struct uspace_prog *prog;
	struct uspace_map *map;
	bool foreign;
};

/** uspace_table_new() - for such a map that is being made: room for its entries. Return: 0 or
 *  -ENOMEM. */
int uspace_table_new(struct uspace_map *map);
/** uspace_table_place() - empty it, once its record says where it is */
void uspace_table_place(struct uspace_map *map);
void uspace_table_free(struct uspace_map *map);
/** uspace_table_clear() - the kernel's map is gone: what is in it is let go, which may use it
 * itself. For any map, under any lock but the region's @lock. */
void uspace_table_clear(struct uspace_map *map);
/** uspace_table_recode() - the code of @prog is elsewhere now, wherever it is an entry, and mapped
 *  wherever it was; the region's @apply is held */
void uspace_table_recode(struct uspace *uspace, const struct uspace_prog *prog);
/** uspace_table_settle(), uspace_table_return() - what uspace_map_settle() and uspace_map_return()
 *  do, for what stands in it */
int uspace_table_settle(struct uspace_map *map, struct reason *reason);
int uspace_table_return(struct uspace_map *map);
/** uspace_table_rest() - when no attachment uses a map of maps any more, what stands in it has a
 * user less. For any map; the caller holds the region's @apply. */
void uspace_table_rest(struct uspace_map *map);
/* What stands in a map of maps has another user in the kernel, or one less. For any map. */
void uspace_table_kernel_enter(struct uspace_map *map);
void uspace_table_kernel_leave(struct uspace_map *map);
/** uspace_table_each() - call @fn with each entry, until it returns anything but 0, and return that
 */
typedef int uspace_table_fn(const struct uspace_entry *entry, void *data);
int uspace_table_each(struct uspace_map *map, uspace_table_fn *fn, void *data);
/** uspace_table_command() - an element command of the tool's on it. Return: result of the call, or
 *  CALL_CONTINUE when it is for the kernel alone. */
int uspace_table_command(struct call *call, struct uspace_map *map);
/** uspace_table_batch() - the same for a batch (uspace_table_batch.c) */
int uspace_table_batch(struct call *call, struct uspace_map *map);
/** uspace_table_change() - one element, for these two
 *  @map_fd: ours, of the tool's map; @cmd: BPF_MAP_UPDATE_ELEM or BPF_MAP_DELETE_ELEM; @guest_fd:
 *of what is put in; @flags: of an update */
int uspace_table_change(struct call *call, struct uspace_map *map, int map_fd, int cmd,
			const void *key, int guest_fd, uint64_t flags);
/** uspace_table_lose() - the kernel has taken @key out. The caller holds the region's @apply. */
void uspace_table_lose(struct uspace_map *map, const void *key);

/* uspace_ring.c */

/** uspace_ring_new() - for a ring buffer that is being made: its counters. Return: 0 or -ENOSPC. */
int uspace_ring_new(struct uspace_map *map);
void uspace_ring_free(struct uspace_map *map);
/** uspace_ring_open() - from now on records can be taken @fd: the tool's map */
int uspace_ring_open(struct uspace_map *map, int fd);

/* The rest is for the event thread. */

/** uspace_ring_take() - one record, if its turn has come and there is room; its bytes are read then
 *  Return: false: it stays where it is */
bool uspace_ring_take(struct uspace_map *map, uint32_t slot, const struct region_event *event,
		      void *data);
/** uspace_rings_flush() - at the end of a pass: into the tools' rings
 *  Return: whether something waits for a tool, or for a program that is late */
bool uspace_rings_flush(struct uspace *uspace);
/** uspace_rings_give_up() - nobody will try again */
void uspace_rings_give_up(struct uspace *uspace);
/** uspace_rings_settle() - nothing is on its way: programs that were killed after they had claimed
 *  room did not use it */
void uspace_rings_settle(struct uspace *uspace);
