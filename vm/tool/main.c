/* SPDX-License-Identifier: MIT */
/*
 * bpfshim-vm: runs one program, or a file of cases, by one of the engines. "bpfshimctl vm" is this
 * program, which is apart because it holds LLVM.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/tool/engine.h"

#define TEXT_SIZE (1u << 21)

/* Bytes of a text in hex; blanks between them are passed over. Return: how many, -1: it is no hex
 * or too much. */
static long from_hex(const char *hex, unsigned char *bytes, size_t size)
{
	size_t len = 0;

	for (;;) {
		unsigned int byte;

		hex += strspn(hex, " \t\r\n");
		if (!*hex)
			return (long)len;
		if (strspn(hex, "0123456789abcdefABCDEF") < 2 || sscanf(hex, "%2x", &byte) != 1 ||
		    len == size)
			return -1;
		bytes[len++] = (unsigned char)byte;
		hex += 2;
	}
}

/* Buffers of one case, as large as any may be. */
struct buffers {
	struct bpf_insn insns[ENGINE_INSNS_MAX];
	unsigned char memory[ENGINE_MEMORY_MAX];
	char text[TEXT_SIZE];
};

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "bpfshimctl vm: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

/* Return: NULL, or what is wrong. */
static const char *read_input(struct buffers *b, const char *program, const char *memory,
			      struct engine_input *ret_input)
{
	long len = from_hex(program, (unsigned char *)b->insns, sizeof(b->insns));
	long memory_len = from_hex(memory, b->memory, sizeof(b->memory));

	if (len < 0)
		return "the program is not in hex, or has more than 65536 instructions";
	if (len == 0)
		return "the program is empty";
	if (len % (long)sizeof(b->insns[0]))
		return "the program is no whole number of instructions of 8 bytes";
	if (memory_len < 0)
		return "the memory is not in hex, or more than 32768 bytes";
	*ret_input = (struct engine_input){.insns = b->insns,
					   .cnt = (uint32_t)(len / (long)sizeof(b->insns[0])),
					   .memory = b->memory,
					   .memory_len = (uint32_t)memory_len};
	return NULL;
}

static int run_one(struct buffers *b, const struct engine *engine, const char *memory)
{
	struct engine_input input;
	struct reason reason = {0};
	const char *wrong;
	size_t len = fread(b->text, 1, sizeof(b->text) - 1, stdin);
	uint64_t r0;

	if (ferror(stdin) || !feof(stdin))
		return fail("standard input", ferror(stdin) ? strerror(errno) : "too long");
	b->text[len] = '\0';
	wrong = read_input(b, b->text, memory, &input);
	if (wrong)
		return fail("input", wrong);
	if (engine_run(engine, &input, &r0, &reason) < 0)
		return fail(engine->name, reason.text);
	printf("%llx\n", (unsigned long long)r0);
	return EXIT_SUCCESS;
}

/* Return: NULL, or why the case failed. */
static const char *check_case(struct buffers *b, const struct engine *engine, char *fields[5],
			      struct reason *reason)
{
	struct engine_input input;
	const char *wrong;
	uint64_t r0;

	wrong = read_input(b, fields[3], strcmp(fields[2], "-") == 0 ? "" : fields[2], &input);
	if (wrong)
		return wrong;
	if (engine_run(engine, &input, &r0, reason) < 0)
		return reason->text;
	if (r0 == strtoull(fields[4], NULL, 16))
		return NULL;
	reason_set(reason, 0, "%#llx, expected %s", (unsigned long long)r0, fields[4]);
	return reason->text;
}

/* Tabs part a line's fields. Return: whether there are five. */
static bool split(char *line, char *fields[5])
{
	for (int i = 0; i < 5; i++) {
		fields[i] = line;
		line += strcspn(line, i < 4 ? "\t\n" : "\n");
		if (i < 4 && *line != '\t')
			return false;
		*line++ = '\0';
	}
	return true;
}

static int check_file(struct buffers *b, const struct engine *engine, const char *path)
{
	unsigned int passed = 0, failed = 0, number = 0;
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return fail(path, strerror(errno));
	while (getline(&line, &size, file) > 0) {
		struct reason reason = {0};
		char *fields[5];
		const char *why;

		number++;
		if (line[0] == '#' || line[0] == '\n')
			continue;
		why = split(line, fields) ? check_case(b, engine, fields, &reason)
					  : "not five fields parted by tabs";
		passed += !why;
		failed += why != NULL;
		if (why)
			fprintf(stderr, "%s:%u: %s: %s: %s\n", path, number, engine->name,
				fields[0], why);
	}
	free(line);
	fclose(file);
	printf("%s: %u passed, %u failed\n", engine->name, passed, failed);
	return failed || !passed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void usage(FILE *stream)
{
	fputs("Usage: bpfshimctl vm [--engine interp|jit|orc|kernel] [HEX MEMORY] < PROGRAM.HEX\n"
	      "       bpfshimctl vm --check FILE.tsv [--engine interp|jit|orc|kernel]\n",
	      stream);
}

static int check_engines(struct buffers *b, const struct engine *engine, const char *path)
{
	static const char *const names[] = {"interp", "jit", "orc"};
	int r = EXIT_SUCCESS;

	if (engine)
		return check_file(b, engine, path);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		r |= check_file(b, engine_by_name(names[i]), path);
	return r;
}

/* The memory may stand in several arguments. */
static int join(int argc, char **argv, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < argc; i++) {
		int n = snprintf(text + used, size - used, "%s ", argv[i]);

		if (n < 0 || (size_t)n >= size - used)
			return -1;
		used += (size_t)n;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"engine", required_argument, NULL, 'e'},
						{"check", required_argument, NULL, 'c'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	static char memory[3 * ENGINE_MEMORY_MAX];
	static struct buffers buffers;
	const struct engine *engine = NULL;
	const char *check = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'e':
			engine = engine_by_name(optarg);
			if (!engine)
				return fail(optarg, "no such engine: interp, jit, orc or kernel");
			break;
		case 'c':
			check = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (check && optind == argc)
		return check_engines(&buffers, engine, check);
	if (check || join(argc - optind, argv + optind, memory, sizeof(memory)) < 0) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	return run_one(&buffers, engine ? engine : engine_by_name("jit"), memory);
}
