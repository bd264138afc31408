#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What bpftool reads out of links and maps in a container is what real root reads.

load common

setup() { common_setup; }
teardown() { common_teardown; }

@test "link show and map dump: the same as real root's" {
	# libbpf's tools attach by links; bpftrace's map is dumped while it counts.
	cat >"$DIR/tree" <<EOF
stdbuf -oL /usr/sbin/funclatency $DIR/sample:outer >$DIR/lat 2>&1 & latency=\$!
bpftrace -e 'uprobe:$DIR/sample:work { @mine[arg1] = count(); } interval:ms:50 { print(@mine); }' >$DIR/bt 2>&1 & tool=\$!
tries=400
until grep -q Tracing $DIR/lat || [ \$tries -eq 0 ]; do sleep 0.05; tries=\$((tries - 1)); done
# Attached once a call shows; from here on every call counts.
until grep -q '^@mine' $DIR/bt || [ \$tries -eq 0 ]; do $DIR/sample -n 1 >/dev/null; sleep 0.05; tries=\$((tries - 1)); done
sleep 0.2
bpftool -j map show >$DIR/maps
map=\$(python3 -c 'import json, sys; print([m["id"] for m in json.load(sys.stdin) if m.get("name") == "AT_mine"][-1])' <$DIR/maps)
bpftool -j map dump id \$map >$DIR/before
$DIR/sample -n 33 >/dev/null
bpftool -j map dump id \$map >$DIR/after
bpftool -j link show >$DIR/links
bpftool -j prog show >$DIR/progs
kill -9 \$tool \$latency
wait
EOF
	cat >"$DIR/digest" <<'EOF'
import json, sys
links, progs, before, after = (json.load(open(f"{sys.argv[1]}/{name}"))
                               for name in ("links", "progs", "before", "after"))
# What the host held before is none of this test's.
before_us = {l.split()[1].rstrip(":") for l in open(f"{sys.argv[1]}/.objects") if l.startswith("prog ")}
mine = {p["id"]: p for p in progs if p.get("name", "").startswith("dummy_k") and (len(sys.argv) > 2 or str(p["id"]) not in before_us)}
print(*sorted(f"link {l['type']} {mine[l['prog_id']]['name']} {mine[l['prog_id']]['type']}"
              for l in links if l["prog_id"] in mine), sep="\n")
def number(digits):
    return int.from_bytes(bytes(int(d, 16) for d in digits), "little")
def sums(dump):
    return {number(e["key"]): sum(number(v["value"]) for v in e["values"]) for e in dump}
for key, count in sums(after).items():
    print("key", key, "calls", count - sums(before)[key])
print("cpus", {len(e["values"]) for e in after})
EOF
	local how file
	for how in real ours; do
		for file in lat bt links progs maps before after; do
			: >"$DIR/$file"
			chmod 666 "$DIR/$file"
		done
		"$how" sh "$DIR/tree" 3>&-
		# In the container ids are its own.
		[ $how = real ] && python3 "$DIR/digest" "$DIR" >"$DIR/$how" || python3 "$DIR/digest" "$DIR" own >"$DIR/$how"
	done
	diff "$DIR/real" "$DIR/ours"
	[ "$(grep -cE '^link perf_event dummy_k(ret)?probe kprobe$' "$DIR/ours")" -eq 2 ]
	grep -qx 'key 2 calls 33' "$DIR/ours"
}
