/* SPDX-License-Identifier: MIT */
/*
 * Every kind of map that is more than an array or a hash, as a tool on libbpf uses it: fills maps,
 * attaches the programs of kinds.bpf.o to work() of a sample binary, runs it and prints what is in
 * the maps afterwards, and what commands on them answer. What it prints in a container must be what
 * real root gets.
 *
 * usage: kinds BINARY CALLS [THREADS [CHILDREN [OTHER FUNCTION]]]
 *   then the programs are moved to a function of another binary before anything is printed
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINKS_MAX 16
#define CPUS_MAX  64
#define BATCH	  256

struct prefix {
	__u32 bits;
	__u8 data[4];
};

static struct bpf_object *object;
static struct bpf_link *links[LINKS_MAX];
static int link_cnt;

static int fail(const char *what)
{
	fprintf(stderr, "kinds: %s: %s\n", what, strerror(errno));
	return -1;
}

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

/* said - the error of a call, by number: strings differ less */
static int said(int result)
{
	return result < 0 ? -errno : result;
}

static int load(void)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(".bpf.o"));

	if (length < 0)
		return fail("/proc/self/exe");
	strcpy(path + length, ".bpf.o");
	object = bpf_object__open_file(path, NULL);
	if (!object)
		return fail(path);
	return bpf_object__load(object) ? fail("load") : 0;
}

static int attach(const char *binary, const char *function)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
	{
		/* Of all kinds this one stays where it was used first. */
		if (strcmp(function, "work") && !strcmp(bpf_program__name(program), "on_filter"))
			continue;
		links[link_cnt] = bpf_program__attach_uprobe_opts(program, -1, binary, 0, &opts);
		if (!links[link_cnt])
			return fail(bpf_program__name(program));
		link_cnt++;
	}
	return 0;
}

static void detach(void)
{
	while (link_cnt)
		bpf_link__destroy(links[--link_cnt]);
}

static int run(const char *binary, const char *calls, const char *threads, const char *children)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execl(binary, binary, "-n", calls, "-t", threads, "-f", children, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return fail("run");
	return status ? fail("sample") : 0;
}

/* What is in before the programs come. */
static void fill_queues(void)
{
	for (unsigned long long i = 1000; i < 1004; i++) {
		bpf_map_update_elem(map("queue"), NULL, &i, BPF_ANY);
		bpf_map_update_elem(map("stack"), NULL, &i, BPF_ANY);
	}
}

static void fill_lru(void)
{
	unsigned long long values[CPUS_MAX];

	for (unsigned long long key = 0; key < 2; key++) {
		for (int i = 0; i < CPUS_MAX; i++)
			values[i] = key * 100;
		bpf_map_update_elem(map("lru"), &key, values, BPF_ANY);
		bpf_map_update_elem(map("lru_cpu"), &key, values, BPF_ANY);
	}
}

/* Bits behind the prefix are kept and count for nothing. */
static void fill_trie(void)
{
	for (unsigned char i = 0; i < 8; i++) {
		struct prefix key = {8 + 4u * (i / 2u), {10, i, 7 * i, 255}};
		unsigned long long value = 1000 * i;

		bpf_map_update_elem(map("trie"), &key, &value, BPF_ANY);
	}
}

static void fill_filter(void)
{
	for (unsigned long long value = 0; value < 10; value++)
		bpf_map_update_elem(map("filter"), NULL, &value, BPF_ANY);
}

static void print_queue(const char *name)
{
	unsigned long long value = 7, key = 0;
	int fd = map(name);

	printf("%s push NOEXIST %d\n", name, said(bpf_map_update_elem(fd, NULL, &value, 1)));
	printf("%s with key %d\n", name, said(bpf_map_lookup_elem(fd, &key, &value)));
	printf("%s delete %d\n", name, said(bpf_map_delete_elem(fd, NULL)));
	printf("%s next key %d\n", name, said(bpf_map_get_next_key(fd, NULL, &key)));
	printf("%s peek %d", name, said(bpf_map_lookup_elem(fd, NULL, &value)));
	printf(" %llu\n", value);
	while (bpf_map_lookup_and_delete_elem(fd, NULL, &value) == 0)
		printf("%s pop %llu\n", name, value);
	printf("%s pop %d\n", name, said(bpf_map_lookup_and_delete_elem(fd, NULL, &value)));
	printf("%s peek %d\n", name, said(bpf_map_lookup_elem(fd, NULL, &value)));
	printf("%s push %d\n", name, said(bpf_map_update_elem(fd, NULL, &value, 0)));
	printf("%s peek %d\n", name, said(bpf_map_lookup_elem(fd, NULL, &value)));
}

/* The sum of a value over all processors; plain values are the first. */
static unsigned long long sum(const unsigned long long *values, int cnt)
{
	unsigned long long all = 0;

	for (int i = 0; i < cnt; i++)
		all += values[i];
	return all;
}

static int cpus(void)
{
	int cnt = libbpf_num_possible_cpus();

	return cnt > 0 && cnt <= CPUS_MAX ? cnt : 1;
}

/* Counters of a map @values: how many each has */
static void print_counts(const char *name, int values)
{
	unsigned long long key, value[CPUS_MAX];

	for (key = 0; key < 8; key++) {
		int r = said(bpf_map_lookup_elem(map(name), &key, value));

		printf("%s %llu: %d %llu\n", name, key, r, r ? 0 : sum(value, values));
	}
}

/* Everything out in batches, the whole of it as a sum: the order is each map's own. */
static void print_batches(const char *name, int values)
{
	static unsigned long long keys[BATCH], all[BATCH * CPUS_MAX];
	__u32 cnt = BATCH, next;
	int fd = map(name), r;

	r = said(bpf_map_lookup_batch(fd, NULL, &next, keys, all, &cnt, NULL));
	printf("%s lookup batch %d %u %llu %llu\n", name, r, cnt, sum(keys, (int)cnt),
	       sum(all, (int)cnt * values));
	r = said(bpf_map_delete_batch(fd, keys, &(__u32){2}, NULL));
	printf("%s delete batch %d\n", name, r);
	r = said(bpf_map_update_batch(fd, keys, all, &(__u32){1}, NULL));
	printf("%s update batch %d\n", name, r);
	cnt = BATCH;
	r = said(bpf_map_lookup_and_delete_batch(fd, NULL, &next, keys, all, &cnt, NULL));
	printf("%s lookup and delete batch %d %u\n", name, r, cnt);
	printf("%s next key %d\n", name, said(bpf_map_get_next_key(fd, NULL, keys)));
}

static void print_lru(const char *calls)
{
	unsigned long long key, value[CPUS_MAX] = {1}, last = strtoull(calls, NULL, 0) - 1;
	unsigned int cnt = 0;
	int fd = map("lru_small");

	for (unsigned long long *at = NULL; bpf_map_get_next_key(fd, at, &key) == 0; at = &key)
		cnt++;
	printf("lru_small has %s\n", !cnt ? "nothing" : cnt <= 64 ? "some" : "too many");
	printf("lru_small last %d\n", said(bpf_map_lookup_elem(fd, &last, value)));
	for (key = 0; key < 3; key++)
		printf("lru take %d\n",
		       said(bpf_map_lookup_and_delete_elem(map("lru"), &key, value)));
	printf("lru take again %d\n",
	       said(bpf_map_lookup_and_delete_elem(map("lru"), &key, value)));
	printf("lru_cpu update %d\n", said(bpf_map_update_elem(map("lru_cpu"), &key, value, 1)));
	printf("lru_cpu update %d\n", said(bpf_map_update_elem(map("lru_cpu"), &key, value, 2)));
	print_counts("lru", 1);
	print_counts("lru_cpu", cpus());
	print_batches("lru", 1);
	print_batches("lru_cpu", cpus());
}

static void print_trie(void)
{
	struct prefix key, *at = NULL, keys[BATCH];
	unsigned long long value = 0, values[BATCH];
	__u32 cnt = BATCH;
	int fd = map("trie"), r;

	for (; bpf_map_get_next_key(fd, at, &key) == 0; at = &key) {
		r = said(bpf_map_lookup_elem(fd, &key, &value));
		printf("trie %u.%u.%u.%u/%u: %d %llu\n", key.data[0], key.data[1], key.data[2],
		       key.data[3], key.bits, r, value);
	}
	key = (struct prefix){33, {10}};
	printf("trie lookup %d\n", said(bpf_map_lookup_elem(fd, &key, &value)));
	printf("trie update %d\n", said(bpf_map_update_elem(fd, &key, &value, 0)));
	printf("trie delete %d\n", said(bpf_map_delete_elem(fd, &key)));
	key.bits = 8;
	printf("trie take %d\n", said(bpf_map_lookup_and_delete_elem(fd, &key, &value)));
	r = said(bpf_map_lookup_batch(fd, NULL, &key, keys, values, &cnt, NULL));
	printf("trie lookup batch %d %u %llu\n", r, cnt, sum(values, (int)cnt));
	r = said(bpf_map_lookup_and_delete_batch(fd, NULL, &key, keys, values, &cnt, NULL));
	printf("trie lookup and delete batch %d\n", r);
	cnt = 2;
	r = said(bpf_map_delete_batch(fd, keys, &cnt, NULL));
	printf("trie delete batch %d\n", r);
	cnt = 1;
	r = said(bpf_map_update_batch(fd, keys, values, &cnt, NULL));
	printf("trie update batch %d\n", r);
	printf("trie has it %d\n", said(bpf_map_lookup_elem(fd, &keys[0], &value)));
}

static void print_filter(void)
{
	unsigned long long value, key = 0;
	int fd = map("filter"), in = 0;

	for (value = 0; value < 10000; value++)
		in += bpf_map_lookup_elem(fd, NULL, &value) == 0;
	printf("filter has %d\n", in);
	value = 77777;
	printf("filter lookup %d\n", said(bpf_map_lookup_elem(fd, NULL, &value)));
	printf("filter push %d\n", said(bpf_map_update_elem(fd, NULL, &value, 0)));
	printf("filter lookup %d\n", said(bpf_map_lookup_elem(fd, NULL, &value)));
	printf("filter push EXIST %d\n", said(bpf_map_update_elem(fd, NULL, &value, BPF_EXIST)));
	printf("filter with key %d\n", said(bpf_map_lookup_elem(fd, &key, &value)));
	printf("filter delete %d\n", said(bpf_map_delete_elem(fd, NULL)));
	printf("filter next key %d\n", said(bpf_map_get_next_key(fd, NULL, &key)));
	printf("filter take %d\n", said(bpf_map_lookup_and_delete_elem(fd, NULL, &value)));
}

static void print_answers(void)
{
	long long key, *at = NULL;
	unsigned long long value;

	for (; bpf_map_get_next_key(map("answers"), at, &key) == 0; at = &key)
		if (bpf_map_lookup_elem(map("answers"), &key, &value) == 0)
			printf("answer %lld: %llu\n", key, value);
}

/* What was there when the programs came and is not any more must not come back with them. */
static int move_on(const char *binary, const char *function)
{
	struct prefix prefix = {8, {10}};
	unsigned long long key = 0, value;

	detach();
	printf("delete %d\n", said(bpf_map_delete_elem(map("lru"), &key)));
	printf("delete %d\n", said(bpf_map_delete_elem(map("lru_cpu"), &key)));
	printf("delete %d\n", said(bpf_map_delete_elem(map("trie"), &prefix)));
	printf("pop %d\n", said(bpf_map_lookup_and_delete_elem(map("queue"), NULL, &value)));
	printf("pop %d\n", said(bpf_map_lookup_and_delete_elem(map("stack"), NULL, &value)));
	return attach(binary, function);
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 7 || load())
		return 1;
	fill_queues();
	fill_lru();
	fill_trie();
	fill_filter();
	if (attach(argv[1], "work") ||
	    run(argv[1], argv[2], argc > 3 ? argv[3] : "1", argc > 4 ? argv[4] : "0") ||
	    (argc > 6 && move_on(argv[5], argv[6])))
		return 1;
	print_queue("queue");
	print_queue("stack");
	print_lru(argv[2]);
	print_trie();
	print_filter();
	print_answers();
	detach();
	bpf_object__close(object);
	return 0;
}
