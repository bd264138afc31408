#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Kinds of maps beyond arrays and hashes, used by programs in the traced process and by the tool.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/{kinds,kinds.bpf.o} "$DIR/"
}

teardown() { common_teardown; }

@test "each kind of map gives what real root gets" {
	# The kernel runs programs on every processor at once, but this sample has one thread.
	real "$DIR/kinds" "$DIR/sample" 200 >"$DIR/real"
	inside "$DIR/kinds" "$DIR/sample" 200 >"$DIR/inside"
	sort "$DIR/inside"
	diff <(grep -v ^answer "$DIR/real") <(grep -v ^answer "$DIR/inside")
	diff <(grep ^answer "$DIR/real" | sort) <(grep ^answer "$DIR/inside" | sort)
	# Some of each did happen.
	grep -qx 'queue pop 197' "$DIR/inside"
	grep -qx 'stack pop 199' "$DIR/inside"
	grep -qx 'answer 1007: [1-9][0-9]*' "$DIR/inside"
	grep -qx 'answer 13022: 200' "$DIR/inside"
	grep -qx 'answer 21000: 200' "$DIR/inside"
	grep -qx 'answer 32000: [1-9][0-9]*' "$DIR/inside"
	grep -qx 'answer 33002: [1-9][0-9]*' "$DIR/inside"
	[ "$(grep -c '^trie 10\.' "$DIR/inside")" -gt 20 ]
	grep -qx 'answer 41000: 20' "$DIR/inside"
	grep -qx 'answer 41002: 180' "$DIR/inside"
	grep -qx 'answer 44000: 200' "$DIR/inside"
	grep -qx 'filter has 210' "$DIR/inside"
	grep -qx 'lru_small has some' "$DIR/inside"
	grep -qx 'lru 7: 0 25' "$DIR/inside"
	grep -qx 'lru_cpu 7: 0 25' "$DIR/inside"
}

@test "values that were in before the programs came" {
	real "$DIR/kinds" "$DIR/sample" 0 >"$DIR/real"
	inside "$DIR/kinds" "$DIR/sample" 0 >"$DIR/inside"
	diff "$DIR/real" "$DIR/inside"
	[ "$(grep -x 'queue pop .*' "$DIR/inside" | head -1)" = "queue pop 1000" ]
	[ "$(grep -c '^trie 10\.' "$DIR/inside")" -eq 6 ]
	grep -qx 'filter has 10' "$DIR/inside"
	grep -qx 'lru 1: -2 0' "$DIR/inside"
	grep -qx 'lru_cpu 1: 0 [1-9]*00' "$DIR/inside"
	[ "$(grep -x 'stack pop .*' "$DIR/inside" | head -1)" = "stack pop 1003" ]
}

@test "the same with programs in the kernel, and where both are allowed" {
	echo '{"prefer": "user"}' >"$DIR/user.json"
	real "$DIR/kinds" "$DIR/sample" 200 >"$DIR/real"
	timeout -k 5 90 "$BPFSHIMD" --run --unprivileged -- "$DIR/kinds" "$DIR/sample" 200 >"$DIR/ours"
	timeout -k 5 90 "$BPFSHIMD" --run --unprivileged --policy "$DIR/user.json" -- "$DIR/kinds" "$DIR/sample" 200 >"$DIR/user"
	for how in ours user; do
		diff <(sort "$DIR/real") <(sort "$DIR/$how")
	done
}

@test "threads of several processes: what is counted per processor is exact, what is pushed is there" {
	inside "$DIR/kinds" "$DIR/sample" 400 4 2 >"$DIR/inside"
	# The tool itself changes 3.
	for key in 2 4 5 6 7; do
		grep -qx "lru_cpu $key: 0 600" "$DIR/inside"
	done
	grep -qx 'filter has 410' "$DIR/inside"
	[ "$(grep -c '^queue pop [0-9]' "$DIR/inside")" -eq 10 ]
	[ "$(grep -c '^stack pop [0-9]' "$DIR/inside")" -eq 10 ]
	grep -qx 'lru_small last 0' "$DIR/inside"
}

@test "contents go back to the kernel when a program there needs them, and what was deleted does not come back" {
	echo '{"prefer": "user"}' >"$DIR/user.json"
	real "$DIR/kinds" "$DIR/sample" 200 1 0 "$DIR/sites" site_tight >"$DIR/real"
	timeout -k 5 90 "$BPFSHIMD" --run --unprivileged --policy "$DIR/user.json" -- \
		"$DIR/kinds" "$DIR/sample" 200 1 0 "$DIR/sites" site_tight >"$DIR/user"
	grep -qx 'lru 0: -2 0' "$DIR/user"
	# What the kernel evicts when it is filled by one processor is its own business.
	diff <(grep -v ^lru_small "$DIR/real" | sort) <(grep -v ^lru_small "$DIR/user" | sort)
}
