/* SPDX-License-Identifier: MIT */
/*
 * bpfshimctl ps: asks every daemon for its state (notifier/control.c makes the document) and prints
 * it. Names in a document were chosen by tenants: nothing unprintable reaches the terminal.
 */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/control.h"
#include "notifier/ctl.h"

#define DOCUMENT_MAX (64u << 20) /* bytes */
#define DEADLINE_MS  5000	 /* for a whole answer */
#define COLUMNS_MAX  12u
#define CELL_MAX     128u /* bytes with the terminating NUL */

struct column {
	const char *title;
	const char *key; /* NULL: the tenant's name */
};

struct table {
	const char *title;
	const char *key; /* list in the tenant; NULL: the tenants themselves */
	const struct column *columns;
	size_t column_cnt;
};

static const struct column tenant_columns[] = {{"NAME", "name"}, {"PID", "pid"}};

static const struct column prog_columns[] = {{"TENANT", NULL},	  {"ID", "id"},
					     {"TYPE", "type"},	  {"NAME", "name"},
					     {"INSNS", "insns"},  {"PLACEMENT", "placement"},
					     {"REASON", "reason"}};

static const struct column map_columns[] = {{"TENANT", NULL},	 {"ID", "id"},
					    {"TYPE", "type"},	 {"NAME", "name"},
					    {"BYTES", "bytes"},	 {"PLACEMENT", "placement"},
					    {"REASON", "reason"}};

static const struct column link_columns[] = {{"TENANT", NULL},	     {"ID", "id"},
					     {"OBJECT", "object"},   {"KIND", "kind"},
					     {"TARGET", "target"},   {"OFFSET", "offset"},
					     {"PROG", "prog_id"},    {"PLACEMENT", "placement"},
					     {"TARGETS", "targets"}, {"HITS", "hits"},
					     {"MISSED", "missed"},   {"REASON", "reason"}};

static const struct table tables[] = {
	{"TENANTS", NULL, tenant_columns, ARRAY_SIZE(tenant_columns)},
	{"PROGRAMS", "progs", prog_columns, ARRAY_SIZE(prog_columns)},
	{"MAPS", "maps", map_columns, ARRAY_SIZE(map_columns)},
	{"LINKS", "links", link_columns, ARRAY_SIZE(link_columns)},
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int control_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	/* -EAGAIN: the daemon does not accept; on this kind of socket there is nothing to wait for
	 */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	if (send(fd, "ps\n", 3, MSG_NOSIGNAL) != 3)
		return -EIO;
	return take_fd(&fd);
}

/* Feeds @tok until the peer is done; its own state tells whether the document was whole. */
static int read_document(int fd, struct json_tokener *tok, struct json_object **ret_document)
{
	struct json_object *document = NULL;
	int64_t deadline = now_ms() + DEADLINE_MS;
	size_t total = 0;
	char buf[16384];
	int r = 0;

	while (r == 0) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&wait, 1, (int)left) == 0) {
			r = -ETIMEDOUT;
			break;
		}
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : 1;
			break;
		}
		total += (size_t)n;
		if (total > DOCUMENT_MAX)
			r = -EFBIG;
		else if (document)
			r = -EBADMSG;
		else
			document = json_tokener_parse_ex(tok, buf, (int)n);
		if (r == 0 && !document && json_tokener_get_error(tok) != json_tokener_continue)
			r = -EBADMSG;
	}
	if (r == 1 && json_object_is_type(document, json_type_object)) {
		*ret_document = document;
		return 0;
	}
	json_object_put(document);
	return r == 1 ? -EBADMSG : r;
}

static int ask(const char *path, struct json_object **ret_document)
{
	cleanup_fd int fd = control_connect(path);
	struct json_tokener *tok;
	int r;

	if (fd < 0)
		return fd;
	tok = json_tokener_new();
	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	r = read_document(fd, tok, ret_document);
	json_tokener_free(tok);
	return r;
}

/* Return: 0, or 1 when a daemon that is there did not answer as it should. */
static int collect(struct json_object *documents)
{
	glob_t found = {0};
	int failed = 0;

	if (glob(CONTROL_DIR "/*.sock", 0, NULL, &found) != 0) {
		if (access(CONTROL_DIR, R_OK | X_OK) == 0 || errno == ENOENT)
			return 0;
		fprintf(stderr, "bpfshimctl: " CONTROL_DIR ": %s\n", strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct json_object *document;
		int r = ask(found.gl_pathv[i], &document);

		/* Left over by a daemon that was killed, or gone since we looked. */
		if (r == -ECONNREFUSED || r == -ENOENT)
			continue;
		if (r < 0) {
			fprintf(stderr, "bpfshimctl: %s: %s\n", found.gl_pathv[i], strerror(-r));
			failed = 1;
			continue;
		}
		json_object_array_add(documents, document);
	}
	globfree(&found);
	return failed;
}

static const char *cell(char *buf, struct json_object *row, struct json_object *tenant,
			const struct column *column)
{
	struct json_object *value = NULL;
	const char *text;
	size_t i;

	if (json_object_is_type(row, json_type_object))
		json_object_object_get_ex(column->key ? row : tenant,
					  column->key ? column->key : "name", &value);
	text = value ? json_object_get_string(value) : "-";
	for (i = 0; text[i] && i + 1 < CELL_MAX; i++)
		buf[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	buf[i] = '\0';
	return i ? buf : "-";
}

struct rows {
	const struct table *table;
	size_t width[COLUMNS_MAX];
	size_t cnt;
	bool print;
};

static void add_row(struct rows *rows, struct json_object *row, struct json_object *tenant)
{
	const struct table *table = rows->table;

	for (size_t c = 0; c < table->column_cnt; c++) {
		char buf[CELL_MAX];
		const char *text = cell(buf, row, tenant, &table->columns[c]);

		if (strlen(text) > rows->width[c])
			rows->width[c] = strlen(text);
		if (!rows->print)
			continue;
		if (c + 1 < table->column_cnt)
			printf("%-*s  ", (int)rows->width[c], text);
		else
			puts(text);
	}
	rows->cnt++;
}

static struct json_object *list_of(struct json_object *object, const char *key)
{
	struct json_object *list = NULL;

	if (json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, key, &list);
	return json_object_is_type(list, json_type_array) ? list : NULL;
}

static void add_rows(struct rows *rows, struct json_object *documents)
{
	for (size_t d = 0; d < json_object_array_length(documents); d++) {
		struct json_object *tenants =
			list_of(json_object_array_get_idx(documents, d), "tenants");

		for (size_t t = 0; tenants && t < json_object_array_length(tenants); t++) {
			struct json_object *tenant = json_object_array_get_idx(tenants, t);
			struct json_object *list;

			if (!rows->table->key) {
				add_row(rows, tenant, tenant);
				continue;
			}
			list = list_of(tenant, rows->table->key);
			for (size_t i = 0; list && i < json_object_array_length(list); i++)
				add_row(rows, json_object_array_get_idx(list, i), tenant);
		}
	}
}

/* Twice over the rows: widths first. */
static void print_table(const struct table *table, struct json_object *documents)
{
	struct rows rows = {.table = table};

	for (size_t c = 0; c < table->column_cnt; c++)
		rows.width[c] = strlen(table->columns[c].title);
	add_rows(&rows, documents);
	printf("%s%s (%zu)\n", table == tables ? "" : "\n", table->title, rows.cnt);
	if (rows.cnt == 0)
		return;
	for (size_t c = 0; c + 1 < table->column_cnt; c++)
		printf("%-*s  ", (int)rows.width[c], table->columns[c].title);
	puts(table->columns[table->column_cnt - 1].title);
	rows.print = true;
	add_rows(&rows, documents);
}

int ctl_ps(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	struct json_object *documents;
	bool json = false;
	int opt, failed;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'j') {
			fputs("Usage: bpfshimctl ps [--json]\n", stderr);
			return CTL_USAGE;
		}
		json = true;
	}
	if (optind != argc) {
		fputs("Usage: bpfshimctl ps [--json]\n", stderr);
		return CTL_USAGE;
	}
	documents = json_object_new_array();
	failed = collect(documents);
	if (json)
		puts(json_object_to_json_string_ext(
			documents, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	for (size_t i = 0; !json && i < ARRAY_SIZE(tables); i++)
		print_table(&tables[i], documents);
	json_object_put(documents);
	return failed ? CTL_FAILED : CTL_OK;
}
