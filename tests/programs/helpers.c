/* SPDX-License-Identifier: MIT */
/*
 * Attaches a program to a function of its own, calls that, and shows what the helpers said that the
 * program called.
 *
 * usage: helpers PROGRAM
 * PROGRAM is one of helpers.bpf.c, without "on_".
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "helpers.h"

void helpers_text(const char *text);
void helpers_stack(uint64_t dev, uint64_t ino);
void helpers_copy(const void *address);
void helpers_signal(int process, int thread);
void helpers_write(void *address, const void *constant);
void helpers_override(void);

#define BODY __asm__ volatile("nop; nop; nop; nop; nop" : : : "memory")

__attribute__((noinline)) void helpers_text(const char *text)
{
	BODY;
}

__attribute__((noinline)) void helpers_stack(uint64_t dev, uint64_t ino)
{
	/* Something that needs a frame. */
	getppid();
	BODY;
}

__attribute__((noinline)) void helpers_copy(const void *address)
{
	BODY;
}

__attribute__((noinline)) void helpers_signal(int process, int thread)
{
	BODY;
}

__attribute__((noinline)) void helpers_write(void *address, const void *constant)
{
	BODY;
}

__attribute__((noinline)) void helpers_override(void)
{
	BODY;
}

static void read_map(struct bpf_object *object, const char *name, void *ret)
{
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, name), &zero, ret) < 0)
		fprintf(stderr, "helpers: map %s: %s\n", name, strerror(errno));
}

static void show_text(struct bpf_object *object)
{
	static const char *const texts[] = {"12",
					    "-7 apples",
					    "0x1f",
					    "0x1",
					    "",
					    " 017",
					    "not a number",
					    "99999999999999999999",
					    "0x1ff",
					    "-0x8000000000000000 and a text that is too long"};
	struct helpers_text text = {0};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		helpers_text(texts[i]);
		read_map(object, "text", &text);
		printf("%lld %lld %lld %lld %lld %lld %lld \"%s\" \"%s\"\n", text.consumed,
		       text.unsigned_consumed, text.number, text.compared, text.len, text.short_len,
		       text.traced, text.out, text.cut);
	}
}

/* Its caller is this, and the one above main(). */
static __attribute__((noinline)) void show_stack(struct bpf_object *object)
{
	struct helpers_stack stack = {0};
	uint64_t jiffies;
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return;
	helpers_stack((uint64_t)major(st.st_dev) << 20 | minor(st.st_dev), st.st_ino);
	read_map(object, "stack", &stack);
	jiffies = stack.jiffies;
	printf("first %s\n", stack.ips[0] == (uintptr_t)helpers_stack ? "right" : "wrong");
	printf("second %s\n", stack.ips[1] - (uintptr_t)show_stack < 2048 ? "right" : "wrong");
	printf("as many %s\n", stack.user == stack.skipped + 8 ? "yes" : "no");
	printf("the same %s\n",
	       memcmp(stack.ips + 1, stack.outer, sizeof(stack.ips) - 8) == 0 ? "yes" : "no");
	printf("kernel %lld %lld, flags %lld, size %lld\n", stack.kernel, stack.kernel_skipped,
	       stack.bad_flags, stack.odd_size);
	printf("namespace %lld %lld %s\n", stack.named, stack.unnamed,
	       stack.ids[0] == (uint32_t)getpid() && stack.ids[1] == (uint32_t)getpid() ? "right"
											: "wrong");
	usleep(100000);
	helpers_stack(0, 0);
	read_map(object, "stack", &stack);
	/* As often a second as a kernel may tick. */
	printf("ticks %s\n",
	       stack.jiffies - jiffies >= 10 && stack.jiffies - jiffies < 1000 ? "right" : "wrong");
}

static void show_copy(struct bpf_object *object)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct helpers_copy copy = {0};

	/* Nobody has touched it yet. */
	helpers_copy(page);
	read_map(object, "copy", &copy);
	printf("%lld %lld\n", copy.read, copy.fault);
	memset(page, 'x', 64);
	helpers_copy(page);
	read_map(object, "copy", &copy);
	printf("%lld %lld %c%d%c\n", copy.read, copy.fault, copy.bytes[7], copy.bytes[8],
	       copy.bytes[16]);
}

static int caught[2], codes[2], senders[2];

static void handler(int number, siginfo_t *info, void *context)
{
	const int which = number == SIGUSR2;

	caught[which]++;
	codes[which] = info->si_code;
	senders[which] = info->si_pid;
}

static void show_signal(struct bpf_object *object)
{
	const struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	struct helpers_act act = {0};

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (int i = 0; i < 100; i++)
		helpers_signal(SIGUSR1, SIGUSR2);
	read_map(object, "act", &act);
	printf("%lld %lld %lld\n", act.sent, act.sent_thread, act.sent_bad);
	for (int i = 0; i < 2; i++)
		printf("%d of code %d from %d\n", caught[i], codes[i], senders[i]);
	helpers_signal(0, 0);
	read_map(object, "act", &act);
	printf("%lld %lld\n", act.sent, act.sent_thread);
	fflush(stdout);
	helpers_signal(SIGTERM, 0);
	printf("still there\n");
}

static void show_write(struct bpf_object *object)
{
	static const char constant[8] = "as ever";
	char buffer[8] = "nothing";
	struct helpers_act act = {0};

	helpers_write(buffer, constant);
	read_map(object, "act", &act);
	printf("%lld %s, %lld %s\n", act.written, buffer, act.unwritten, constant);
}

static void show_override(struct bpf_object *object)
{
	helpers_override();
	printf("attached\n");
}

static const struct {
	const char *name;
	void (*show)(struct bpf_object *object);
} programs[] = {
	{"text", show_text},	 {"stack", show_stack}, {"copy", show_copy},
	{"signal", show_signal}, {"write", show_write}, {"override", show_override},
};

static struct bpf_object *load(const char *self, const char *wanted)
{
	struct bpf_object *object;
	struct bpf_program *prog;
	char path[4096];

	snprintf(path, sizeof(path), "%s.bpf.o", self);
	object = bpf_object__open_file(path, NULL);
	if (!object)
		return NULL;
	bpf_object__for_each_program(prog, object)
		bpf_program__set_autoload(prog, strcmp(bpf_program__name(prog), wanted) == 0);
	return bpf_object__load(object) < 0 ? NULL : object;
}

int main(int argc, char **argv)
{
	char prog[64], function[64];
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function);
	struct bpf_object *object;

	for (size_t i = 0; argc == 2 && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (strcmp(programs[i].name, argv[1]))
			continue;
		snprintf(prog, sizeof(prog), "on_%s", argv[1]);
		snprintf(function, sizeof(function), "helpers_%s", argv[1]);
		object = load(argv[0], prog);
		if (!object) {
			fprintf(stderr, "helpers: load %s: %s\n", prog, strerror(errno));
			return 1;
		}
		if (!bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(object, prog),
						     -1, "/proc/self/exe", 0, &opts)) {
			fprintf(stderr, "helpers: attach %s: %s\n", prog, strerror(errno));
			return 1;
		}
		programs[i].show(object);
		return 0;
	}
	fprintf(stderr, "usage: helpers PROGRAM\n");
	return 2;
}
