#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Debian's libbpf-tools that work on this kernel as real root work in a container, on its own tasks.

load common

setup() { common_setup; }
teardown() { common_teardown; }

@test "opensnoop" {
	both COMM 1 'cat .*/etc/hostname' "cat /etc/hostname" /usr/sbin/opensnoop
	[ "$(grep -cE 'cat .*/etc/hostname' "$DIR/ours")" -eq 1 ]
}

@test "execsnoop" {
	both PCOMM 1 '^true .*/bin/true one two' "/bin/true one two" /usr/sbin/execsnoop
	[ "$(grep -cE '^true .*/bin/true one two' "$DIR/ours")" -eq 1 ]
}

@test "exitsnoop" {
	both PCOMM 1 '^sh .*code 7' "sh -c 'exit 7'; true" /usr/sbin/exitsnoop
	[ "$(grep -cE '^sh .*code 7' "$DIR/ours")" -eq 1 ]
}

@test "mountsnoop" {
	both COMM 2 "^u?mount .*$DIR" "mount -t tmpfs tmpfs $DIR; umount $DIR" /usr/sbin/mountsnoop
	for how in real ours; do
		grep -E '^u?mount ' "$DIR/$how" | awk '{ print $1, $NF }' >"$DIR/$how.lines"
	done
	[ "$(grep -c . "$DIR/ours.lines")" -eq 2 ]
}

@test "syscount" {
	both Tracing 0 - "dd if=/dev/zero of=/dev/null bs=1 count=3000 2>/dev/null" /usr/sbin/syscount -T 1000
	for how in real ours; do
		[ "$(awk '$1 == "write" { print $2 }' "$DIR/$how")" -ge 3000 ]
	done
	[ "$(awk '$1 == "write" { print $2 }' "$DIR/ours")" -lt 3200 ]
}

@test "funclatency" {
	both Tracing 0 - "$DIR/sample -n 60" /usr/sbin/funclatency "$DIR/sample:outer"
	for how in real ours; do
		[ "$(awk -F: '/->/ { split($2, a, "|"); sum += a[1] } END { print sum + 0 }' "$DIR/$how")" -eq 60 ]
	done
}

@test "gethostlatency" {
	both HOST 1 'getent .*localhost' "getent ahosts localhost" /usr/sbin/gethostlatency
	[ "$(grep -c 'getent .*localhost' "$DIR/real")" -eq "$(grep -c 'getent .*localhost' "$DIR/ours")" ]
}

@test "bashreadline" {
	both COMMAND 1 'echo one two' "printf 'echo one two\n' | timeout 5 bash --norc -i 2>/dev/null" /usr/sbin/bashreadline
	[ "$(grep -c 'echo one two' "$DIR/ours")" -eq 1 ]
}

@test "sigsnoop" {
	both COMM 1 'sh +10 ' "sleep 5 & kill -USR1 \$!; wait" /usr/sbin/sigsnoop
	grep -qE 'sh +10 ' "$DIR/ours"
}
