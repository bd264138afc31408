#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What changes while a call is under way: the memory it points to, and the process that made it.

load common

setup() { common_setup; }
teardown() { common_teardown; }

@test "what was checked is what is done, however fast the caller changes its mind" {
	echo '{"map_types": ["array"], "prog_types": ["socket_filter"], "helpers": {"deny": ["get_numa_node_id"]},
		"quotas": {"map_bytes": 100000}}' >"$DIR/policy"
	cat >"$DIR/minds.c" <<'EOC'
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TRIES 2000
static volatile uint32_t *place;
static uint32_t good, bad;
static volatile int over;
static void *flip(void *arg)
{
	while (!over) {
		*place = bad;
		*place = good;
	}
	return NULL;
}
static long bpf(int cmd, void *attr) { return syscall(SYS_bpf, cmd, attr, sizeof(union bpf_attr)); }
static union bpf_attr attr;
static struct bpf_insn insns[] = {
	{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_prandom_u32},
	{.code = BPF_JMP | BPF_EXIT},
};
static uint32_t info_word(long fd, int at)
{
	uint32_t info[64] = {0};
	union bpf_attr ask = {.info = {.bpf_fd = (uint32_t)fd, .info_len = sizeof(info), .info = (uintptr_t)info}};
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) ? ~0u : info[at];
}
/* The denied helper says 0 on the first node, the other one hardly ever does. */
static int is_denied_helper(long fd)
{
	static char packet[64];
	union bpf_attr ask = {.test = {.prog_fd = (uint32_t)fd, .data_in = (uintptr_t)packet, .data_size_in = sizeof(packet)}};
	return bpf(BPF_PROG_TEST_RUN, &ask) || ask.test.retval == 0;
}
/* Ones that were made must say at word @at of their information what was allowed; @at < 0: they are programs to run. */
static void run(const char *what, int cmd, volatile uint32_t *where, uint32_t yes, uint32_t no, int at)
{
	int made = 0, refused = 0, wrong = 0, other = 0;
	pthread_t thread;
	good = yes;
	bad = no;
	place = where;
	over = 0;
	pthread_create(&thread, NULL, flip, NULL);
	/* Both are to be seen, whoever the scheduler favours. */
	for (int i = 0; i < TRIES || ((!made || !refused) && i < 50 * TRIES); i++) {
		long fd = bpf(cmd, &attr);
		if (fd < 0) {
			refused += errno == EPERM;
			other += errno != EPERM;
			continue;
		}
		made++;
		wrong += at >= 0 ? info_word(fd, at) != yes : is_denied_helper(fd);
		close((int)fd);
	}
	over = 1;
	pthread_join(thread, NULL);
	printf("%s: made %s, refused %s, wrong %d, other errors %d\n", what, made ? "some" : "none",
	       refused ? "some" : "none", wrong, other);
}
int main(void)
{
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	run("map type", BPF_MAP_CREATE, &attr.map_type, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, 0);
	run("map size", BPF_MAP_CREATE, &attr.max_entries, 1, 100000, 4);
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = sizeof(insns) / sizeof(*insns);
	attr.license = (uintptr_t)"GPL";
	run("program type", BPF_PROG_LOAD, &attr.prog_type, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
	run("helper", BPF_PROG_LOAD, (volatile uint32_t *)&insns[0].imm, BPF_FUNC_get_prandom_u32, BPF_FUNC_get_numa_node_id, -1);
	return 0;
}
EOC
	gcc -O1 -pthread -o "$DIR/minds" "$DIR/minds.c"
	timeout 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/policy" -- "$DIR/minds" >"$DIR/out" 2>/dev/null
	cat "$DIR/out"
	[ "$(grep -c ': made some, refused some, wrong 0, other errors 0' "$DIR/out")" -eq 4 ]
}

# The caller's page whose first access waits until $DIR/resolve exists; descriptor 9 is /dev/userfaultfd. Whoever
# touches it first is noticed: $DIR/faulted.
write_slow_page()
{
	cat >"$DIR/slow.h" <<'EOC'
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#define PAGE 4096
#define SLOW ((void *)0x610000000000)
static _Alignas(PAGE) char content[PAGE];
static void *slow;
static int uffd;
static void on_fault(void);
static void *handler(void *arg)
{
	struct uffd_msg msg;
	if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		exit(90);
	on_fault();
	struct uffdio_copy copy = {.dst = (unsigned long)slow, .src = (unsigned long)content, .len = PAGE};
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		exit(91);
	for (;;)
		pause();
	return NULL;
}
static void slow_init(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	pthread_t thread;
	uffd = ioctl(9, _IO(0xAA, 0), O_CLOEXEC);
	slow = mmap(SLOW, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct uffdio_register reg = {.range = {(unsigned long)slow, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		exit(92);
	pthread_create(&thread, NULL, handler, NULL);
}
static const struct bpf_insn nothing[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
EOC
}

@test "a call that was received waits for its answer, whatever signals come, but for those that kill" {
	write_slow_page
	cat >"$DIR/signalled.c" <<'EOC'
#include "slow.h"
static volatile int handled;
static int deadly;
static pthread_t caller;
static void count(int sig) { handled++; }
static void on_fault(void)
{
	if (deadly) {
		kill(getpid(), SIGKILL);
		pause();
	}
	usleep(50000);
	for (int i = 0; i < 3; i++) {
		pthread_kill(caller, SIGUSR1);
		usleep(50000);
	}
	printf("signals handled during the call: %d\n", handled);
}
int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = argc > 1 ? SA_RESTART : 0};
	union bpf_attr *attr = (void *)content;
	deadly = argc > 1 && strcmp(argv[1], "kill") == 0;
	caller = pthread_self();
	sigaction(SIGUSR1, &action, NULL);
	slow_init();
	attr->map_type = BPF_MAP_TYPE_ARRAY;
	attr->key_size = 4;
	attr->value_size = 8;
	attr->max_entries = 1;
	long fd = syscall(SYS_bpf, BPF_MAP_CREATE, slow, sizeof(*attr));
	printf("map %s, signals handled after it: %s\n", fd < 0 ? strerror(errno) : "made", handled ? "some" : "none");
	return 0;
}
EOC
	gcc -pthread -o "$DIR/signalled" "$DIR/signalled.c"
	for how in "" restart; do
		ours "$DIR/signalled" $how 9</dev/userfaultfd >"$DIR/out"
		cat "$DIR/out"
		grep -qx 'signals handled during the call: 0' "$DIR/out"
		grep -qx 'map made, signals handled after it: some' "$DIR/out"
	done
	# Killed while its memory still makes us wait.
	local got=0
	timeout 20 "$BPFSHIMD" --run --unprivileged -- "$DIR/signalled" kill 9</dev/userfaultfd || got=$?
	[ $got -eq 137 ]
	wait_for 2 same_objects
}

# stopped PID: all its threads are
stopped()
{
	local task
	for task in /proc/"$1"/task/*/stat; do
		[[ "$(sed 's/.*) //' "$task")" == T* ]] || return 1
	done
}

no_process()
{
	[ ! -d "/proc/$1" ]
}

# The caller dies while the daemon reads its memory, and a process of the host's gets its number before the
# daemon looks again: it may neither act on what it read nor touch that process.
recycled()
{
	local shape=$1 said=$2 daemon caller victim
	rm -f "$DIR"/{faulted,resolve,up,over,err,holding,held,release}
	"$BPFSHIMD" --verbose --run --unprivileged -- sh -c "$DIR/caller $shape; :" 2>"$DIR/err" 9</dev/userfaultfd 3>&- &
	daemon=$!
	started $daemon
	wait_for 5 test -e "$DIR/faulted"
	caller=$(pgrep -f "^$DIR/caller $shape")
	if [ "$shape" = ioctl ]; then
		"$DIR/hold" $daemon 3>&- &
		started $!
		wait_for 5 test -e "$DIR/holding"
		touch "$DIR/resolve"
		wait_for 5 test -e "$DIR/held"
	else
		kill -STOP $daemon
		touch "$DIR/resolve"
		wait_for 5 stopped $daemon
	fi
	kill -9 "$caller"
	wait_for 5 no_process "$caller"
	"$DIR/victim" "$caller" 3>&- &
	victim=$!
	started $victim
	wait_for 5 test -e "$DIR/up"
	touch "$DIR/release"
	kill -CONT $daemon
	wait $daemon
	touch "$DIR/over"
	wait $victim || { echo "$shape: the victim was touched"; return 1; }
	grep " pid=$caller " "$DIR/err" >"$DIR/log"
	cat "$DIR/log"
	[ "$(wc -l <"$DIR/log")" -eq 1 ]
	grep -q " $said: No such process\$" "$DIR/log"
}

@test "a caller that is gone, and another process under its number" {
	write_slow_page
	chmod 777 "$DIR"
	cat >"$DIR/fixed.h" <<'EOC'
#define FIXED ((void *)0x600000000000)
#define FILE_IN_DIR(name) WHERE "/" name
EOC
	cat >"$DIR/caller.c" <<'EOC'
#include "slow.h"
#include "fixed.h"
static void on_fault(void)
{
	close(open(FILE_IN_DIR("faulted"), O_CREAT | O_WRONLY, 0666));
	while (access(FILE_IN_DIR("resolve"), F_OK))
		usleep(10000);
}
int main(int argc, char **argv)
{
	const char *shape = argv[1];
	char *log = mmap(FIXED, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	union bpf_attr attr = {0}, *first = (void *)content;
	memset(log, 0, PAGE);
	slow_init();
	if (strcmp(shape, "map") == 0) {
		first->map_type = BPF_MAP_TYPE_ARRAY;
		first->key_size = 4;
		first->value_size = 8;
		first->max_entries = 1;
		syscall(SYS_bpf, BPF_MAP_CREATE, slow, sizeof(attr));
	} else if (strcmp(shape, "load") == 0 || strcmp(shape, "log") == 0) {
		memcpy(content, nothing, sizeof(nothing));
		attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
		attr.insns = (uintptr_t)slow;
		attr.insn_cnt = 2;
		attr.license = (uintptr_t)"GPL";
		if (strcmp(shape, "log") == 0) {
			attr.log_level = 1;
			attr.log_buf = (uintptr_t)log;
			attr.log_size = PAGE;
		}
		/* Without room for the true size of the log, the daemon has nothing to write but a log. */
		syscall(SYS_bpf, BPF_PROG_LOAD, &attr, 72);
	} else if (strcmp(shape, "get") == 0) {
		strcpy(content, "/");
		attr.pathname = (uintptr_t)slow;
		syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	} else if (strcmp(shape, "event") == 0) {
		struct perf_event_attr *event = (void *)content;
		event->type = PERF_TYPE_SOFTWARE;
		event->size = sizeof(*event);
		event->sample_period = 1000000000;
		syscall(SYS_perf_event_open, slow, -1, 0, -1, 0);
	} else if (strcmp(shape, "ioctl") == 0) {
		/* No memory is read: the page only says when. */
		close(open(FILE_IN_DIR("faulted"), O_CREAT | O_WRONLY, 0666));
		while (access(FILE_IN_DIR("resolve"), F_OK))
			usleep(10000);
		ioctl(uffd, PERF_EVENT_IOC_SET_BPF, 0);
	} else {
		struct rlimit *limit = (void *)content;
		limit->rlim_cur = limit->rlim_max = RLIM_INFINITY;
		syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, slow, NULL);
	}
	return 0;
}
EOC
	# Holds the daemon where it is about to look into the caller's descriptors.
	cat >"$DIR/hold.c" <<'EOC'
#include "slow.h"
#include "fixed.h"
#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
static void on_fault(void) {}
int main(int argc, char **argv)
{
	struct user_regs_struct regs = {0};
	struct dirent *task;
	char path[64];
	int status;
	pid_t tid;
	snprintf(path, sizeof(path), "/proc/%s/task", argv[1]);
	for (DIR *tasks = opendir(path); (task = readdir(tasks));) {
		tid = atoi(task->d_name);
		if (!tid || ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) < 0)
			continue;
		ptrace(PTRACE_INTERRUPT, tid, 0, 0);
		waitpid(tid, &status, __WALL);
		ptrace(PTRACE_SYSCALL, tid, 0, 0);
	}
	close(open(FILE_IN_DIR("holding"), O_CREAT | O_WRONLY, 0666));
	while ((tid = waitpid(-1, &status, __WALL)) > 0 && WIFSTOPPED(status)) {
		ptrace(PTRACE_GETREGS, tid, 0, &regs);
		if (WSTOPSIG(status) == (SIGTRAP | 0x80) && regs.orig_rax == SYS_pidfd_open)
			break;
		ptrace(PTRACE_SYSCALL, tid, 0, 0);
	}
	close(open(FILE_IN_DIR("held"), O_CREAT | O_WRONLY, 0666));
	while (access(FILE_IN_DIR("release"), F_OK))
		usleep(10000);
	/* The end of a tracer lets go of all it holds. */
	return 0;
}
EOC
	cat >"$DIR/victim.c" <<'EOC'
#include "slow.h"
#include "fixed.h"
#include <linux/sched.h>
#include <sys/wait.h>
static void on_fault(void) {}
int main(int argc, char **argv)
{
	pid_t number = atoi(argv[1]);
	struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
	int status;
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return 93;
	if (pid) {
		waitpid(pid, &status, 0);
		return status ? 1 : 0;
	}
	char *mine = mmap(FIXED, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(mine, 'v', PAGE);
	/* For calls that read more than once: what would do in the caller's place. */
	struct perf_event_attr *event = mmap(SLOW, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	event->type = PERF_TYPE_SOFTWARE;
	event->size = sizeof(*event);
	event->sample_period = 1000000000;
	close(open(FILE_IN_DIR("up"), O_CREAT | O_WRONLY, 0666));
	while (access(FILE_IN_DIR("over"), F_OK))
		usleep(10000);
	for (int i = 0; i < PAGE; i++)
		if (mine[i] != 'v')
			_exit(1);
	_exit(0);
}
EOC
	gcc -w -pthread -DWHERE="\"$DIR\"" -o "$DIR/caller" "$DIR/caller.c"
	gcc -w -pthread -DWHERE="\"$DIR\"" -o "$DIR/victim" "$DIR/victim.c"
	gcc -w -pthread -DWHERE="\"$DIR\"" -o "$DIR/hold" "$DIR/hold.c"
	recycled map MAP_CREATE
	recycled load PROG_LOAD
	recycled log PROG_LOAD
	recycled get OBJ_GET
	recycled event perf_event_open
	recycled limit prlimit64
	recycled ioctl ioctl
	wait_for 2 same_objects
}
