/* SPDX-License-Identifier: MIT */
/*
 * Plans: records of sites are written to the region, what targets map is listed.
 */
#include "notifier/uspace_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "kernel-bridge/kobject.h"
#include "notifier/cgroup.h"
#include "notifier/tenant.h"

#define PAGE	       4096ull
#define FIXED_SEGMENTS 32u /* at most */
/* First pieces of the parts that fill up; every other one doubles what there is. */
#define CODE_PIECE 0x80000ull
#define MAPS_PIECE 0x100000ull

static void add_segment(struct uspace_plan *plan, struct shim_segment segment)
{
	segment.size = (segment.size + PAGE - 1) & ~(PAGE - 1);
	plan->segments[plan->segment_cnt++] = segment;
}

/* Pieces of a part of @size bytes, as many as hold what is used of it. */
static void add_pieces(struct uspace_plan *plan, struct shim_segment part, uint64_t used,
		       uint64_t piece)
{
	const uint64_t start = part.offset, end = part.offset + part.size;

	part.size = piece;
	do {
		if (part.size > end - part.offset)
			part.size = end - part.offset;
		add_segment(plan, part);
		part.offset += part.size;
		part.file_offset += part.size;
		part.size = part.offset - start;
	} while (part.offset < used && part.offset < end);
}

/* What slots have in the shared part. */
static void add_shared(struct uspace_plan *plan, struct shim_segment part, uint64_t offset,
		       uint64_t size)
{
	part.offset = REGION_SHARED + offset;
	part.file_offset = offset;
	part.size = size;
	add_segment(plan, part);
}

static uint64_t used_of(struct uspace *uspace, const struct uspace_space *space)
{
	uint64_t used;

	pthread_mutex_lock(&uspace->lock);
	used = space->next;
	pthread_mutex_unlock(&uspace->lock);
	return used;
}

static ino_t ino_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

static bool needs_stacks(const struct uspace_plan *plan)
{
	for (uint32_t i = 0; i < plan->site_cnt; i++)
		if (plan->sites[i].want.check_len)
			return true;
	return false;
}

/* What every target maps, in the order of shim/region.h. After all that is sent to targets has been
 * written: this is where it has to be found. */
static void fixed_segments(struct uspace *uspace, struct uspace_plan *plan)
{
	const struct region_header *header = (void *)uspace->base;
	const int rw = PROT_READ | PROT_WRITE;
	struct shim_segment code = {.offset = REGION_TEXT,
				    .size = REGION_CODE_FILE_SIZE,
				    .prot = PROT_READ | PROT_EXEC,
				    .fd = uspace->code_fd,
				    .ino = ino_of(uspace->code_fd)};
	struct shim_segment shared = {
		.prot = rw, .fd = uspace->shared_fd, .ino = ino_of(uspace->shared_fd)};
	struct shim_segment maps = shared;
	uint64_t slots = header->slots;

	add_pieces(plan, code, used_of(uspace, &uspace->code), CODE_PIECE);
	add_shared(plan, shared, 0, sizeof(struct region_shared));
	add_shared(plan, shared, REGION_COUNTERS,
		   slots * REGION_ATTACH_MAX * sizeof(struct region_counter));
	add_shared(plan, shared, REGION_SCRATCH, slots * REGION_SCRATCH_SIZE);
	add_shared(plan, shared, REGION_RINGS, slots * REGION_RING_SIZE);
	maps.offset = REGION_MAPS;
	maps.size = REGION_MAPS_SIZE;
	maps.file_offset = REGION_MAPS - REGION_SHARED;
	add_pieces(plan, maps, used_of(uspace, &uspace->map_memory), MAPS_PIECE);
	add_segment(plan, (struct shim_segment){
				  .offset = REGION_CONFIG, .size = PAGE, .prot = rw, .fd = -1});
	add_segment(plan, (struct shim_segment){.offset = REGION_CACHE,
						.size = PAGE,
						.prot = rw,
						.fd = -1,
						.wipe_on_fork = true});
	add_segment(plan, (struct shim_segment){.offset = REGION_SHADOW,
						.size = REGION_SHADOW_SIZE,
						.prot = rw,
						.fd = -1});
	if (needs_stacks(plan))
		add_segment(plan, (struct shim_segment){.offset = REGION_STACKS,
							.size = REGION_STACKS_SIZE,
							.prot = rw,
							.fd = -1});
	plan->fixed_segments = plan->segment_cnt;
}

static bool has_segment(const struct uspace_plan *plan, uint64_t offset)
{
	for (uint32_t i = 0; i < plan->segment_cnt; i++)
		if (plan->segments[i].offset == offset)
			return true;
	return false;
}

/* A kernel array that a program uses: the same bytes in the kernel, the tool and every target. Of a
 * ring buffer the page that says how far the tool has read. */
static int add_array(struct uspace_plan *plan, const struct uspace_map *map)
{
	const struct region_map *record = &map->record;
	const bool ring = record->type == BPF_MAP_TYPE_RINGBUF;
	struct shim_segment *grown;
	int fd;

	if ((!map->mapped && !ring) || has_segment(plan, record->data))
		return 0;
	grown = realloc(plan->segments, (plan->segment_cnt + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	plan->segments = grown;
	fd = kobject_open(KOBJECT_MAP, map->real_id);
	if (fd < 0)
		return fd;
	plan->segments[plan->segment_cnt++] = (struct shim_segment){
		.offset = record->data,
		.size = (record->data_size + PAGE - 1) & ~(PAGE - 1),
		.prot = ring || record->flags & BPF_F_RDONLY_PROG ? PROT_READ
								  : PROT_READ | PROT_WRITE,
		.fd = fd,
		.ino = ino_of(fd),
	};
	return 0;
}

/**
 * struct reached - maps of programs and of maps that programs may come to, each once
 * @tables: with a reference; owned
 */
struct reached {
	struct uspace_plan *plan;
	struct uspace_map **tables;
	uint32_t cnt, cap, serial;
};

static int add_table(struct reached *reached, struct uspace_map *map)
{
	if (map->plan_serial == reached->serial)
		return 0;
	if (reached->cnt == reached->cap) {
		uint32_t cap = reached->cap ? reached->cap * 2 : 16;
		struct uspace_map **grown = realloc(reached->tables, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		reached->tables = grown;
		reached->cap = cap;
	}
	map->plan_serial = reached->serial;
	reached->tables[reached->cnt++] = uspace_map_ref(map);
	return 0;
}

static int add_maps(struct reached *reached, const struct uspace_prog *prog)
{
	int r = 0;

	for (uint32_t i = 0; i < prog->map_cnt && r == 0; i++)
		r = prog->maps[i]->table ? add_table(reached, prog->maps[i])
					 : add_array(reached->plan, prog->maps[i]);
	return r;
}

static int add_entry(const struct uspace_entry *entry, void *data)
{
	struct reached *reached = data;

	if (entry->map)
		return add_array(reached->plan, entry->map);
	return entry->prog ? add_maps(reached, entry->prog) : 0;
}

/* What programs at the sites may come to. Tables are looked into in turn, not within each other:
 * how long a chain they make is the tenant's. */
static int add_arrays(struct uspace *uspace, struct uspace_plan *plan)
{
	struct reached reached = {.plan = plan, .serial = ++uspace->plan_serial};
	const struct uspace_point *point;
	const struct uspace_site *site;
	int r = 0;

	if (uspace->test_run)
		r = add_maps(&reached, uspace->test_run);
	list_for_each(site, &uspace->sites, node)
		list_for_each(point, &site->points, node) if (r == 0) r =
			add_maps(&reached, point->prog);
	for (uint32_t i = 0; i < reached.cnt; i++) {
		if (r == 0)
			r = uspace_table_each(reached.tables[i], add_entry, &reached);
		uspace_map_unref(reached.tables[i]);
	}
	free(reached.tables);
	return r;
}

bool uspace_plan_grows(const struct uspace_plan *plan, const struct uspace_plan *old)
{
	for (uint32_t i = 0; i < plan->segment_cnt; i++)
		if (!old || !has_segment(old, plan->segments[i].offset))
			return true;
	return false;
}

static uint32_t flags_of(const struct uspace_point *point)
{
	return (point->at_return ? REGION_ATTACH_RETURN : 0) |
	       (point->pid > 0 ? REGION_ATTACH_NO_FORK : 0);
}

/* Whether a process has a point; @pid -1: one that no filter names. */
static bool has_point(const struct uspace_point *point, pid_t pid, bool returns)
{
	return (point->pid <= 0 || point->pid == pid) && (returns || !point->at_return);
}

static uint64_t record_size(uint32_t cnt)
{
	return sizeof(struct region_site) + cnt * sizeof(struct region_attach);
}

static void free_record(struct uspace *uspace, uint64_t at)
{
	const struct region_site *record = (void *)(uspace->base + at);

	if (at && at != REGION_UNWINDER)
		uspace_space_give(uspace, &uspace->code, at, record_size(record->cnt));
}

static void free_records(struct uspace *uspace, uint64_t record, uint64_t without)
{
	free_record(uspace, record);
	if (without != record)
		free_record(uspace, without);
}

void plan_site_free(struct uspace *uspace, struct plan_site *site)
{
	if (!site)
		return;
	if (uspace)
		free_records(uspace, site->want.site, site->want.without_returns);
	for (uint32_t i = 0; uspace && i < site->filter_cnt; i++)
		free_records(uspace, site->filters[i].record, site->filters[i].without_returns);
	plan_site_free(uspace, site->older);
	free(site->filters);
	free(site);
}

static void switch_off_record(struct uspace *uspace, uint64_t at, const struct uspace_point *point)
{
	struct region_site *record = (void *)(uspace->base + at);

	for (uint32_t i = 0; at && i < record->cnt; i++)
		if (record->attach[i].counter == point->counter &&
		    record->attach[i].code == point->prog->code)
			__atomic_store_n(&record->attach[i].flags,
					 flags_of(point) | REGION_ATTACH_OFF, __ATOMIC_RELEASE);
}

void plan_site_switch_off(struct uspace *uspace, const struct plan_site *site,
			  const struct uspace_point *point)
{
	for (; site; site = site->older) {
		switch_off_record(uspace, site->want.site, point);
		switch_off_record(uspace, site->want.without_returns, point);
		for (uint32_t i = 0; i < site->filter_cnt; i++) {
			switch_off_record(uspace, site->filters[i].record, point);
			switch_off_record(uspace, site->filters[i].without_returns, point);
		}
	}
}

static void recode_record(struct uspace *uspace, uint64_t at, uint64_t from, uint64_t to)
{
	struct region_site *record = (void *)(uspace->base + at);

	/* The code was written before: whoever reads its place finds it. */
	for (uint32_t i = 0; at && i < record->cnt; i++)
		if (record->attach[i].code == from)
			__atomic_store_n(&record->attach[i].code, to, __ATOMIC_RELEASE);
}

void plan_site_recode(struct uspace *uspace, const struct plan_site *site, uint64_t from,
		      uint64_t to)
{
	for (; site; site = site->older) {
		recode_record(uspace, site->want.site, from, to);
		recode_record(uspace, site->want.without_returns, from, to);
		for (uint32_t i = 0; i < site->filter_cnt; i++) {
			recode_record(uspace, site->filters[i].record, from, to);
			recode_record(uspace, site->filters[i].without_returns, from, to);
		}
	}
}

/* Write the record of the points that a process has. */
static int write_record(struct uspace *uspace, const struct uspace_site *site, pid_t pid,
			bool returns, uint64_t *ret_offset, struct reason *reason)
{
	const struct uspace_point *point;
	struct region_site *record;
	uint32_t cnt = 0;
	uint64_t at;

	list_for_each(point, &site->points, node) cnt += has_point(point, pid, returns);
	*ret_offset = 0;
	if (!cnt)
		return 0;
	at = uspace_space_take(uspace, &uspace->code, record_size(cnt));
	if (!at)
		return reason_set(reason, -ENOSPC, "the tenant's code part is full");
	record = (void *)(uspace->base + at);
	*record = (struct region_site){0};
	list_for_each(point, &site->points, node)
	{
		if (!has_point(point, pid, returns))
			continue;
		record->attach[record->cnt++] = (struct region_attach){
			.code = point->prog->code,
			.cookie = point->cookie,
			.counter = point->counter,
			.flags = flags_of(point),
		};
		record->returns += point->at_return;
	}
	*ret_offset = at;
	return 0;
}

/* With its return probes and without them, which is the same where there are none. */
static int write_records(struct uspace *uspace, const struct uspace_site *site, pid_t pid,
			 uint64_t *ret_record, uint64_t *ret_without, struct reason *reason)
{
	const struct uspace_point *point;
	bool returns = false;
	int r;

	list_for_each(point, &site->points, node) returns |=
		has_point(point, pid, true) && point->at_return;
	r = write_record(uspace, site, pid, true, ret_record, reason);
	*ret_without = *ret_record;
	return r < 0 || !returns ? r : write_record(uspace, site, pid, false, ret_without, reason);
}

static bool has_filter(const struct plan_site *site, pid_t pid)
{
	for (uint32_t i = 0; i < site->filter_cnt; i++)
		if (site->filters[i].pid == pid)
			return true;
	return false;
}

/* Records of a site as its points are now. */
static int make_site(struct uspace *uspace, const struct uspace_site *site, struct plan_site *made,
		     struct reason *reason)
{
	const struct uspace_point *point;
	uint32_t cnt = 0;
	int r;

	made->want = site->want;
	if (site->unwinder) {
		made->want.site = made->want.without_returns = REGION_UNWINDER;
		return 0;
	}
	r = write_records(uspace, site, -1, &made->want.site, &made->want.without_returns, reason);
	list_for_each(point, &site->points, node) cnt += point->pid > 0;
	made->filters = cnt ? calloc(cnt, sizeof(*made->filters)) : NULL;
	if (cnt && !made->filters)
		return -ENOMEM;
	list_for_each(point, &site->points, node)
	{
		struct plan_filter *filter;

		if (r < 0 || point->pid <= 0 || has_filter(made, point->pid))
			continue;
		filter = &made->filters[made->filter_cnt++];
		filter->pid = point->pid;
		r = write_records(uspace, site, point->pid, &filter->record,
				  &filter->without_returns, reason);
	}
	return r;
}

/* A plan has copies; the site keeps what belongs to them. */
static int copy_site(struct plan_site *to, const struct plan_site *from)
{
	*to = *from;
	to->older = NULL;
	to->filters = NULL;
	if (!from->filter_cnt)
		return 0;
	to->filters = calloc(from->filter_cnt, sizeof(*to->filters));
	if (!to->filters)
		return -ENOMEM;
	memcpy(to->filters, from->filters, from->filter_cnt * sizeof(*to->filters));
	return 0;
}

static int rewrite_site(struct uspace *uspace, struct uspace_site *site, struct reason *reason)
{
	struct plan_site *made = calloc(1, sizeof(*made));
	int r = made ? make_site(uspace, site, made, reason) : -ENOMEM;

	if (r < 0) {
		plan_site_free(uspace, made);
		return r;
	}
	/* Records of a change that failed on its way were never sent to anybody. */
	if (site->retired)
		plan_site_free(uspace, site->records);
	else
		site->retired = site->records;
	site->records = made;
	return 0;
}

static int add_site(struct uspace *uspace, struct uspace_plan *plan, struct uspace_site *site,
		    struct reason *reason)
{
	int r = site->changed || !site->records ? rewrite_site(uspace, site, reason) : 0;

	return r < 0 ? r : copy_site(&plan->sites[plan->site_cnt++], site->records);
}

static int add_sites(struct uspace *uspace, struct uspace_plan *plan, bool changed,
		     struct reason *reason)
{
	struct uspace_site *site;
	int r = 0;

	/* Whether a process may have return probes is asked anew each time. */
	list_for_each(site, &uspace->sites,
		      node) if ((site->changed || site->unwinder) == changed && r == 0) r =
		add_site(uspace, plan, site, reason);
	return r;
}

int uspace_plan_new(struct uspace *uspace, struct uspace_plan **ret_plan, struct reason *reason)
{
	const struct region_header *header = (void *)uspace->base;
	struct uspace_plan *plan = calloc(1, sizeof(*plan));
	const struct uspace_site *site;
	uint32_t cnt = 0;
	int r;

	if (!plan)
		return -ENOMEM;
	list_for_each(site, &uspace->sites, node) cnt++;
	plan->sites = calloc(cnt + 1, sizeof(*plan->sites));
	plan->segments = calloc(FIXED_SEGMENTS, sizeof(*plan->segments));
	if (!plan->sites || !plan->segments) {
		uspace_plan_free(plan);
		return -ENOMEM;
	}
	plan->enter = header->enter;
	plan->enter_small = header->enter_small;
	plan->nonce = uspace->nonce;
	plan->void_ino = ino_of(uspace->void_fd);
	plan->cgroup_fd = uspace->tenant->cgroup->fd;
	plan->cgroup_id = uspace->tenant->scope.cgroup_id;
	plan->seccomp_filters = uspace->seccomp_filters;
	plan->own_filters = &header->own_filters;
	r = add_sites(uspace, plan, true, reason);
	plan->changed_cnt = plan->site_cnt;
	if (r == 0)
		r = add_sites(uspace, plan, false, reason);
	if (r == 0)
		fixed_segments(uspace, plan);
	if (r == 0)
		r = add_arrays(uspace, plan);
	if (r < 0) {
		uspace_plan_free(plan);
		return r;
	}
	*ret_plan = plan;
	return 0;
}

bool uspace_plan_shrinks(const struct uspace_plan *plan, const struct uspace_plan *old)
{
	return old && uspace_plan_grows(old, plan);
}

bool uspace_plan_wants(const struct uspace_plan *plan, dev_t dev, ino_t ino)
{
	for (uint32_t i = 0; plan && i < plan->site_cnt; i++)
		if (plan->sites[i].want.site && plan->sites[i].want.dev == dev &&
		    plan->sites[i].want.ino == ino)
			return true;
	return false;
}

struct uspace_plan *uspace_plan_free(struct uspace_plan *plan)
{
	if (!plan)
		return NULL;
	for (uint32_t i = plan->fixed_segments; i < plan->segment_cnt; i++)
		close_fd(plan->segments[i].fd);
	for (uint32_t i = 0; i < plan->site_cnt; i++)
		free(plan->sites[i].filters);
	free(plan->segments);
	free(plan->sites);
	free(plan);
	return NULL;
}

/* The worst first. */
static enum shim_state worst(const enum shim_state *states, uint32_t cnt)
{
	static const enum shim_state order[] = {SHIM_FAILED, SHIM_FOREIGN, SHIM_EARLY, SHIM_DONE,
						SHIM_ABSENT};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		for (uint32_t k = 0; k < cnt; k++)
			if (states[k] == order[i])
				return order[i];
	return SHIM_ABSENT;
}

struct shim_region uspace_plan_region(const struct uspace_plan *plan)
{
	return (struct shim_region){.segments = plan->segments,
				    .segment_cnt = plan->segment_cnt,
				    .mapped = plan->mapped,
				    .enter = plan->enter,
				    .enter_small = plan->enter_small,
				    .void_ino = plan->void_ino};
}

int uspace_plan_run(const struct uspace_plan *plan, uint32_t cnt, pid_t pid, pid_t stopped,
		    int armed_fd, enum shim_state *ret_state, struct reason *reason)
{
	cleanup_free struct shim_want *wants = calloc(plan->site_cnt + 1, sizeof(*wants));
	cleanup_free enum shim_state *states = calloc(cnt + 1, sizeof(*states));
	struct shim_plan shim = {
		.region = uspace_plan_region(plan),
		.wants = wants,
		.want_cnt = cnt,
		.rest = wants + cnt,
		.rest_cnt = plan->site_cnt - cnt,
		.get_fd_cmd = USPACE_FD_CMD,
		.get_fd_nonce = plan->nonce,
		.cgroup_id = plan->cgroup_id,
		.armed_fd = armed_fd,
		.cgroup_fd = plan->cgroup_fd,
		.seccomp_filters = plan->seccomp_filters,
		.own_filters = plan->own_filters,
		.test_run = plan->test_run,
	};
	int r;

	if (!wants || !states)
		return -ENOMEM;
	for (uint32_t i = 0; i < plan->site_cnt; i++) {
		const struct plan_site *site = &plan->sites[i];

		wants[i] = site->want;
		for (uint32_t k = 0; k < site->filter_cnt; k++)
			if (site->filters[k].pid == pid) {
				wants[i].site = site->filters[k].record;
				wants[i].without_returns = site->filters[k].without_returns;
			}
	}
	if (plan->ret_held)
		r = shim_apply_hold(pid, &shim, states, plan->ret_held, reason);
	else
		r = stopped ? shim_apply_stopped(pid, stopped, &shim, states, reason)
			    : shim_apply(pid, &shim, states, reason);
	*ret_state = r < 0 ? SHIM_FAILED : worst(states, cnt);
	return r;
}
