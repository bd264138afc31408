#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs in the traced process count in maps that stand in maps, while the tool exchanges those.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/inner "$PROGRAMS"/inner.bpf.o "$DIR/"
	cat >"$DIR/both" <<-'EOF'
	# both DIR CALLS THREADS [TARGETS]: targets that run already, and the tool
	cd $1
	rm -f gate.* stop out err
	: >out
	mkfifo stop
	for i in $(seq ${4:-1}); do
		mkfifo gate.$i
		./inner call $2 $3 <gate.$i & targets="$targets $!"
		eval "exec $((i + 3))>gate.$i"
	done
	exec 3<>stop
	./inner trace ./inner <stop >out 2>err & tool=$!
	while ! grep -q ready out; do kill -0 $tool 2>/dev/null || break; sleep 0.05; done
	for i in $(seq ${4:-1}); do eval "echo go >&$((i + 3))"; done
	for target in $targets; do wait $target || echo "status $?"; done
	echo stop >&3
	wait $tool
	cat out err
	EOF
	chmod 777 "$DIR"
}

teardown() { common_teardown; }

@test "maps in arrays and hashes of maps are exchanged while programs count: exact, errors as the kernel's" {
	real sh "$DIR/both" "$DIR" 60000 2 >"$DIR/real" 2>&1
	cat "$DIR/real"
	grep -q 'counted all' "$DIR/real"
	inside sh "$DIR/both" "$DIR" 300000 4 3 >"$DIR/inside" 2>&1
	cat "$DIR/inside"
	diff <(grep -vE 'entered| of ' "$DIR/real") <(grep -vE 'entered|bpfshimd|libbpf| of ' "$DIR/inside")
	grep -qx 'entered 7200000' "$DIR/inside"
	grep -qx 'each kind: yes' "$DIR/inside"
}

@test "with both placements allowed, and in the kernel" {
	echo '{"prefer": "user"}' >"$DIR/both.json"
	timeout -k 5 60 "$BPFSHIMD" --run --unprivileged --policy "$DIR/both.json" -- sh "$DIR/both" "$DIR" 100000 2 >"$DIR/out1" 2>&1
	grep -q 'counted all' "$DIR/out1"
	ours sh "$DIR/both" "$DIR" 20000 2 >"$DIR/out2" 2>&1
	grep -q 'counted all' "$DIR/out2"
}

@test "the tool killed while maps are exchanged: targets run on, the next tool counts all" {
	cat >"$DIR/killed" <<-EOF
	cd $DIR
	mkfifo gate never
	exec 5<>never
	./inner call 2000000000 2 <gate & target=\$!
	exec 4>gate
	echo go >&4
	for i in 1 2 3; do
		: >tool.\$i
		./inner trace ./inner <never >tool.\$i 2>&1 & tool=\$!
		while ! grep -q ready tool.\$i; do sleep 0.02; done
		sleep 0.\$i
		kill -9 \$tool
		wait \$tool
	done
	kill \$target && echo alive
	wait \$target
	echo status \$?
	EOF
	inside sh "$DIR/killed" >"$DIR/out" 2>&1
	cat "$DIR/out"
	grep -qx alive "$DIR/out"
	grep -qx 'status 143' "$DIR/out"
	inside sh "$DIR/both" "$DIR" 100000 2 >"$DIR/inside" 2>&1
	grep -q 'counted all' "$DIR/inside"
}
