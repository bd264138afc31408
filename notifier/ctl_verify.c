/* SPDX-License-Identifier: MIT */
/*
 * bpfshimctl verify: what the verifier says of each program of an object file. The verifier itself
 * runs in the worker, never here.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/ctl.h"
#include "notifier/ctl_object.h"
#include "verifier/worker.h"

#define TIMEOUT_MS 60000
#define LOG_SIZE   (16u << 20)
#define HELPERS	   256u

struct verify {
	const char *file, *program;
	uint32_t log_level;
	bool against_kernel;
	struct json_object *rows; /* with --json */
	struct worker *worker;
	unsigned int seen, refused;
};

/* libbpf has error numbers of its own. */
static const char *error_text(int r)
{
	static char text[128];

	libbpf_strerror(r, text, sizeof(text));
	return text;
}

static int usage(void)
{
	fputs("Usage: bpfshimctl verify FILE.o [--program NAME] [--log-level N] "
	      "[--json] [--against-kernel]\n",
	      stderr);
	return CTL_USAGE;
}

static int open_worker(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("bpfshim-worker"));
	char *slash;
	int fd;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, "bpfshim-worker");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void print_facts(const struct object_load *load, const struct verifier_facts *facts)
{
	printf("  processed %u insns, stack %u bytes%s\n  maps:", facts->processed,
	       facts->stack_depth, facts->uses_percpu ? ", per-CPU maps" : "");
	for (uint32_t i = 0; i < load->prog.map_cnt; i++)
		if (facts->maps >> i & 1)
			printf(" type %u", load->maps[i].type);
	printf("\n  helpers:");
	for (uint32_t id = 0; id < HELPERS; id++)
		if (facts->helpers[id / 64] >> (id % 64) & 1)
			printf(" %u", id);
	puts("");
	if (facts->kernel_only)
		printf("  only in the kernel: helper %u\n", facts->kernel_only);
}

static void print_answer(const struct verify *verify, const struct object_load *load,
			 const struct worker_answer *answer)
{
	printf("%s: %s, %.3f ms\n", load->name,
	       answer->verdict ? strerror(-answer->verdict) : "accepted",
	       (double)answer->verify_ns / 1e6);
	if (answer->verdict == 0)
		print_facts(load, &answer->facts);
	if (answer->log && (answer->verdict || verify->log_level))
		fputs(answer->log, stdout);
}

static void add_int(struct json_object *object, const char *key, int64_t value)
{
	json_object_object_add(object, key, json_object_new_int64(value));
}

static struct json_object *facts_json(const struct object_load *load,
				      const struct verifier_facts *facts)
{
	struct json_object *object = json_object_new_object(), *maps = json_object_new_array(),
			   *helpers = json_object_new_array();

	add_int(object, "processed", facts->processed);
	add_int(object, "stack_depth", facts->stack_depth);
	json_object_object_add(object, "uses_percpu", json_object_new_boolean(facts->uses_percpu));
	json_object_object_add(object, "reads_unwritten",
			       json_object_new_boolean(facts->reads_unwritten));
	add_int(object, "kernel_only", facts->kernel_only);
	for (uint32_t i = 0; i < load->prog.map_cnt; i++)
		if (facts->maps >> i & 1)
			json_object_array_add(maps, json_object_new_int64(load->maps[i].type));
	json_object_object_add(object, "map_types", maps);
	for (uint32_t id = 0; id < HELPERS; id++)
		if (facts->helpers[id / 64] >> (id % 64) & 1)
			json_object_array_add(helpers, json_object_new_int64(id));
	json_object_object_add(object, "helpers", helpers);
	return object;
}

static void answer_json(struct json_object *row, const struct object_load *load,
			const struct worker_answer *answer)
{
	json_object_object_add(row, "program", json_object_new_string(load->name));
	add_int(row, "verdict", answer->verdict);
	add_int(row, "ns", (int64_t)answer->verify_ns);
	json_object_object_add(row, "log", json_object_new_string(answer->log ? answer->log : ""));
	if (answer->verdict == 0)
		json_object_object_add(row, "facts", facts_json(load, &answer->facts));
}

/* A log takes longer than the verdict: unless one is wanted anyway, only what is refused has one.
 */
static int ask_worker(struct verify *verify, const struct object_load *load,
		      struct worker_answer *answer, struct reason *reason)
{
	struct worker_request request = {
		.prog = load->prog, .log_level = verify->log_level, .log_size = LOG_SIZE};
	uint64_t ns;
	int r = worker_ask(verify->worker, &request, TIMEOUT_MS, answer, reason);

	if (r < 0 || answer->verdict == 0 || verify->log_level)
		return r;
	ns = answer->verify_ns;
	worker_answer_deinit(answer);
	request.log_level = 1;
	r = worker_ask(verify->worker, &request, TIMEOUT_MS, answer, reason);
	answer->verify_ns = ns;
	return r;
}

/* @row: NULL to print text */
static int ask(struct verify *verify, const struct object_load *load, struct json_object *row)
{
	struct worker_answer answer = {0};
	struct reason reason = {0};
	int r;

	r = ask_worker(verify, load, &answer, &reason);
	if (r < 0) {
		fprintf(stderr, "bpfshimctl: %s: %s\n", load->name, reason.text);
		return r;
	}
	if (row)
		answer_json(row, load, &answer);
	else
		print_answer(verify, load, &answer);
	r = answer.verdict;
	worker_answer_deinit(&answer);
	return r;
}

/* Return: 0 whatever the kernel's verdict, which is for comparison only. */
static int ask_kernel(const struct verify *verify, const char *name, struct json_object *row)
{
	struct bpf_object *object = bpf_object__open_file(verify->file, NULL);
	struct object_real real;
	int r;

	if (!object)
		return -errno;
	r = object_load_real(object, name, &real);
	if (r < 0) {
		fprintf(stderr, "bpfshimctl: %s: not loaded into the kernel: %s\n", name,
			error_text(r));
	} else if (row) {
		add_int(row, "kernel_verdict", real.verdict);
		add_int(row, "kernel_ns", (int64_t)(real.ms * 1e6));
	} else {
		printf("  kernel: %s, %.3f ms\n",
		       real.verdict ? strerror(-real.verdict) : "accepted", real.ms);
	}
	bpf_object__close(object);
	return r;
}

static int check_one(struct verify *verify, const char *name)
{
	struct bpf_object *object = bpf_object__open_file(verify->file, NULL);
	struct json_object *row = verify->rows ? json_object_new_object() : NULL;
	struct object_load load = {0};
	int r;

	if (!object)
		return -errno;
	r = object_load(object, name, &load);
	if (r < 0)
		fprintf(stderr, "bpfshimctl: %s: cannot be prepared: %s\n", name, error_text(r));
	else
		r = ask(verify, &load, row);
	object_load_deinit(&load);
	bpf_object__close(object);
	if (verify->against_kernel && ask_kernel(verify, name, row) < 0)
		r = -EIO;
	if (row)
		json_object_array_add(verify->rows, row);
	return r;
}

static int check_all(struct verify *verify)
{
	struct bpf_object *object = bpf_object__open_file(verify->file, NULL);
	struct bpf_program *prog;

	if (!object) {
		fprintf(stderr, "bpfshimctl: %s: %s\n", verify->file, error_text(-errno));
		return CTL_FAILED;
	}
	bpf_object__for_each_program(prog, object)
	{
		const char *name = bpf_program__name(prog);

		if (verify->program && strcmp(name, verify->program) != 0)
			continue;
		verify->seen++;
		verify->refused += check_one(verify, name) < 0;
	}
	bpf_object__close(object);
	if (!verify->seen)
		fprintf(stderr, "bpfshimctl: %s: no such program\n", verify->file);
	return verify->seen && !verify->refused ? CTL_OK : CTL_FAILED;
}

/* The process takes a while to start; that is nobody's time of verification. */
static int start_worker(struct verify *verify, int exe)
{
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct worker_request request = {.prog = {.insns = nothing,
						  .cnt = ARRAY_SIZE(nothing),
						  .type = BPF_PROG_TYPE_KPROBE}};
	struct worker_answer answer = {0};
	struct reason reason = {0};
	int r = worker_new(exe, 0, &verify->worker);

	if (r == 0)
		r = worker_ask(verify->worker, &request, TIMEOUT_MS, &answer, &reason);
	if (r < 0)
		fprintf(stderr, "bpfshimctl: bpfshim-worker: %s\n",
			*reason.text ? reason.text : strerror(-r));
	else
		worker_answer_deinit(&answer);
	return r;
}

static int verify_file(struct verify *verify)
{
	cleanup_fd int exe = open_worker();
	int status = CTL_FAILED;

	if (exe < 0)
		fprintf(stderr, "bpfshimctl: bpfshim-worker: %s\n", strerror(-exe));
	else if (start_worker(verify, exe) == 0)
		status = check_all(verify);
	verify->worker = worker_free(verify->worker);
	if (verify->rows)
		puts(json_object_to_json_string_ext(verify->rows, JSON_C_TO_STRING_PRETTY));
	return fflush(stdout) == 0 && !ferror(stdout) ? status : CTL_FAILED;
}

/* libbpf trusts some of what a file says: a damaged one may end the process that reads it. */
static int verify_apart(struct verify *verify)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(verify_file(verify));
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("bpfshimctl: verify");
		return CTL_FAILED;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "bpfshimctl: %s: libbpf died of it (%s): the file is damaged\n",
		verify->file, strsignal(WTERMSIG(status)));
	return CTL_FAILED;
}

int ctl_verify(int argc, char **argv)
{
	static const struct option options[] = {{"program", required_argument, NULL, 'p'},
						{"log-level", required_argument, NULL, 'l'},
						{"against-kernel", no_argument, NULL, 'k'},
						{"json", no_argument, NULL, 'j'},
						{0}};
	struct verify verify = {0};
	bool json = false;
	int opt, status;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'p')
			verify.program = optarg;
		else if (opt == 'j')
			json = true;
		else if (opt == 'k')
			verify.against_kernel = true;
		else if (opt == 'l' && strlen(optarg) == 1 && *optarg >= '0' && *optarg <= '7')
			verify.log_level = (uint32_t)(*optarg - '0');
		else
			return usage();
	}
	if (argc - optind != 1)
		return usage();
	verify.file = argv[optind];
	if (json)
		verify.rows = json_object_new_array();
	status = verify_apart(&verify);
	json_object_put(verify.rows);
	return status;
}
