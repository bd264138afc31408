/* SPDX-License-Identifier: MIT */
/*
 * An object file's programs as a kernel would be given them, without giving them to one.
 *
 * libbpf has no call for this: relocated instructions exist only on their way into BPF_PROG_LOAD.
 * It reaches the kernel through syscall() alone, and an executable's own syscall() comes before the
 * C library's, so bpf() is answered here while an object is being loaded: every descriptor is an
 * empty memory file. Each program is loaded from an object opened afresh, so that one that fails
 * says nothing about the next.
 */
#include "notifier/ctl_object.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/license.h"

#define FDS_MAX	  1024 /* descriptors of maps that are told apart */
#define INSNS_MAX 1000000u

static struct object_load *current; /* NULL: bpf() goes to the kernel */
static struct object_real *real;
static struct verifier_map shapes[FDS_MAX];
/* The value of a map that programs only read, until the map is frozen and its shape has it. */
static unsigned char *values[FDS_MAX];

static long raw(long number, const long a[6])
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (ret < 0 && ret > -4096) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

static long empty_file(void)
{
	return memfd_create("bpfshimctl", MFD_CLOEXEC);
}

/* Without it nothing is known of values but their size. */
static long keep_btf(const union bpf_attr *attr)
{
	long fd = empty_file();

	if (fd >= 0 && write((int)fd, (const void *)(uintptr_t)attr->btf, attr->btf_size) < 0)
		errno = 0;
	return fd;
}

/* What was kept. Return: owned by the caller, or NULL */
static void *read_btf(int btf_fd, uint32_t *ret_len)
{
	const off_t len = lseek(btf_fd, 0, SEEK_END);
	cleanup_free void *btf = len > 0 && len <= UINT32_MAX ? malloc((size_t)len) : NULL;

	if (!btf || pread(btf_fd, btf, (size_t)len, 0) != len)
		return NULL;
	*ret_len = (uint32_t)len;
	return take_ptr(&btf);
}

static void find_fields(int btf_fd, uint32_t type_id, struct btf_fields *ret_fields)
{
	uint32_t len;
	cleanup_free void *btf = read_btf(btf_fd, &len);

	if (btf)
		btf_fields(btf, len, type_id, ret_fields);
}

/* @ret_copy: owned by the caller, also after a failure */
static int take_records(uint64_t data, uint32_t cnt, uint32_t size, void **ret_copy,
			struct verifier_records *ret_records)
{
	if (!cnt)
		return 0;
	*ret_copy = malloc((size_t)cnt * size + 1);
	if (!*ret_copy)
		return -ENOMEM;
	memcpy(*ret_copy, (const void *)(uintptr_t)data, (size_t)cnt * size);
	*ret_records = (struct verifier_records){*ret_copy, cnt, size};
	return 0;
}

static int take_info(struct object_load *load, const union bpf_attr *attr)
{
	struct verifier_info *info = &load->prog.info;
	int r = take_records(attr->func_info, attr->func_info_cnt, attr->func_info_rec_size,
			     &load->funcs, &info->funcs);

	if (r == 0)
		r = take_records(attr->line_info, attr->line_info_cnt, attr->line_info_rec_size,
				 &load->lines, &info->lines);
	if (r < 0 || (!info->funcs.cnt && !info->lines.cnt))
		return r;
	load->btf = read_btf((int)attr->prog_btf_fd, &info->btf_len);
	info->btf = load->btf;
	return load->btf ? 0 : -EBADF;
}

static long make_map(const union bpf_attr *attr)
{
	long fd = empty_file();

	if (fd >= FDS_MAX) {
		close((int)fd);
		errno = EMFILE;
		return -1;
	}
	if (fd < 0)
		return fd;
	shapes[fd] = (struct verifier_map){.type = attr->map_type,
					   .key_size = attr->key_size,
					   .value_size = attr->value_size,
					   .max_entries = attr->max_entries,
					   .flags = attr->map_flags};
	if (attr->btf_value_type_id)
		find_fields((int)attr->btf_fd, attr->btf_value_type_id, &shapes[fd].fields);
	free(values[fd]);
	values[fd] = NULL;
	return fd;
}

static void keep_value(const union bpf_attr *attr)
{
	const uint32_t fd = attr->map_fd;
	const struct verifier_map *map = &shapes[fd < FDS_MAX ? fd : 0];

	if (fd >= FDS_MAX || map->type != BPF_MAP_TYPE_ARRAY || map->max_entries != 1 ||
	    !(map->flags & BPF_F_RDONLY_PROG) || map->contents)
		return;
	free(values[fd]);
	values[fd] = malloc(map->value_size);
	if (values[fd])
		memcpy(values[fd], (const void *)(uintptr_t)attr->value, map->value_size);
}

static void freeze(const union bpf_attr *attr)
{
	if (attr->map_fd < FDS_MAX)
		shapes[attr->map_fd].contents = values[attr->map_fd];
}

/* Index of the map with descriptor @fd among those of the program. */
static int index_map(struct object_load *load, int fd)
{
	if (fd < 0 || fd >= FDS_MAX || !shapes[fd].max_entries)
		return -EBADF;
	for (uint32_t i = 0; i < load->prog.map_cnt; i++)
		if (load->map_fds[i] == fd)
			return (int)i;
	if (load->prog.map_cnt == VERIFIER_MAPS_MAX)
		return -E2BIG;
	load->map_fds[load->prog.map_cnt] = fd;
	load->maps[load->prog.map_cnt] = shapes[fd];
	return (int)load->prog.map_cnt++;
}

static int index_maps(struct object_load *load)
{
	for (uint32_t i = 0; i < load->prog.cnt; i++) {
		struct bpf_insn *insn = &load->insns[i];
		int r;

		if (insn->code != (BPF_LD | BPF_DW | BPF_IMM))
			continue;
		i++;
		if (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE)
			continue;
		r = index_map(load, insn->imm);
		if (r < 0)
			return r;
		insn->imm = r;
	}
	return 0;
}

/* libbpf's own little programs, by which it probes the kernel, have other names. */
static long take_prog(struct object_load *load, const union bpf_attr *attr)
{
	size_t bytes = attr->insn_cnt * sizeof(struct bpf_insn);

	if (strncmp(attr->prog_name, load->name, BPF_OBJ_NAME_LEN - 1) != 0 || load->insns)
		return empty_file();
	if (!attr->insn_cnt || attr->insn_cnt > INSNS_MAX) {
		errno = E2BIG;
		return -1;
	}
	load->insns = malloc(bytes);
	if (!load->insns)
		return -1;
	memcpy(load->insns, (const void *)(uintptr_t)attr->insns, bytes);
	load->prog = (struct verifier_prog){
		.insns = load->insns,
		.cnt = attr->insn_cnt,
		.type = attr->prog_type,
		.attach_type = attr->expected_attach_type,
		.gpl = license_is_gpl((const char *)(uintptr_t)attr->license),
		.sleepable = attr->prog_flags & BPF_F_SLEEPABLE,
		.maps = load->maps};
	load->error = index_maps(load);
	if (load->error == 0)
		load->error = take_info(load, attr);
	return empty_file();
}

static long answer(int command, const union bpf_attr *attr)
{
	switch (command) {
	case BPF_MAP_CREATE:
		return make_map(attr);
	case BPF_PROG_LOAD:
		return take_prog(current, attr);
	case BPF_BTF_LOAD:
		return keep_btf(attr);
	case BPF_MAP_UPDATE_ELEM:
		keep_value(attr);
		return 0;
	case BPF_MAP_FREEZE:
		freeze(attr);
		return 0;
	case BPF_PROG_BIND_MAP:
		return 0;
	default:
		errno = EPERM;
		return -1;
	}
}

/* libbpf tries again, for a log, what was refused: the first answer counts. */
static long load_for_real(struct object_real *load, const long a[6])
{
	const union bpf_attr *attr = (const union bpf_attr *)a[1];
	struct timespec from, to;
	int error;
	long fd;

	clock_gettime(CLOCK_MONOTONIC, &from);
	fd = raw(SYS_bpf, a);
	error = errno;
	clock_gettime(CLOCK_MONOTONIC, &to);
	if (!load->seen && strncmp(attr->prog_name, load->name, BPF_OBJ_NAME_LEN - 1) == 0) {
		load->seen = true;
		load->verdict = fd < 0 ? -error : 0;
		load->ms = (double)(to.tv_sec - from.tv_sec) * 1e3 +
			   (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	}
	errno = error;
	return fd;
}

long syscall(long number, ...);

long syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_bpf && real && a[0] == BPF_PROG_LOAD)
		return load_for_real(real, a);
	if (number == SYS_bpf && current)
		return answer((int)a[0], (const union bpf_attr *)a[1]);
	return raw(number, a);
}

static void pick(struct bpf_object *object, const char *name)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, object)
		bpf_program__set_autoload(prog, strcmp(bpf_program__name(prog), name) == 0);
}

int object_load(struct bpf_object *object, const char *name, struct object_load *ret_load)
{
	int r;

	memset(ret_load, 0, sizeof(*ret_load));
	memset(shapes, 0, sizeof(shapes));
	ret_load->name = name;
	pick(object, name);
	current = ret_load;
	r = bpf_object__load(object);
	current = NULL;
	if (r == 0)
		r = ret_load->error;
	return r == 0 && !ret_load->insns ? -ENOENT : r;
}

void object_load_deinit(struct object_load *load)
{
	free(load->insns);
	free(load->btf);
	free(load->funcs);
	free(load->lines);
	load->insns = load->btf = load->funcs = load->lines = NULL;
}

int object_load_real(struct bpf_object *object, const char *name, struct object_real *ret_real)
{
	int r;

	memset(ret_real, 0, sizeof(*ret_real));
	ret_real->name = name;
	pick(object, name);
	real = ret_real;
	r = bpf_object__load(object);
	real = NULL;
	return ret_real->seen ? 0 : r < 0 ? r : -ENOENT;
}
