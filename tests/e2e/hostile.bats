#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Attackers' arguments, attackers' timing.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# PROG_ATTACH, PROG_DETACH, PROG_QUERY, ENABLE_STATS, ITER_CREATE: refused whatever their argument.
without_refused()
{
	# Nor do the ids that the rest of the host holds just now.
	grep -vE '^bpf (8|9|16|32|33) |^bpf (11|12|31) (null, no size|zeros|short|zero tail)'
}

@test "every command answers awkward arguments as the kernel does" {
	"$DIR/attrs" | without_refused >"$DIR/real"
	ours "$DIR/attrs" >"$DIR/all"
	without_refused <"$DIR/all" >"$DIR/ours"
	[ "$(wc -l <"$DIR/ours")" -gt 400 ]
	diff "$DIR/real" "$DIR/ours"
}

@test "refused commands answer EPERM and nothing else to well-formed arguments" {
	ours "$DIR/attrs" | grep -E '^bpf (8|9|16|32|33) (zeros|short)' >"$DIR/refused"
	[ "$(wc -l <"$DIR/refused")" -eq 10 ]
	refute grep -v EPERM "$DIR/refused"
}

fds_of()
{
	ls "/proc/$1/fd" | wc -l
}

@test "random calls with changing memory, signals and dying callers harm nothing and leak nothing" {
	mkfifo "$DIR/gate"
	chmod 666 "$DIR/gate"
	exec 7<>"$DIR/gate"
	"$BPFSHIMD" --run --unprivileged -- sh -c "echo ready; $DIR/storm 5; echo over; read -r line <$DIR/gate" \
		>"$DIR/out" 2>"$DIR/err" 3>&- 7>&- &
	local daemon=$! before
	started $daemon
	wait_for 5 grep -q ready "$DIR/out"
	before=$(fds_of $daemon)
	wait_for 20 grep -q over "$DIR/out"
	grep -q survived "$DIR/out"
	wait_for 3 fds_are $daemon "$before"
	# The next tenant call is answered as if nothing had happened.
	echo >&7
	exec 7>&-
	wait $daemon
	nothing_left $daemon
}

# The storm's own daemon started with a few descriptors open for calls under way: at most as many.
fds_are()
{
	[ "$(fds_of "$1")" -le "$2" ]
}

@test "i386 and x32 entries are closed" {
	cat >"$DIR/entry.c" <<'EOF'
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	long r;
	/* int 0x80, bpf = 357 */
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(357), "b"(0), "c"(0), "d"(0) : "memory");
	printf("i386 %ld\n", r);
	r = syscall(0x40000000 + SYS_bpf, 0, 0, 0);
	printf("x32 %d\n", r < 0 ? errno : 0);
	return 0;
}
EOF
	gcc -o "$DIR/entry" "$DIR/entry.c"
	run ours "$DIR/entry"
	[ "${lines[0]}" = "i386 -1" ] # -EPERM
	[ "${lines[1]}" = "x32 1" ]
}

@test "garbage in the upper half of a command or ioctl number changes nothing" {
	cat >"$DIR/upper.c" <<'EOF'
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <unistd.h>
int main(void)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	long r = syscall(SYS_bpf, 0xdead00000000ul | BPF_MAP_CREATE, &attr, sizeof(attr));
	printf("map %s\n", r >= 0 ? "made" : strerror(errno));
	struct perf_event_attr pe = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(pe),
		.config = PERF_COUNT_SW_CPU_CLOCK, .sample_period = 1000000000};
	int event = syscall(SYS_perf_event_open, &pe, -1, 0, -1, 0);
	r = syscall(SYS_ioctl, event, 0xbeef00000000ul | PERF_EVENT_IOC_SET_BPF, 9999);
	printf("set_bpf %s\n", r < 0 ? strerror(errno) : "attached");
	return 0;
}
EOF
	gcc -o "$DIR/upper" "$DIR/upper.c"
	run ours "$DIR/upper"
	[ "${lines[0]}" = "map made" ]
	[ "${lines[1]}" = "set_bpf Bad file descriptor" ]
}

@test "signals during calls: no lost call, no double object, SA_RESTART honoured" {
	for how in plain restart; do
		ours "$DIR/signals" $how >"$DIR/out"
		cat "$DIR/out"
		grep -qx 'made 400, listed 400, other errors 0, signalled often, EINTR as allowed' "$DIR/out"
	done
	wait_for 2 same_objects
}

@test "memory that never answers holds up nobody else" {
	cat >"$DIR/stuck.c" <<'EOF'
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
/* A page whose first access waits for a handler that never comes. */
int main(void)
{
	/* One that waits for accesses by other processes, too, which takes privilege: 9 is its device. */
	int uffd = ioctl(9, _IO(0xAA, 0), O_CLOEXEC);
	struct uffdio_api api = {.api = UFFD_API};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = {.range = {(unsigned long)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		perror("userfaultfd");
	syscall(SYS_bpf, BPF_MAP_CREATE, page, 64);
	perror("answered");
	return 0;
}
EOF
	gcc -o "$DIR/stuck" "$DIR/stuck.c"
	cat >"$DIR/tree" <<EOF
for i in 1 2 3 4; do $DIR/stuck & stuck="\$stuck \$!"; done
sleep 0.5
for pid in \$stuck; do kill -0 \$pid && echo waiting; done
$DIR/signals plain
kill -9 \$stuck
exit 0
EOF
	ours sh "$DIR/tree" 9</dev/userfaultfd >"$DIR/out" 2>&1
	[ "$(grep -c waiting "$DIR/out")" -eq 4 ]
	refute grep answered "$DIR/out"
	grep -q 'made 400, listed 400' "$DIR/out"
	wait_for 2 same_objects
}

# One block a load; how long verification took is nobody's business.
verdicts_of()
{
	sed -E 's/^verification time .*/verification time/' "$1"
}

@test "verdicts and logs of good and bad programs are the kernel's" {
	"$DIR/verdicts" >"$DIR/real"
	ours "$DIR/verdicts" >"$DIR/ours"
	# For a descriptor that is no map we say it in the same words, but without statistics.
	for how in real ours; do
		verdicts_of "$DIR/$how" | awk '/^-- / { skip = /no such map/ } !skip' >"$DIR/$how.same"
	done
	[ "$(grep -c '^-- ' "$DIR/ours.same")" -eq 120 ]
	diff "$DIR/real.same" "$DIR/ours.same"
	[ "$(grep -c 'fd 9999 is not pointing to valid bpf_map' "$DIR/ours")" -ge 4 ]
	[ "$(grep -c 'no such map.*EBADF' "$DIR/ours")" -ge 6 ]
}
