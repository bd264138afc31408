/* SPDX-License-Identifier: MIT */
/*
 * Helpers about text, on both sides: what the kernel's return and write, the runtime's do, and what
 * the kernel's verifier refuses, ours does. Needs root (and fails without).
 */
#include "tests/unit/both_sides.h"

#include <stdio.h>

#define OUT	1024u /* where a helper writes, in the map that is worked in */
#define ARGS	2048u
#define STRINGS 2304u
#define FORMAT	3072u

static struct both both;

/* xorshift64*, so that every machine tries the same. */
static uint64_t next_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

static uint32_t below(uint32_t end)
{
	return (uint32_t)(next_random() >> 32) % end;
}

static void fresh(uint32_t helper)
{
	memset(&both, 0, sizeof(both));
	memset(both.work, 0xcc, sizeof(both.work));
	both.helper = helper;
}

static void number(uint32_t helper, const char *text, uint32_t len, uint64_t flags)
{
	char what[200];

	fresh(helper);
	memcpy(both.work, text, len);
	both.args[0] = WORK(0);
	both.args[1] = VALUE(len);
	both.args[2] = VALUE(flags);
	both.args[3] = WORK(OUT);
	snprintf(what, sizeof(what), "helper %u: \"%.*s\" base %llu", helper, (int)len, text,
		 (unsigned long long)flags);
	both_same(&both, what);
}

static void test_numbers(void **state)
{
	static const char *const texts[] = {
		"0",
		"1",
		"-1",
		"+1",
		"",
		" ",
		"-",
		"--1",
		"- 1",
		"\t\n\v\f\r 12",
		"\xa0 7",
		"12abc",
		"0x",
		"0xg",
		"0x1f",
		"0X1F",
		"x1",
		"017",
		"08",
		"0b1",
		"1 2",
		"0x 1",
		"-0",
		"-0x10",
		"9223372036854775807",
		"9223372036854775808",
		"-9223372036854775808",
		"-9223372036854775809",
		"18446744073709551615",
		"18446744073709551616",
		"-18446744073709551615",
		"184467440737095516150",
		"0xffffffffffffffff",
		"0x10000000000000000",
		"01777777777777777777777",
		"02000000000000000000000",
		"ffffffffffffffff",
		"fffffffffffffffff",
		"99999999999999999999999999999999999999",
		"00000000000000000000000000000000000000000000000000000000000000000000000000012",
		"                                                                           12",
		"1\xe9",
		"\xff",
		"1\n",
		"0x0x1",
	};
	static const uint64_t bases[] = {0, 8, 10, 16, 2, 1, 31, 32, 42, 1ull << 63};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		for (size_t base = 0; base < ARRAY_SIZE(bases); base++) {
			uint32_t len = (uint32_t)strlen(texts[i]);

			/* With its end, without, and cut. */
			number(BPF_FUNC_strtol, texts[i], len + 1, bases[base]);
			number(BPF_FUNC_strtoul, texts[i], len + 1, bases[base]);
			number(BPF_FUNC_strtol, texts[i], len ? len : 1, bases[base]);
			number(BPF_FUNC_strtoul, texts[i], len > 1 ? len - 1 : 1, bases[base]);
		}
	}
}

static void test_random_numbers(void **state)
{
	static const char letters[] = "0123456789abfFxX- \t+gz";
	static const uint64_t bases[] = {0, 8, 10, 16};

	for (int i = 0; i < 1500; i++) {
		char text[80];
		uint32_t len = 1 + below(below(2) ? 6 : 70);

		for (uint32_t k = 0; k < len; k++)
			text[k] = letters[below(below(3) ? 10 : sizeof(letters) - 1)];
		number(i % 2 ? BPF_FUNC_strtol : BPF_FUNC_strtoul, text, len, bases[below(4)]);
	}
}

/* The number may go where the text is. */
static void test_number_over_text(void **state)
{
	fresh(BPF_FUNC_strtol);
	memcpy(both.work, "12345678123", 12);
	both.args[0] = WORK(0);
	both.args[1] = VALUE(12);
	both.args[2] = VALUE(10);
	both.args[3] = WORK(0);
	both_same(&both, "number over its text");
	both.args[3] = WORK(8);
	both_same(&both, "number over the end of its text");
	/* Not where it would be two accesses, and not where nobody may write. */
	both.args[3] = WORK(4);
	both_same(&both, "misaligned number");
	both.args[3] = TEXT(0);
	both_same(&both, "number among constants");
	both.args[3] = WORK(BOTH_WORK - 4);
	both_same(&both, "number behind the map");
	both.args[3] = WORK(0);
	both.args[1] = VALUE(0);
	both_same(&both, "text without bytes");
}

static void compare(const char *a, uint32_t size, const char *b)
{
	char what[200];

	fresh(BPF_FUNC_strncmp);
	memcpy(both.work, a, strlen(a) + 1);
	memcpy(both.text, b, strlen(b) + 1);
	both.args[0] = WORK(0);
	both.args[1] = VALUE(size);
	both.args[2] = TEXT(0);
	snprintf(what, sizeof(what), "strncmp(\"%s\", %u, \"%s\")", a, size, b);
	both_same(&both, what);
}

static void test_compare(void **state)
{
	static const char *const texts[] = {"",	    "a",    "b",    "abc",     "abd",
					    "abcd", "\xff", "\x7f", "abc\xe9", "ABC"};

	for (size_t a = 0; a < ARRAY_SIZE(texts); a++)
		for (size_t b = 0; b < ARRAY_SIZE(texts); b++)
			for (uint32_t size = 0; size < 6; size++)
				compare(texts[a], size, texts[b]);
	/* A constant string ends, and is constant. */
	fresh(BPF_FUNC_strncmp);
	memset(both.text, 'x', sizeof(both.text));
	both.args[0] = WORK(0);
	both.args[1] = VALUE(8);
	both.args[2] = TEXT(0);
	both_same(&both, "string without end");
	both.text[100] = 0;
	both_same(&both, "string with end");
	both.args[2] = TEXT(101);
	both_same(&both, "string behind the end");
	both.args[2] = WORK(0);
	both_same(&both, "string that may change");
	both.args[2] = VALUE(0);
	both_same(&both, "no string");
	both.args[2] = TEXT(BOTH_TEXT - 1);
	both_same(&both, "string of one byte, not its end");
	both.text[BOTH_TEXT - 1] = 0;
	both_same(&both, "empty string at the map's end");
}

/* A format with numbers in @args; @size: of the buffer */
static void print(const char *fmt, const uint64_t *args, uint32_t cnt, uint32_t size)
{
	char what[300];

	memcpy(both.text, fmt, strlen(fmt) + 1);
	memcpy(both.work + ARGS, args, cnt * sizeof(*args));
	both.args[0] = size ? WORK(OUT) : VALUE(0);
	both.args[1] = VALUE(size);
	both.args[2] = TEXT(0);
	both.args[3] = cnt ? WORK(ARGS) : VALUE(0);
	both.args[4] = VALUE(cnt * 8);
	snprintf(what, sizeof(what), "snprintf(%u, \"%s\", %u)", size, fmt, cnt);
	both_same(&both, what);
}

static void test_formats(void **state)
{
	static const char *const formats[] = {
		"",	     "plain",	 "%%",	       "100%",
		"%",	     "% ",	 "%d",	       "%5d|",
		"%-5d|",     "%05d|",	 "%+d",	       "% d",
		"%+ d",	     "%-05d|",	 "%0-5d|",     "%i",
		"%u",	     "%x",	 "%X",	       "%8x",
		"%08X",	     "%-8x|",	 "%ld",	       "%lld",
		"%lu",	     "%llu",	 "%lx",	       "%llX",
		"%lllu",     "%hd",	 "%hhx",       "%zd",
		"%o",	     "%f",	 "%e",	       "%n",
		"%a",	     "%c",	 "%5c|",       "%-5c|",
		"%05c|",     "%.3d",	 "%*d",	       "%#x",
		"%1$d",	     "%p4",	 "%pz",	       "%pI",
		"%pI5",	     "%pi",	 "%pM",	       "%pU",
		"%pks1",     "%sx",	 "%lp",	       "%ls",
		"%lc",	     "%px",	 "%20px|",     "%-20px|",
		"%pxabc %d", "%px.%d",	 "%ps",	       "%pS",
		"%pB",	     "%30ps|",	 "%-30pS|",    "%30pB|",
		"%pSR %d",   "%p ",	 "%p|",	       "%pa",
		"%\x01",     "\x01",	 "\x7f",       "tab\tand\nline",
		"%d%d%d",    "%s %s",	 "%d %s",      "%5",
		"%-",	     "%+",	 "%0",	       "%00000000003d",
		"%300d",     "%100000d", "%d\xc3\xa9", "\xe9",
		"%s\xe9",    "%p\xa0",	 "%px\xe9z",   "%-0+ 12lld|",
		"%#d",	     "%'d",
	};
	static const uint64_t values[] = {
		0, 1, 42, (uint64_t)-1, 1ull << 31, 1ull << 63, 0x1234567890abcdef};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
			/* Not %p of what is an address: a hash whose key is random. */
			bool hashes = strncmp(formats[i], "%p ", 3) == 0 ||
				      strncmp(formats[i], "%p|", 3) == 0 ||
				      strncmp(formats[i], "%p\xa0", 3) == 0;
			uint64_t args[] = {values[k], values[(k + 1) % 7], values[(k + 2) % 7]};

			if (hashes && values[k] && values[k] != (uint64_t)-1)
				continue;
			for (uint32_t cnt = 0; cnt <= 3; cnt++) {
				fresh(BPF_FUNC_snprintf);
				print(formats[i], args, cnt, 64);
			}
			fresh(BPF_FUNC_snprintf);
			print(formats[i], args, 1, (uint32_t)(1 + k * 3));
			fresh(BPF_FUNC_snprintf);
			print(formats[i], args, 1, 0);
		}
	}
}

/* Strings and addresses in the program's own memory, and in the process'. */
static void test_pointers(void **state)
{
	static const char *const formats[] = {
		"%s",		"[%s]",
		"%10s|",	"%-10s|",
		"%3s|",		"%pks",
		"%pus",		"%10pks|",
		"%pi4",		"%pI4",
		"%pi6",		"%pI6",
		"%20pI4|",	"%pI4x%d",
		"%s%s",		"%s %d",
		"%pks %pus %s", "%c%s%c",
		"%s%lld",	"%pI6%pI6%pI6%pI6%pI6%pI6%pI6%pI6%pI6%pI6%pI6%pI6",
	};
	static char here[700];
	const uint64_t others[] = {0, (uint64_t)here, 1, 0xffffffffffffff00ull,
				   (uint64_t)here + 690};

	memset(here, 'h', sizeof(here) - 1);
	memcpy(here, "here", 5);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		for (uint32_t k = 0; k < 10; k++) {
			uint64_t args[12];

			fresh(BPF_FUNC_snprintf);
			memcpy(both.work + STRINGS, "own text", 9);
			memcpy(both.work + STRINGS + 16,
			       "\xc0\xa8\x01\xfe\x20\x01\x0d\xb8\0\0\0\0\0\0\xff\x01", 16);
			for (uint32_t n = 0; n < 12; n++)
				args[n] = others[(n + k) % ARRAY_SIZE(others)];
			/* Numbers would tell one side's addresses from the other's. */
			for (uint32_t n = 0; k >= 5 && !strpbrk(formats[i], "dc") && n < 12; n++) {
				both.pointers[n].at = ARGS + 8 * n;
				both.pointers[n].to = STRINGS + (n + k) % 2 * 16;
				both.pointer_cnt++;
			}
			print(formats[i], args, 12, k % 2 ? 100 : 400);
			print(formats[i], args, 12, 3);
		}
	}
}

/*
 * Arguments have 512 bytes: strings are cut, numbers are too many. Not what follows an address or a
 * symbol that is cut: there the kernel writes behind its buffer.
 */
static void test_room(void **state)
{
	static char here[700];
	static const char *const formats[] = {
		"%s%d", "%s%lld", "%s%c",     "%s%s",	  "%s%pI4",	  "%s%px",
		"%s",	"%c%s%d", "%s%s%s%s", "%d%s%d%s", "%s%c%c%c%c%d", "%s%d%s",
	};

	for (uint32_t len = 480; len < 516; len++) {
		memset(here, 'h', sizeof(here));
		here[len] = 0;
		for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
			uint64_t args[12];

			for (uint32_t n = 0; n < 12; n++)
				args[n] = (uint64_t)here + (n ? len - 5 : 0);
			fresh(BPF_FUNC_snprintf);
			print(formats[i], args, 12, 600);
		}
	}
}

static void test_random_formats(void **state)
{
	static const char *const pieces[] = {
		"%d",  "%5d", "%-7d", "%03d", "%x",   "%08x", "%lx", "%llu", "%lld",   "%+i",
		"% d", "%c",  "%4c",  "%%",   "text", " ",    "\n",  "%px",  "%-12lx", "%012llX",
		"%ps", "%pB", "%u",   "%2u",  "%s",   "%pus", "x",   "%lu",
	};
	static char here[] = "somewhere in the process";

	for (int i = 0; i < 4000; i++) {
		char fmt[200] = "";
		uint32_t cnt = 1 + below(12), wanted = below(14);
		uint64_t args[12];

		for (uint32_t n = 0; n < wanted; n++)
			strcat(fmt, pieces[below(ARRAY_SIZE(pieces))]);
		for (uint32_t n = 0; n < 12; n++)
			args[n] = below(3) ? (uint64_t)here + below(24)
					   : (next_random() >> below(64)) & 0x7fffffffffffffff;
		fresh(BPF_FUNC_snprintf);
		/* What is text before it is printed, and has no room at all, makes the kernel go on
		 * with bytes that it never wrote. */
		print(fmt, args, cnt,
		      below(4) || strstr(fmt, "%pB") || strstr(fmt, "%pus") ? 400 : below(40));
	}
}

static void test_snprintf_arguments(void **state)
{
	uint64_t args[13] = {1, 2};

	fresh(BPF_FUNC_snprintf);
	print("%d", args, 1, 20);
	both.args[4] = VALUE(7);
	both_same(&both, "arguments of 7 bytes");
	both.args[4] = VALUE(13 * 8);
	both_same(&both, "13 arguments");
	both.args[4] = VALUE(8);
	both.args[3] = VALUE(0);
	both_same(&both, "arguments nowhere");
	both.args[3] = WORK(ARGS);
	both.args[0] = VALUE(0);
	both_same(&both, "a buffer nowhere");
	both.args[1] = VALUE(0);
	both_same(&both, "no buffer");
	both.args[0] = WORK(OUT);
	both_same(&both, "a buffer of no bytes");
	both.args[2] = WORK(0);
	both_same(&both, "a format that may change");
}

/* The text goes where nobody here reads it; the length comes back. */
static void trace(const char *fmt, uint32_t size, const uint64_t args[3])
{
	char what[200];

	fresh(BPF_FUNC_trace_printk);
	memcpy(both.work + FORMAT, fmt, strlen(fmt) + 1);
	both.args[0] = WORK(FORMAT);
	both.args[1] = VALUE(size);
	for (int i = 0; i < 3; i++)
		both.args[2 + i] = VALUE(args[i]);
	snprintf(what, sizeof(what), "trace_printk(\"%s\", %u)", fmt, size);
	both_same(&both, what);
	/* The same as an array. */
	both.helper = BPF_FUNC_trace_vprintk;
	memcpy(both.work + ARGS, args, 24);
	both.args[2] = WORK(ARGS);
	both.args[3] = VALUE(24);
	both.args[4] = VALUE(0);
	both_same(&both, what);
	both.args[2] = VALUE(0);
	both.args[3] = VALUE(0);
	both_same(&both, what);
	both.args[2] = WORK(ARGS);
	both.args[3] = VALUE(20);
	both_same(&both, what);
}

static void test_trace(void **state)
{
	static const char *const formats[] = {"none", "%d %d %d", "%d %d %d %d", "%s",	  "%z",
					      "%",    "%1100d",	  "\x02",	 "%lld%%"};
	struct region_event event;
	char data[REGION_EVENT_MAX];
	struct region_text head;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		uint32_t len = (uint32_t)strlen(formats[i]);
		uint64_t args[3] = {(uint64_t) "text", (uint64_t)-7, 9};

		trace(formats[i], len + 1, args);
		trace(formats[i], len, args);
		trace(formats[i], 1, args);
	}
	while (rt_ring_read(both_run.base, BOTH_SLOT, &event, data))
		;
	trace("%s is %d", 9, (const uint64_t[]){(uint64_t) "this", 5, 0});
	assert_int_equal(rt_ring_read(both_run.base, BOTH_SLOT, &event, data), 1);
	assert_int_equal(event.map, REGION_EVENT_TEXT);
	assert_int_equal(event.flags, gettid());
	assert_int_equal(event.size, sizeof(head) + 9);
	memcpy(&head, data, sizeof(head));
	assert_string_equal(head.comm, "test_text_kerne");
	assert_true(head.time_ns > 0);
	assert_memory_equal(data + sizeof(head), "this is 5", 9);
	/* With fewer arguments than it may have, and with none it must have. */
	both.helper = BPF_FUNC_trace_printk;
	both.args[2] = both.args[3] = both.args[4] = UNSET;
	memcpy(both.work + FORMAT, "plain", 6);
	both_same(&both, "trace_printk without arguments");
	assert_int_equal(both.kernel_verdict, 0);
	both.args[1] = UNSET;
	both_same(&both, "trace_printk without size");
	/* As long as it gets. */
	while (rt_ring_read(both_run.base, BOTH_SLOT, &event, data))
		;
	trace("%2000d", 7, (const uint64_t[]){1, 0, 0});
	assert_int_equal(rt_ring_read(both_run.base, BOTH_SLOT, &event, data), 1);
	assert_int_equal(event.size, sizeof(head) + 1023);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_random_numbers),
		cmocka_unit_test(test_number_over_text),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_random_formats),
		cmocka_unit_test(test_snprintf_arguments),
		cmocka_unit_test(test_trace),
	};

	return cmocka_run_group_tests(tests, both_setup, both_teardown);
}
