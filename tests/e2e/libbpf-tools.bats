#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Debian's libbpf-tools that work on this kernel as real root work in a container, on its own tasks.

load common

setup() { common_setup; }
teardown() { common_teardown; }

both()
{
	traced real "$@"
	traced ours "$@"
	diff "$DIR/real.work" "$DIR/ours.work"
}

@test "opensnoop" {
	both COMM "cat /etc/hostname" /usr/sbin/opensnoop
	grep -qE 'cat .*/etc/hostname' "$DIR/real"
	grep -qE 'cat .*/etc/hostname' "$DIR/ours"
}

@test "execsnoop" {
	both PCOMM "/bin/true one two" /usr/sbin/execsnoop
	grep -qE 'true .*/bin/true one two' "$DIR/real"
	grep -qE 'true .*/bin/true one two' "$DIR/ours"
}

@test "exitsnoop" {
	both PCOMM "sh -c 'exit 7'; true" /usr/sbin/exitsnoop
	grep -qE '^sh .*code 7' "$DIR/real"
	grep -qE '^sh .*code 7' "$DIR/ours"
}

@test "mountsnoop" {
	both COMM "mount -t tmpfs tmpfs $DIR; umount $DIR" /usr/sbin/mountsnoop
	grep -qE '^mount .*MOUNT|^mount ' "$DIR/real"
	diff <(grep -oE '^u?mount ' "$DIR/real") <(grep -oE '^u?mount ' "$DIR/ours")
}

@test "syscount" {
	both Tracing "dd if=/dev/zero of=/dev/null bs=1 count=3000 2>/dev/null" /usr/sbin/syscount
	grep -qE '^write +[0-9]' "$DIR/real"
	grep -qE '^write +[0-9]' "$DIR/ours"
}

@test "funclatency" {
	both Tracing "$DIR/sample -n 60" /usr/sbin/funclatency "$DIR/sample:outer"
	for how in real ours; do
		[ "$(awk -F: '/->/ { split($2, a, "|"); sum += a[1] } END { print sum }' "$DIR/$how")" -eq 60 ]
	done
}

@test "gethostlatency" {
	both HOST "getent ahosts localhost" /usr/sbin/gethostlatency
	grep -q 'getent.*localhost' "$DIR/real"
	grep -q 'getent.*localhost' "$DIR/ours"
}

@test "bashreadline" {
	both COMMAND "printf 'echo one two\n' | timeout 5 bash --norc -i 2>/dev/null" /usr/sbin/bashreadline
	diff <(grep -o 'echo one two' "$DIR/real") <(grep -o 'echo one two' "$DIR/ours")
}

@test "sigsnoop" {
	both COMM "sleep 5 & kill -USR1 \$!; wait" /usr/sbin/sigsnoop
	grep -qE 'sh +10 ' "$DIR/real"
	grep -qE 'sh +10 ' "$DIR/ours"
}
