#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Stock bcc tools, with Debian's 6.1 kernel headers: the same results as real root.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# both MARKER WORKLOAD TOOL...
both()
{
	traced real "$@"
	traced ours "$@"
	diff "$DIR/real.work" "$DIR/ours.work"
}

@test "funccount" {
	both 'Hit Ctrl-C' "$DIR/sample -n 150" funccount-bpfcc "$DIR/sample:work"
	grep -E '^work +150$' "$DIR/real"
	grep -E '^work +150$' "$DIR/ours"
}

@test "trace" {
	both 'COMM' "$DIR/sample -n 4" trace-bpfcc "$DIR/sample:work(long n, long x, char *s) \"%d %d %s\", n, x, s" "r:$DIR/sample:work \"= %d\", retval"
	diff <(awk '/work/ { $1 = $2 = ""; print }' "$DIR/real" | sort) \
	     <(awk '/work/ { $1 = $2 = ""; print }' "$DIR/ours" | sort)
	[ "$(grep -c 'sample *work' "$DIR/ours")" -eq 8 ]
}

@test "trace of a usdt probe" {
	both 'COMM' "$DIR/sample -n 4" trace-bpfcc "u:$DIR/sample:step \"%d\", arg1"
	[ "$(grep -c 'sample *step' "$DIR/real")" -eq 4 ]
	[ "$(grep -c 'sample *step' "$DIR/ours")" -eq 4 ]
}

@test "argdist" {
	both ' .*:.*:' "$DIR/sample -n 64" argdist-bpfcc -i 100 -n 1 -C "p:$DIR/sample:work(long n, long x):long:x" -H "r:$DIR/sample:work():long:\$retval"
	diff <(grep -E '[0-9]+ +(:|x)' "$DIR/real") <(grep -E '[0-9]+ +(:|x)' "$DIR/ours")
}

@test "funclatency" {
	both 'Hit Ctrl-C' "$DIR/sample -n 90" funclatency-bpfcc "$DIR/sample:outer"
	for how in real ours; do
		[ "$(awk -F: '/->/ { split($2, a, "|"); sum += a[1] } END { print sum }' "$DIR/$how")" -eq 90 ]
	done
}

@test "stackcount" {
	both 'Hit Ctrl-C' "$DIR/sample -n 25" stackcount-bpfcc -U "$DIR/sample:work"
	grep -qE '^ +25$' "$DIR/real"
	grep -qE '^ +25$' "$DIR/ours"
}

@test "bashreadline" {
	both 'TIME' "printf 'echo one two\n' | timeout 5 bash --norc -i 2>/dev/null" bashreadline-bpfcc
	diff <(grep -o 'echo one two' "$DIR/real") <(grep -o 'echo one two' "$DIR/ours")
}

@test "gethostlatency" {
	both 'HOST' "getent ahosts localhost" gethostlatency-bpfcc
	grep -q 'getent.*localhost' "$DIR/real"
	grep -q 'getent.*localhost' "$DIR/ours"
}

@test "threadsnoop" {
	both 'FUNC' "$DIR/sample -n 1 -t 4" threadsnoop-bpfcc
	[ "$(grep -c sample "$DIR/real")" -eq 3 ]
	[ "$(grep -c sample "$DIR/ours")" -eq 3 ]
}

@test "syscount" {
	both 'Tracing' "dd if=/dev/zero of=/dev/null bs=1 count=3000 2>/dev/null" syscount-bpfcc
	grep -qE '^write +[0-9]' "$DIR/real"
	grep -qE '^write +[0-9]' "$DIR/ours"
}
