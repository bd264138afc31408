/* SPDX-License-Identifier: MIT */
/*
 * Answers bpfshimctl. Connections are served in pool threads, with a deadline: a client that stops
 * reading must not hold up a tenant's calls.
 */
#include "notifier/control.h"

#include <errno.h>
#include <json-c/json.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "notifier/attachment.h"
#include "notifier/tenant.h"
#include "notifier/uspace.h"

struct control {
	struct loop *loop;
	struct pool *pool;
	struct tenant *tenant;
	struct loop_source source;
	char path[108];
};

struct control_client {
	struct pool_job job;
	struct tenant *tenant;
	int fd;
};

static void add_int(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

static void add_text(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

/* Text the tenant chose: only printable ASCII of it reaches the operator's terminal. */
static void add_foreign(json_object *o, const char *key, const char *text, size_t max)
{
	char clean[256] = "";

	for (size_t i = 0; i < max && i < sizeof(clean) - 1 && text[i]; i++)
		clean[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	add_text(o, key, clean);
}

static void add_type(json_object *o, const char *name, uint32_t type)
{
	if (name)
		add_text(o, "type", name);
	else
		add_int(o, "type", type);
}

static json_object *describe_objects(struct tenant *tenant, enum kobject_kind kind)
{
	json_object *list = json_object_new_array();
	struct object *object;

	list_for_each(object, &tenant->table.objects, node)
	{
		json_object *o;

		if (object->kind != kind)
			continue;
		o = json_object_new_object();
		add_int(o, "id", object->id);
		add_type(o,
			 kind == KOBJECT_MAP ? policy_map_type_name(object->type)
					     : policy_prog_type_name(object->type),
			 object->type);
		add_foreign(o, "name", object->name, OBJECT_NAME_MAX);
		add_int(o, kind == KOBJECT_MAP ? "bytes" : "insns", object->size);
		json_object_array_add(list, o);
	}
	return list;
}

static void describe_reason(json_object *o, const char *reason, uint32_t filtered)
{
	char text[512];

	if (filtered)
		snprintf(text, sizeof(text),
			 "%s; %u not traced any more: seccomp filters of their own", reason,
			 filtered);
	add_text(o, "reason", filtered ? text : reason);
}

static void describe_placement(json_object *o, const struct attachment *attachment)
{
	const char *reason = attachment->placement.text;
	struct uspace_link_stats stats;

	if (attachment->user) {
		uspace_link_stats(attachment->user, &stats);
		add_text(o, "placement", "USER");
		describe_reason(o, reason, stats.filtered);
		add_int(o, "targets", stats.targets);
		add_int(o, "unreached", stats.unreached);
		add_int(o, "filtered", stats.filtered);
		add_int(o, "hits", stats.hits);
		add_int(o, "tier", stats.full ? 2 : 1);
		add_int(o, "missed", stats.missed);
		return;
	}
	add_text(o, "placement", attachment->request ? "none" : "KERNEL");
	if (attachment->request)
		reason = "no program yet";
	else if (!reason[0])
		reason = "events of the kernel are the kernel's";
	add_text(o, "reason", reason);
}

static json_object *describe_facts(uint32_t id, const char *object,
				   const struct attachment_facts *facts)
{
	json_object *o = json_object_new_object();

	add_int(o, "id", id);
	add_text(o, "object", object);
	add_text(o, "kind", policy_attach_name(facts->what));
	add_foreign(o, "target", facts->target, sizeof(facts->target));
	add_int(o, "offset", facts->offset);
	add_int(o, "prog_id", facts->prog_id);
	return o;
}

static json_object *describe_links(struct tenant *tenant)
{
	json_object *list = json_object_new_array();
	struct attachment *attachment;
	struct object *object;

	list_for_each(attachment, &tenant->attachments, node)
	{
		bool link = attachment->kind == ATTACHMENT_LINK;
		json_object *o =
			describe_facts(attachment->id, link ? "link" : "event", &attachment->facts);

		describe_placement(o, attachment);
		json_object_array_add(list, o);
	}
	list_for_each(object, &tenant->table.objects, node)
	{
		json_object *o;

		if (object->kind != KOBJECT_LINK || attachment_by_real_id(tenant, object->real_id))
			continue;
		o = describe_facts(object->id, "link", object->link);
		add_text(o, "placement", "KERNEL");
		add_text(o, "reason", "a pin keeps it");
		json_object_array_add(list, o);
	}
	return list;
}

static json_object *describe(struct tenant *tenant)
{
	json_object *o = json_object_new_object(), *t = json_object_new_object();
	json_object *tenants = json_object_new_array();

	add_int(o, "pid", (uint64_t)getpid());
	add_text(o, "mode", "run");
	add_text(o, "version", BPFSHIM_VERSION);
	add_text(t, "name", tenant->name);
	add_int(t, "pid", (uint64_t)tenant->pid);
	pthread_mutex_lock(&tenant->lock);
	object_sweep(&tenant->table);
	json_object_object_add(t, "maps", describe_objects(tenant, KOBJECT_MAP));
	json_object_object_add(t, "progs", describe_objects(tenant, KOBJECT_PROG));
	json_object_object_add(t, "links", describe_links(tenant));
	pthread_mutex_unlock(&tenant->lock);
	json_object_array_add(tenants, t);
	json_object_object_add(o, "tenants", tenants);
	return o;
}

static void client_serve(struct pool_job *job)
{
	struct control_client *client = container_of(job, struct control_client, job);
	struct timeval deadline = {.tv_sec = 2};
	char request[16] = "";
	json_object *answer;
	const char *text;
	ssize_t n;

	setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
	n = recv(client->fd, request, sizeof(request) - 1, 0);
	if (n > 0 && strcmp(request, "ps\n") == 0) {
		answer = describe(client->tenant);
		text = json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN);
		for (size_t len = strlen(text); len > 0; text += n, len -= (size_t)n) {
			n = send(client->fd, text, len, MSG_NOSIGNAL);
			if (n <= 0)
				break;
		}
		json_object_put(answer);
	}
	close_fd(client->fd);
	free(client);
}

static void control_readable(struct loop_source *source, uint32_t events)
{
	struct control *control = container_of(source, struct control, source);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
	struct control_client *client;

	if (fd < 0)
		return;
	client = calloc(1, sizeof(*client));
	if (!client) {
		close_fd(fd);
		return;
	}
	client->tenant = control->tenant;
	client->fd = fd;
	client->job.fn = client_serve;
	pool_submit(control->pool, &client->job);
}

static int control_listen(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	if ((mkdir("/run/bpfshim", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(CONTROL_DIR, 0700) < 0 && errno != EEXIST))
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	if (listen(fd, 16) < 0)
		return -errno;
	return take_fd(&fd);
}

int control_new(struct loop *loop, struct pool *pool, struct tenant *tenant,
		struct control **ret_control)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control)
		return -ENOMEM;
	control->loop = loop;
	control->pool = pool;
	control->tenant = tenant;
	snprintf(control->path, sizeof(control->path), CONTROL_DIR "/%d.sock", getpid());
	r = control_listen(control->path);
	if (r >= 0) {
		control->source = (struct loop_source){.fd = r, .fn = control_readable};
		r = loop_add(loop, &control->source, EPOLLIN);
		if (r < 0)
			close_fd(control->source.fd);
	}
	if (r < 0) {
		free(control);
		return r;
	}
	*ret_control = control;
	return 0;
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	loop_remove(control->loop, &control->source);
	close_fd(control->source.fd);
	unlink(control->path);
	free(control);
	return NULL;
}

const char *control_path(const struct control *control)
{
	return control->path;
}
