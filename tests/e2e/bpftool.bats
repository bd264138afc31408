#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Stock bpftool in a container sees the container's objects, under the container's numbers.

load common

setup() { common_setup; }
teardown() { common_teardown; }

@test "prog, map, link and perf show; map dump; nothing of the host's" {
	# Something of the host's own, which must not show.
	real bpftrace -e 'BEGIN { printf("up\n"); } uprobe:'"$DIR"'/sample-static:work { @hosts_map = count(); }' >"$DIR/host" 2>&1 3>&- &
	started $!
	wait_for 10 grep -q up "$DIR/host"
	cat >"$DIR/tree" <<EOF
bpftrace -e 'BEGIN { printf("attached\n"); } uprobe:$DIR/sample:work { @[arg1] = count(); }' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q attached $DIR/bt; do sleep 0.05; done
sleep 0.3
$DIR/sample -n 33
bpftool prog show; bpftool map show; bpftool perf show
id=\$(bpftool map show | sed -n 's/^\([0-9]*\): percpu_hash.*/\1/p')
bpftool map dump id \$id
bpftool map dump id 9999; bpftool prog show id 9999
$STOP_TOOL; wait
EOF
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
	ours sh "$DIR/tree" >"$DIR/out" 2>&1
	grep -qE '^[0-9]: kprobe +name work' "$DIR/out"
	grep -qE '^[0-9]: percpu_hash +name AT_' "$DIR/out"
	grep -qE "uprobe +filename $DIR/sample +offset" "$DIR/out"
	# 33 calls with arg1 = 2, spread over the CPUs.
	grep -qE 'key: *$|key:' "$DIR/out"
	refute grep -q hosts_map "$DIR/out"
	refute grep -q sample-static "$DIR/out"
	[ "$(grep -c 'No such file or directory' "$DIR/out")" -eq 2 ]
}

@test "pins live in the container's own bpffs" {
	cat >"$DIR/tree" <<'EOF'
set -e
bpftool map create /sys/fs/bpf/pinned type hash key 4 value 8 entries 16 name pinned
bpftool map update pinned /sys/fs/bpf/pinned key 1 0 0 0 value 2 0 0 0 0 0 0 0
bpftool map lookup pinned /sys/fs/bpf/pinned key 1 0 0 0
bpftool map show pinned /sys/fs/bpf/pinned
EOF
	ours sh "$DIR/tree" >"$DIR/out" 2>&1
	grep -qE 'name pinned' "$DIR/out"
	grep -qE 'value: *02 00' "$DIR/out"
	[ ! -e /sys/fs/bpf/pinned ]
	wait_for 2 same_objects
}

@test "a pinned link keeps its program attached until the pin goes" {
	cat >"$DIR/tree" <<EOT
/usr/sbin/funclatency $DIR/sample:work >$DIR/lat 2>&1 & tool=\$!
while [ \$(bpftool link show | grep -c perf_event) -lt 2 ]; do sleep 0.05; done
bpftool link pin id 1 /sys/fs/bpf/kept
bpftool link pin id 1 $DIR/elsewhere
kill -9 \$tool; wait \$tool 2>/dev/null
sleep 1
echo progs \$(bpftool prog show | grep -c kprobe)
rm /sys/fs/bpf/kept
sleep 1
echo progs \$(bpftool prog show | grep -c kprobe)
EOT
	touch "$DIR/lat"
	chmod 666 "$DIR/lat"
	chmod 777 "$DIR"
	ours sh "$DIR/tree" >"$DIR/out" 2>&1
	[ "$(grep -c '^progs' "$DIR/out")" -eq 2 ]
	grep '^progs' "$DIR/out" | head -1 | grep -qx 'progs 1'
	grep '^progs' "$DIR/out" | tail -1 | grep -qx 'progs 0'
	[ ! -e "$DIR/elsewhere" ]
	wait_for 2 same_objects
}
