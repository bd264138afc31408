#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A program on libbpf gives the same results in a container as real root gets without us.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# same_as_root TRACER-ARGUMENT...: run both ways and compare everything printed
same_as_root()
{
	real "$DIR/tracer" "$@" >"$DIR/real"
	ours "$DIR/tracer" "$@" >"$DIR/ours"
	diff "$DIR/real" "$DIR/ours"
}

# printed LINE...: each is one whole line of what the container printed
printed()
{
	local line
	for line in "$@"; do
		grep -qxF -- "$line" "$DIR/ours" || { echo "missing: $line"; cat "$DIR/ours"; return 1; }
	done
}

@test "uprobe, uretprobe and global data" {
	same_as_root -n 200 "$DIR/sample"
	# numbers 0 to 199: work() returns twice the number plus its word's first letter
	printed 'calls: 200' 'sum: 19900' 'returns: 200' 'returned: 59700' 'lost: 0' \
		'constants writable: no' 'command ended with 0'
}

@test "ring buffer" {
	same_as_root -n 200 "$DIR/sample"
	printed 'event 0: 1' 'event 1: 1' 'event 2: 1' 'event 3: 1' 'events damaged: 0'
}

@test "hash by batch, per-CPU array" {
	same_as_root -n 201 "$DIR/sample"
	printed 'word alpha: 51' 'word beta: 50' 'word gamma: 50' 'word delta: 50' \
		'per_cpu[0]: 201' 'per_cpu[1]: 60300'
}

@test "map in map: identifiers, user space and program" {
	same_as_root -n 200 "$DIR/sample"
	printed 'outer[0] is inner_a: yes' 'outer[1] is inner_b: yes' 'marks: 1200' \
		'outer[0][0]: 9900' 'outer[0][1]: 5' 'outer[0][2]: 5' \
		'outer[1][0]: 10000' 'outer[1][1]: 7' 'outer[1][2]: 7'
}

@test "tail call, cookies of uprobes and USDT probes, semaphore" {
	same_as_root -n 200 "$DIR/sample"
	printed 'tail calls: 200, failed 0' 'cookies: 4' \
		'cookie 1: 200' 'cookie 2: 200' 'cookie 11: 200' 'cookie 12: 200'
}

@test "information on a link and on a program" {
	same_as_root -n 1 "$DIR/sample"
	printed 'link type 7, its program on_work: yes'
	grep -qx 'program type 2, maps [1-9][0-9]*, GPL 1' "$DIR/ours"
}

@test "threads" {
	same_as_root "$DIR/sample" "$DIR/sample" -n 100 -t 4
	printed 'calls: 400' 'returns: 400' 'word alpha: 100' 'event 3: 4' 'events damaged: 0'
}

@test "threads of children" {
	# A new child's strings are not in its page table until it reads them, which a program in the
	# kernel cannot wait for: words are not compared.
	for how in real ours; do
		$how "$DIR/tracer" "$DIR/sample" "$DIR/sample" -n 100 -t 4 -f 3 >"$DIR/$how"
	done
	diff <(grep -vE '^(word|event)' "$DIR/real") <(grep -vE '^(word|event)' "$DIR/ours")
	printed 'calls: 1600' 'returns: 1600' 'tail calls: 1600, failed 0' \
		'cookie 2: 1600' 'cookie 12: 1600' 'per_cpu[0]: 1600'
}

@test "a static binary" {
	same_as_root -n 200 "$DIR/sample-static"
	printed 'calls: 200' 'returned: 59700' 'cookie 11: 200' 'cookie 12: 200'
}

@test "-p traces one process" {
	cat >"$DIR/two" <<EOF
rm -f $DIR/a $DIR/b
mkfifo $DIR/a $DIR/b
$DIR/sample -g -n 30 <$DIR/a >/dev/null & one=\$!
$DIR/sample -g -n 70 <$DIR/b >/dev/null &
exec 8>$DIR/a 9>$DIR/b
$DIR/tracer -p \$one $DIR/sample sh -c "echo >&9; echo >&8; exec 8>&- 9>&-
	while kill -0 \$one && grep -q '^State:.[^Z]' /proc/\$one/status; do sleep 0.05; done" 2>/dev/null
wait
EOF
	chmod 777 "$DIR"
	real sh "$DIR/two" >"$DIR/real" 3>&-
	ours sh "$DIR/two" >"$DIR/ours" 3>&-
	diff "$DIR/real" "$DIR/ours"
	printed 'calls: 30' 'returns: 30' 'cookie 1: 30' 'cookie 11: 30' 'cookie 12: 30'
}

@test "nothing is left when the tracer is killed" {
	# The command ends its parent at once: no handler, no clean-up of the tracer's own.
	ours sh -c "$DIR/tracer $DIR/sample sh -c 'kill -9 \$PPID' >/dev/null 2>&1 || echo ended" >"$DIR/ours"
	printed ended
	wait_for 3 same_objects
}
