#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The daemon is killed while processes of its tree are in calls that it is asked about: none hangs, and what the
# kernel would have carried out it carries out.

load common

setup()
{
	common_setup
	cp "$PROGRAMS/orphans" "$DIR/"
}
teardown() { common_teardown; }

@test "kill -9 at random moments: no call hangs, seccomp(), prctl() and prlimit64() never fail for it" {
	for policy in '{}' '{"kernel": "deny"}'; do
		echo "$policy" >"$DIR/policy.json"
		for try in 1 2 3 4 5 6; do
			"$BPFSHIMD" --run --unprivileged --policy "$DIR/policy.json" -- "$DIR/orphans" 2 >"$DIR/out" 2>"$DIR/err" 3>&- &
			daemon=$!
			started $daemon
			wait_for 5 pgrep -f "^$DIR/orphans"
			sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
			kill -9 $daemon
			wait_for 10 grep -q hung "$DIR/out"
			cat "$DIR/out"
			grep -q '^0 hung, 0 lost$' "$DIR/out"
			grep -qE '^bpf: [0-9]+ calls, [1-9][0-9]* ENOSYS$' "$DIR/out"
			wait_for 3 no_cgroups $daemon
			[ ! -e "/run/bpfshim/daemons/$daemon.sock" ]
		done
	done
}
