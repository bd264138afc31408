#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Programs that were built with musl, dynamic and static, probed inside.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/sample-musl "$PROGRAMS"/sample-musl-static "$DIR/"
	chmod 777 "$DIR"
}
teardown() { common_teardown; }

# script NAME: entry, return and USDT probes of it
script()
{
	cat >"$DIR/$1.bt" <<EOF
uprobe:$DIR/$1:work { @calls = count(); }
uretprobe:$DIR/$1:work { @returns = count(); }
usdt:$DIR/$1:sample:step { @steps[str(arg1)] = count(); }
uprobe:$DIR/$1:work /arg0 == 3/ { printf("third: %s\n", str(arg2)); }
EOF
}

@test "musl: processes that start later, with threads and children" {
	for name in sample-musl sample-musl-static; do
		script $name
		cat >"$DIR/tree" <<EOF
bpftrace $DIR/$name.bt >$DIR/bt 2>&1 & tool=\$!
while ! grep -qs Attaching $DIR/bt; do sleep 0.05; done
sleep 1
for i in \$(seq 20); do $DIR/$name -n 100 -t 2 -f 2 >/dev/null || echo "status \$?"; done
$STOP_TOOL
EOF
		inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
		cat "$DIR/out" "$DIR/err" "$DIR/bt"
		refute grep -q status "$DIR/out"
		# 20 times 3 processes with 2 threads that call it 100 times
		grep -qx '@calls: 12000' "$DIR/bt"
		grep -qx '@returns: 12000' "$DIR/bt"
		[ "$(sed -n 's/^@steps.*: //p' "$DIR/bt" | awk '{ sum += $1 } END { print sum }')" -eq 12000 ]
		grep -q '^third: ' "$DIR/bt"
	done
}

@test "musl: a process that runs already, and runs on as before" {
	for name in sample-musl sample-musl-static; do
		script $name
		cat >"$DIR/tree" <<EOF
mkfifo $DIR/go; exec 8<>$DIR/go
$DIR/$name -g -n 5000 -t 4 <&8 >$DIR/sum & target=\$!
sleep 0.3
bpftrace $DIR/$name.bt >$DIR/bt 2>&1 & tool=\$!
while ! grep -qs Attaching $DIR/bt; do sleep 0.05; done
sleep 1
echo go >&8
wait \$target; echo "status \$?"
$STOP_TOOL
EOF
		rm -f "$DIR/go"
		inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
		cat "$DIR/out" "$DIR/err" "$DIR/bt" "$DIR/sum"
		grep -qx 'status 0' "$DIR/out"
		grep -qx '@calls: 20000' "$DIR/bt"
		grep -qx '@returns: 20000' "$DIR/bt"
		diff "$DIR/sum" <("$DIR/$name" -n 5000 -t 4)
	done
}
