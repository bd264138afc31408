/* SPDX-License-Identifier: MIT */
/*
 * Attaches a program that counts in maps of maps to a function of its own, calls that in threads or
 * children, and exchanges the maps meanwhile. Nothing may be counted twice or be lost.
 *
 * usage: nested swap [THREADS [CALLS]]	two buffers take turns
 *	nested fresh [THREADS [CALLS]]	each buffer is a new map
 *	nested pids [CHILDREN [CALLS]]	a map for each child, some taken out while it runs
 *	nested answers			what the kernel answers to changes of such maps
 *	nested kernel			with a program in the kernel that has the same maps
 *	nested kernel-first		which is there before
 *	nested many [MAPS [MAPPED]]	so many arrays, of which some may be mapped by the tool
 *	nested endless			exchanges until it is killed; a child goes on
 * Prints a line for each result; exit status 1 when one is wrong.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nested.h"

void nested_hit(uint64_t number);
__attribute__((noinline)) void nested_hit(uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(number) : "memory");
}

static struct bpf_object *object;
static uint32_t threads = 4, max_pids = 64;
static uint64_t calls = 200000;
static atomic_uint running;

static int map_fd(const char *name)
{
	return bpf_map__fd(bpf_object__find_map_by_name(object, name));
}

static struct nested_totals totals(void)
{
	struct nested_totals totals = {0};
	uint32_t zero = 0;

	bpf_map_lookup_elem(map_fd("nested.bss"), &zero, &totals);
	return totals;
}

static struct bpf_link *probe;

static int attach(void)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "nested_hit");
	struct bpf_program *prog = bpf_object__find_program_by_name(object, "on_hit");

	probe = bpf_program__attach_uprobe_opts(prog, -1, "/proc/self/exe", 0, &opts);
	if (probe)
		return 0;
	fprintf(stderr, "nested: cannot attach: %s\n", strerror(errno));
	return -1;
}

static int load(const char *program, int kernel)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s.bpf.o", program);
	object = bpf_object__open_file(path, NULL);
	if (!object)
		return -1;
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "by_pid"), max_pids);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "mapped"), max_pids);
	bpf_program__set_autoload(bpf_object__find_program_by_name(object, "on_getpgid"), kernel);
	if (bpf_object__load(object) < 0) {
		fprintf(stderr, "nested: cannot load %s: %s\n", path, strerror(errno));
		return -1;
	}
	return kernel ? 0 : attach();
}

static void *call_all(void *arg)
{
	for (uint64_t i = 0; i < calls; i++)
		nested_hit(i + (uintptr_t)arg);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void start(void)
{
	pthread_t thread;

	atomic_store(&running, threads);
	for (uint32_t i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, call_all, (void *)(uintptr_t)i) == 0)
			pthread_detach(thread);
}

/* All that is in a buffer; it is empty then. */
static uint64_t drain(int fd)
{
	uint64_t sum = 0, value;
	uint32_t key;

	while (bpf_map_get_next_key(fd, NULL, &key) == 0) {
		if (bpf_map_lookup_elem(fd, &key, &value) < 0 || bpf_map_delete_elem(fd, &key) < 0)
			break;
		sum += value;
	}
	return sum;
}

static int put(const char *map, uint32_t key, int fd)
{
	return bpf_map_update_elem(map_fd(map), &key, &fd, BPF_ANY);
}

/* The buffer that was taken out is read at once; what comes into it later came too late. */
static int swap(void)
{
	int fds[2] = {map_fd("first"), map_fd("second")};
	uint64_t sum = 0, late = 0, turns = 0;
	struct nested_totals all;

	start();
	for (; atomic_load(&running) || turns < 4; turns++) {
		late += drain(fds[(turns + 1) % 2]);
		if (put("buffers", 0, fds[(turns + 1) % 2]) < 0)
			return -1;
		sum += drain(fds[turns % 2]);
	}
	sum += drain(fds[0]) + drain(fds[1]);
	all = totals();
	fprintf(stderr, "%llu turns\n", (unsigned long long)turns);
	printf("%llu calls, %llu counted, %llu late, %llu without a buffer, %llu without room\n",
	       (unsigned long long)all.calls, (unsigned long long)sum, (unsigned long long)late,
	       (unsigned long long)all.no_buffer, (unsigned long long)all.no_element);
	return all.calls == threads * calls && sum + late == all.calls ? 0 : -1;
}

static int new_counts(void)
{
	return bpf_map_create(BPF_MAP_TYPE_HASH, "fresh", 4, 8, NESTED_KEYS * 2, NULL);
}

/* And a hit that finds no buffer is counted as such. */
static int fresh(void)
{
	uint64_t sum = 0, turns = 0;
	struct nested_totals all;
	int old = map_fd("first");
	uint32_t zero = 0;

	start();
	for (; atomic_load(&running) || turns < 4; turns++) {
		int fd = turns % 8 == 7 ? -1 : new_counts();

		if (fd >= 0 ? put("buffers", 0, fd) < 0
			    : bpf_map_delete_elem(map_fd("buffers"), &zero) < 0)
			return -1;
		if (old >= 0)
			sum += drain(old);
		if (turns && old >= 0)
			close(old);
		old = fd;
	}
	sum += old >= 0 ? drain(old) : 0;
	all = totals();
	fprintf(stderr, "%llu turns, %llu without a buffer\n", (unsigned long long)turns,
		(unsigned long long)all.no_buffer);
	printf("%llu calls, all counted: %d, some without a buffer: %d\n",
	       (unsigned long long)all.calls,
	       sum + all.no_buffer + all.no_element == all.calls, all.no_buffer > 0);
	return sum + all.no_buffer == threads * calls ? 0 : -1;
}

static uint64_t sum_of(int fd)
{
	uint64_t sum = 0, value;

	for (uint32_t i = 0; i < NESTED_NUMBERS; i++)
		sum += bpf_map_lookup_elem(fd, &i, &value) == 0 ? value : 0;
	return sum;
}

/* Every other child loses its map when it is half through. */
static int pids(uint32_t children)
{
	struct child {
		pid_t pid;
		int map, go[2], half[2];
	} *all = calloc(children, sizeof(*all));
	uint64_t sum = 0;
	char byte = 0;

	for (uint32_t i = 0; i < children; i++) {
		struct child *child = &all[i];

		if (pipe(child->go) < 0 || pipe(child->half) < 0)
			return -1;
		child->pid = fork();
		if (child->pid == 0) {
			if (read(child->go[0], &byte, 1) != 1)
				_exit(1);
			for (uint64_t k = 0; k < calls; k++) {
				nested_hit(k);
				if (k == calls / 2 && write(child->half[1], &byte, 1) != 1)
					_exit(1);
			}
			_exit(0);
		}
		child->map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "child", 4, 8, NESTED_NUMBERS, NULL);
		if (put("by_pid", (uint32_t)child->pid, child->map) < 0)
			return -1;
		if (write(child->go[1], &byte, 1) != 1)
			return -1;
	}
	for (uint32_t i = 0; i < children; i++) {
		uint32_t key = (uint32_t)all[i].pid;

		if (read(all[i].half[0], &byte, 1) != 1)
			return -1;
		if (i % 2 && bpf_map_delete_elem(map_fd("by_pid"), &key) < 0)
			return -1;
	}
	for (uint32_t i = 0; i < children; i++) {
		uint64_t own;
		int status;

		waitpid(all[i].pid, &status, 0);
		own = sum_of(all[i].map);
		sum += own;
		if (status || (i % 2 ? own <= calls / 2 : own != calls))
			printf("child %u: status %d, %llu\n", i, status, (unsigned long long)own);
		if (put("by_pid", (uint32_t)all[i].pid, all[i].map) < 0 && i % 2 == 0)
			printf("child %u: %s\n", i, strerror(errno));
	}
	printf("%llu calls, all counted: %d\n", (unsigned long long)totals().calls,
	       sum + totals().strangers == totals().calls);
	free(all);
	return sum + totals().strangers == children * calls ? 0 : -1;
}

static int answer(const char *what, int r)
{
	printf("%s: %d\n", what, r < 0 ? -errno : r);
	return r;
}

static int id_is(const char *map, const void *key, int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), id = 0;
	int r = bpf_map_lookup_elem(map_fd(map), key, &id);

	if (r < 0)
		return r;
	bpf_obj_get_info_by_fd(fd, &info, &len);
	return id == info.id;
}

static int new_map(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries,
		   uint32_t flags, int inner)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags,
		    .inner_map_fd = inner < 0 ? 0 : (uint32_t)inner);

	return bpf_map_create(type, "any", key, value, entries, &opts);
}

static void batches(void)
{
	uint32_t keys[4] = {1, 2, 3, 4}, ids[4] = {0}, cnt = 3, place = 0, gone = 9;
	int fds[4], by_pid = map_fd("by_pid"), buffers = map_fd("buffers");

	for (int i = 0; i < 4; i++)
		fds[i] = new_map(BPF_MAP_TYPE_ARRAY, 4, 8, NESTED_NUMBERS, 0, -1);
	answer("batch of three", bpf_map_update_batch(by_pid, keys, fds, &cnt, NULL));
	answer("were done", (int)cnt);
	answer("second is the second", id_is("by_pid", &keys[1], fds[1]));
	fds[3] = -1;
	cnt = 4;
	answer("batch with none at the end", bpf_map_update_batch(by_pid, keys, fds, &cnt, NULL));
	answer("were done", (int)cnt);
	cnt = 4;
	answer("batch is read", bpf_map_lookup_batch(by_pid, NULL, &place, keys, ids, &cnt, NULL));
	answer("were read", (int)cnt);
	for (uint32_t i = 0; i < cnt; i++)
		answer("is what the id says", id_is("by_pid", &keys[i], fds[keys[i] - 1]));
	cnt = 1;
	answer("batch is deleted", bpf_map_delete_batch(by_pid, &keys[0], &cnt, NULL));
	cnt = 1;
	answer("one that is not there", bpf_map_delete_batch(by_pid, &gone, &cnt, NULL));
	answer("were done", (int)cnt);
	cnt = 4;
	answer("batch is taken",
	       bpf_map_lookup_and_delete_batch(by_pid, NULL, &place, keys, ids, &cnt, NULL));
	answer("were taken", (int)cnt);
	cnt = 4;
	answer("batch of nothing",
	       bpf_map_lookup_batch(by_pid, NULL, &place, keys, ids, &cnt, NULL));
	cnt = 1;
	answer("batch of an array is deleted", bpf_map_delete_batch(buffers, &keys[0], &cnt, NULL));
	cnt = 2;
	answer("batch of an array", bpf_map_lookup_batch(buffers, NULL, &place, keys, ids, &cnt,
							 NULL));
	answer("were read", (int)cnt);
}

static int answers(void)
{
	int second = map_fd("second"), buffers = map_fd("buffers"), by_pid = map_fd("by_pid");
	uint32_t key = 1, next = 0;
	int numbers, fd;

	answer("id at 0", id_is("buffers", &next, map_fd("first")));
	answer("nothing at 1", id_is("buffers", &key, second));
	answer("put", put("buffers", 1, second));
	answer("id at 1", id_is("buffers", &key, second));
	answer("put behind the end", put("buffers", 2, second));
	answer("put no descriptor", put("buffers", 1, -1));
	answer("put what is no map", put("buffers", 1, 0));
	answer("put a program", put("buffers", 1, bpf_program__fd(bpf_object__find_program_by_name(
						      object, "on_hit"))));
	answer("put itself", put("buffers", 1, buffers));
	answer("put one that must not exist",
	       bpf_map_update_elem(buffers, &key, &second, BPF_NOEXIST));
	answer("put with flags", bpf_map_update_elem(buffers, &key, &second, 77));
	answer("put from nowhere", bpf_map_update_elem(buffers, &key, (void *)16, BPF_ANY));
	answer("put to nowhere", bpf_map_update_elem(buffers, (void *)16, &second, BPF_ANY));
	answer("put what is longer",
	       put("buffers", 1, new_map(BPF_MAP_TYPE_HASH, 4, 16, NESTED_KEYS * 2, 0, -1)));
	answer("put what has other keys",
	       put("buffers", 1, new_map(BPF_MAP_TYPE_HASH, 8, 8, NESTED_KEYS * 2, 0, -1)));
	answer("put another type",
	       put("buffers", 1, new_map(BPF_MAP_TYPE_LRU_HASH, 4, 8, NESTED_KEYS * 2, 0, -1)));
	answer("put other flags", put("buffers", 1,
				      new_map(BPF_MAP_TYPE_HASH, 4, 8, NESTED_KEYS * 2,
					      BPF_F_NO_PREALLOC, -1)));
	answer("put a smaller hash", put("buffers", 1, new_map(BPF_MAP_TYPE_HASH, 4, 8, 3, 0, -1)));
	answer("delete", bpf_map_delete_elem(buffers, &key));
	answer("nothing at 1", id_is("buffers", &key, second));
	answer("delete again", bpf_map_delete_elem(buffers, &key));
	numbers = new_map(BPF_MAP_TYPE_ARRAY, 4, 8, NESTED_NUMBERS, 0, -1);
	answer("by pid", put("by_pid", 77, numbers));
	answer("by pid, a smaller array",
	       put("by_pid", 78, new_map(BPF_MAP_TYPE_ARRAY, 4, 8, NESTED_NUMBERS - 1, 0, -1)));
	answer("by pid, one that can be mapped",
	       put("by_pid", 78,
		   new_map(BPF_MAP_TYPE_ARRAY, 4, 8, NESTED_NUMBERS, BPF_F_MMAPABLE, -1)));
	key = 77;
	answer("by pid, once more", bpf_map_update_elem(by_pid, &key, &numbers, BPF_NOEXIST));
	answer("by pid, again", bpf_map_update_elem(by_pid, &key, &numbers, BPF_EXIST));
	answer("next", bpf_map_get_next_key(by_pid, NULL, &next) == 0 ? (int)next : -1);
	answer("by pid, delete", bpf_map_delete_elem(by_pid, &key));
	answer("by pid, delete again", bpf_map_delete_elem(by_pid, &key));
	answer("take", bpf_map_lookup_and_delete_elem(by_pid, &key, &next));
	for (uint32_t i = 0; i < 64; i++)
		put("by_pid", 1000 + i, numbers);
	answer("one too many", put("by_pid", 1064, numbers));
	for (uint32_t i = 0; i < 64; i++) {
		key = 1000 + i;
		bpf_map_delete_elem(by_pid, &key);
	}
	answer("none is left", bpf_map_get_next_key(by_pid, NULL, &next));
	batches();
	fd = answer("map of maps of maps",
		    new_map(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0, buffers));
	fd = new_map(BPF_MAP_TYPE_HASH_OF_MAPS, 4, 8, 1, 0, second);
	answer("values that are no descriptors", fd);
	answer("no map for its shape", new_map(BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 1, 0, -1));
	return 0;
}

static struct bpf_link *attach_kernel(void)
{
	struct bpf_link *link =
		bpf_program__attach(bpf_object__find_program_by_name(object, "on_getpgid"));

	printf("program in the kernel: %d\n", link ? 0 : -errno);
	return link;
}

/* The same maps have a user in the kernel; then that is the only one. Whatever ran has counted. */
static int kernel(int first)
{
	struct bpf_link *link = first ? attach_kernel() : NULL;
	struct nested_totals all;
	uint64_t sum;

	if (attach() < 0)
		return -1;
	for (uint64_t i = 0; i < 100; i++)
		nested_hit(i);
	if (!first)
		link = attach_kernel();
	getpgid(0);
	for (uint64_t i = 0; i < 100; i++)
		nested_hit(i);
	if (put("buffers", 0, map_fd("second")) < 0)
		return -1;
	getpgid(0);
	nested_hit(1);
	bpf_link__destroy(link);
	bpf_link__destroy(probe);
	link = attach_kernel();
	getpgid(0);
	bpf_link__destroy(link);
	all = totals();
	sum = drain(map_fd("first")) + drain(map_fd("second"));
	fprintf(stderr, "%llu calls, %llu in the kernel, %llu counted\n",
		(unsigned long long)all.calls, (unsigned long long)all.kernel_calls,
		(unsigned long long)sum);
	printf("all counted: %d\n", sum == all.calls + all.kernel_calls);
	return 0;
}

/*
 * The last one is counted in. When not all could be put in, the tool was told, and what stands there
 * all the same is not seen.
 */
static int many(uint32_t cnt, const char *name, uint32_t flags)
{
	uint32_t in = 0;
	int last = -1, r = 0;

	for (; in < cnt && r == 0; in++) {
		close(last);
		last = new_map(BPF_MAP_TYPE_ARRAY, 4, 8, NESTED_NUMBERS, flags, -1);
		r = put(name, (uint32_t)getpid() + in, last);
	}
	if (put(name, (uint32_t)getpid(), last) < 0)
		r = -1;
	for (uint64_t i = 0; i < 1000; i++)
		nested_hit(i);
	printf("%s: %s, %llu of 1000 counted\n", name, r < 0 ? "not all" : "all",
	       (unsigned long long)sum_of(last));
	fprintf(stderr, "%u of %u maps: %s\n", in, cnt, r < 0 ? strerror(errno) : "");
	return 0;
}

static int endless(void)
{
	pid_t child = fork();
	uint32_t turn = 0;

	if (child == 0) {
		for (int i = 0; i < 3000; i++) {
			for (uint64_t k = 0; k < 1000; k++)
				nested_hit(k);
			usleep(1000);
		}
		if (write(STDOUT_FILENO, "child ended\n", 12) != 12)
			_exit(1);
		_exit(0);
	}
	puts("started");
	fflush(stdout);
	for (;;) {
		int fd = new_counts(), array = new_map(BPF_MAP_TYPE_ARRAY, 4, 8, NESTED_NUMBERS, 0, -1);

		if (put("buffers", 0, fd) < 0 || put("by_pid", turn++ % 64, array) < 0)
			return -1;
		close(fd);
		close(array);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "none";
	int r = -1, kernel_first = strcmp(mode, "kernel-first") == 0;

	if (argc > 2)
		threads = (uint32_t)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		calls = strtoull(argv[3], NULL, 0);
	if (strcmp(mode, "many") == 0)
		max_pids = threads;
	if (load(argv[0], kernel_first || strcmp(mode, "kernel") == 0) < 0)
		return 1;
	if (strcmp(mode, "swap") == 0)
		r = swap();
	else if (strcmp(mode, "fresh") == 0)
		r = fresh();
	else if (strcmp(mode, "pids") == 0)
		r = pids(threads);
	else if (strcmp(mode, "answers") == 0)
		r = answers();
	else if (kernel_first || strcmp(mode, "kernel") == 0)
		r = kernel(kernel_first);
	else if (strcmp(mode, "many") == 0)
		r = argc > 3 ? many((uint32_t)calls, "mapped", BPF_F_MMAPABLE)
			     : many(threads, "by_pid", 0);
	else if (strcmp(mode, "endless") == 0)
		r = endless();
	if (r < 0)
		fprintf(stderr, "nested: wrong: %s\n", strerror(errno));
	return r < 0;
}
