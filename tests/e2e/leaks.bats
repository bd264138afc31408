#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a tool had is gone soon after it, while its tree and its targets live on.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/ring "$DIR/"
	cp "$PROGRAMS"/ring.bpf.o "$DIR/" 2>/dev/null || true
}
teardown() { common_teardown; }

# gone: no program, map or link of the tree is left after two seconds
GONE='for i in $(seq 40); do left=$(bpftool prog list; bpftool map list; bpftool link list); [ -z "$left" ] && break; sleep 0.05; done; echo "left:$left"'

@test "perf buffers and ring buffers" {
	cat >"$DIR/tree" <<EOF
cd $DIR
bpftrace -e 'BEGIN { printf("hello\n"); exit(); }'; $GONE
bpftrace -e 'uprobe:$DIR/sample:work { printf("%d\n", arg0); }' >$DIR/bt & tool=\$!
while ! grep -qs Attaching $DIR/bt; do sleep 0.05; done; sleep 1
$DIR/sample -n 5 >/dev/null
kill -9 \$tool; wait \$tool; $GONE
$DIR/ring >/dev/null 2>&1; echo "ring \$?"; $GONE
EOF
	touch "$DIR/bt"
	chmod 777 "$DIR"
	chmod 666 "$DIR/bt"
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	grep -qx 'hello' "$DIR/out"
	grep -qx 'ring 0' "$DIR/out"
	[ "$(grep -cx 'left:' "$DIR/out")" -eq 3 ]
}

@test "more tools one after the other than there may be maps" {
	echo '{"kernel": "deny", "quotas": {"maps": 12}}' >"$DIR/inside.json"
	cat >"$DIR/tree" <<EOF
for i in \$(seq 20); do
	bpftrace -e 'BEGIN { printf("hello\n"); @n = count(); exit(); }'
	sleep 0.6
done
EOF
	inside sh "$DIR/tree" >"$DIR/out" 2>"$DIR/err"
	cat "$DIR/out" "$DIR/err"
	[ "$(grep -cx hello "$DIR/out")" -eq 20 ]
	[ "$(grep -cx '@n: 1' "$DIR/out")" -eq 20 ]
}
