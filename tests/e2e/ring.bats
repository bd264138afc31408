#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Ring buffers: programs in the traced process write, the tool reads its own kernel ring.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/ring "$PROGRAMS"/ring.bpf.o "$DIR/"
	printf '%s right\n' output reserved first second between dynptr bytes order answers >"$DIR/right"
}

teardown() { common_teardown; }

# all_right HOW ARGUMENT...: every record was received, or its program knew that it would not be
all_right()
{
	local how=$1
	shift
	"$how" "$DIR/ring" "$@" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	diff "$DIR/right" "$DIR/out"
}

@test "one thread, room for all: nothing is lost" {
	all_right real -n 100
	all_right inside -n 100
	[ "$(grep -c ' 0 failed' "$DIR/err")" -eq 6 ]
}

@test "threads: each record once, whole, in the order of its thread" {
	all_right real -n 1000 -t 4
	all_right inside -n 20000 -t 4
	all_right inside -n 2000 -t 16 -s $((1 << 24))
}

@test "a slow reader and a small ring" {
	all_right real -n 1000 -t 2 -s 4096 -d 20
	all_right inside -n 1000 -t 4 -s 4096 -d 20
	all_right inside -n 20000 -t 4 -s 8192 -d 1
	grep -q 'output: [1-9][0-9]* received, [1-9][0-9]* failed' "$DIR/err"
}

@test "nobody reads before the end: the ring is as full as the kernel's would be" {
	all_right real -n 500 -t 1 -s 4096 -p -k
	grep received "$DIR/err" >"$DIR/real"
	all_right inside -n 500 -t 1 -s 4096 -p -k
	diff "$DIR/real" <(grep received "$DIR/err")
	all_right inside -n 2000 -t 4 -s 4096 -p
}

@test "bcc: one thread; threads and forked children" {
	cp "$BATS_TEST_DIRNAME/ring.py" "$DIR/"
	for how in real inside; do
		$how python3 "$DIR/ring.py" "$DIR/sample" "$DIR/sample" -n 1000 >"$DIR/$how" 2>"$DIR/err"
		$how python3 "$DIR/ring.py" "$DIR/sample" "$DIR/sample" -n 100 -t 4 -f 3 2>>"$DIR/err" |
			grep -v ^last >>"$DIR/$how"
	done
	cat "$DIR/inside" "$DIR/err"
	diff "$DIR/real" "$DIR/inside"
	grep -qx '1000 499500' "$DIR/inside"
	grep -qx 'last: 1000 in order' "$DIR/inside"
	grep -qx '1600 79200' "$DIR/inside"
}

@test "targets that are killed while they write: the next one has all of the ring" {
	cp "$BATS_TEST_DIRNAME/ring.py" "$DIR/"
	cat >"$DIR/victims" <<'EOF'
i=0
while [ $i -lt 20 ]; do
	"$1" -n 100000000 >/dev/null & victim=$!
	sleep 0.0$((i % 5 + 1))
	kill -9 $victim
	wait $victim
	i=$((i + 1))
done 2>/dev/null
sleep 1
"$1" -n 500 >/dev/null
EOF
	inside python3 "$DIR/ring.py" "$DIR/sample" sh "$DIR/victims" "$DIR/sample" >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	# Some find the ring full all the time, for bcc reads slowly, or are killed before they begin.
	grep -qE '^([2-9]|1[0-9]|2[01]) processes$' "$DIR/inside"
	grep -qx 'last: 500 in order' "$DIR/inside"
}

@test "programs in the kernel and in the process write to the same kind of ring" {
	all_right ours -n 500 -t 2
}
