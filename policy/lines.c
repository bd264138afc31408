/* SPDX-License-Identifier: MIT */
/*
 * A scanner that knows just enough JSON to tell where values and keys begin. What is valid was
 * decided by json-c before; this must only never read outside of the text.
 */
#include "policy/lines.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/internal.h"

struct span {
	const char *start;
	size_t len;
};

struct level {
	bool object;
	bool key_next;
	uint32_t key_cnt;
	struct span keys[LINES_KEYS_MAX];
};

struct scan {
	const char *name;
	const char *pos, *end;
	uint32_t line;
	uint32_t key_line; /* of the key whose value is next; 0 in arrays */
	uint32_t depth;
	struct level levels[POLICY_DEPTH_MAX];
	struct lines lines;
	struct reason *reason;
};

uint32_t lines_at(const char *text, size_t len, size_t offset)
{
	uint32_t line = 1;

	for (size_t i = 0; i < len && i < offset; i++)
		line += text[i] == '\n';
	return line;
}

const char *lines_printable(char *buf, size_t size, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < len && i + 1 < size; i++)
		buf[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
	buf[i] = '\0';
	return buf;
}

void lines_deinit(struct lines *lines)
{
	free(lines->lines);
	*lines = (struct lines){0};
}

static int add_value(struct scan *scan)
{
	struct lines *lines = &scan->lines;

	if (lines->cnt == lines->cap) {
		uint32_t cap = lines->cap ? lines->cap * 2 : 64;
		uint32_t *grown = reallocarray(lines->lines, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		lines->lines = grown;
		lines->cap = cap;
	}
	lines->lines[lines->cnt++] = scan->key_line ? scan->key_line : scan->line;
	scan->key_line = 0;
	return 0;
}

/* Leaves @pos behind the closing quote. */
static struct span scan_string(struct scan *scan)
{
	struct span span = {.start = ++scan->pos};

	while (scan->pos < scan->end && *scan->pos != '"') {
		if (*scan->pos == '\\' && scan->pos + 1 < scan->end)
			scan->pos++;
		scan->pos++;
	}
	span.len = (size_t)(scan->pos - span.start);
	if (scan->pos < scan->end)
		scan->pos++;
	return span;
}

/* RFC 8259 forbids them, json-c before 0.18 does not; no string goes over a line then. */
static int check_string(struct scan *scan, struct span span)
{
	for (size_t i = 0; i < span.len; i++)
		if ((unsigned char)span.start[i] < ' ')
			return reason_set(scan->reason, -EINVAL,
					  "%s:%u: syntax: control character in a string",
					  scan->name, scan->line);
	return 0;
}

static int add_key(struct scan *scan, struct level *level, struct span key)
{
	char shown[64];

	lines_printable(shown, sizeof(shown), key.start, key.len);
	if (memchr(key.start, '\\', key.len))
		return reason_set(scan->reason, -EINVAL, "%s:%u: %s: unknown key", scan->name,
				  scan->line, shown);
	for (uint32_t i = 0; i < level->key_cnt; i++)
		if (level->keys[i].len == key.len &&
		    memcmp(level->keys[i].start, key.start, key.len) == 0)
			return reason_set(scan->reason, -EINVAL, "%s:%u: %s: duplicate key",
					  scan->name, scan->line, shown);
	if (level->key_cnt < LINES_KEYS_MAX)
		level->keys[level->key_cnt++] = key;
	level->key_next = false;
	scan->key_line = scan->line;
	return 0;
}

static int scan_open(struct scan *scan, bool object)
{
	struct level *level;
	int r = add_value(scan);

	if (r < 0)
		return r;
	if (scan->depth == POLICY_DEPTH_MAX)
		return reason_set(scan->reason, -EINVAL, "%s:%u: nested too deeply", scan->name,
				  scan->line);
	level = &scan->levels[scan->depth++];
	level->object = object;
	level->key_next = object;
	level->key_cnt = 0;
	scan->pos++;
	return 0;
}

/* A number, true, false or null: up to what ends it. */
static int scan_word(struct scan *scan)
{
	int r = add_value(scan);

	while (scan->pos < scan->end && !memchr(",]} \t\r\n", *scan->pos, 7))
		scan->pos++;
	return r;
}

/* A key or a value, whichever is due. */
static int scan_text(struct scan *scan, struct level *level)
{
	struct span span = scan_string(scan);
	int r = check_string(scan, span);

	if (r < 0)
		return r;
	if (level && level->key_next)
		return add_key(scan, level, span);
	return add_value(scan);
}

static int scan_token(struct scan *scan)
{
	struct level *level = scan->depth ? &scan->levels[scan->depth - 1] : NULL;

	switch (*scan->pos) {
	case '{':
	case '[':
		return scan_open(scan, *scan->pos == '{');
	case '}':
	case ']':
		if (scan->depth)
			scan->depth--;
		scan->pos++;
		return 0;
	case ',':
		if (level)
			level->key_next = level->object;
		scan->pos++;
		return 0;
	case '\n':
		scan->line++;
		scan->pos++;
		return 0;
	case ':':
	case ' ':
	case '\t':
	case '\r':
		scan->pos++;
		return 0;
	case '"':
		return scan_text(scan, level);
	}
	return scan_word(scan);
}

int lines_scan(const char *name, const char *text, size_t len, struct lines *ret_lines,
	       struct reason *reason)
{
	struct scan scan = {
		.name = name,
		.pos = text,
		.end = text + len,
		.line = 1,
		.reason = reason,
	};

	while (scan.pos < scan.end) {
		int r = scan_token(&scan);

		if (r < 0) {
			lines_deinit(&scan.lines);
			return r;
		}
	}
	*ret_lines = scan.lines;
	return 0;
}
