#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Stock bcc tools, with Debian's 6.1 kernel headers: the same results as real root.

load common

setup() { common_setup; }
teardown() { common_teardown; }

# same_lines PATTERN [FROM-COLUMN]: what matches is the same both ways, and there is some
same_lines()
{
	local how
	for how in real ours; do
		grep -E -- "$1" "$DIR/$how" | normalise | awk -v from="${2:-1}" \
			'{ for (i = 1; i < from; i++) $i = ""; $1 = $1; print }' | sort >"$DIR/$how.lines"
	done
	diff "$DIR/real.lines" "$DIR/ours.lines"
	[ -s "$DIR/real.lines" ]
}

# rows_sum FILE: the counts of a bcc histogram added up
rows_sum()
{
	awk -F: '/->/ { split($2, a, "|"); sum += a[1] } END { print sum + 0 }' "$1"
}

@test "funccount" {
	both 'Hit Ctrl-C' 0 - "$DIR/sample -n 150" funccount-bpfcc "$DIR/sample:[wo][ou]*"
	same_lines '^[a-z_]+ +[0-9]+$'
	grep -qE '^work +150$' "$DIR/ours"
	grep -qE '^outer +150$' "$DIR/ours"
}

@test "trace" {
	both COMM 8 'sample *work' "$DIR/sample -n 4" trace-bpfcc \
		"$DIR/sample:work(long n, long x, char *s) \"%d %d %s\", n, x, s" "r:$DIR/sample:work \"= %d\", retval"
	same_lines 'sample *work' 3
	[ "$(wc -l <"$DIR/ours.lines")" -eq 8 ]
	grep -qF '3 2 delta' "$DIR/ours.lines"
}

@test "trace of usdt probes without and with semaphore" {
	both COMM 4 'sample *step' "$DIR/sample -n 4" trace-bpfcc "u:$DIR/sample:step \"%d %s\", arg1, arg2"
	same_lines 'sample *step' 3
	[ "$(wc -l <"$DIR/ours.lines")" -eq 4 ]
	# With a semaphore bcc must be told the process, whose memory it writes the semaphore in.
	cat >"$DIR/guarded" <<EOF
mkfifo $DIR/gate 2>/dev/null
$DIR/sample -g -n 5 <$DIR/gate >/dev/null & target=\$!
exec 8>$DIR/gate
PYTHONUNBUFFERED=1 trace-bpfcc -p \$target 'u:$DIR/sample:guarded "%d", arg1' >$DIR/out 2>&1 8>&- & tool=\$!
while ! grep -q COMM $DIR/out && kill -0 \$tool; do sleep 0.05; done
echo >&8; wait \$target
tries=100
while [ \$(grep -c guarded $DIR/out) -lt 5 ] && [ \$tries -gt 0 ]; do sleep 0.05; tries=\$((tries - 1)); done
kill \$tool; wait
EOF
	for how in real ours; do
		rm -f "$DIR/gate"
		chmod 777 "$DIR"
		: >"$DIR/out"
		chmod 666 "$DIR/out"
		$how sh "$DIR/guarded" 3>&-
		cp "$DIR/out" "$DIR/$how"
	done
	same_lines 'sample *guarded' 3
	[ "$(wc -l <"$DIR/ours.lines")" -eq 5 ]
}

@test "argdist" {
	# It shows what it has every second, and nothing when interrupted.
	both 'uprobes 2' +2 '^\[[0-9:]+\]$' "$DIR/sample -n 64" argdist-bpfcc -c -i 1 \
		-C "p:$DIR/sample:work(long n, long x):long:x" -H "r:$DIR/sample:work():long:\$retval"
	for how in real ours; do
		tac "$DIR/$how" | sed '/^\[[0-9:]*\]$/q' >"$DIR/last"
		mv "$DIR/last" "$DIR/$how"
	done
	same_lines '[0-9]+ .*(x = 2|\|)'
	grep -qE '^\s*64 +x = 2$' "$DIR/ours"
	[ "$(rows_sum "$DIR/ours")" -eq 64 ]
}

@test "funclatency" {
	both 'Hit Ctrl-C' 0 - "$DIR/sample -n 90" funclatency-bpfcc "$DIR/sample:outer"
	[ "$(rows_sum "$DIR/real")" -eq 90 ]
	[ "$(rows_sum "$DIR/ours")" -eq 90 ]
}

@test "stackcount" {
	both 'Hit Ctrl-C' 0 - "$DIR/sample -n 25" stackcount-bpfcc -U "$DIR/sample:work"
	same_lines '^ +([a-z_]+|[0-9]+)$'
	grep -qE '^ +25$' "$DIR/ours"
}

@test "bashreadline" {
	both TIME 1 'echo one two' "printf 'echo one two\n' | timeout 5 bash --norc -i 2>/dev/null" bashreadline-bpfcc
	same_lines 'echo one two' 3
}

@test "gethostlatency" {
	both HOST 1 'getent .*localhost' "getent ahosts localhost" gethostlatency-bpfcc
	[ "$(grep -c 'getent .*localhost' "$DIR/real")" -eq "$(grep -c 'getent .*localhost' "$DIR/ours")" ]
}

@test "threadsnoop" {
	both FUNC 3 sample "$DIR/sample -n 1 -t 4" threadsnoop-bpfcc
	[ "$(grep -c sample "$DIR/real")" -eq 3 ]
	[ "$(grep -c sample "$DIR/ours")" -eq 3 ]
}

@test "syscount" {
	both Tracing 0 - "dd if=/dev/zero of=/dev/null bs=1 count=3000 2>/dev/null" syscount-bpfcc -T 1000
	for how in real ours; do
		[ "$(awk '$1 == "write" { print $2 }' "$DIR/$how")" -ge 3000 ]
	done
	# The whole host's, and the container's: dd and what the tool itself wrote.
	[ "$(awk '$1 == "write" { print $2 }' "$DIR/ours")" -lt 3200 ]
}
