# SPDX-License-Identifier: MIT
# Shared by every end-to-end test: the same command as real root without us, and in a container.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BPFSHIMD=$ROOT/build/bpfshimd
BPFSHIMCTL=$ROOT/build/bpfshimctl
PROGRAMS=$ROOT/build/tests/programs

# Programs and files that the container's root can reach, wherever the checkout lies.
common_setup()
{
	DIR=$(mktemp -d)
	chmod 755 "$DIR"
	cp "$PROGRAMS"/{sample,sample-static,sites,attrs,storm,signals,verdicts,tracer,tracer.bpf.o,timer.bpf.o} "$DIR/"
	STARTED=()
	bpf_objects >"$DIR/.objects"
}

common_teardown()
{
	local pid child
	for pid in "${STARTED[@]}"; do
		# A function in the background is a shell with the real thing as its child.
		if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = bash ]; then
			for child in $(pgrep -P "$pid"); do
				kill "$child" 2>/dev/null || true
			done
		fi
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		# A tree outlives its daemon.
		for child in $(find /sys/fs/cgroup -maxdepth 6 -type d -name "bpfshim-$pid" 2>/dev/null); do
			echo 1 >"$child/cgroup.kill"
		done
	done
	# Events that a killed bcc leaves in the host's table.
	unshare -m sh -c 'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
		cd /sys/kernel/tracing && grep -F "$1/" uprobe_events | while read -r event rest; do
			echo "-:${event#?:}" >>uprobe_events
		done' sh "$DIR" 2>/dev/null || true
	rm -rf "$DIR"
}

# started PID: end it in teardown if the test did not get that far
started()
{
	STARTED+=("$1")
}

# refute COMMAND...: it must fail. bats takes no notice of "! COMMAND" but at the end of a test.
refute()
{
	if "$@"; then
		echo "should not have succeeded: $*"
		return 1
	fi
}

# ours CMD...: in an unprivileged container
ours()
{
	timeout -k 5 90 "$BPFSHIMD" --run --unprivileged -- "$@"
}

# In a tree, to end bpftrace: an interrupt that comes when bpftrace 0.17 is not in epoll_wait() is not looked at
# any more (poll_perf_events()), which on a busy machine is one in ten. The second one comes when the first was lost.
STOP_TOOL='kill -INT $tool; (sleep 4; kill -INT $tool; sleep 4; kill -INT $tool) 2>/dev/null & again=$!; wait $tool; kill $again 2>/dev/null'


# inside CMD...: in an unprivileged container whose uprobe programs run in the traced process or not at all
inside()
{
	[ -e "$DIR/inside.json" ] || echo '{"kernel": "deny"}' >"$DIR/inside.json"
	timeout -k 5 150 "$BPFSHIMD" --run --unprivileged --policy "$DIR/inside.json" -- "$@"
}

# real CMD...: as real root without us, with what a tool expects mounted, in a private namespace
real()
{
	timeout -k 5 90 unshare -m sh -c '
		mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
		mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
		for common in /usr/src/linux-headers-*-common; do
			config=${common%-common}-amd64
			[ -d "$config" ] && mkdir -p /run/bpfshim-test-headers &&
				mount -t overlay overlay -o "ro,lowerdir=$config:$common" /run/bpfshim-test-headers &&
				export BCC_KERNEL_SOURCE=/run/bpfshim-test-headers
		done
		exec "$@"' sh "$@"
}

# bpf_objects: what the kernel holds, one line each
bpf_objects()
{
	local kind
	for kind in prog map link; do
		bpftool $kind list | sed -nE "s/^([0-9]+: [^ ]+( +name [^ ]+)?).*/$kind \1/p"
	done
}

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for()
{
	local tries=$(($1 * 20))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.05
	done
}

# new_objects: what the kernel holds now and did not when the test began
new_objects()
{
	bpf_objects | grep -vxFf "$DIR/.objects"
}

same_objects()
{
	! new_objects >/dev/null
}

no_cgroups()
{
	! find /sys/fs/cgroup -maxdepth 6 -type d -name "bpfshim-$1" 2>/dev/null | grep -q .
}

# nothing_left DAEMON_PID: no trace of a daemon that has ended
nothing_left()
{
	wait_for 3 same_objects || { echo "objects left:"; new_objects; return 1; }
	wait_for 3 no_cgroups "$1" || { echo "cgroup left"; return 1; }
	[ ! -e "/run/bpfshim/daemons/$1.sock" ] || { echo "socket left"; return 1; }
	! grep -q bpfshim /proc/self/mountinfo || { echo "mount left"; return 1; }
}

# text_untouched PID FILE: the process runs the very bytes of the file, no breakpoint among them
text_untouched()
{
	python3 - "$1" "$2" <<'EOF'
import sys
pid, path = sys.argv[1:]
data = open(path, "rb").read()
for line in open(f"/proc/{pid}/maps"):
    fields = line.split()
    if len(fields) < 6 or fields[5] != path or "x" not in fields[1]:
        continue
    start, end = (int(x, 16) for x in fields[0].split("-"))
    mem = open(f"/proc/{pid}/mem", "rb")
    mem.seek(start)
    offset = int(fields[2], 16)
    text = mem.read(end - start)
    want = data[offset:offset + len(text)]
    sys.exit(text[:len(want)] != want)
sys.exit(2) # no such mapping
EOF
}

text_touched()
{
	local got=0
	text_untouched "$@" || got=$?
	[ $got -eq 1 ]
}

# lacks FILE PATTERN...: no line matches. A plain "! grep" in the middle of a test would never fail it.
lacks()
{
	local file=$1 pattern
	shift
	[ -e "$file" ] || return 1
	for pattern in "$@"; do
		if grep -E -- "$pattern" "$file"; then
			echo "unexpected: $pattern"
			return 1
		fi
	done
}


# normalise: numbers that differ from run to run (addresses, pids given as $1...) become words
normalise()
{
	sed -E -e 's/0x[0-9a-f]+/ADDR/g' -e "s#$DIR#DIR#g" -e 's/[[:space:]]+$//'
}

# traced HOW READY LINES WANTED WORKLOAD TOOL [ARG...]: start the tool, wait until its output has READY
# (a pattern; or "uprobes N": until N probes of $DIR are attached), run the shell command WORKLOAD, wait
# until LINES lines of the output match WANTED ("+N": N more than when the workload ended), interrupt the
# tool. Its output is in $DIR/HOW, the workload's in $DIR/HOW.work.
traced()
{
	local how=$1
	shift
	rm -f "$DIR/$how" "$DIR/$how.work"
	touch "$DIR/$how" "$DIR/$how.work"
	chmod 666 "$DIR/$how" "$DIR/$how.work"
	cat >"$DIR/traced" <<'EOF'
dir=$1 how=$2 ready=$3 lines=$4 wanted=$5 workload=$6
shift 6
export PYTHONUNBUFFERED=1
is_ready()
{
	case $ready in
	"uprobes "*) [ "$(bpftool perf show | grep -c "uprobe.*$dir\|uretprobe.*$dir")" -ge "${ready#uprobes }" ] ;;
	*) grep -qE -- "$ready" "$how" ;;
	esac
}
is_settled()
{
	[ "$(grep -cE -- "$wanted" "$how")" -ge $((lines + before)) ]
}
# patiently CONDITION: until it holds, or the tool is gone, or half a minute has passed
patiently()
{
	local tries=600
	until "$1"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] && kill -0 $tool 2>/dev/null || return 1
		sleep 0.05
	done
}
result=0 before=0
# A shell starts background commands with SIGINT ignored, which tools would keep.
env --default-signal=INT stdbuf -oL "$@" >"$how" 2>&1 &
tool=$!
if patiently is_ready; then
	sh -c "$workload" >"$how.work" 2>&1
	case $lines in
	+*) before=$(grep -cE -- "$wanted" "$how") ;;
	esac
	patiently is_settled || { echo "traced: fewer than $lines lines of '$wanted'" >>"$how"; result=1; }
	sleep 0.3 # what is too much may show, too
else
	echo "traced: the tool never got ready" >>"$how"
	result=1
fi
kill -INT $tool 2>/dev/null
tries=200
while kill -0 $tool 2>/dev/null && [ $tries -gt 0 ]; do sleep 0.05; tries=$((tries - 1)); done
kill -9 $tool 2>/dev/null
wait $tool
exit $result
EOF
	"$how" bash "$DIR/traced" "$DIR" "$DIR/$how" "$@" 3>&- || { tail -20 "$DIR/$how"; return 1; }
}

# both READY LINES WANTED WORKLOAD TOOL [ARG...]: as real root and in a container; the workload's output
# may not differ
both()
{
	traced real "$@"
	traced ours "$@"
	diff "$DIR/real.work" "$DIR/ours.work"
}
