#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Helpers in traced processes say and do what the kernel's do for real root, where the policy lets them.

load common

setup()
{
	common_setup
	cp "$PROGRAMS"/helpers "$PROGRAMS"/helpers.bpf.o "$DIR/"
}

teardown()
{
	rmdir "/sys/kernel/tracing/instances/bpfshim-$$" 2>/dev/null || true
	common_teardown
}

# same PROGRAM: real root and a container see the same of it
same()
{
	real "$DIR/helpers" "$1" >"$DIR/real"
	inside "$DIR/helpers" "$1" >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	[ -s "$DIR/real" ]
	diff "$DIR/real" "$DIR/inside"
}

# allow HELPER...: in the container
allow()
{
	printf '{"kernel": "deny", "helpers": {"allow": [%s]}}' "$(printf '"%s"\n' "$@" | paste -sd,)" >"$DIR/inside.json"
}

@test "text: numbers, comparison and formats as in the kernel" {
	same text
	[ "$(wc -l <"$DIR/inside")" -eq 10 ]
	grep -q '^5 5 511 0 ' "$DIR/inside"
}

# Without what differs from run to run, in lines of the pipe. The kernel keeps names in a small cache: <...> is one that
# another's has driven out.
pipe_lines() { sed -nE 's/ +(helpers|<\.\.\.>)-[0-9]+ +\[[0-9]{3}\] [^ ]{5} +[0-9]+\.[0-9]{6}: /helpers: /p' "$1"; }

@test "what programs print comes out of the tree's own trace_pipe, as out of the host's for real root" {
	cat >"$DIR/tree" <<EOF
cat /sys/kernel/\$2 >\$1 & reader=\$!
$DIR/helpers text >/dev/null
for i in \$(seq 100); do
	[ "\$(grep -c 'bpf_trace_printk: text' \$1)" -ge 10 ] && break
	sleep 0.1
done
kill \$reader
wait \$reader || true
EOF
	# A buffer of its own, because anybody reads the host's away.
	cat >"$DIR/alone" <<EOF
cd /sys/kernel/tracing/instances && mkdir bpfshim-$$ || exit 1
echo 1 >bpfshim-$$/events/bpf_trace/bpf_trace_printk/enable
sh $DIR/tree $DIR/real tracing/instances/bpfshim-$$/trace_pipe
rmdir bpfshim-$$
EOF
	real sh "$DIR/alone"
	cat "$DIR/real"
	[ "$(pipe_lines "$DIR/real" | wc -l)" -eq 10 ]
	for where in tracing/trace_pipe debug/tracing/trace_pipe; do
		: >"$DIR/inside" && chmod 666 "$DIR/inside"
		inside sh "$DIR/tree" "$DIR/inside" $where 2>"$DIR/err"
		cat "$DIR/inside" "$DIR/err"
		lacks "$DIR/inside" '<\.\.\.>'
		pipe_lines "$DIR/inside" | grep -q 'bpf_trace_printk: text -7 apples is -7$'
		diff <(pipe_lines "$DIR/real") <(pipe_lines "$DIR/inside")
		lacks "$DIR/err" bpf_trace_printk
	done
}

@test "bcc reads what its programs print; what the pipe has no room for is counted" {
	cat >"$DIR/print.py" <<EOF
import os, subprocess, time
from bcc import BPF
b = BPF(text="int f(void *ctx) { bpf_trace_printk(\"line of %d\", 7); return 0; }")
b.attach_uprobe(name="$DIR/sample", sym="work", fn_name="f")
subprocess.run(["$DIR/sample", "-n", "20"], check=True)
for i in range(20):
    task, pid, cpu, flags, ts, msg = b.trace_fields()
    print(task.decode(), float(ts) > 0, msg.decode())
# Nobody reads meanwhile. Not more at once than the rings hold.
for i in range(100):
    subprocess.run(["$DIR/sample", "-n", "200"], check=True, stdout=subprocess.DEVNULL)
time.sleep(0.5)
pipe = os.open("/sys/kernel/tracing/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
text = b""
extra = 0
while b"LOST" not in text:
    try:
        text += os.read(pipe, 65536)
    except BlockingIOError:
        # One that has room brings the report.
        subprocess.run(["$DIR/sample", "-n", "1"], check=True)
        extra += 1
        time.sleep(0.1)
shown = text.count(b": line of 7\\n")
lost = int(text.split(b"[LOST ")[1].split()[0])
print(shown > 100, lost > 100, shown + lost - extra)
EOF
	inside python3 "$DIR/print.py" >"$DIR/inside" 2>"$DIR/err" || { cat "$DIR/inside" "$DIR/err"; false; }
	cat "$DIR/inside" "$DIR/err"
	[ "$(grep -c '^sample True line of 7$' "$DIR/inside")" -eq 20 ]
	grep -q '^True True 20000$' "$DIR/inside"
}

@test "stacks in memory, the kernel's among them, the numbers of a namespace, ticks" {
	same stack
	lacks "$DIR/inside" wrong '^as many no' '^the same no'
}

@test "a program that may sleep reads what is not there yet" {
	same copy
	grep -q '^0 -14 x0x$' "$DIR/inside"
}

@test "signals: refused by name, or as real root's arrive" {
	inside "$DIR/helpers" signal >"$DIR/out" 2>&1 || true
	cat "$DIR/out"
	grep -q 'helper bpf_send_signal is denied by "helpers"' "$DIR/out"
	lacks "$DIR/out" 'of code'
	allow send_signal send_signal_thread
	real "$DIR/helpers" signal >"$DIR/real" || [ $? -eq 143 ]
	inside "$DIR/helpers" signal >"$DIR/inside" 2>"$DIR/err" || [ $? -eq 143 ]
	cat "$DIR/inside" "$DIR/err"
	[ "$(grep -c '^100 of code 128 from 0$' "$DIR/inside")" -eq 2 ]
	lacks "$DIR/inside" 'still there'
	diff "$DIR/real" "$DIR/inside"
}

@test "writes into the process: refused by name, or only where it could write itself" {
	inside "$DIR/helpers" write >"$DIR/out" 2>&1 || true
	cat "$DIR/out"
	grep -q 'helper bpf_probe_write_user is denied by "helpers"' "$DIR/out"
	allow probe_write_user
	inside "$DIR/helpers" write >"$DIR/inside" 2>"$DIR/err"
	cat "$DIR/inside" "$DIR/err"
	[ "$(cat "$DIR/inside")" = '0 written, -14 as ever' ]
}

@test "override_return is for no uprobe: refused by name, whatever the policy lets it" {
	inside "$DIR/helpers" override >"$DIR/out" 2>&1 || true
	grep -q 'helper bpf_override_return is denied by "helpers"' "$DIR/out"
	allow override_return
	inside "$DIR/helpers" override >"$DIR/out" 2>&1 || true
	cat "$DIR/out"
	grep -q "helper 58 is the kernel's alone" "$DIR/out"
	lacks "$DIR/out" '^attached'
}

@test "the service's default, which refuses kernel memory, has nothing against text in processes" {
	echo '{"kernel": "deny", "kernel_memory": "deny"}' >"$DIR/inside.json"
	same text
}

@test "without a pipe of its own a tree's lines stand in the log; of many some, the others counted" {
	cat >"$DIR/many.py" <<EOF
import subprocess, time
from bcc import BPF
b = BPF(text="int f(void *ctx) { bpf_trace_printk(\"line %d\\\\n\", 7); return 0; }")
b.attach_uprobe(name="$DIR/sample", sym="work", fn_name="f")
subprocess.run(["$DIR/sample", "-n", "500"], check=True)
time.sleep(0.5)
EOF
	echo '{"kernel": "deny"}' >"$DIR/inside.json"
	timeout -k 5 60 "$BPFSHIMD" --run --policy "$DIR/inside.json" -- python3 "$DIR/many.py" >"$DIR/out" 2>"$DIR/err" ||
		{ cat "$DIR/out" "$DIR/err"; false; }
	shown=$(grep -c 'tenant=run-[0-9]* pid=[0-9]* cpu=[0-9]*: bpf_trace_printk: line 7$' "$DIR/err")
	more=$(sed -n 's/.*: \([0-9]*\) more lines of bpf_trace_printk()$/\1/p' "$DIR/err" | awk '{ n += $1 } END { print n + 0 }')
	tail -3 "$DIR/err"
	echo "$shown shown, $more more"
	[ "$shown" -ge 50 ]
	[ "$((shown + more))" -eq 500 ]
}

@test "bpftrace: stacks of perf's form and of the kernel, bytes, strncmp(), signal()" {
	cat >"$DIR/t.bt" <<EOF
uprobe:$DIR/sample:work { @kernel[kstack] = count(); @user[ustack(perf, 3)] = count(); @bytes[buf(arg2, 4)] = count(); }
uprobe:$DIR/sample:work /strncmp(str(arg2), "alp", 3) == 0/ { @alp = count(); }
uprobe:$DIR/sample:work /arg0 == 5/ { printf("%r %s\n", buf(arg2, 3), ustack(perf, 1)); }
EOF
	cat >"$DIR/s.bt" <<EOF
uprobe:$DIR/sample:work /arg0 == 5/ { signal("TERM"); }
EOF
	allow send_signal
	for how in real inside; do
		$how bpftrace -c "$DIR/sample -n 80" "$DIR/t.bt" >"$DIR/$how" 2>"$DIR/err"
		$how bpftrace --unsafe -c "$DIR/sample -n 80 -s 5000" "$DIR/s.bt" >"$DIR/$how.signal" 2>"$DIR/err"
	done
	cat "$DIR/inside" "$DIR/inside.signal" "$DIR/err"
	grep -q '^@kernel\[\]: 80$' "$DIR/inside"
	grep -q '^@alp: 20$' "$DIR/inside"
	[ "$(grep -c '^@bytes\[....\]: 20$' "$DIR/inside")" -eq 4 ]
	# It ended at its fifth call, before it could say anything.
	lacks "$DIR/inside.signal" sum
	lacks "$DIR/real.signal" sum
	lines() { sed -E 's/(0x)?[0-9a-f]{9}([0-9a-f]{3})/\2/g; s/^(\t[0-9a-f]+) .*/\1/' "$1" | grep -v Attaching | sort; }
	diff <(lines "$DIR/real") <(lines "$DIR/inside")
}
