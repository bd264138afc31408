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
	cp "$PROGRAMS"/{sample,sample-static,attrs,storm,signals,verdicts,tracer,tracer.bpf.o} "$DIR/"
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
	done
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
	bpftool prog list | grep -oE '^[0-9]+: .*name [^ ]+' || true
	bpftool map list | grep -oE '^[0-9]+: .*name [^ ]+' || true
	bpftool link list | grep -oE '^[0-9]+: .*' || true
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

# normalise: numbers that differ from run to run (addresses, pids given as $1...) become words
normalise()
{
	sed -E -e 's/0x[0-9a-f]+/ADDR/g' -e "s#$DIR#DIR#g" -e 's/[[:space:]]+$//'
}

# traced HOW MARKER WORKLOAD TOOL [ARG...]: start the tool, wait until its output has MARKER, run the
# shell command WORKLOAD, interrupt the tool; its output is in $DIR/HOW, the workload's in $DIR/HOW.work
traced()
{
	local how=$1 marker=$2 workload=$3
	shift 3
	rm -f "$DIR/$how" "$DIR/$how.work"
	touch "$DIR/$how" "$DIR/$how.work"
	chmod 666 "$DIR/$how" "$DIR/$how.work"
	cat >"$DIR/traced" <<'EOF'
how=$1 marker=$2 workload=$3
shift 3
export PYTHONUNBUFFERED=1
# A shell starts background commands with SIGINT ignored, which tools would keep.
env --default-signal=INT stdbuf -oL "$@" >"$how" 2>&1 &
tool=$!
tries=400
until grep -q "$marker" "$how" || [ $tries -eq 0 ]; do sleep 0.05; tries=$((tries - 1)); done
sleep 0.7
sh -c "$workload" >"$how.work" 2>&1
sleep 1.2
kill -INT $tool
tries=100
while kill -0 $tool 2>/dev/null && [ $tries -gt 0 ]; do sleep 0.05; tries=$((tries - 1)); done
kill -9 $tool 2>/dev/null
wait $tool
exit 0
EOF
	"$how" bash "$DIR/traced" "$DIR/$how" "$marker" "$workload" "$@" 3>&-
}
