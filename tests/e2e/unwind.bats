#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Exceptions, threads that end and backtraces pass through functions whose return is probed in the process.
# (The kernel's own return probes do not survive that, so there is nothing to compare with.)

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/{unwind,unwind-static} "$DIR/"
	touch "$DIR/bt"
	chmod 666 "$DIR/bt"
}
teardown() { common_teardown; }

# probes TARGET: every function of it, at its return
probes()
{
	local name
	for name in inner middle deep catch rethrow frames leave; do
		echo "uretprobe:$DIR/$1:unwind_$name { @$name = count(); }"
	done
}

# counted NAME N: what bpftrace counted
counted() { grep -q "^@$1: $2\$" "$DIR/bt"; }

@test "exceptions, thread ends and backtraces: exact counts of those that return, dynamic and static" {
	for target in unwind unwind-static; do
		cat >"$DIR/tree" <<EOF
bpftrace -e '$(probes $target)' >$DIR/bt 2>&1 & tool=\$!
while ! grep -q Attaching $DIR/bt; do sleep 0.05; done
sleep 1.5
for i in 1 2 3; do $DIR/$target -n 300 -t 4 || echo "status \$?"; done
$STOP_TOOL
EOF
		: >"$DIR/bt"
		inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
		cat "$DIR/out" "$DIR/err" "$DIR/bt"
		[ "$(grep -c '^4 threads left by unwinding$' "$DIR/out")" -eq 3 ]
		refute grep status "$DIR/out"
		# 12 threads, 300 rounds: a third throws, of rethrow only those in odd rounds.
		counted inner 4800
		counted middle 4800
		counted catch 3600
		counted rethrow 3000
		counted leave 0
	done
}

@test "attached and detached while threads throw: nobody notices" {
	echo '{"prefer": "user"}' >"$DIR/inside.json"
	for target in unwind unwind-static; do
		cat >"$DIR/tree" <<EOF
$DIR/$target -s 9 -t 4 & target=\$!
for i in 1 2 3 4 5; do
	bpftrace -e '$(probes $target) interval:s:1 { exit(); }' >$DIR/bt 2>&1
	kill -0 \$target 2>/dev/null || break
	grep -q '^@inner: [1-9]' $DIR/bt && echo counted || cat $DIR/bt
done
wait \$target
echo "status \$?"
EOF
		inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
		cat "$DIR/out" "$DIR/err"
		grep -q '^4 threads left by unwinding$' "$DIR/out"
		grep -q '^status 0$' "$DIR/out"
		grep -q '^counted$' "$DIR/out"
		refute grep -q '^@' "$DIR/out"
	done
}

@test "a file that throws and has lost the unwinder's symbol: return probes are refused with a reason" {
	strip --strip-all --keep-symbol=unwind_catch --keep-symbol=__cxa_throw "$DIR/unwind-static"
	inside bpftrace -e "uretprobe:$DIR/unwind-static:unwind_catch { @ = count(); }" -c "$DIR/unwind-static -n 30" >"$DIR/out" 2>&1 || true
	cat "$DIR/out"
	grep -q 'exceptions could not pass a probed return of this file: it has no symbol of the unwinder' "$DIR/out"
}
