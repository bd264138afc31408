/* SPDX-License-Identifier: MIT */
/*
 * Attaches programs with loops, functions and arrays on the stack to functions of its own, calls
 * these, and compares what the programs computed with what this computes.
 *
 * usage: flow [CALLS]
 * Prints a line for each result; exit status 1 when one is wrong.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"

void flow_text(const char *text, unsigned int len);
void flow_number(uint64_t number);
void flow_turns(uint64_t number);

__attribute__((noinline)) void flow_text(const char *text, unsigned int len)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(text), "r"(len) : "memory");
}

__attribute__((noinline)) void flow_number(uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(number) : "memory");
}

__attribute__((noinline)) void flow_turns(uint64_t number)
{
	__asm__ volatile("nop; nop; nop; nop; nop" : : "r"(number) : "memory");
}

static uint64_t hash_of(const char *text, unsigned int len)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (unsigned int i = 0; i < len && i < FLOW_TEXT; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
	return hash;
}

static uint64_t digits_of(uint64_t number)
{
	uint64_t code = 0;
	uint8_t counts[16] = {0};

	for (int i = 0; i < 16; i++)
		counts[number >> (4 * i) & 15]++;
	for (int i = 0; i < 16; i++)
		code = code * 17 + counts[i];
	return code;
}

static uint64_t turns_of(uint64_t number)
{
	uint64_t sum = 0, cnt = 0;

	while (cnt < 100 && sum <= 1000)
		sum += cnt++ * number;
	return cnt * 1000000 + sum;
}

/* What the table holds after @number was put into it. */
static uint64_t each_of(uint64_t number)
{
	static uint64_t values[FLOW_KEYS];
	static int there[FLOW_KEYS];
	uint64_t sum = 0, cnt = 0;

	values[number % FLOW_KEYS] = number;
	there[number % FLOW_KEYS] = 1;
	for (uint64_t i = 0; i < FLOW_KEYS; i++) {
		sum += i * values[i];
		cnt += (uint64_t)there[i];
	}
	return cnt * 1000000 + sum;
}

static int attach(struct bpf_object *object, const char *program, const char *function)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(object, program);
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);

	if (bpf_program__attach_uprobe_opts(prog, -1, "/proc/self/exe", 0, &opts))
		return 0;
	fprintf(stderr, "flow: attach to %s: %s\n", function, strerror(errno));
	return -1;
}

static int compare(struct bpf_object *object, uint32_t which, const char *name, uint64_t expected)
{
	int map = bpf_object__find_map_fd_by_name(object, "results");
	uint64_t value = 0;

	if (bpf_map_lookup_elem(map, &which, &value) < 0) {
		fprintf(stderr, "flow: %s: %s\n", name, strerror(errno));
		return 1;
	}
	printf("%s %s\n", name, value == expected ? "right" : "wrong");
	return value != expected;
}

int main(int argc, char **argv)
{
	uint32_t calls = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 1000;
	uint64_t hash = 0, digits = 0, turns = 0, each = 0, number = 0x9e3779b97f4a7c15ull;
	struct bpf_object *object;
	char path[4096], text[FLOW_TEXT];

	snprintf(path, sizeof(path), "%s.bpf.o", argv[0]);
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object) < 0) {
		fprintf(stderr, "flow: cannot load %s: %s\n", path, strerror(errno));
		return 1;
	}
	if (attach(object, "on_text", "flow_text") < 0 ||
	    attach(object, "on_number", "flow_number") < 0 ||
	    attach(object, "on_turns", "flow_turns") < 0)
		return 1;
	for (uint32_t i = 0; i < calls; i++) {
		number ^= number << 13;
		number ^= number >> 7;
		number ^= number << 17;
		for (size_t k = 0; k < sizeof(text); k++)
			text[k] = (char)(number >> (k % 8 * 8));
		flow_text(text, i % FLOW_TEXT);
		flow_number(number);
		hash += hash_of(text, i % FLOW_TEXT);
		digits += digits_of(number);
		flow_turns(number);
		turns += turns_of(number & 255);
		each += each_of(number & 255);
	}
	return compare(object, FLOW_HASH, "hash", hash) |
	       compare(object, FLOW_DIGITS, "digits", digits) |
	       compare(object, FLOW_TURNS, "turns", turns) |
	       compare(object, FLOW_EACH, "each", each) |
	       compare(object, FLOW_STOPPED, "stopped", calls);
}
