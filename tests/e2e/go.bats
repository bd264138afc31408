#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Go programs: goroutines have small stacks that move. Each call is one hit, and the program notices nothing.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/gopher "$PROGRAMS"/gopher-pie "$DIR/"
}

teardown()
{
	common_teardown
}

@test "each call is one hit, whatever question the function asks of its stack" {
	local program name
	for program in gopher gopher-pie; do
		for name in work large deep; do
			inside bpftrace -e "uprobe:$DIR/$program:\"main.$name\" { @ = count(); }" -c "$DIR/$program -n 3000 -g 60" \
				>"$DIR/out" 2>"$DIR/err"
			cat "$DIR/out"
			grep -qx 'calls 183000' "$DIR/out"
			grep -qx '@: 183000' "$DIR/out"
		done
	done
	# As many as with real root, but for calls that the kernel sees again when the stack has grown.
	inside bpftrace -e "uprobe:$DIR/gopher:\"main.down\" { @ = count(); }" -c "$DIR/gopher -n 500 -g 20" >"$DIR/out" 2>"$DIR/err"
	real bpftrace -e "uprobe:$DIR/gopher:\"main.down\" { @ = count(); }" -c "$DIR/gopher -n 500 -g 20" >"$DIR/real" 2>/dev/null
	ours=$(sed -n 's/^@: //p' "$DIR/out")
	theirs=$(sed -n 's/^@: //p' "$DIR/real")
	echo "$ours $theirs"
	[ "$ours" -gt 0 ]
	[ "$ours" -le "$theirs" ]
	[ "$theirs" -le $((ours + ours / 100)) ]
}

@test "registers and stacks are what the kernel shows" {
	cat >"$DIR/script" <<EOF
uprobe:$DIR/gopher:"main.work" { @[reg("ax"), reg("cx"), str(reg("bx"), reg("cx"))] = 1; }
EOF
	real bpftrace "$DIR/script" -c "$DIR/gopher -n 40 -g 1" 2>/dev/null | sort >"$DIR/real"
	inside bpftrace "$DIR/script" -c "$DIR/gopher -n 40 -g 1" 2>"$DIR/err" | sort >"$DIR/inside"
	diff "$DIR/real" "$DIR/inside"
	[ "$(grep -c '^@\[[0-9]*, 4, word\]: 1$' "$DIR/inside")" -eq 40 ]
	# And where it is; once for each thread.
	for how in real inside; do
		$how bpftrace -e "uprobe:$DIR/gopher:\"main.deep\" /reg(\"ax\") == 39/ { @[ustack(2)] = 1; }" \
			-c "$DIR/gopher -n 40 -g 1" 2>/dev/null | normalise | sort -u >"$DIR/$how"
	done
	diff "$DIR/real" "$DIR/inside"
	cat "$DIR/inside"
	[ "$(grep -c '^    ' "$DIR/inside")" -ge 1 ]
}

@test "tools come and go while stacks grow and move, the collector and the profiler at work" {
	cat >"$DIR/script" <<EOF
uprobe:$DIR/gopher:"main.work" { @[comm] = count(); @h = hist(reg("ax")); @u[ustack(8)] = count(); }
uprobe:$DIR/gopher:"main.large" { @l = count(); @s[tid] = nsecs; printf("%d\n", reg("ax")); }
uprobe:$DIR/gopher:"main.down" { @d[pid, cpu] = sum(reg("bx")); }
uprobe:$DIR/gopher:"runtime.mallocgc" { @m = hist(reg("ax")); }
uprobe:$DIR/gopher:"runtime.schedule" { @scheduled = count(); }
EOF
	cat >"$DIR/tree" <<EOF
GOGC=5 $DIR/gopher -n 1000 -g 100 -w 16000 >$DIR/gopher.out 2>&1 & target=\$!
for i in 1 2 3 4 5; do
	timeout -s INT 3 bpftrace $DIR/script >$DIR/out.\$i 2>&1
done
wait \$target
echo "status \$?" >>$DIR/gopher.out
EOF
	touch "$DIR/gopher.out" "$DIR"/out.{1,2,3,4,5}
	chmod 666 "$DIR"/gopher.out "$DIR"/out.*
	inside sh "$DIR/tree" 2>"$DIR/err"
	cat "$DIR/gopher.out"
	grep -qx 'status 0' "$DIR/gopher.out"
	grep -qE '^calls [0-9]+$' "$DIR/gopher.out"
	[ "$(grep -lE '^@scheduled: [1-9]' "$DIR"/out.* | wc -l)" -ge 2 ]
}

@test "what is not safe there is refused by name: returns, and functions that do not ask for room" {
	run inside bpftrace -e "uretprobe:$DIR/gopher:\"main.work\" { @ = count(); }" -c "$DIR/gopher -n 1 -g 1"
	echo "$output"
	grep -q 'stacks of Go programs move, and return addresses with them' <<<"$output"
	run inside bpftrace -e "uprobe:$DIR/gopher:\"runtime.memmove\" { @ = count(); }" -c "$DIR/gopher -n 1 -g 1"
	echo "$output"
	grep -q 'only the first instruction of a function that asks for room on its stack can be probed in a Go program' <<<"$output"
}
